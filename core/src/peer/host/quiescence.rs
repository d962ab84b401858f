//! Waits for the state of a session: that its answers are written, its calls have ended, or it is not
//! used any more. Also `list` requests, whose answers are not messages and have no number.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::oneshot;

use crate::error::ErrorCode;
use crate::id::PromiseId;
use crate::link::{List, Objects};
use crate::peer::host::jobs::Job;
use crate::peer::host::shared::{Shared, State};
use crate::peer::host::target::Entry;
use crate::peer::host::wait::{self, Ending};
use crate::peer::interface::error::SessionError;
use crate::session::{CloseReason, ClosedBy, Ref};

/// The waits on a session. A wait ends when its sender is dropped.
#[derive(Default)]
pub(crate) struct Rest {
    /// Waits until no answer is owed.
    answered: Vec<oneshot::Sender<()>>,
    /// Waits until no call is running.
    quiet: Vec<oneshot::Sender<()>>,
    /// Waits until every call that was taken from the session has begun.
    begun: Vec<oneshot::Sender<()>>,
    /// Waits until no call up to this one is running.
    earlier: Vec<(PromiseId, oneshot::Sender<()>)>,
    /// Waits until the application holds no reference of the session.
    unused: Vec<oneshot::Sender<()>>,
    /// `list` requests, by their request id.
    lists: HashMap<u64, oneshot::Sender<Objects>>,
}

impl Rest {
    fn is_empty(&self) -> bool {
        self.unused.is_empty() && self.awaits_only_disuse()
    }

    /// Returns `true` if all waits are for the application to hold nothing.
    fn awaits_only_disuse(&self) -> bool {
        let Self { answered, quiet, begun, earlier, unused: _, lists } = self;
        answered.is_empty() && quiet.is_empty() && begun.is_empty() && earlier.is_empty() && lists.is_empty()
    }

    /// Removes the waits whose receiver was dropped. Dropping the senders may run code of an executor, so
    /// the caller does it without the lock.
    fn take_abandoned(&mut self) -> Vec<oneshot::Sender<()>> {
        let Self { answered, quiet, begun, earlier, unused, lists: _ } = self;
        let mut abandoned = Vec::new();
        for waiters in [answered, quiet, begun, unused] {
            abandoned.extend(waiters.extract_if(.., |waiter| waiter.is_closed()));
        }
        abandoned.extend(earlier.extract_if(.., |(_, waiter)| waiter.is_closed()).map(|(_, waiter)| waiter));
        abandoned
    }
}

/// A wait on a session. Dropping it removes its sender.
struct Waiting<'a> {
    shared: &'a Shared,
    receiver: oneshot::Receiver<()>,
}

impl Waiting<'_> {
    async fn end(mut self) {
        // The sender is only ever dropped.
        let _ = (&mut self.receiver).await;
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.receiver.is_terminated() {
            return;
        }
        self.receiver.close();
        let abandoned = self.shared.lock().rest.as_mut().map(|rest| rest.take_abandoned());
        drop(abandoned);
    }
}

/// Waits that are over. They are dropped without the lock, because that wakes the waiting tasks.
pub(crate) struct EndedWaits {
    at_rest: Vec<oneshot::Sender<()>>,
    answers: Vec<(oneshot::Sender<Objects>, Objects)>,
    lost: HashMap<u64, oneshot::Sender<Objects>>,
}

impl EndedWaits {
    pub(crate) fn notify(self) {
        drop((self.at_rest, self.lost));
        for (waiter, objects) in self.answers {
            // The receiver may have been dropped.
            drop(waiter.send(objects));
        }
    }
}

impl Shared {
    /// Waits until a reference into the session fails, or the session ends. Cancel-safe.
    pub(crate) async fn until_broken(self: &Arc<Self>, of: Ref) -> Ending {
        // A reference fails when the peer returns without its target, which emits an event.
        let mut events = self.events();
        loop {
            let is_broken = {
                let state = self.lock();
                state.closed.is_some() || state.endpoint.session.has_failed(of)
            };
            if is_broken || matches!(events.recv().await, Err(RecvError::Closed)) {
                return self.pull(of, &[]).await;
            }
        }
    }

    /// Waits until the session has ended, and returns the reason. Cancel-safe.
    pub(crate) async fn until_closed(&self) -> CloseReason {
        let mut over = pin!(self.is_over.notified());
        // Enabled before the check, so that the end of the session cannot be missed.
        over.as_mut().enable();
        if self.ended.get().is_none() {
            over.await;
        }
        self.ended.get().cloned().unwrap_or_else(wait::dropped)
    }

    /// Waits until no answer is owed. Cancel-safe.
    pub(crate) async fn until_answered(&self) {
        self.until(|state| self.all_answered(state), |rest| &mut rest.answered).await;
    }

    /// Waits until no call from the peer is running. Cancel-safe.
    pub(crate) async fn until_quiet(&self) {
        self.until(is_quiet, |rest| &mut rest.quiet).await;
    }

    /// Waits until every call that was taken from the session has begun. Cancel-safe.
    pub(crate) async fn until_begun(&self) {
        self.until(State::has_begun_all, |rest| &mut rest.begun).await;
    }

    /// Waits until the calls from the peer that are running now have ended. Calls that begin meanwhile are
    /// not waited for. Cancel-safe.
    pub(crate) async fn until_earlier_done(&self) {
        let waiting = {
            let mut state = self.lock();
            let Some(newest) = state.running.iter().map(|(id, _)| id).max() else { return };
            let (sender, receiver) = oneshot::channel();
            state.rest.get_or_insert_default().earlier.push((newest, sender));
            Waiting { shared: self, receiver }
        };
        waiting.end().await;
    }

