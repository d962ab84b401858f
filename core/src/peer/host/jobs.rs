//! Converts the outputs of a session into jobs, which can run without the lock.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;

use crate::id::{PromiseId, TargetId, WaitId};
use crate::peer::host::dormant::Dormant;
use crate::peer::host::shared::{Shared, State};
use crate::peer::host::target::{Call, Entry, Origin};
use crate::peer::host::wait::{Ending, Waiter};
use crate::peer::interface::call_log::CallId;
use crate::peer::runtime::Task;
use crate::session::{CloseReason, ClosedBy, Delivery, Outcome, Output, Ref, Table};
use crate::value::Payload;

/// An output of the session, with everything looked up that needs the lock.
pub(crate) enum Job {
    Deliver(Call),
    Wake(Waker),
    /// Calls the function that waits for this ending.
    End(Box<dyn FnOnce(Ending) + Send>, Ending),
    /// Runs code of a layer above.
    Run(Box<dyn FnOnce() + Send>),
    /// Drops a call that will not begin.
    Abandon(Option<Call>),
    /// Drops an ending that is not awaited any more, because that must happen without the lock.
    Discard(Ending),
    Drop(Option<Entry>),
    Cancel(PromiseId),
    /// Restores an object.
    Restore(usize),
    Close(CloseReason, Box<Leftovers>),
}

/// The parts of a session that end with it.
pub(crate) struct Leftovers {
    /// Calls that have not returned. Their results cannot be delivered, so they are aborted.
    pub(crate) running: Table<PromiseId, Option<Task>>,
    #[expect(clippy::box_collection, reason = "calls rarely wait for a place")]
    pub(crate) held_back: Option<Box<VecDeque<Call>>>,
    pub(crate) targets: Table<TargetId, Entry>,
    pub(crate) waiters: Vec<Waiter>,
    pub(crate) dormant: Dormant,
}

impl Job {
    /// Returns `true` for a job that runs a method, which belongs on the runtime of the session.
    pub(crate) fn is_delivery(&self) -> bool {
        matches!(self, Self::Deliver(_))
    }

    /// Turns a delivery into one that never begins. Nothing is dropped here: that may run code of the
    /// application, and passes the call's place to another call.
    fn abandon(&mut self) {
        *self = match std::mem::replace(self, Self::Abandon(None)) {
            Self::Deliver(call) => Self::Abandon(Some(call)),
            job => job,
        };
    }
}

impl State {
    /// Takes all outputs, with everything that their ids stand for.
    pub(crate) fn stage(&mut self, shared: &Arc<Shared>) -> Vec<Job> {
        let mut jobs = std::mem::take(&mut self.spare);
        // Calls that were given a place are among these, so what is staged now comes after them.
        jobs.append(&mut self.deferred);
        if self.held_back.is_none() {
            shared.hold_back_no_more();
        }
        while let Some(output) = self.endpoint.session.poll_output() {
            if let Some(job) = self.job(shared, output) {
                jobs.push(job);
            }
        }
        // Staging itself defers jobs, such as restoring an object that is called.
        jobs.append(&mut self.deferred);
        if self.closed.is_some() {
            // A call that has not begun when its session ends never begins, as in `Session`.
            jobs.iter_mut().for_each(Job::abandon);
        }
        jobs
    }

    /// Frees memory that was needed only briefly.
    pub(crate) fn shrink(&mut self) {
        self.endpoint.session.shrink();
        self.targets.shrink();
        self.running.shrink();
        self.waiters.shrink();
        self.spare.shrink_to_fit();
        self.deferred.shrink_to_fit();
    }

