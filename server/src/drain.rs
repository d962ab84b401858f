//! Open sessions, and how they end when the server is to stop.
//!
//! Invariant: everything that holds a [`Ticket`] watches the drain itself and is gone by its
//! deadline, so that waiting for the last ticket needs no list of sessions.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bowline_transport::deadline;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// Close code and reason of a WebSocket whose server stops.
pub(crate) const GOING_AWAY: (u16, &str) = (1001, "server is draining");

/// The part of a drain's time that is kept for saying good-bye, and its most.
const GOODBYE_SHARE: u32 = 4;
const GOODBYE_MAX: Duration = Duration::from_secs(1);

/// The part of a drain's time in which clients hold back new calls although others still run, and
/// its most.
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
    /// Calls that were still running when their session was ended by the drain.
    calls_cut: AtomicUsize,
    drain: watch::Sender<Option<Deadlines>>,
}

/// What a drain came to; see [`Service::drain`](crate::Service::drain).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DrainReport {
    /// Calls that were still running at the deadline, in all sessions and batches, whether their
    /// results were awaited or not. They were cut off; their callers see an error.
    pub calls_cut: usize,
}

/// The times of a drain.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadlines {
    /// Clients whose sessions another process takes over are asked by then to hold back new calls.
    pub(crate) hold: Instant,
    /// Calls that run may go on until then.
    pub(crate) calls: Instant,
    /// Everything is over then.
    pub(crate) all: Instant,
}

/// One open session or running batch.
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
    /// Counts a session, unless there are `max` or the server stops.
    pub(crate) fn admit(&self, max: usize) -> Result<Ticket, &'static str> {
        self.shared
            .open
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |open| (open < max).then_some(open + 1))
            .map_err(|_full| "too many sessions")?;
        let ticket = Ticket { sessions: self.clone() };
        // Counted first, so that a drain that begins meanwhile either is seen or sees the ticket.
        if self.is_draining() { Err(GOING_AWAY.1) } else { Ok(ticket) }
    }

    /// Counts a session that the drain itself has to end.
    pub(crate) fn hold(&self) -> Ticket {
        self.shared.open.fetch_add(1, Ordering::SeqCst);
        Ticket { sessions: self.clone() }
    }

    /// What the drain has come to so far.
    pub(crate) fn report(&self) -> DrainReport {
        DrainReport { calls_cut: self.shared.calls_cut.load(Ordering::SeqCst) }
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.shared.drain.borrow().is_some()
    }

    /// Starts to stop. The earliest deadline stands when this is called more than once.
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

    /// Waits until the service is to stop, and until when. Cancel-safe.
    pub(crate) async fn draining(&self) -> Deadlines {
        let mut drain = self.shared.drain.subscribe();
        let deadlines = drain.wait_for(Option::is_some).await.ok().and_then(|drain| *drain);
        match deadlines {
            Some(deadlines) => deadlines,
            // The sender lives in `self`, so it cannot be gone.
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
    /// As [`Sessions::draining`].
    pub(crate) async fn draining(&self) -> Deadlines {
        self.sessions.draining().await
    }

    /// The deadlines of the drain, if there is one.
    pub(crate) fn drain(&self) -> Option<Deadlines> {
        *self.sessions.shared.drain.borrow()
    }

    /// Counts and logs calls that the drain cuts off.
    pub(crate) fn cut(&self, calls: usize) {
        if calls > 0 {
            self.sessions.shared.calls_cut.fetch_add(calls, Ordering::SeqCst);
            tracing::warn!(calls, "calls were cut off by the end of the drain");
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.sessions.shared.open.fetch_sub(1, Ordering::SeqCst);
        self.sessions.shared.closed_one.notify_waiters();
    }
}
