//! Work that takes a session longer than others should wait: it is done in slices, by the driver,
//! which yields to the runtime in between.

use std::sync::Arc;

use crate::peer::carrying::Place;
use crate::peer::runtime;
use crate::peer::shared::Shared;

impl Shared {
    /// Does a slice of the work that the session has left, and carries out what came of it. Returns
    /// whether there is more.
    pub(crate) fn work_on(self: &Arc<Self>) -> bool {
        let mut state = self.lock();
        if !state.endpoint.session.has_work() {
            self.carry_out(state, Place::Host);
            return false;
        }
        state.endpoint.session.resume_work();
        state.endpoint.mark_changed();
        let is_behind = state.endpoint.session.has_work();
        let is_due = self.is_change_due(&state);
        self.carry_out(state, Place::Host);
        self.tell_change(is_due);
        is_behind
    }
    /// Does all the work that is left, if the session goes on over another transport.
    pub(crate) async fn finish_work_of_link(self: &Arc<Self>) {
        while self.is_linked() && self.work_on() {
            runtime::yield_once().await;
        }
    }

    /// Whether the session can have another transport.
    pub(crate) fn is_linked(&self) -> bool {
        self.lock().endpoint.is_linked()
    }
}
