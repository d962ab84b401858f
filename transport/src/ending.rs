//! Closing a WebSocket: which close frame is sent, and waiting until the peer has read it.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use futures_util::SinkExt;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use crate::metered::Traffic;
use crate::websocket::{Socket, lock};

/// The timeout for flushing queued messages and the close frame.
const FLUSH_MAX: Duration = Duration::from_secs(5);
/// How long the peer may keep sending after the close frame. If a socket is closed while bytes are
/// on their way to it, the operating system answers them with a reset, and the peer may lose the
/// close frame.
const LINGER_MAX: Duration = Duration::from_secs(2);
/// The maximum length of a reason. A control frame carries 125 bytes, of which the code takes two
/// (RFC 6455, section 5.5).
const REASON_BYTES_MAX: usize = 123;

/// The code and reason of the close frame that will be sent. The first call of [`set`](Self::set)
/// decides. So a message that is too long closes the connection with 1009, whatever error the
/// session ends with because of it.
#[derive(Clone, Debug, Default)]
pub struct Parting {
    frame: Arc<OnceLock<(u16, String)>>,
}

impl Parting {
    /// Sets the code and reason of the close frame, unless they are set. The reason is truncated to
    /// 123 bytes, at a character boundary. This does not close the connection.
    pub fn set(&self, code: u16, reason: &str) {
        let mut end = reason.len().min(REASON_BYTES_MAX);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        // An error means that the frame was set before, which takes precedence.
        drop(self.frame.set((code, reason[..end].to_owned())));
    }

    pub(crate) fn frame(&self) -> Option<CloseFrame> {
        let (code, reason) = self.frame.get()?;
        Some(CloseFrame { code: (*code).into(), reason: reason.as_str().into() })
    }
}

/// Closes a WebSocket after its session has ended.
pub struct Ending<S> {
    socket: Arc<Mutex<Socket<S>>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Ending<S> {
    pub(crate) fn new(socket: Arc<Mutex<Socket<S>>>) -> Self {
        Self { socket }
    }

    /// Removes the limit on messages that applies [until the peer is
    /// admitted](crate::Metered::opening).
    pub fn admit(&self) {
        lock(&self.socket).stream.get_mut().admit();
    }

    /// Returns how much was sent and received so far.
    pub fn traffic(&self) -> Traffic {
        lock(&self.socket).traffic()
    }

    /// Sends what is queued and the close frame, then waits for the peer to close the connection.
    /// Takes at most 7 seconds. Call this when the driver of the session has ended. If the future
    /// is dropped early, the connection is closed without waiting for the peer.
    pub async fn finish(self) -> Traffic {
        if let Ok(Ok(())) = timeout(FLUSH_MAX, self.say_goodbye()).await {
            // A timeout is expected if the peer keeps the connection open.
            drop(timeout(LINGER_MAX, self.linger()).await);
        }
        self.traffic()
    }

    async fn say_goodbye(&self) -> io::Result<()> {
        lock(&self.socket).queue_close();
        poll_fn(|cx| lock(&self.socket).stream.poll_flush_unpin(cx)).await.map_err(io::Error::other)?;
        poll_fn(|cx| Pin::new(lock(&self.socket).stream.get_mut()).poll_shutdown(cx)).await
    }

    /// Reads and discards the raw stream: nothing after the close frame has a meaning.
    async fn linger(&self) {
        // On the heap, because the future of every open session would otherwise have room for it.
        let mut scratch = vec![0; 4096];
        loop {
            let mut read = ReadBuf::new(&mut scratch);
            let polled = poll_fn(|cx| Pin::new(lock(&self.socket).stream.get_mut()).poll_read(cx, &mut read)).await;
            if polled.is_err() || read.filled().is_empty() {
                return;
            }
        }
    }
}

impl<S> fmt::Debug for Ending<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ending").finish_non_exhaustive()
    }
}
