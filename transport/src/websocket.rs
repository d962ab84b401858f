//! The messages of a session as text frames of a WebSocket after its handshake.
//!
//! Both halves share the socket under a lock that is never held across an await. Invariant: one
//! task, the driver of the session, polls both halves. The library registers the waker of the last
//! poll, so with two tasks one could miss its wake-up.

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

/// The library's defaults are 128 KiB. Its read buffer lasts as long as the connection, so it is
/// small; [`ahead`](crate::ahead) reads more at once.
const READ_BUFFER_BYTES: usize = 1 << 10;
const WRITE_BUFFER_BYTES: usize = 16 << 10;

/// Returns the configuration of the WebSocket library for a session with these limits. A frame that
/// is longer than a message may be is refused when its header arrives.
pub fn config(limits: &Limits) -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .max_message_size(Some(limits.message_bytes))
        .max_frame_size(Some(limits.message_bytes))
}

/// The transport of a session over a WebSocket.
pub struct WebSocket<S> {
    socket: Arc<Mutex<Socket<S>>>,
    keep_alive: KeepAlive,
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// Creates a transport from a WebSocket after its handshake. The [`Ending`] closes the
    /// connection after the session has ended. The [`Parting`] sets the close frame of a connection
    /// that is ended early.
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

/// The state that both halves and the [`Ending`] share.
pub(crate) struct Socket<S> {
    pub(crate) stream: WebSocketStream<Metered<S>>,
    pub(crate) parting: Parting,
    pub(crate) messages_in: u64,
    pub(crate) messages_out: u64,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    /// Sets the close frame, unless it is set, and queues it, unless it is queued.
    pub(crate) fn part(&mut self, code: u16, reason: &str) {
        self.parting.set(code, reason);
        self.queue_close();
    }

    /// Queues the close frame that was set. Does nothing if the peer closed first, because the
    /// library has queued the answer then, or if a close frame is already queued.
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

/// Locks the socket. Nothing but the library itself can panic while the lock is held, and then the
/// socket is only closed, so poisoning is ignored.
pub(crate) fn lock<S>(socket: &Mutex<Socket<S>>) -> MutexGuard<'_, Socket<S>> {
    socket.lock().unwrap_or_else(PoisonError::into_inner)
}
