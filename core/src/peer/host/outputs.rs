//! Carries out the outputs of a session, in order and on one thread at a time. Also chooses the
//! runtime: methods of a session with a transport run on the runtime of its driver.

use std::sync::{Arc, MutexGuard};
use std::task::Waker;

use crate::id::PromiseId;
use crate::link::Attachment;
use crate::peer::host::jobs::{Job, Leftovers};
use crate::peer::host::nesting;
use crate::peer::host::shared::{Shared, State};
use crate::peer::host::target::{Call, Entry};
use crate::peer::host::wait::{Ending, Waiter};
use crate::peer::interface::error::{internal_error, object_is_gone, runtime_is_gone};
use crate::peer::interface::lost::outcome_unknown;
use crate::peer::interface::object::error_payload;
use crate::peer::runtime::{self, Host, Task};
use crate::peer::unwind::{caught, drop_quietly};
use crate::session::{CloseReason, Outgoing};
use crate::value::Payload;

/// The kind of thread that carries out the outputs of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The task that drives this transport.
    Driver(Attachment),
    /// A task of the session's runtime in place of the driver.
    Host,
    /// Any thread that uses a reference. It leaves the deliveries of a session with a transport to the
    /// host.
    Elsewhere,
}

impl Shared {
    /// Returns `true` if the stored state of a durable session is out of date.
    pub(crate) fn is_change_due(&self, state: &State) -> bool {
        self.settings().persistence.is_some() && state.endpoint.is_checkpoint_due()
    }

    /// Notifies the task that stores the session. Called without the lock, because it wakes that task. Not
    /// called for every turn of the driver: a checkpoint that has to wait would be retried each time.
    pub(crate) fn notify_changed(&self, is_due: bool) {
        if is_due {
            self.changed.notify_one();
        }
    }

