//! Calls from both sides: forwarded to the peer, queued on a promise, walked through a value, or
//! delivered to a local object.

use crate::id::{PromiseId, TargetId};
use crate::session::calls::walk::{Walk, of_undefined, walk};
use crate::session::state::account::{Delivered, Held, lifted_bytes};
use crate::session::state::budget::LOOK_UP;
use crate::session::state::gathers::Then;
use crate::session::state::index::{INDEX_BYTES, Index};
use crate::session::state::promises::payload_of;
use crate::session::state::promises::{Call, Found, PromiseState, Queued, Settled, Work, gone, settled_in};
use crate::session::state::{Delivery, Kind, Outgoing, Output, Path, Ref, Rerun, Session, Step};
use crate::value::Payload;
use crate::wire::{WireError, error_text};

impl Session {
    /// Makes a call of the application.
    pub(in crate::session) fn invoke_outgoing(
        &mut self,
        on: Ref,
        path: &[Step],
        args: Option<Payload<Outgoing>>,
    ) -> Ref {
        if let Some(refused) = self.refuse_call(path) {
            return refused;
        }
        match self.follow_through(on) {
            Found::Stub(id) | Found::Awaited(id) => self.push(id, path, args.as_ref()),
            _ => {
                let args = args.map(|args| self.own(args));
                self.invoke_here(on, Call { args, ..Call::read(path.into()) })
            }
        }
    }

    /// Makes a call of the peer. Takes over the references in its arguments. Returns the result,
    /// held once.
    pub(in crate::session) fn invoke(&mut self, on: Ref, call: Call) -> Ref {
        if let Some(refused) = self.refuse_call(&call.path) {
            call.args.into_iter().for_each(|args| self.let_go_all(args));
            return refused;
        }
        match self.follow_through(on) {
            Found::Stub(id) | Found::Awaited(id) => {
                let result = self.push(id, &call.path, call.args.as_ref());
                call.args.into_iter().for_each(|args| self.let_go_all(args));
                result
            }
            _ => self.invoke_here(on, call),
        }
    }

    fn invoke_here(&mut self, on: Ref, call: Call) -> Ref {
        let result = self.pending(1);
        if self.defers() {
            self.account.add(&call);
            let on = self.held(on);
            self.later.push(Work::Perform { result, on, call });
        } else {
            self.perform(result, on, call);
        }
        Ref::Promise(result)
    }

    /// Returns `true` if a call of the peer must wait for the next slice: this slice is used up, or
    /// an earlier call waits, which must stay ahead.
    #[inline]
    pub(in crate::session) fn defers(&self) -> bool {
        (self.is_evaluating && self.budget.is_slice_over()) || !self.later.is_empty()
    }

    /// Rejects a call that exceeds a limit. Returns its result, or `None` if the call may be made.
    pub(in crate::session) fn refuse_call(&mut self, path: &[Step]) -> Option<Ref> {
        let fullest = self.imports.len().max(self.exports.len()).max(self.promises.len());
        let is_long = |step: &Step| matches!(step, Step::Name(name) if name.len() > self.limits.key_bytes);
        let message = if path.len() > self.limits.path_steps {
            format!("limit: steps of a property path (at most {})", self.limits.path_steps)
        } else if path.iter().any(is_long) {
            format!("limit: bytes of a name in a property path (at most {})", self.limits.key_bytes)
        } else if fullest > self.limits.table_entries {
            format!("limit: table entries of a session (at most {})", self.limits.table_entries)
        } else if self.held_bytes() > self.limits.held_bytes {
            format!("limit: bytes held by a session (at most {})", self.limits.held_bytes)
        } else {
            return None;
        };
        Some(self.rejected("RangeError", &message))
    }

