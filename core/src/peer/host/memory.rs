//! A bound on the bytes that all sessions of a process hold together.
//!
//! A session reports its share when the share has changed by [`STEP_BYTES`] since the last report: one
//! relaxed addition to a shared counter, and for most calls none. The list of sessions is locked when a
//! session first reports and when it is dropped, never on the path of a call. Sessions below the step are
//! neither counted nor listed, so the total may be short by [`STEP_BYTES`] for each session.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::Notify;

use crate::peer::host::shared::{Shared, State};

/// The change of a session's share that causes a report.
pub(crate) const STEP_BYTES: usize = 4 << 10;

/// A bound on the bytes that several sessions hold for their peers together. Clones share the bound.
///
/// It counts messages, values, and arguments as
/// [`Limits::held_bytes`](crate::limits::Limits::held_bytes) does, and messages that wait to be sent or
/// acknowledged. The budget only counts: its owner waits for [`exceeded`](Self::exceeded) and closes
/// sessions.
#[derive(Clone)]
pub struct MemoryBudget(Arc<Inner>);

struct Inner {
    bytes_max: usize,
    held: AtomicUsize,
    /// Every session that has reported, by its address.
    sessions: Mutex<HashMap<usize, Weak<Shared>>>,
    over: Notify,
}

/// What a session has reported to its budget.
#[derive(Debug, Default)]
pub(crate) struct Reported {
    bytes: usize,
    is_listed: bool,
}

impl MemoryBudget {
    /// Creates a budget of `bytes_max` bytes.
    pub fn new(bytes_max: usize) -> Self {
        Self(Arc::new(Inner { bytes_max, held: AtomicUsize::new(0), sessions: Mutex::default(), over: Notify::new() }))
    }

    /// Returns the bound.
    pub fn bytes_max(&self) -> usize {
        self.0.bytes_max
    }

    /// Returns the number of bytes that the sessions hold together.
    pub fn held_bytes(&self) -> usize {
        self.0.held.load(Ordering::Relaxed)
    }

    /// Waits until the sessions hold more than the bound. One task at a time may wait. Cancel-safe.
    pub async fn exceeded(&self) {
        while self.held_bytes() <= self.0.bytes_max {
            self.0.over.notified().await;
        }
    }

    /// Returns the sessions that have reported a share.
    pub(crate) fn sessions(&self) -> Vec<Arc<Shared>> {
        // Upgraded and dropped without the lock: dropping the last reference to a session takes the lock.
        let sessions: Vec<Weak<Shared>> = self.0.lock().values().cloned().collect();
        sessions.iter().filter_map(Weak::upgrade).collect()
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, HashMap<usize, Weak<Shared>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the share of a session.
    fn report(&self, before: usize, after: usize) {
        // The change wraps around when a share shrinks. The sum of all shares never does.
        let change = after.wrapping_sub(before);
        let held = self.held.fetch_add(change, Ordering::Relaxed).wrapping_add(change);
        if after > before && held > self.bytes_max {
            self.over.notify_one();
        }
    }
}

impl Shared {
    /// Reports what the session holds, if it has changed enough.
    pub(crate) fn report_memory(self: &Arc<Self>, state: &mut State) {
        if let Some(budget) = &self.settings().memory {
            let bytes = state.endpoint.held_bytes();
            if bytes.abs_diff(state.reported.bytes) >= STEP_BYTES {
                self.report(budget, &mut state.reported, bytes);
            }
        }
    }

    /// Replaces a count of bytes that are held for the peer outside of the session, such as the kept chunks
    /// of a blob.
    pub(crate) fn count_outside(self: &Arc<Self>, before: usize, after: usize) {
        let mut state = self.lock();
        state.endpoint.session.set_held_outside(before, after);
        self.report_memory(&mut state);
    }

    #[cold]
    fn report(self: &Arc<Self>, MemoryBudget(budget): &MemoryBudget, reported: &mut Reported, bytes: usize) {
        if !reported.is_listed {
            reported.is_listed = true;
            budget.lock().insert(Arc::as_ptr(self).addr(), Arc::downgrade(self));
        }
        budget.report(reported.bytes, bytes);
        reported.bytes = bytes;
    }

    /// Removes the session's share from the budget, when the session is dropped.
    pub(crate) fn withdraw_memory(&self, reported: &Reported) {
        if let (Some(MemoryBudget(budget)), true) = (&self.settings().memory, reported.is_listed) {
            budget.report(reported.bytes, 0);
            budget.lock().remove(&std::ptr::from_ref(self).addr());
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.drop_targets();
        let reported = std::mem::take(&mut self.lock().reported);
        self.withdraw_memory(&reported);
    }
}

impl fmt::Debug for MemoryBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBudget")
            .field("bytes_max", &self.bytes_max())
            .field("held_bytes", &self.held_bytes())
            .finish_non_exhaustive()
    }
}
