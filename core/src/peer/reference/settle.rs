//! Settling deliveries and local promises: how their answers enter a session.

use std::sync::Arc;

use crate::id::PromiseId;
use crate::peer::host::shared::Shared;
use crate::peer::host::target::Entry;
use crate::peer::interface::object::Answer;
use crate::peer::reference::deliver::Forwarded;
use crate::peer::reference::stub::Stub;
use crate::session::{Kind, Path, Ref};
use crate::value::{Cap, Payload};

impl Shared {
    /// Creates a local promise with a reference count of one. [`settle`](Self::settle) settles it.
    pub(crate) fn new_promise(&self) -> PromiseId {
        self.lock().endpoint.session.new_promise()
    }

    /// Settles a delivery or a local promise.
    pub(crate) fn settle(self: &Arc<Self>, call: PromiseId, answer: Answer) {
        let mut state = self.lock();
        if state.closed.is_some() {
            // Dropping the answer may run user code, so unlock first.
            drop(state);
            return;
        }
        let mut lowering = self.lowering(&mut state);
        let result = match answer {
            Ok(value) => Ok(lowering.lower(value)),
            Err(error) => Err(lowering.lower(error)),
        };
        let lowered = lowering.done();
        state.endpoint.session.settle(call, result);
        self.finish_lowering(state, lowered);
    }

    /// Redirects calls on the result of `call` to `via` while `call` is pending. `via` is the same result in
    /// another session.
    pub(crate) fn redirect(self: &Arc<Self>, call: PromiseId, via: Stub) {
        let mut state = self.lock();
        if state.closed.is_some() {
            drop(state);
            return;
        }
        let target = state.endpoint.session.new_target(Kind::Object);
        state.targets.insert(target, Entry::new(Forwarded(via)));
        state.endpoint.session.redirect(call, target);
        state.endpoint.session.release(Ref::Target(target));
        self.after_input(state);
    }

    /// Settles the first step of a delivery with `value`. The session walks the rest of the path.
    pub(crate) fn settle_from(
        self: &Arc<Self>,
        call: PromiseId,
        value: Payload<Cap>,
        path: Path,
        args: Option<Payload<Cap>>,
    ) {
        let mut state = self.lock();
        if state.closed.is_some() {
            drop(state);
            return;
        }
        let mut lowering = self.lowering(&mut state);
        let value = lowering.lower(value);
        let args = args.map(|args| lowering.lower_held(args));
        let lowered = lowering.done();
        state.endpoint.session.settle_from(call, value, path, 1, args);
        self.finish_lowering(state, lowered);
    }
}