    /// Performs `call` on `on`. The pending promise `result` receives its result.
    pub(in crate::session) fn perform(&mut self, result: PromiseId, mut on: Ref, mut call: Call) {
        loop {
            match self.follow_through(on) {
                Found::Target(target) if call.is_done() => {
                    let to = self.held(Ref::Target(target));
                    return self.forward(result, to);
                }
                Found::Target(target) if call.args.is_none() && !self.kind(Ref::Target(target)).is_object() => {
                    return self.read_stream(result, &call);
                }
                Found::Target(target) => return self.deliver(result, target, call),
                Found::Stub(id) | Found::Awaited(id) if call.is_done() => {
                    let to = self.held(Ref::Import(id));
                    return self.forward(result, to);
                }
                Found::Stub(id) | Found::Awaited(id) => {
                    let to = self.push(id, &call.path[call.walked..], call.args.as_ref());
                    call.args.into_iter().for_each(|args| self.let_go_all(args));
                    return self.forward(result, to);
                }
                Found::Pending(id) => {
                    match self.promises.get_mut(id).map(|promise| &mut promise.state) {
                        Some(&mut PromiseState::Pending { via: Some(to), .. }) if !call.is_done() => {
                            self.deliver(result, to, call);
                        }
                        Some(PromiseState::Pending { calls, .. }) => {
                            self.account.add(&call);
                            calls.push(Queued::Call(result, call));
                        }
                        _ => {}
                    }
                    return;
                }
                Found::Failed(at) => {
                    let failure = self.copy_for_peer(at);
                    return self.give_up(result, call, failure.err().unwrap_or_else(gone));
                }
                Found::Gone => return self.give_up(result, call, gone()),
                Found::Value(at) => match self.look_up(at, &call) {
                    Err(error) => return self.give_up(result, call, payload_of(error)),
                    Ok(Walk::Capability { of, steps }) => {
                        call.walked += steps;
                        on = of;
                    }
                    Ok(Walk::Part(part)) if call.args.is_none() => {
                        part.refs().iter().for_each(|&of| self.hold(of));
                        return self.finish(result, Ok(part));
                    }
                    Ok(Walk::Part(_)) => {
                        let message = format!("'{}' is not a function.", call.path.dotted());
                        let error = Payload::plain(error_text("TypeError", &message));
                        return self.give_up(result, call, error);
                    }
                    Ok(Walk::OfUndefined { text }) => {
                        return self.give_up(result, call, Payload::plain(error_text("TypeError", &text)));
                    }
                },
            }
        }
    }

    /// Looks up a part of a settled value. Creates the index of a large value first, if there is
    /// none.
    fn look_up(&mut self, at: Ref, call: &Call) -> Result<Walk, WireError> {
        self.budget.read(LOOK_UP, &self.limits)?;
        let Some(Ok(value)) = settled_in(&self.promises, &self.imports, at) else { return Ok(Walk::Part(gone())) };
        let mut index = None;
        if value.text_len() >= INDEX_BYTES {
            if self.indexes.get(at).is_none() {
                self.budget.read(value.text_len(), &self.limits)?;
                self.indexes.insert(at, Index::of(value), self.limits.held_bytes / 4);
            }
            index = self.indexes.get(at).flatten();
        }
        let (walk, walked) = walk(value, &call.path[call.walked..], index);
        self.budget.read(walked.read, &self.limits)?;
        self.budget.copy(walked.copied, &self.limits)?;
        Ok(walk)
    }

    /// Reads a property of a stream. A stream has none, so it is undefined.
    fn read_stream(&mut self, result: PromiseId, call: &Call) {
        let settled = match call.path.get(call.walked + 1).map(of_undefined) {
            Some(Walk::OfUndefined { text }) => Err(Payload::plain(error_text("TypeError", &text))),
            _ => Ok(Payload::undefined()),
        };
        self.finish(result, settled);
    }

    /// Returns a copy of a result that has arrived, its references held, for which the peer's message is charged.
    /// If that is beyond the work limit, returns the error that says so.
    pub(in crate::session) fn copy_for_peer(&mut self, of: Ref) -> Settled {
        let bytes = match self.follow(of) {
            Found::Value(at) | Found::Failed(at) => self.settled_at(at).map_or(0, Held::held_bytes),
            _ => 0,
        };
        self.budget.copy(bytes, &self.limits).map_err(payload_of)?;
        self.copy_of(of)
    }

    /// Returns a copy of a result that has arrived. Its references are held.
    pub(in crate::session) fn copy_of(&mut self, of: Ref) -> Settled {
        let copy = match self.follow(of) {
            Found::Target(target) => Ok(Payload::capability(Ref::Target(target))),
            Found::Stub(id) => Ok(Payload::capability(Ref::Import(id))),
            Found::Value(at) | Found::Failed(at) => match self.settled_at(at) {
                Some(settled) => settled.clone(),
                None => Err(gone()),
            },
            Found::Awaited(_) | Found::Pending(_) | Found::Gone => Err(gone()),
        };
        let (Ok(payload) | Err(payload)) = &copy;
        for &of in payload.refs() {
            self.hold(of);
        }
        copy
    }