    /// Waits until the application holds no reference to the peer, waits for no result, and reads no stream
    /// from the peer, or the session has ended. Cancel-safe.
    pub(crate) async fn until_unused(&self) {
        self.until(|state| self.is_unused(state), |rest| &mut rest.unused).await;
    }

    fn is_unused(&self, state: &State) -> bool {
        let reads = |entry: &Entry| match entry {
            Entry::Object(object) => object.is_read(),
            Entry::Dormant(_) => false,
        };
        let is_held = || {
            self.has_roots()
                || !state.endpoint.session.is_unused()
                || state.targets.iter().any(|(_, entry)| reads(entry))
        };
        state.closed.is_some() || !is_held()
    }

    async fn until(
        &self,
        is_so: impl FnOnce(&State) -> bool,
        waiters: impl FnOnce(&mut Rest) -> &mut Vec<oneshot::Sender<()>>,
    ) {
        let waiting = {
            let mut state = self.lock();
            if is_so(&state) {
                return;
            }
            let (sender, receiver) = oneshot::channel();
            waiters(state.rest.get_or_insert_default()).push(sender);
            Waiting { shared: self, receiver }
        };
        waiting.end().await;
    }

    /// Returns `true` if no answer is owed. Outgoing streams count for a batch, where nothing can be sent
    /// after the answers.
    fn all_answered(&self, state: &State) -> bool {
        let session = &state.endpoint.session;
        session.answers_owed() == 0 && !session.has_work() && (self.acknowledges() || state.pumps == 0)
    }

    /// Returns `true` if a wait may be over. Called after every call, so it must take constant time: a
    /// client that has dropped its `Session` always has a wait for disuse.
    #[inline]
    pub(crate) fn may_have_ended_waits(&self, state: &State) -> bool {
        let Some(rest) = &state.rest else { return false };
        let awaits_disuse = !rest.unused.is_empty() && (state.closed.is_some() || !self.has_roots());
        awaits_disuse || !rest.awaits_only_disuse()
    }

    /// Removes and returns the waits that are over.
    #[inline]
    pub(crate) fn ended_waits(&self, state: &mut State) -> Option<EndedWaits> {
        if self.may_have_ended_waits(state) { self.take_ended(state) } else { None }
    }

    fn take_ended(&self, state: &mut State) -> Option<EndedWaits> {
        let mut rest = state.rest.take()?;
        let mut at_rest = Vec::new();
        if self.all_answered(state) {
            at_rest.append(&mut rest.answered);
        }
        if is_quiet(state) {
            at_rest.append(&mut rest.quiet);
        }
        if !rest.begun.is_empty() && state.has_begun_all() {
            at_rest.append(&mut rest.begun);
        }
        if !rest.unused.is_empty() && self.is_unused(state) {
            at_rest.append(&mut rest.unused);
        }
        if !rest.earlier.is_empty() {
            let oldest = state.running.iter().map(|(id, _)| id).min();
            let is_done = |newest: PromiseId| state.closed.is_some() || oldest.is_none_or(|oldest| oldest > newest);
            let done = rest.earlier.extract_if(.., |(newest, _)| is_done(*newest));
            at_rest.extend(done.map(|(_, sender)| sender));
        }
        let mut answers = Vec::new();
        while let Some(objects) = state.endpoint.poll_objects() {
            answers.extend(rest.lists.remove(&objects.request_id).map(|waiter| (waiter, objects)));
        }
        let lost = if state.closed.is_some() { std::mem::take(&mut rest.lists) } else { HashMap::new() };
        state.rest = (!rest.is_empty()).then_some(rest);
        Some(EndedWaits { at_rest, answers, lost })
    }

    /// Sends a `list` request to the server. Cancel-safe.
    ///
    /// # Errors
    /// The session has ended, or the server does not support the request.
    pub(crate) async fn list(&self, list: List) -> Result<Objects, SessionError> {
        let (asking, receiver) = {
            let mut state = self.lock();
            if let Some(closed) = state.closed.as_deref() {
                return Err(SessionError::Closed(closed.clone()));
            }
            let request_id = state.endpoint.list(list).ok_or_else(list_is_unsupported)?;
            let (sender, receiver) = oneshot::channel();
            state.rest.get_or_insert_default().lists.insert(request_id, sender);
            (Asking { shared: self, request_id }, receiver)
        };
        self.wake.notify_one();
        let answer = receiver.await;
        drop(asking);
        match answer {
            Ok(objects) => Ok(objects),
            Err(_session_over) => Err(SessionError::Closed(self.until_closed().await)),
        }
    }
}

impl State {
    /// Returns `true` if every call that was taken from the session has begun, except those that wait for an
    /// object to be restored.
    pub(crate) fn has_begun_all(&self) -> bool {
        self.closed.is_some() || !(self.pumping.is_some() || self.deferred.iter().any(Job::is_delivery))
    }
}

fn is_quiet(state: &State) -> bool {
    let session = &state.endpoint.session;
    state.closed.is_some() || (session.calls_running() == 0 && !session.has_work())
}

fn list_is_unsupported() -> SessionError {
    let message = "the server does not support `list` requests";
    SessionError::Closed(CloseReason::with_code(ClosedBy::Local, ErrorCode::MethodNotFound, message))
}

/// A pending `list` request. Dropping it removes the wait for the answer.
struct Asking<'a> {
    shared: &'a Shared,
    request_id: u64,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        let waiter = state.rest.as_mut().and_then(|rest| rest.lists.remove(&self.request_id));
        state.endpoint.forget_list(self.request_id);
        drop(state);
        drop(waiter);
    }
}
