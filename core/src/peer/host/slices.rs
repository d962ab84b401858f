//! Work that would delay other sessions: the driver does it in slices and yields to the runtime in
//! between.

use std::sync::Arc;

use crate::link::Attachment;
use crate::peer::host::outputs::Place;
use crate::peer::host::shared::Shared;
use crate::peer::runtime;

impl Shared {
    /// Does a slice of the session's remaining work and carries out its outputs. Returns `true` if there is
    /// more.
    pub(crate) fn work_on(self: &Arc<Self>, at: Attachment) -> bool {
        let mut state = self.lock();
        if !state.endpoint.session.has_work() {
            self.drain_outputs(state, Place::Driver(at));
            return false;
        }
        state.endpoint.session.resume_work();
        state.endpoint.mark_changed();
        let is_behind = state.endpoint.session.has_work();
        let is_due = self.is_change_due(&state);
        self.drain_outputs(state, Place::Driver(at));
        self.notify_changed(is_due);
        is_behind
    }

    /// Does all remaining work, if the session can continue on another transport.
    pub(crate) async fn finish_work_of_link(self: &Arc<Self>, at: Attachment) {
        while self.is_linked() && self.work_on(at) {
            runtime::yield_once().await;
        }
    }

    /// Returns `true` if the session has a link, so that it can have another transport.
    pub(crate) fn is_linked(&self) -> bool {
        self.lock().endpoint.is_linked()
    }
}
