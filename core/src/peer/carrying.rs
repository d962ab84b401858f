//! Carrying out what a session asks for, in its order and one thread at a time, and on which
//! runtime: methods of a wired session run on that of its driver.

use std::sync::{Arc, MutexGuard};
use std::task::Waker;

use crate::link::Attachment;
use crate::peer::deliver;
use crate::peer::local::Body;
use crate::peer::nesting;
use crate::peer::runtime::{self, Host, Task};
use crate::peer::shared::{Entry, Shared, State};
use crate::peer::stage::{Job, Leftovers};
use crate::peer::unwind::{caught, drop_quietly};
use crate::peer::wait::{Ending, Waiter};
use crate::session::Closed;

/// Which thread carries out what a session asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// One of the runtime of the session: its driver, or a task in the driver's place.
    Host,
    /// Any thread that uses a reference. Methods of a wired session are left to the host.
    Elsewhere,
}

impl Shared {
    /// Whether the stored state of a durable session is out of date.
    pub(crate) fn is_change_due(&self, state: &State) -> bool {
        self.options().durability.is_some() && state.endpoint.is_checkpoint_due()
    }

    /// Tells the task that keeps the session that its stored state is out of date. Not for a turn of
    /// the driver by itself: a checkpoint that has to wait would be tried again for the look at it.
    /// Called without the lock, because it wakes that task.
    pub(crate) fn tell_change(&self, is_due: bool) {
        if is_due {
            self.changed.notify_one();
        }
    }

