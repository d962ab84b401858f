//! Calls of the application: how they enter a session.

use std::sync::Arc;

use crate::peer::host::shared::Shared;
use crate::peer::interface::description::Repeat;
use crate::peer::interface::error;
use crate::session::{CloseReason, Ref, Step};
use crate::value::{Cap, Payload};

impl Shared {
    /// Makes a call (`args` is `Some`) or reads a property (`None`). The result has a reference count of
    /// one.
    ///
    /// # Errors
    /// The session has ended, or the retransmit buffer is full.
    pub(crate) fn call(
        self: &Arc<Self>,
        of: Ref,
        path: &[Step],
        args: Option<Payload<Cap>>,
        repeat: Repeat,
    ) -> Result<Ref, CloseReason> {
        let mut state = self.lock();
        if let Some(closed) = state.closed.as_deref() {
            return Err(closed.clone());
        }
        if state.endpoint.is_overfull() {
            return Err(error::overflow());
        }
        let mut lowering = self.lowering(&mut state);
        let args = args.map(|args| lowering.lower(args));
        let lowered = lowering.done();
        let result = state.endpoint.session.call(of, path, args);
        if repeat != Repeat::Never {
            state.endpoint.session.mark_idempotent(result);
        }
        self.finish_lowering(state, lowered);
        Ok(result)
    }

    /// Applies a recorded function. The result has a reference count of one.
    ///
    /// # Errors
    /// The session has ended.
    pub(crate) fn map(
        self: &Arc<Self>,
        of: Ref,
        path: &[Step],
        captures: Vec<Cap>,
        instructions: String,
    ) -> Result<Ref, CloseReason> {
        let mut state = self.lock();
        if let Some(closed) = state.closed.as_deref() {
            return Err(closed.clone());
        }
        let mut lowering = self.lowering(&mut state);
        let captures = lowering.lower_all(captures);
        let lowered = lowering.done();
        let result = state.endpoint.session.map(of, path, &captures, instructions);
        self.finish_lowering(state, lowered);
        Ok(result)
    }
}
