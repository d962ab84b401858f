//! A bound on running calls that many sessions share. Beyond it calls wait: in each session in their
//! order, and among sessions in turns, so that one with many calls does not hold up the others.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::id::PromiseId;
use crate::peer::deliver;
use crate::peer::shared::Shared;
use crate::peer::stage::Job;

/// How many calls run at the same time in all sessions whose [`Options`](crate::peer::Options) have a
/// clone of this. A call runs from its start until its method has returned or was aborted.
///
/// A call that a method makes back to its own peer and awaits takes no place here, but one that its
/// peer makes meanwhile does: as with any bound on concurrency, calls that wait for each other need
/// room for all of them.
#[derive(Clone)]
pub struct RunningCalls(Arc<Inner>);

struct Inner {
    limit: usize,
    running: AtomicUsize,
    /// Sessions with calls that wait, each once.
    queue: Mutex<VecDeque<Weak<Shared>>>,
    /// The queue is not empty: what begins now has to go behind it.
    is_queued: AtomicBool,
    was_reached: AtomicBool,
}

/// The place of one running call; free again when this is dropped.
pub(crate) struct Permit(Option<RunningCalls>);

/// What a session does with a place for a call.
pub(crate) enum Granted {
    /// No other of its calls waits.
    Last,
    /// More of its calls wait.
    More,
    /// None waits any more.
    Refused(Permit),
}

impl RunningCalls {
    /// Creates a bound; a `limit` of zero counts as one.
    pub fn new(limit: usize) -> Self {
        Self(Arc::new(Inner {
            limit: limit.max(1),
            running: AtomicUsize::new(0),
            queue: Mutex::default(),
            is_queued: AtomicBool::new(false),
            was_reached: AtomicBool::new(false),
        }))
    }

    /// How many calls may run.
    pub fn limit(&self) -> usize {
        self.0.limit
    }

    /// How many calls run.
    pub fn running(&self) -> usize {
        self.0.running.load(Ordering::SeqCst)
    }

    /// Takes a place, unless there is none or sessions wait for one.
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

    /// Queues a session that has calls that wait, and is not in the queue.
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
        self.hand_out();
    }

    /// Gives free places to the sessions that wait, one each in turns.
    fn hand_out(&self) {
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

    /// The session whose turn it is, with a place for one call. Nothing is dropped under the lock.
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
    /// Gives the place back without handing it out.
    fn forget(mut self) {
        if let Some(of) = self.0.take() {
            of.0.running.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Some(of) = self.0.take() else { return };
        of.0.running.fetch_sub(1, Ordering::SeqCst);
        if of.0.is_queued.load(Ordering::SeqCst) {
            of.hand_out();
        }
    }
}

impl fmt::Debug for RunningCalls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunningCalls").field("limit", &self.limit()).field("running", &self.running()).finish()
    }
}

impl Shared {
    /// A place for a call that begins now, unless it has to wait.
    pub(crate) fn permit(&self, bound: &RunningCalls) -> Option<Permit> {
        if self.holds_back.load(Ordering::SeqCst) { None } else { bound.try_acquire() }
    }

    /// Has a call wait for a place, behind those of the session that wait.
    pub(crate) fn hold_back(self: &Arc<Self>, bound: &RunningCalls, call: deliver::Call) {
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

    /// Nothing waits for a place, and what was given one is about to begin.
    pub(crate) fn hold_back_no_more(&self) {
        if self.holds_back.load(Ordering::SeqCst) {
            self.holds_back.store(false, Ordering::SeqCst);
        }
    }

    /// Takes back a call that waits for a place.
    pub(crate) fn take_held_back(&self, call: PromiseId) -> Option<deliver::Call> {
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

    /// Gives a place to the call that waits longest.
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
        self.go_on(state);
        granted
    }
}
