//! The receiving half of a WebSocket: messages, keep-alive, and why the connection ended.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use bowline_core::peer::{Receiving, TransportEnd};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::tungstenite::error::{CapacityError, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Bytes, Error, Message, Utf8Bytes};

use crate::keep_alive::{Silence, Watch};
use crate::opening::TooLong;
use crate::websocket::{Socket, lock};

/// The receiving half of a [`WebSocket`](crate::WebSocket).
pub struct WebSocketReceiver<S> {
    socket: Arc<Mutex<Socket<S>>>,
    watch: Watch,
    /// Whether a ping is queued that the socket has not accepted yet.
    ping_waits: bool,
}

impl<S> WebSocketReceiver<S> {
    pub(crate) fn new(socket: Arc<Mutex<Socket<S>>>, watch: Watch) -> Self {
        Self { socket, watch, ping_waits: false }
    }
}

impl<S> Receiving for WebSocketReceiver<S>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    type Text = Utf8Bytes;

    /// Cancel-safe: a message is taken only in the poll that returns it.
    async fn receive(&mut self) -> Result<Utf8Bytes, TransportEnd> {
        std::future::poll_fn(|cx| match self.poll_text(cx) {
            Poll::Pending => self.poll_silence(cx).map(Err),
            ready => ready,
        })
        .await
    }

    /// Registers no waker: the caller must call `receive` after this returned `None`.
    fn try_receive(&mut self) -> Option<Result<Utf8Bytes, TransportEnd>> {
        match self.poll_text(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(text) => Some(text),
            Poll::Pending => None,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocketReceiver<S> {
    fn poll_text(&mut self, cx: &mut Context<'_>) -> Poll<Result<Utf8Bytes, TransportEnd>> {
        let mut socket = lock(&self.socket);
        loop {
            let end = match socket.stream.poll_next_unpin(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(Message::Text(text)))) => {
                    self.watch.heard();
                    socket.messages_in += 1;
                    return Poll::Ready(Ok(text));
                }
                Poll::Ready(Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)))) => {
                    self.watch.heard();
                    continue;
                }
                Poll::Ready(Some(Ok(Message::Binary(_)))) => TransportEnd::Invalid {
                    // The text of the official client.
                    name: "TypeError".to_owned(),
                    message: "Received unexpected message type from WebSocket.".to_owned(),
                },
                Poll::Ready(Some(Ok(Message::Close(frame)))) => closed(frame),
                Poll::Ready(Some(Err(error))) => failed(error, &mut socket),
                Poll::Ready(None) => TransportEnd::Ended,
            };
            return Poll::Ready(Err(end));
        }
    }

    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<TransportEnd> {
        let mut socket = lock(&self.socket);
        let bytes_in = socket.stream.get_ref().bytes_in;
        while let Poll::Ready(silence) = self.watch.poll(bytes_in, cx) {
            match silence {
                Silence::Dead => return Poll::Ready(TransportEnd::Failed("the peer answered no ping".to_owned())),
                Silence::Ping => self.ping_waits = socket.stream.start_send_unpin(Message::Ping(Bytes::new())).is_ok(),
            }
        }
        if self.ping_waits {
            // An error is returned by the next read.
            self.ping_waits = socket.stream.poll_flush_unpin(cx).is_pending();
        }
        Poll::Pending
    }
}

impl<S> fmt::Debug for WebSocketReceiver<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocketReceiver").field("watch", &self.watch).finish_non_exhaustive()
    }
}

fn closed(frame: Option<CloseFrame>) -> TransportEnd {
    /// The code that stands for a close frame without one (RFC 6455, section 7.1.5).
    const NO_CODE: u16 = 1005;
    match frame {
        Some(frame) => TransportEnd::Closed { code: frame.code.into(), reason: frame.reason.as_str().to_owned() },
        None => TransportEnd::Closed { code: NO_CODE, reason: String::new() },
    }
}

/// Returns why the connection ended, and sets the close frame if the peer is at fault.
fn failed<S>(error: Error, socket: &mut Socket<S>) -> TransportEnd {
    if let Some(too_long) = too_long(&error) {
        let message = too_long.to_string();
        socket.parting.set(1009, &message);
        return TransportEnd::Invalid { name: "RangeError".to_owned(), message };
    }
    let (code, message) = match error {
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => return TransportEnd::Ended,
        Error::Capacity(CapacityError::MessageTooLong { size, max_size }) => {
            (1009, format!("a message of {size} bytes exceeds the limit of {max_size} bytes"))
        }
        Error::Utf8(_) => (1007, "a text frame is not UTF-8".to_owned()),
        Error::Protocol(broken) => (1002, broken.to_string()),
        error => return TransportEnd::Failed(error.to_string()),
    };
    socket.parting.set(code, &message);
    TransportEnd::Failed(message)
}

/// Returns the error of [`Metered::opening`](crate::Metered::opening), if this is it.
fn too_long(error: &Error) -> Option<&TooLong> {
    let Error::Io(error) = error else { return None };
    error.get_ref()?.downcast_ref()
}
