//! A bound on running calls that many sessions share. Beyond it, calls wait: in order within a session,
//! and round-robin among sessions, so that one with many calls does not delay the others.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::id::PromiseId;
use crate::peer::host::jobs::Job;
use crate::peer::host::shared::Shared;
use crate::peer::host::target::Call;

/// A bound on the calls that run concurrently in all sessions whose [`SessionOptions`](crate::peer::SessionOptions)
/// have a clone of it. A call runs from its start until its method has returned or was aborted.
///
/// A call that a method makes back to its peer takes no place here, but a call that the peer makes
/// meanwhile does. As with any bound on concurrency, calls that wait for each other need room for all of
/// them.
#[derive(Clone)]
pub struct RunningCalls(Arc<Inner>);

struct Inner {
    limit: usize,
    running: AtomicUsize,
    /// Sessions with waiting calls, each once.
    queue: Mutex<VecDeque<Weak<Shared>>>,
    /// Whether the queue is not empty, so that new calls have to wait behind it.
    is_queued: AtomicBool,
    was_reached: AtomicBool,
}

/// The place of one running call. Dropping it frees the place.
pub(crate) struct Permit(Option<RunningCalls>);

/// What a session did with a place.
pub(crate) enum Granted {
    /// It used it, and has no other waiting calls.
    Last,
    /// It used it, and has more waiting calls.
    More,
    /// It had no waiting call.
    Refused(Permit),
}

impl RunningCalls {
    /// Creates a bound. A `limit` of zero counts as one.
    pub fn new(limit: usize) -> Self {
        Self(Arc::new(Inner {
            limit: limit.max(1),
            running: AtomicUsize::new(0),
            queue: Mutex::default(),
            is_queued: AtomicBool::new(false),
            was_reached: AtomicBool::new(false),
        }))
    }

    /// Returns how many calls may run.
    pub fn limit(&self) -> usize {
        self.0.limit
    }

    /// Returns how many calls are running.
    pub fn running(&self) -> usize {
        self.0.running.load(Ordering::SeqCst)
    }

    /// Takes a place, unless all are taken or sessions are queued for one.
    pub(crate) fn try_acquire(&self) -> Option<Permit> {
        if self.0.is_queued.load(Ordering::SeqCst) {
            return None;
        }
        self.acquire()
    }

    fn acquire(&self) -> Option<Permit> {
        let more = |running: usize| (running < self.0.limit).then_some(running + 1);
        self.0.running.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).ok()?;
        Some(Permit(Some(self.clone())))
    }

    /// Queues a session that has waiting calls and is not in the queue.
    pub(crate) fn enqueue(&self, session: &Arc<Shared>) {
        let mut queue = self.lock();
        queue.push_back(Arc::downgrade(session));
        self.0.is_queued.store(true, Ordering::SeqCst);
        drop(queue);
        if !self.0.was_reached.swap(true, Ordering::SeqCst) {
            let limit = self.0.limit;
            tracing::warn!(limit, "limit: running calls of all sessions; further calls wait");
        }
        // A place may have become free before the session was in the queue.
        self.assign_places();
    }

    /// Gives free places to the queued sessions, one place each in turn.
    fn assign_places(&self) {
        while let Some((session, permit)) = self.next() {
            match session.grant(permit) {
                Granted::Last => {}
                Granted::More => {
                    let mut queue = self.lock();
                    queue.push_back(Arc::downgrade(&session));
                    self.0.is_queued.store(true, Ordering::SeqCst);
                }
                Granted::Refused(permit) => permit.forget(),
            }
        }
    }

    /// Returns the next session, with a place for one call. Nothing is dropped under the lock.
    fn next(&self) -> Option<(Arc<Shared>, Permit)> {
        let mut queue = self.lock();
        if queue.is_empty() {
            return None;
        }
        let permit = self.acquire()?;
        let mut session = None;
        while session.is_none()
            && let Some(next) = queue.pop_front()
        {
            session = next.upgrade();
        }
        self.0.is_queued.store(!queue.is_empty(), Ordering::SeqCst);
        drop(queue);
        match session {
            Some(session) => Some((session, permit)),
            None => {
                permit.forget();
                None
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Weak<Shared>>> {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit {
    /// Frees the place without giving it to a queued session.
    fn forget(mut self) {
        if let Some(of) = self.0.take() {
            of.0.running.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Some(of) = self.0.take() else { return };
        // Freed before the flag is read. `enqueue` does the reverse, so that one of the two sees both the
        // free place and the queued session.
        of.0.running.fetch_sub(1, Ordering::SeqCst);
        if of.0.is_queued.load(Ordering::SeqCst) {
            of.assign_places();
        }
    }
}

impl fmt::Debug for RunningCalls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunningCalls").field("limit", &self.limit()).field("running", &self.running()).finish()
    }
}

impl Shared {
    /// Takes a place for a call that begins now, unless it has to wait.
    pub(crate) fn permit(&self, bound: &RunningCalls) -> Option<Permit> {
        if self.holds_back.load(Ordering::SeqCst) { None } else { bound.try_acquire() }
    }

    /// Queues a call for a place, behind the waiting calls of the session.
    pub(crate) fn hold_back(self: &Arc<Self>, bound: &RunningCalls, call: Call) {
        if let Some(persistence) = &self.settings().persistence {
            persistence.keep_for_rerun(self, &call);
        }
        let mut state = self.lock();
        if state.closed.is_some() {
            drop(state);
            return drop(call);
        }
        state.held_back.get_or_insert_default().push_back(call);
        self.holds_back.store(true, Ordering::SeqCst);
        let was_queued = std::mem::replace(&mut state.is_queued, true);
        drop(state);
        if !was_queued {
            bound.enqueue(self);
        }
    }

    /// Clears the flag once no call waits for a place, and those that got one are about to begin.
    pub(crate) fn hold_back_no_more(&self) {
        if self.holds_back.load(Ordering::SeqCst) {
            self.holds_back.store(false, Ordering::SeqCst);
        }
    }

    /// Removes a call from those that wait for a place.
    pub(crate) fn take_held_back(&self, call: PromiseId) -> Option<Call> {
        if !self.holds_back.load(Ordering::SeqCst) {
            return None;
        }
        let mut state = self.lock();
        let held_back = state.held_back.as_mut()?;
        let at = held_back.iter().position(|held_back| held_back.call == call)?;
        let taken = held_back.remove(at);
        state.held_back.take_if(|held_back| held_back.is_empty());
        taken
    }

    /// Gives a place to the call that has waited longest.
    pub(crate) fn grant(self: &Arc<Self>, permit: Permit) -> Granted {
        let mut state = self.lock();
        state.is_queued = false;
        let Some(mut call) = state.held_back.as_mut().and_then(|held_back| held_back.pop_front()) else {
            return Granted::Refused(permit);
        };
        state.held_back.take_if(|held_back| held_back.is_empty());
        call.permit = Some(permit);
        state.deferred.push(Job::Deliver(call));
        state.is_queued = state.held_back.is_some();
        let granted = if state.is_queued { Granted::More } else { Granted::Last };
        self.after_link_input(state);
        granted
    }
}
