//! Keep-alive: when to ping a silent peer, and when to give it up.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Sleep, sleep_until};

use crate::deadline::deadline;

/// How silence on a WebSocket is handled.
///
/// ```
/// # mod bowline { pub mod link { pub use bowline_transport::KeepAlive; } }
/// use std::time::Duration;
///
/// use bowline::link::KeepAlive;
///
/// let keep_alive = KeepAlive::default().ping_after(Duration::from_secs(10));
/// assert_eq!(keep_alive.pong_within, Duration::from_secs(20));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeepAlive {
    /// The silence after which a ping is sent. Default 25 s, because some proxies close an idle
    /// connection after 30 s.
    pub ping_after: Duration,
    /// The silence after a ping that ends the connection. A frame ends the silence, and so do at
    /// least 4 KiB of a frame that is still arriving. Default 20 s.
    pub pong_within: Duration,
}

impl Default for KeepAlive {
    fn default() -> Self {
        Self { ping_after: Duration::from_secs(25), pong_within: Duration::from_secs(20) }
    }
}

bowline_core::setters! {
    KeepAlive {
        ping_after: Duration,
        pong_within: Duration,
    }
}

/// The bytes of a long frame within `pong_within` that prove that the peer is alive. On a slow
/// connection, a frame may take longer than `pong_within`, and a pong cannot overtake it. One byte
/// a second is not enough.
const TRICKLE_BYTES: u64 = 4 << 10;

/// What follows from the silence of a peer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Silence {
    /// Send a ping.
    Ping,
    /// The peer is gone.
    Dead,
}

/// Watches for silence. It reads the clock only when there is nothing to receive.
#[derive(Debug)]
pub(crate) struct Watch {
    rules: KeepAlive,
    timer: Pin<Box<Sleep>>,
    heard: bool,
    /// The number of bytes received when the unanswered ping was sent.
    asked_at_bytes: Option<u64>,
}

impl Watch {
    pub(crate) fn new(rules: KeepAlive) -> Self {
        let timer = Box::pin(sleep_until(deadline(rules.ping_after)));
        Self { rules, timer, heard: false, asked_at_bytes: None }
    }

    /// Records that a frame has arrived.
    pub(crate) fn heard(&mut self) {
        self.heard = true;
    }

    /// Checks for silence. Call this when there is nothing to receive. `bytes_in` is the number of
    /// bytes received since the connection was opened.
    pub(crate) fn poll(&mut self, bytes_in: u64, cx: &mut Context<'_>) -> Poll<Silence> {
        if std::mem::take(&mut self.heard) {
            self.asked_at_bytes = None;
            self.timer.as_mut().reset(deadline(self.rules.ping_after));
        }
        loop {
            if self.timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            let before = self.asked_at_bytes.replace(bytes_in);
            self.timer.as_mut().reset(deadline(self.rules.pong_within));
            match before {
                None => return Poll::Ready(Silence::Ping),
                Some(before) if bytes_in - before < TRICKLE_BYTES => return Poll::Ready(Silence::Dead),
                Some(_) => {}
            }
        }
    }
}
