//! Counts open sessions and ends them when the server drains.
//!
//! Invariant: every holder of a [`Ticket`] watches the drain itself and drops the ticket by the
//! deadline. So a drain waits for the last ticket and needs no list of sessions.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bowline_transport::deadline;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// The code and reason with which a draining server closes WebSockets.
pub(crate) const GOING_AWAY: (u16, &str) = (1001, "server is draining");

/// The part of a drain's time that is reserved for closing connections, and its maximum.
const GOODBYE_SHARE: u32 = 4;
const GOODBYE_MAX: Duration = Duration::from_secs(1);

/// The part of a drain's time in which clients hold back new calls even if older ones are still
/// running, and its maximum.
const HOLD_SHARE: u32 = 8;
const HOLD_MAX: Duration = Duration::from_millis(500);

/// All sessions and running batches of a service.
#[derive(Clone, Debug)]
pub(crate) struct Sessions {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    open: AtomicUsize,
    closed_one: Notify,
    /// The number of calls that were running when the drain ended their session.
    calls_cut: AtomicUsize,
    drain: watch::Sender<Option<Deadlines>>,
}

/// The outcome of a drain; see [`Service::drain`](crate::Service::drain).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DrainReport {
    /// The number of calls that were still running at the deadline, in all sessions and batches,
    /// including calls whose results were not requested. They were aborted, and their callers got
    /// an error.
    pub calls_cut: usize,
}

/// The deadlines of a drain.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadlines {
    /// When clients of sessions that another process takes over are asked to hold back new calls,
    /// at the latest.
    pub(crate) hold: Instant,
    /// Until when running calls may complete.
    pub(crate) calls: Instant,
    /// When the drain ends.
    pub(crate) all: Instant,
}

/// One open session or running batch. It is counted until it is dropped.
#[derive(Debug)]
pub(crate) struct Ticket {
    sessions: Sessions,
}

impl Default for Sessions {
    fn default() -> Self {
        let shared = Shared {
            open: AtomicUsize::new(0),
            closed_one: Notify::new(),
            calls_cut: AtomicUsize::new(0),
            drain: watch::Sender::new(None),
        };
        Self { shared: Arc::new(shared) }
    }
}

impl Sessions {
    /// Counts a session, unless there are `max` already or the server is draining.
    pub(crate) fn admit(&self, max: usize) -> Result<Ticket, &'static str> {
        self.shared
            .open
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |open| (open < max).then_some(open + 1))
            .map_err(|_full| "too many sessions")?;
        let ticket = Ticket { sessions: self.clone() };
        // Counted before the check: a drain that begins at the same time is either seen here, or
        // sees the ticket.
        if self.is_draining() { Err(GOING_AWAY.1) } else { Ok(ticket) }
    }

    /// Counts a session without a connection, which the drain itself ends.
    pub(crate) fn hold(&self) -> Ticket {
        self.shared.open.fetch_add(1, Ordering::SeqCst);
        Ticket { sessions: self.clone() }
    }

    /// Returns the report so far.
    pub(crate) fn report(&self) -> DrainReport {
        DrainReport { calls_cut: self.shared.calls_cut.load(Ordering::SeqCst) }
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.shared.drain.borrow().is_some()
    }

    /// Begins a drain. If there is one already, the earlier deadlines apply. Returns the deadlines.
    pub(crate) fn start_drain(&self, within: Duration) -> Deadlines {
        let all = deadline(within);
        let calls = all - (within / GOODBYE_SHARE).min(GOODBYE_MAX);
        let hold = calls - (within / HOLD_SHARE).min(HOLD_MAX);
        let mut standing = Deadlines { hold, calls, all };
        self.shared.drain.send_modify(|drain| {
            standing = drain.filter(|earlier| earlier.all <= all).unwrap_or(standing);
            *drain = Some(standing);
        });
        standing
    }

    /// Waits until a drain begins, and returns its deadlines. Cancel-safe.
    pub(crate) async fn draining(&self) -> Deadlines {
        let mut drain = self.shared.drain.subscribe();
        let deadlines = drain.wait_for(Option::is_some).await.ok().and_then(|drain| *drain);
        match deadlines {
            Some(deadlines) => deadlines,
            // Unreachable: `self` holds the sender.
            None => std::future::pending().await,
        }
    }

    /// Waits until no session is open. Cancel-safe.
    pub(crate) async fn emptied(&self) {
        loop {
            let closed_one = self.shared.closed_one.notified();
            if self.shared.open.load(Ordering::SeqCst) == 0 {
                return;
            }
            closed_one.await;
        }
    }
}

impl Ticket {
    /// Waits until a drain begins, and returns its deadlines.
    pub(crate) async fn draining(&self) -> Deadlines {
        self.sessions.draining().await
    }

    /// Returns the deadlines of the drain, if one has begun.
    pub(crate) fn drain(&self) -> Option<Deadlines> {
        *self.sessions.shared.drain.borrow()
    }

    /// Counts and logs calls that the drain aborts.
    pub(crate) fn cut(&self, calls: usize) {
        if calls > 0 {
            self.sessions.shared.calls_cut.fetch_add(calls, Ordering::SeqCst);
            tracing::warn!(calls, "drain deadline reached, aborting running calls");
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.sessions.shared.open.fetch_sub(1, Ordering::SeqCst);
        self.sessions.shared.closed_one.notify_waiters();
    }
}
