//! The sending half of a WebSocket: queues many messages and flushes once.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bowline_core::peer::{Sending, TransportEnd};
use futures_util::SinkExt;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::metered::Metered;
use crate::websocket::{Socket, lock};

/// How long a peer may accept not a single byte while there are bytes to send. Such a peer is gone,
/// or wants this process to run out of memory.
const STALL_MAX: Duration = Duration::from_secs(30);

/// The sending half of a [`WebSocket`](crate::WebSocket).
pub struct WebSocketSender<S> {
    socket: Arc<Mutex<Socket<S>>>,
}

impl<S> WebSocketSender<S> {
    pub(crate) fn new(socket: Arc<Mutex<Socket<S>>>) -> Self {
        Self { socket }
    }
}

impl<S> Sending for WebSocketSender<S>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    const EXPENSIVE_FLUSH: bool = true;

    /// Waits while the write buffer is full. Not cancel-safe: the text is lost if the future is
    /// dropped before it is ready.
    async fn feed(&mut self, text: String) -> Result<(), TransportEnd> {
        self.unstalled(|stream, cx| stream.poll_ready_unpin(cx)).await?;
        let mut socket = lock(&self.socket);
        socket.messages_out += 1;
        socket.stream.start_send_unpin(Message::text(text)).map_err(end)
    }

    /// Registers no waker: the caller must call `feed` if texts are left.
    fn try_feed(&mut self, texts: &mut VecDeque<String>) -> Result<(), TransportEnd> {
        let mut socket = lock(&self.socket);
        let mut cx = Context::from_waker(Waker::noop());
        while !texts.is_empty() {
            match socket.stream.poll_ready_unpin(&mut cx) {
                Poll::Pending => return Ok(()),
                Poll::Ready(ready) => ready.map_err(end)?,
            }
            if let Some(text) = texts.pop_front() {
                socket.messages_out += 1;
                socket.stream.start_send_unpin(Message::text(text)).map_err(end)?;
            }
        }
        Ok(())
    }

    /// Cancel-safe: what was not written stays queued.
    async fn flush(&mut self) -> Result<(), TransportEnd> {
        self.unstalled(|stream, cx| stream.poll_flush_unpin(cx)).await
    }

    /// Sends the close frame that was [set](crate::Parting::set) before, or else this one.
    /// Cancel-safe; [`Ending::finish`](crate::Ending::finish) completes what is left.
    async fn close(&mut self, code: u16, reason: &str) {
        lock(&self.socket).part(code, reason);
        // If the close frame cannot be sent, the connection is gone, which is what the caller
        // wants.
        drop(self.flush().await);
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocketSender<S> {
    /// Waits for `poll`, and fails if the peer stalls. Cancel-safe if `poll` is.
    async fn unstalled(
        &self,
        mut poll: impl FnMut(&mut WebSocketStream<Metered<S>>, &mut Context<'_>) -> Poll<Result<(), Error>>,
    ) -> Result<(), TransportEnd> {
        let mut attempt = std::future::poll_fn(|cx| poll(&mut lock(&self.socket).stream, cx));
        if let Some(done) = futures_util::future::FutureExt::now_or_never(&mut attempt) {
            return done.map_err(end);
        }
        loop {
            let before = lock(&self.socket).traffic().bytes_out;
            if let Ok(done) = Box::pin(tokio::time::timeout(STALL_MAX, &mut attempt)).await {
                return done.map_err(end);
            }
            if lock(&self.socket).traffic().bytes_out == before {
                return Err(TransportEnd::Failed(format!("The peer read nothing for {STALL_MAX:?}.")));
            }
        }
    }
}

impl<S> fmt::Debug for WebSocketSender<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocketSender").finish_non_exhaustive()
    }
}

fn end(error: Error) -> TransportEnd {
    match error {
        Error::ConnectionClosed | Error::AlreadyClosed => TransportEnd::Ended,
        error => TransportEnd::Failed(error.to_string()),
    }
}