    /// Marks the session as changed and carries out all of its outputs, in order. If another thread is
    /// doing so already, that thread continues with them. Wakes the driver if there is something to send.
    pub(crate) fn after_input<'a>(self: &'a Arc<Self>, mut state: MutexGuard<'a, State>) {
        state.endpoint.mark_changed();
        self.after_link_input(state);
    }

    /// Carries out all outputs of the session, in order, without marking it as changed: the input may have
    /// concerned only the link. Wakes the driver if there is something to send.
    pub(crate) fn after_link_input<'a>(self: &'a Arc<Self>, state: MutexGuard<'a, State>) {
        let is_due = self.is_change_due(&state);
        if self.drain_outputs(state, Place::Elsewhere) {
            self.wake.notify_one();
        }
        self.notify_changed(is_due);
    }

    /// Carries out all outputs of the session, in order. Returns `true` if the driver has to be woken.
    ///
    /// Methods of a session with a transport run only on its host, so any other thread stops before the
    /// first delivery and leaves the rest to the host.
    pub(crate) fn drain_outputs<'a>(self: &'a Arc<Self>, mut state: MutexGuard<'a, State>, place: Place) -> bool {
        match state.pumping {
            None => {}
            // The current driver, which sends after carrying out the outputs. A notification would only
            // cause another poll of it.
            Some(Place::Driver(at)) if state.driver == Some(at) => return false,
            Some(_) => return state.has_to_send(),
        }
        let delivers = self.is_private() || place != Place::Elsewhere;
        // Calls between local objects nest inside of these frames.
        let level = if self.is_private() { nesting::enter(self) } else { None };
        if self.is_private() && level.is_none() {
            return false;
        }
        loop {
            state.bound_outbound();
            // The common case after a call of this side, which only queues a message.
            if !state.has_jobs() {
                break;
            }
            let mut jobs = state.stage(self);
            if !delivers && let Some(first) = jobs.iter().position(Job::is_delivery) {
                state.deferred.extend(jobs.drain(first..));
            }
            if jobs.is_empty() {
                state.spare = jobs;
                break;
            }
            state.pumping = Some(place);
            drop(state);
            for job in jobs.drain(..) {
                self.run(job);
            }
            state = self.lock();
            state.spare = jobs;
        }
        state.pumping = None;
        self.report_memory(&mut state);
        let has_left_deliveries = !state.deferred.is_empty();
        let is_wanted = state.has_to_send() || state.endpoint.session.has_work() || has_left_deliveries;
        let without_driver = (has_left_deliveries && state.driver.is_none()).then(|| state.host.clone());
        let ended_waits = self.ended_waits(&mut state);
        let is_news = self.queue_events(&mut state);
        let asks = state.endpoint.asks();
        drop(state);
        if is_news {
            self.feed.flush();
        }
        if asks {
            self.asked.notify_one();
        }
        if let Some(ended) = ended_waits {
            ended.notify();
        }
        match without_driver {
            Some(Some(host)) => drop(host.spawn(LeftDeliveries { shared: Arc::clone(self), has_run: false }.run())),
            // The session never had a runtime.
            Some(None) => return self.drain_outputs(self.lock(), Place::Host) || is_wanted,
            None => {}
        }
        is_wanted
    }

    /// Runs one job. No panic may escape, or `pumping` would stay set and the session would hang.
    fn run(self: &Arc<Self>, job: Job) {
        let call = match &job {
            Job::Deliver(call) => Some(call.call),
            _ => None,
        };
        let ran = caught(|| match job {
            Job::Deliver(call) => self.begin(call),
            Job::Wake(waker) => waker.wake(),
            Job::End(end, ending) => end(ending),
            Job::Run(run) => run(),
            Job::Discard(ending) => drop(ending),
            Job::Abandon(call) => drop(call),
            Job::Drop(entry) => self.drop_entry(entry),
            Job::Cancel(call) => self.cancel(call),
            Job::Restore(at) => {
                let restore = self.lock().dormant.restore;
                restore.iter().for_each(|restore| restore(self, at));
            }
            Job::Close(closed, leftovers) => self.end(closed, *leftovers),
        });
        if ran.is_err() {
            tracing::error!("panic while an object or a value was dropped");
            if let Some(call) = call {
                // Does nothing if the call was settled before the panic.
                self.reject(call, internal_error());
            }
        }
    }

    /// Starts a delivery, or queues it for a place among the running calls of all sessions.
    fn begin(self: &Arc<Self>, mut call: Call) {
        if let Some(bound) = &self.settings().running_calls
            && call.permit.is_none()
            && !call.is_of_stream()
        {
            call.permit = self.permit(bound);
            if call.permit.is_none() {
                return self.hold_back(bound, call);
            }
        }
        match call.entry.take() {
            Some(Entry::Object(object)) => object.deliver(self, call),
            Some(Entry::Dormant(_)) | None => {
                let is_unknown = call.origin.as_ref().is_some_and(|origin| origin.again);
                let id = call.call;
                // Arguments are released before the answer is sent.
                drop_quietly(call);
                self.reject(id, if is_unknown { outcome_unknown() } else { object_is_gone() });
            }
        }
    }

    /// Cancels a delivery and rejects its call.
    fn cancel(self: &Arc<Self>, call: PromiseId) {
        if let Some(held_back) = self.take_held_back(call) {
            drop_quietly(held_back);
        } else {
            let Some(task) = self.lock().running.remove(call) else { return };
            if let Some(task) = task {
                task.abort();
            }
        }
        let message = "RPC was canceled because the RpcPromise was disposed.";
        self.reject(call, error_payload("Error", message));
    }

    /// Rejects a delivery with an error of this side. Does nothing if it is settled already.
    fn reject(self: &Arc<Self>, call: PromiseId, error: Payload<Outgoing>) {
        let mut state = self.lock();
        if state.closed.is_none() {
            state.endpoint.session.settle(call, Err(error));
            self.after_input(state);
        }
    }

    /// Drops an object that the peer does not hold any more. If that is because the session has ended, the
    /// reader of a stream to which the peer wrote gets the reason.
    fn drop_entry(&self, entry: Option<Entry>) {
        if let Some(Entry::Object(object)) = &entry
            && object.is_writable()
        {
            let closed = self.lock().closed.clone();
            closed.iter().for_each(|closed| object.lose_writer(closed));
        }
        drop(entry);
    }

    fn end(&self, closed: CloseReason, leftovers: Leftovers) {
        for (_, task) in leftovers.running.iter() {
            task.iter().for_each(Task::abort);
        }
        leftovers.held_back.into_iter().flat_map(|held_back| *held_back).for_each(drop_quietly);
        for waiter in leftovers.waiters {
            match waiter {
                Waiter::Task(Some(waker)) => wake(waker),
                Waiter::Call(end) => end(Ending::Lost(closed.clone())),
                Waiter::Task(None) | Waiter::Ended(_) => {}
            }
        }
        for entry in leftovers.targets.into_entries() {
            drop_quietly(entry);
        }
        drop_quietly(leftovers.dormant);
        self.queue_events(&mut self.lock());
        self.feed.end();
        // Set only once, because a session ends only once.
        drop(self.ended.set(closed));
        self.is_over.notify_waiters();
        self.room.notify_waiters();
        self.wake.notify_one();
    }

    /// Registers the driver of a transport. From now on, deliveries are left to it.
    pub(crate) fn begin_turn(&self, at: Attachment) {
        self.lock().driver = Some(at);
    }

    /// Makes this thread's runtime, on which the driver runs, the runtime of the session.
    pub(crate) fn set_host(&self) {
        let host = Host::current();
        if host.is_some() {
            let before = std::mem::replace(&mut self.lock().host, host);
            drop(before);
        }
    }

    /// Unregisters a driver, unless a newer one is registered.
    pub(crate) fn end_turn(&self, at: Attachment) {
        let mut state = self.lock();
        if state.driver == Some(at) {
            state.driver = None;
        }
    }

    /// Returns `true` if [`spawn`](Self::spawn) works on this thread.
    pub(crate) fn can_spawn(&self) -> bool {
        self.lock().host.is_some() || runtime::can_spawn()
    }

    /// Spawns a task on the runtime of the session, or on that of this thread if the session has no
    /// transport. Returns `None` if there is no runtime.
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) -> Option<Task> {
        let host = if self.is_private() { None } else { self.lock().host.clone() };
        match host {
            Some(host) => Some(host.spawn(future)),
            None => runtime::spawn(future),
        }
    }
}

/// The deliveries of a session without a driver, on their way to its runtime.
struct LeftDeliveries {
    shared: Arc<Shared>,
    has_run: bool,
}

impl LeftDeliveries {
    async fn run(mut self) {
        self.has_run = true;
        if self.shared.drain_outputs(self.shared.lock(), Place::Host) {
            self.shared.wake.notify_one();
        }
    }
}

impl Drop for LeftDeliveries {
    /// Rejects the calls that did not begin before the runtime shut down.
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        if self.has_run || state.driver.is_some() {
            return;
        }
        let refused: Vec<Job> = state.deferred.extract_if(.., |job| job.is_delivery()).collect();
        drop(state);
        for job in refused {
            if let Job::Deliver(call) = job {
                self.shared.reject(call.call, runtime_is_gone());
                drop_quietly(call);
            }
        }
    }
}

/// Wakes a task, whose executor may panic.
fn wake(waker: Waker) {
    if caught(|| waker.wake()).is_err() {
        tracing::error!("panic while a task was woken");
    }
}