    fn give_up(&mut self, result: PromiseId, call: Call, error: Payload<Ref>) {
        if let Some(args) = call.args {
            self.let_go_all(args);
        }
        self.finish(result, Err(error));
    }

    fn deliver(&mut self, result: PromiseId, target: TargetId, call: Call) {
        self.hold(Ref::Target(target));
        let Call { path, walked, args, decoded } = call;
        let path = path.after(walked);
        match args {
            Some(args) => self.gather(args, Then::Deliver { result, target, path, decoded }),
            None => self.enter(result, target, path, None, 0),
        }
    }

    /// Hands out a delivery, or queues it if too many calls run. Its target is held until it is
    /// delivered. Its bytes are counted from here until it is settled, because its method, or the
    /// pipe of a stream, holds them.
    pub(in crate::session) fn enter(
        &mut self,
        call: PromiseId,
        target: TargetId,
        path: Path,
        args: Option<Payload<Ref>>,
        decoded: usize,
    ) {
        let again = call.0 < self.recovery.revived_below;
        let mut delivery = Delivery { call, target, path, args, id: Delivery::unnamed(), again };
        // Chunks wait until they are read. They must not take the places of calls.
        let is_chunk = self.kind(Ref::Target(target)) != Kind::Object;
        let lifted = delivery.args.as_ref().map_or(0, |args| lifted_bytes(self, args));
        let count = Delivered::of(&delivery, if is_chunk { 0 } else { decoded + lifted });
        let is_admitted = !is_chunk && self.ready.is_empty() && self.running < self.limits.running_calls;
        if let Some(promise) = self.promises.get_mut(call)
            && let PromiseState::Pending { running, delivered, .. } = &mut promise.state
        {
            *delivered = count;
            self.account.add(&count);
            if is_admitted {
                *running = true;
                delivery.id = promise.push;
            }
        }
        if is_admitted {
            self.running += 1;
        }
        if is_admitted || is_chunk {
            return self.hand_out(delivery);
        }
        self.ready.push_back(delivery);
        self.admit();
    }

    fn hand_out(&mut self, delivery: Delivery) {
        let target = delivery.target;
        self.outputs.push_back(Output::Deliver(delivery));
        self.let_go(Ref::Target(target));
    }

    /// Hands out queued deliveries while calls may run.
    #[inline]
    pub(in crate::session) fn admit(&mut self) {
        if !self.ready.is_empty() {
            self.admit_ready();
        }
    }

    fn admit_ready(&mut self) {
        while self.running < self.limits.running_calls {
            let Some(mut delivery) = self.ready.pop_front() else { return };
            if let Some(promise) = self.promises.get_mut(delivery.call) {
                delivery.id = promise.push;
                if let PromiseState::Pending { running, .. } = &mut promise.state {
                    *running = true;
                }
            }
            self.running += 1;
            self.hand_out(delivery);
        }
    }

    pub(in crate::session) fn no_longer_running(&mut self, id: PromiseId) {
        if let Some(PromiseState::Pending { running, delivered, .. }) =
            self.promises.get_mut(id).map(|promise| &mut promise.state)
        {
            self.running -= usize::from(std::mem::take(running));
            self.account.remove(&std::mem::take(delivered));
        }
        if !self.recovery.reruns.is_empty() {
            self.drop_rerun(id);
        }
    }

    pub(in crate::session) fn drop_rerun(&mut self, id: PromiseId) {
        if let Some(rerun) = self.recovery.reruns.remove(id) {
            self.account.remove(&rerun);
            let Rerun { target, args, .. } = rerun;
            args.into_iter().for_each(|args| self.let_go_all(args));
            self.let_go(Ref::Target(target));
        }
    }

    /// Converts references of the application into held ones. Requests the properties among them.
    pub(in crate::session) fn own(&mut self, payload: Payload<Outgoing>) -> Payload<Ref> {
        payload.map_refs(|outgoing| self.own_one(&outgoing))
    }

    pub(in crate::session) fn own_one(&mut self, outgoing: &Outgoing) -> Ref {
        if outgoing.path.is_empty() {
            self.held(outgoing.of)
        } else {
            self.invoke_outgoing(outgoing.of, &outgoing.path, None)
        }
    }
}

impl Call {
    /// Creates a call that reads a property.
    pub(crate) fn read(path: Path) -> Self {
        Self { path, walked: 0, args: None, decoded: 0 }
    }

    /// Returns `true` if neither a step nor a call remains.
    fn is_done(&self) -> bool {
        self.args.is_none() && self.walked == self.path.len()
    }
}
