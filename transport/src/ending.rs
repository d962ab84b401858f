//! The last words on a WebSocket: which close frame goes out, and staying until it was read.

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

/// How long queued messages and the close frame may take to leave.
const FLUSH_MAX: Duration = Duration::from_secs(5);
/// How long the peer may go on sending after our close frame. A socket closed while bytes are
/// on their way to it answers them with a reset, which overtakes the frame.
const LINGER_MAX: Duration = Duration::from_secs(2);
/// RFC 6455 5.5: a control frame carries 125 bytes, two of which are the code.
const REASON_BYTES_MAX: usize = 123;

/// Code and reason of the close frame that will go out. The first to speak decides, so that an
/// oversized message closes with 1009 whatever the session says when it ends because of it.
#[derive(Clone, Debug, Default)]
pub struct Parting {
    frame: Arc<OnceLock<(u16, String)>>,
}

impl Parting {
    /// Decides how the socket will be closed, unless that is decided. The reason is cut to 123
    /// bytes on a character boundary. Closes nothing by itself.
    pub fn set(&self, code: u16, reason: &str) {
        let mut end = reason.len().min(REASON_BYTES_MAX);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        // Refused means that somebody spoke first, whose word stands.
        drop(self.frame.set((code, reason[..end].to_owned())));
    }

    pub(crate) fn frame(&self) -> Option<CloseFrame> {
        let (code, reason) = self.frame.get()?;
        Some(CloseFrame { code: (*code).into(), reason: reason.as_str().into() })
    }
}

/// Ends a WebSocket after its session did.
pub struct Ending<S> {
    socket: Arc<Mutex<Socket<S>>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Ending<S> {
    pub(crate) fn new(socket: Arc<Mutex<Socket<S>>>) -> Self {
        Self { socket }
    }

    /// Lifts the bound on messages that stands [until the peer is let in](crate::Metered::opening).
    pub fn let_in(&self) {
        lock(&self.socket).stream.get_mut().let_in();
    }

    /// What went over the socket until now.
    pub fn traffic(&self) -> Traffic {
        lock(&self.socket).traffic()
    }

    /// Sends what is queued and the close frame, then waits for the peer to hang up. Takes 7 s at
    /// most. Call it when the session's driver has ended. Dropped early, the socket is merely cut.
    pub async fn finish(self) -> Traffic {
        if let Ok(Ok(())) = timeout(FLUSH_MAX, self.say_goodbye()).await {
            // Running out of time is the expected end with a peer that keeps the socket open.
            drop(timeout(LINGER_MAX, self.linger()).await);
        }
        self.traffic()
    }

    async fn say_goodbye(&self) -> io::Result<()> {
        lock(&self.socket).queue_close();
        poll_fn(|cx| lock(&self.socket).stream.poll_flush_unpin(cx)).await.map_err(io::Error::other)?;
        poll_fn(|cx| Pin::new(lock(&self.socket).stream.get_mut()).poll_shutdown(cx)).await
    }

    /// Reads the raw stream: after our close frame nothing that arrives has a meaning.
    async fn linger(&self) {
        // Not in the future, where every open session would have room for it.
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
