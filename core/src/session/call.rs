//! Calls, from either side: on to the peer, into a queue, through a value, or to a local object.

use super::gather::Then;
use super::promise::{Call, Found, PromiseState, Queued, gone};
use super::walk::{Walk, of_undefined, walk};
use super::{Delivery, Kind, Outgoing, Output, Path, Ref, Rerun, Session, Step};
use crate::id::{PromiseId, TargetId};
use crate::value::Payload;
use crate::wire::error_text;

impl Session {
    /// A call of the application.
    pub(super) fn invoke_outgoing(&mut self, on: Ref, path: &[Step], args: Option<Payload<Outgoing>>) -> Ref {
        if let Some(refused) = self.refuse_call(path) {
            return refused;
        }
        match self.follow(on) {
            Found::Stub(id) | Found::Awaited(id) => Ref::Import(self.push(id, path, args.as_ref())),
            _ => {
                let args = args.map(|args| self.own(args));
                self.invoke_here(on, path.into(), args)
            }
        }
    }

    /// A call of the peer. Takes over the references in `args`; the result is held once.
    pub(super) fn invoke(&mut self, on: Ref, path: Path, args: Option<Payload<Ref>>) -> Ref {
        if let Some(refused) = self.refuse_call(&path) {
            args.into_iter().for_each(|args| self.let_go_all(args));
            return refused;
        }
        match self.follow(on) {
            Found::Stub(id) | Found::Awaited(id) => {
                let result = Ref::Import(self.push(id, &path, args.as_ref()));
                args.into_iter().for_each(|args| self.let_go_all(args));
                result
            }
            _ => self.invoke_here(on, path, args),
        }
    }

    fn invoke_here(&mut self, on: Ref, path: Path, args: Option<Payload<Ref>>) -> Ref {
        let result = self.pending(1);
        self.held_bytes += args.as_ref().map_or(0, |args| args.text_len());
        self.perform(result, on, Call { path, walked: 0, args });
        Ref::Promise(result)
    }

    /// A call that goes beyond a bound is rejected instead of made.
    pub(super) fn refuse_call(&mut self, path: &[Step]) -> Option<Ref> {
        let fullest = self.imports.len().max(self.exports.len()).max(self.promises.len());
        let message = if path.len() > self.limits.path_steps {
            format!("limit: steps of a property path (at most {})", self.limits.path_steps)
        } else if fullest > self.limits.table_entries {
            format!("limit: table entries of a session (at most {})", self.limits.table_entries)
        } else if self.held_bytes > self.limits.held_bytes {
            format!("limit: bytes held by a session (at most {})", self.limits.held_bytes)
        } else {
            return None;
        };
        Some(self.rejected("RangeError", &message))
    }

