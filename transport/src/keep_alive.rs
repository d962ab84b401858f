//! When to ask a silent peer whether it is still there, and when to stop believing it.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Sleep, sleep_until};

use crate::deadline::deadline;

/// How silence on a WebSocket is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepAlive {
    /// A peer that sent nothing for so long is sent a ping. Default 25 s: under the 30 s after
    /// which the more impatient proxies cut an idle connection.
    pub ping_after: Duration,
    /// A peer that answers a ping with neither a frame nor a trickle of at least 4 KiB within so
    /// long is taken for dead. Default 20 s.
    pub pong_within: Duration,
}

impl Default for KeepAlive {
    fn default() -> Self {
        Self { ping_after: Duration::from_secs(25), pong_within: Duration::from_secs(20) }
    }
}

/// A frame may be longer than a slow link carries in `pong_within`, and a pong cannot overtake
/// it; bytes at this pace count as life. One byte a second does not.
const TRICKLE_BYTES: u64 = 4 << 10;

/// What the silence of a peer asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Silence {
    /// Send a ping.
    Ping,
    /// Nobody is there any more.
    Dead,
}

/// Watches for silence. It reads the clock only when there is nothing to receive.
#[derive(Debug)]
pub(crate) struct Watch {
    rules: KeepAlive,
    timer: Pin<Box<Sleep>>,
    heard: bool,
    /// Bytes received by the time of the ping that is not answered yet.
    asked_at_bytes: Option<u64>,
}

impl Watch {
    pub(crate) fn new(rules: KeepAlive) -> Self {
        let timer = Box::pin(sleep_until(deadline(rules.ping_after)));
        Self { rules, timer, heard: false, asked_at_bytes: None }
    }

    /// A frame arrived.
    pub(crate) fn heard(&mut self) {
        self.heard = true;
    }

    /// Call when there is nothing to receive; `bytes_in` is the count of bytes ever received.
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
