//! Access to a session between two inputs, when it has no pending outputs. For checkpoints.

use std::sync::{Arc, MutexGuard};

use crate::endpoint::Endpoint;
use crate::peer::host::shared::{Shared, State};

impl Shared {
    /// Runs `look` on the endpoint when the session has no pending outputs.
    pub(crate) fn between_inputs<T>(self: &Arc<Self>, look: impl FnOnce(&mut Endpoint) -> T) -> T {
        self.look(self.lock(), look)
    }

    /// Locks the state. Returns `None` if a call that was taken from the session has not begun.
    pub(crate) fn lock_if_begun(self: &Arc<Self>) -> Option<MutexGuard<'_, State>> {
        let mut state = self.lock();
        self.stage_deferred(&mut state);
        if state.has_begun_all() {
            return Some(state);
        }
        self.after_link_input(state);
        None
    }

    /// Converts all pending outputs into deferred jobs.
    fn stage_deferred(self: &Arc<Self>, state: &mut State) {
        // The next thread that carries out outputs takes these before any later ones.
        let mut jobs = state.stage(self);
        jobs.append(&mut state.deferred);
        state.deferred = jobs;
    }

    /// Runs `look` on the endpoint of a locked session, which then has no pending outputs.
    pub(crate) fn look<T>(
        self: &Arc<Self>,
        mut state: MutexGuard<'_, State>,
        look: impl FnOnce(&mut Endpoint) -> T,
    ) -> T {
        self.stage_deferred(&mut state);
        let seen = look(&mut state.endpoint);
        drop(state);
        self.wake.notify_one();
        seen
    }
}