    /// Does `call` on `on`, for the pending promise `result`. Arguments are counted in
    /// `held_bytes` from here until they are handed out.
    pub(super) fn perform(&mut self, result: PromiseId, mut on: Ref, mut call: Call) {
        loop {
            match self.follow(on) {
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
                    let args = self.take_args(&mut call);
                    let to = Ref::Import(self.push(id, &call.path[call.walked..], args.as_ref()));
                    args.into_iter().for_each(|args| self.let_go_all(args));
                    return self.forward(result, to);
                }
                Found::Pending(id) => {
                    match self.promises.get_mut(id).map(|promise| &mut promise.state) {
                        Some(&mut PromiseState::Pending { via: Some(to), .. }) if !call.is_done() => {
                            self.deliver(result, to, call);
                        }
                        Some(PromiseState::Pending { calls, .. }) => calls.push(Queued::Call(result, call)),
                        _ => {}
                    }
                    return;
                }
                Found::Failed(at) => {
                    let failure = self.copy_of(at);
                    return self.give_up(result, call, failure.err().unwrap_or_else(gone));
                }
                Found::Gone => return self.give_up(result, call, gone()),
                Found::Value(at) => match self.walk_settled(at, &call) {
                    Walk::Capability { of, steps } => {
                        call.walked += steps;
                        on = of;
                    }
                    Walk::Part(part) if call.args.is_none() => {
                        part.refs().iter().for_each(|&of| self.hold(of));
                        return self.finish(result, Ok(part));
                    }
                    Walk::Part(_) => {
                        let message = format!("'{}' is not a function.", call.path.dotted());
                        let error = Payload::plain(error_text("TypeError", &message));
                        return self.give_up(result, call, error);
                    }
                    Walk::OfUndefined { text } => {
                        return self.give_up(result, call, Payload::plain(error_text("TypeError", &text)));
                    }
                },
            }
        }
    }

    fn walk_settled(&self, at: Ref, call: &Call) -> Walk {
        match self.settled_at(at) {
            Some(Ok(value)) => walk(value, &call.path[call.walked..]),
            _ => Walk::Part(gone()),
        }
    }

    /// Reads a property of a stream, which has none: it is undefined, as one of a number is.
    fn read_stream(&mut self, result: PromiseId, call: &Call) {
        let settled = match call.path.get(call.walked + 1).map(of_undefined) {
            Some(Walk::OfUndefined { text }) => Err(Payload::plain(error_text("TypeError", &text))),
            _ => Ok(Payload::undefined()),
        };
        self.finish(result, settled);
    }

    fn give_up(&mut self, result: PromiseId, mut call: Call, error: Payload<Ref>) {
        if let Some(args) = self.take_args(&mut call) {
            self.let_go_all(args);
        }
        self.finish(result, Err(error));
    }

    /// The arguments, no longer counted.
    fn take_args(&mut self, call: &mut Call) -> Option<Payload<Ref>> {
        let args = call.args.take()?;
        self.held_bytes -= args.text_len();
        Some(args)
    }

    fn deliver(&mut self, result: PromiseId, target: TargetId, mut call: Call) {
        self.hold(Ref::Target(target));
        let args = self.take_args(&mut call);
        let path = call.path.after(call.walked);
        match args {
            Some(args) => self.gather(args, Then::Deliver { result, target, path }),
            None => self.enter(result, target, path, None),
        }
    }

    /// Lines a delivery up; its target is held until it is handed out.
    pub(super) fn enter(&mut self, call: PromiseId, target: TargetId, path: Path, args: Option<Payload<Ref>>) {
        let again = call.0 < self.revived_below;
        let delivery = Delivery { call, target, path, args, id: Delivery::unnamed(), again };
        if self.kind(Ref::Target(target)) != Kind::Object {
            // Chunks wait for their reader; they must not take the room of calls.
            return self.hand_out(delivery);
        }
        self.held_bytes += delivery.args.as_ref().map_or(0, |args| args.text_len());
        self.ready.push_back(delivery);
        self.admit();
    }

    fn hand_out(&mut self, delivery: Delivery) {
        let target = delivery.target;
        self.outputs.push_back(Output::Deliver(delivery));
        self.let_go(Ref::Target(target));
    }

    /// Hands out deliveries while there is room for them.
    #[inline]
    pub(super) fn admit(&mut self) {
        if !self.ready.is_empty() {
            self.admit_ready();
        }
    }

    fn admit_ready(&mut self) {
        while self.running < self.limits.running_calls {
            let Some(mut delivery) = self.ready.pop_front() else { return };
            self.held_bytes -= delivery.args.as_ref().map_or(0, |args| args.text_len());
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

    pub(super) fn no_longer_running(&mut self, id: PromiseId) {
        if let Some(PromiseState::Pending { running, .. }) = self.promises.get_mut(id).map(|promise| &mut promise.state)
        {
            self.running -= usize::from(std::mem::take(running));
        }
        if !self.reruns.is_empty() {
            self.drop_rerun(id);
        }
    }

    pub(super) fn drop_rerun(&mut self, id: PromiseId) {
        if let Some(Rerun { target, args, .. }) = self.reruns.remove(id) {
            self.held_bytes -= args.as_ref().map_or(0, |args| args.text_len());
            args.into_iter().for_each(|args| self.let_go_all(args));
            self.let_go(Ref::Target(target));
        }
    }

    /// Takes the application's references into the session, asking for properties where they
    /// name one.
    pub(super) fn own(&mut self, payload: Payload<Outgoing>) -> Payload<Ref> {
        payload.map_refs(|outgoing| self.own_one(&outgoing))
    }

    pub(super) fn own_one(&mut self, outgoing: &Outgoing) -> Ref {
        if outgoing.path.is_empty() {
            self.held(outgoing.of)
        } else {
            self.invoke_outgoing(outgoing.of, &outgoing.path, None)
        }
    }
}

impl Call {
    /// Neither a step nor a call is left.
    fn is_done(&self) -> bool {
        self.args.is_none() && self.walked == self.path.len()
    }
}