    fn job(&mut self, shared: &Arc<Shared>, output: Output) -> Option<Job> {
        Some(match output {
            Output::Deliver(delivery) => {
                let persistence = shared.settings().persistence.as_deref();
                let entry = self.targets.get(delivery.target).cloned();
                if let Some(Entry::Dormant(_)) = entry {
                    self.keep_waiting_call(&delivery);
                }
                let call = Call {
                    entry,
                    call: delivery.call,
                    target: delivery.target,
                    origin: persistence.map(|persistence| Origin {
                        name: CallId::new(|| persistence.session_id(), delivery.id),
                        again: delivery.again,
                    }),
                    path: delivery.path,
                    args: delivery.args.map(|args| self.lift(shared, args)),
                    permit: None,
                };
                match call.entry {
                    // Delivered, in order, once the object is restored.
                    Some(Entry::Dormant(at)) => return self.await_object(at, call),
                    _ => Job::Deliver(call),
                }
            }
            Output::Settled { wait, outcome } => {
                let ending = self.ending(shared, outcome);
                return self.end_wait(wait, ending);
            }
            Output::Pipe { sink, source } => {
                let [writable, readable] = shared.settings().streams?.pipe(shared);
                self.targets.insert(sink, Entry::Object(writable));
                self.targets.insert(source, Entry::Object(readable));
                return None;
            }
            Output::Pump { source, into } => {
                let streams = shared.settings().streams?;
                self.pumps += 1;
                Job::Run(streams.pump(shared, self.targets.get(source), Ref::Import(into)))
            }
            Output::DropTarget(target) => Job::Drop(self.drop_target(target)),
            Output::Cancel(call) => Job::Cancel(call),
            Output::Closed(closed) => {
                self.closed = Some(Box::new(closed.clone()));
                let leftovers = Box::new(Leftovers {
                    running: std::mem::take(&mut self.running),
                    held_back: std::mem::take(&mut self.held_back),
                    targets: std::mem::take(&mut self.targets),
                    waiters: self.take_waiting(),
                    dormant: std::mem::take(&mut self.dormant),
                });
                Job::Close(closed, leftovers)
            }
        })
    }

    /// Stores a call that waits for its object to be restored, so that another process can run it if this
    /// one ends first. Whether it may be repeated is known once the object is restored.
    fn keep_waiting_call(&mut self, delivery: &Delivery) {
        let session = &mut self.endpoint.session;
        delivery.args.iter().flat_map(Payload::refs).for_each(|&of| session.retain(of));
        session.keep_for_rerun(delivery.call, delivery.target, delivery.path.clone(), delivery.args.clone());
    }

    fn end_wait(&mut self, wait: WaitId, ending: Ending) -> Option<Job> {
        let Some(waiter) = self.waiters.get_mut(wait) else { return Some(Job::Discard(ending)) };
        if let Waiter::Task(waker) = waiter {
            let waker = waker.take();
            *waiter = Waiter::Ended(ending);
            return waker.map(Job::Wake);
        }
        match self.waiters.remove(wait) {
            Some(Waiter::Call(end)) => Some(Job::End(end, ending)),
            _ => Some(Job::Discard(ending)),
        }
    }

    /// Removes the waits without an ending. The others stay until their ending is polled.
    fn take_waiting(&mut self) -> Vec<Waiter> {
        let waiting = self.waiters.iter().filter(|(_, waiter)| !matches!(waiter, Waiter::Ended(_)));
        let waiting: Vec<WaitId> = waiting.map(|(wait, _)| wait).collect();
        waiting.into_iter().filter_map(|wait| self.waiters.remove(wait)).collect()
    }

    fn drop_target(&mut self, target: TargetId) -> Option<Entry> {
        let entry = self.targets.remove(target);
        match &entry {
            Some(Entry::Object(object)) => {
                let address = Arc::as_ptr(object).addr();
                if let Some(durable) = &mut self.durable_targets
                    && durable.get(&address) == Some(&target)
                {
                    durable.remove(&address);
                }
            }
            Some(Entry::Dormant(at)) => self.forget_dormant(*at, target),
            _ => {}
        }
        entry
    }

    fn ending(&mut self, shared: &Arc<Shared>, outcome: Outcome) -> Ending {
        match outcome {
            Outcome::Resolved(value) => Ending::Answer(Ok(self.lift(shared, value))),
            Outcome::Rejected(error) => Ending::Answer(Err(self.lift(shared, error))),
            Outcome::Lost(closed) => Ending::Lost(closed),
        }
    }

    /// Ends a session whose peer does not read.
    pub(crate) fn bound_outbound(&mut self) {
        self.endpoint.bound_retained();
        let limit = self.endpoint.session.limits().outbound_bytes;
        if self.closed.is_none() && !self.endpoint.session.is_closed() && self.endpoint.session.transmit_bytes() > limit
        {
            let message = format!("more than {limit} bytes wait to be sent; the peer does not read");
            let closed = CloseReason::new(ClosedBy::Protocol, "Error", message);
            self.endpoint.session.abort(closed);
        }
    }
}
