//! Open sessions, and how they end when the server is to stop.
//!
//! Invariant: everything that holds a [`Ticket`] watches the drain itself and is gone by its
//! deadline, so that waiting for the last ticket needs no list of sessions.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// Close code and reason of a WebSocket whose server stops.
pub(crate) const GOING_AWAY: (u16, &str) = (1001, "server is draining");

/// The part of a drain's time that is kept for saying good-bye, and its most.
const GOODBYE_SHARE: u32 = 4;
const GOODBYE_MAX: Duration = Duration::from_secs(1);

/// All sessions and running batches of a service.
#[derive(Clone, Debug)]
pub(crate) struct Sessions {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    open: AtomicUsize,
    closed_one: Notify,
    drain: watch::Sender<Option<Deadlines>>,
}

/// The times of a drain.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadlines {
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
        let shared = Shared { open: AtomicUsize::new(0), closed_one: Notify::new(), drain: watch::Sender::new(None) };
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

    pub(crate) fn is_draining(&self) -> bool {
        self.shared.drain.borrow().is_some()
    }

    /// Starts to stop. The earliest deadline stands when this is called more than once.
    pub(crate) fn start_drain(&self, within: Duration) -> Deadlines {
        let all = Instant::now() + within;
        let calls = all - (within / GOODBYE_SHARE).min(GOODBYE_MAX);
        let mut standing = Deadlines { calls, all };
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
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.sessions.shared.open.fetch_sub(1, Ordering::SeqCst);
        self.sessions.shared.closed_one.notify_waiters();
    }
}
