//! A session's messages as text frames of a WebSocket whose handshake is done.
//!
//! Both halves share the socket under a lock that is never held across an await. Invariant: one
//! task drives both halves (a session's driver does), so a wake-up can not go to the wrong one.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bowline_core::limits::Limits;
use bowline_core::peer::Transport;
use futures_util::SinkExt;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use crate::ending::{Ending, Parting};
use crate::keep_alive::{KeepAlive, Watch};
use crate::metered::{Metered, Traffic};
use crate::receiver::WebSocketReceiver;
use crate::sender::WebSocketSender;

/// The library's own are 128 KiB, and what it reads into lasts as long as a connection. What is read at
/// once is more than this: see [`ahead`](crate::ahead).
const READ_BUFFER_BYTES: usize = 1 << 10;
const WRITE_BUFFER_BYTES: usize = 16 << 10;

/// How the WebSocket library is to be set up for a session with these limits. A frame announced
/// as longer than a message may be is refused by its header alone.
pub fn config(limits: &Limits) -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .max_message_size(Some(limits.message_bytes))
        .max_frame_size(Some(limits.message_bytes))
}

/// A WebSocket as a transport of a session.
pub struct WebSocket<S> {
    socket: Arc<Mutex<Socket<S>>>,
    keep_alive: KeepAlive,
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// Takes a socket after its handshake. Of what is returned, the transport goes to the
    /// session, the [`Ending`] to whoever runs it, and the [`Parting`] to who may end it early.
    pub fn new(stream: WebSocketStream<Metered<S>>, keep_alive: KeepAlive) -> (Self, Ending<S>, Parting) {
        let parting = Parting::default();
        let socket = Socket { stream, parting: parting.clone(), messages_in: 0, messages_out: 0 };
        let socket = Arc::new(Mutex::new(socket));
        (Self { socket: socket.clone(), keep_alive }, Ending::new(socket), parting)
    }
}

impl<S> Transport for WebSocket<S>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    type Sender = WebSocketSender<S>;
    type Receiver = WebSocketReceiver<S>;

    fn split(self) -> (Self::Sender, Self::Receiver) {
        let receiver = WebSocketReceiver::new(self.socket.clone(), Watch::new(self.keep_alive));
        (WebSocketSender::new(self.socket), receiver)
    }
}

impl<S> fmt::Debug for WebSocket<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocket").field("keep_alive", &self.keep_alive).finish_non_exhaustive()
    }
}

/// What both halves and the [`Ending`] work on.
pub(crate) struct Socket<S> {
    pub(crate) stream: WebSocketStream<Metered<S>>,
    pub(crate) parting: Parting,
    pub(crate) messages_in: u64,
    pub(crate) messages_out: u64,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    /// Decides how to close, unless that is decided, and queues the close frame, unless one is.
    pub(crate) fn part(&mut self, code: u16, reason: &str) {
        self.parting.set(code, reason);
        self.queue_close();
    }

    /// Queues the close frame that was decided on. Does nothing when the peer closed first, for
    /// then the library has queued the answer, nor the second time.
    pub(crate) fn queue_close(&mut self) {
        if let Some(frame) = self.parting.frame() {
            drop(self.stream.start_send_unpin(Message::Close(Some(frame))));
        }
    }

    pub(crate) fn traffic(&self) -> Traffic {
        let bytes = self.stream.get_ref();
        Traffic {
            bytes_in: bytes.bytes_in,
            bytes_out: bytes.bytes_out,
            messages_in: self.messages_in,
            messages_out: self.messages_out,
        }
    }
}

/// Nothing panics while the lock is held but the library itself, and then the socket is only
/// closed; so poison is no news.
pub(crate) fn lock<S>(socket: &Mutex<Socket<S>>) -> MutexGuard<'_, Socket<S>> {
    socket.lock().unwrap_or_else(PoisonError::into_inner)
}