    /// Marks the session as changed and carries out everything that it asks for, in order. If another
    /// thread is already doing so, that thread continues with it. Wakes the driver if there is
    /// something to send.
    pub(crate) fn pump<'a>(self: &'a Arc<Self>, mut state: MutexGuard<'a, State>) {
        state.endpoint.mark_changed();
        self.go_on(state);
    }

    /// Carries out everything that the session asks for, in order, without marking it as changed: the
    /// input may have concerned the link alone. Wakes the driver if there is something to send.
    pub(crate) fn go_on<'a>(self: &'a Arc<Self>, state: MutexGuard<'a, State>) {
        let is_due = self.is_change_due(&state);
        if self.carry_out(state, Place::Elsewhere) {
            self.wake.notify_one();
        }
        self.tell_change(is_due);
    }

    /// Carries out everything that the session asks for, in order, and returns whether the driver has
    /// to be woken. Elsewhere than on its host that ends before the first delivery.
    pub(crate) fn carry_out<'a>(self: &'a Arc<Self>, mut state: MutexGuard<'a, State>, place: Place) -> bool {
        if state.pumping {
            return state.has_to_send();
        }
        let delivers = self.private || place == Place::Host;
        // Local objects call each other inside of these frames.
        let level = if self.private { nesting::enter(self) } else { None };
        if self.private && level.is_none() {
            return false;
        }
        loop {
            state.bound_outbound();
            let mut jobs = state.stage(self);
            if !delivers && let Some(first) = jobs.iter().position(Job::is_delivery) {
                state.deferred.extend(jobs.drain(first..));
            }
            if jobs.is_empty() {
                state.spare = jobs;
                break;
            }
            state.pumping = true;
            drop(state);
            for job in jobs.drain(..) {
                self.run(job);
            }
            state = self.lock();
            state.spare = jobs;
        }
        state.pumping = false;
        self.report_memory(&mut state);
        let handed_on = !state.deferred.is_empty();
        let is_wanted = state.has_to_send() || state.endpoint.session.has_work() || handed_on;
        let without_driver = (handed_on && state.driver.is_none()).then(|| state.host.clone());
        let told = self.at_rest(&mut state);
        let is_news = self.tell(&mut state);
        let asks = state.endpoint.asks();
        drop(state);
        if is_news {
            self.feed.flush();
        }
        if asks {
            self.asked.notify_one();
        }
        if let Some(told) = told {
            told.tell();
        }
        match without_driver {
            Some(Some(host)) => drop(host.spawn(HandedOn { shared: Arc::clone(self), has_run: false }.run())),
            // It never had a runtime.
            Some(None) => return self.carry_out(self.lock(), Place::Host) || is_wanted,
            None => {}
        }
        is_wanted
    }

    /// Does one job. Nothing that unwinds may get past, or `pumping` would stay set for ever.
    fn run(self: &Arc<Self>, job: Job) {
        let call = match &job {
            Job::Deliver(call) => Some(call.call),
            _ => None,
        };
        let ran = caught(|| match job {
            Job::Deliver(call) => deliver::begin(self, call),
            Job::Wake(waker) => waker.wake(),
            Job::EndChunk(chunk, ending) => chunk.end(ending),
            Job::Pump(pumping) => pumping.start(),
            Job::Discard(ending) => drop(ending),
            Job::Abandon(call) => drop(call),
            Job::Drop(entry) => self.drop_entry(entry),
            Job::Cancel(call) => deliver::cancel(self, call),
            Job::Make(at) => self.start_making(at),
            Job::Warn(warning) => warning.log(),
            Job::Close(closed, leftovers) => self.end(closed, *leftovers),
        });
        if ran.is_err() {
            tracing::error!("panic while an object or a value was dropped");
            if let Some(call) = call {
                // Does nothing if the panic came after the answer.
                self.settle(call, Err(deliver::internal_error()));
            }
        }
    }

    /// Drops an object that the peer does not hold any more. If that is because the session is
    /// over, the reader of a stream that the peer wrote to learns why.
    fn drop_entry(&self, entry: Option<Entry>) {
        if let Some(Entry::Local(local)) = &entry
            && let Body::Writable(writable) = &local.body
        {
            let closed = self.lock().closed.clone();
            closed.iter().for_each(|closed| writable.lose_writer(closed));
        }
        drop(entry);
    }

    fn end(&self, closed: Closed, leftovers: Leftovers) {
        for (_, task) in leftovers.running.iter() {
            task.iter().for_each(Task::abort);
        }
        leftovers.held_back.into_iter().flat_map(|held_back| *held_back).for_each(drop_quietly);
        for waiter in leftovers.waiters {
            match waiter {
                Waiter::Task(Some(waker)) => wake(waker),
                Waiter::Chunk(chunk) => chunk.end(Ending::Lost(closed.clone())),
                Waiter::Task(None) | Waiter::Ended(_) => {}
            }
        }
        for entry in leftovers.targets.into_entries() {
            drop_quietly(entry);
        }
        drop_quietly(leftovers.revival);
        self.tell(&mut self.lock());
        self.feed.end();
        // It ends once.
        drop(self.ended.set(closed));
        self.is_over.notify_waiters();
        self.room.notify_waiters();
        self.wake.notify_one();
    }

    /// Begins the turn of a driver: from now on, deliveries are left to it.
    pub(crate) fn begin_turn(&self, at: Attachment) {
        self.lock().driver = Some(at);
    }

    /// The driver runs on this thread's runtime.
    pub(crate) fn set_host(&self) {
        let host = Host::current();
        if host.is_some() {
            let before = std::mem::replace(&mut self.lock().host, host);
            drop(before);
        }
    }

    /// Ends the turn of a driver, unless that of another has begun.
    pub(crate) fn end_turn(&self, at: Attachment) {
        let mut state = self.lock();
        if state.driver == Some(at) {
            state.driver = None;
        }
    }

    /// Whether [`spawn`](Self::spawn) works on this thread.
    pub(crate) fn can_spawn(&self) -> bool {
        self.lock().host.is_some() || runtime::can_spawn()
    }

    /// Runs `future` on the runtime of the session; for a session without a transport of its own, on
    /// that of this thread. `None` if there is none.
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) -> Option<Task> {
        let host = if self.private { None } else { self.lock().host.clone() };
        match host {
            Some(host) => Some(host.spawn(future)),
            None => runtime::spawn(future),
        }
    }
}

/// Deliveries of a session without a driver, on their way to its runtime.
struct HandedOn {
    shared: Arc<Shared>,
    has_run: bool,
}

impl HandedOn {
    async fn run(mut self) {
        self.has_run = true;
        if self.shared.carry_out(self.shared.lock(), Place::Host) {
            self.shared.wake.notify_one();
        }
    }
}

impl Drop for HandedOn {
    /// Rejects what the runtime did not get to before it shut down.
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        if self.has_run || state.driver.is_some() {
            return;
        }
        let refused: Vec<Job> = state.deferred.extract_if(.., |job| job.is_delivery()).collect();
        drop(state);
        for job in refused {
            if let Job::Deliver(call) = job {
                self.shared.settle(call.call, Err(deliver::runtime_is_gone()));
                drop_quietly(call);
            }
        }
    }
}

/// Wakes a task of an executor that may panic.
fn wake(waker: Waker) {
    if caught(|| waker.wake()).is_err() {
        tracing::error!("panic while a task was woken");
    }
}
