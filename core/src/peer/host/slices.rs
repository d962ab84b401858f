//! Work that would delay other sessions: the driver does it in slices, on a thread beside the runtime, and
//! carries out the outputs in between.

use std::sync::Arc;

use crate::link::Attachment;
use crate::peer::host::outputs::Place;
use crate::peer::host::shared::Shared;

impl Shared {
    /// Does a slice of the session's remaining work. Its outputs are left to the driver.
    pub(crate) fn work(&self) {
        let mut state = self.lock();
        if state.endpoint.session.has_work() {
            state.endpoint.session.resume_work();
            state.endpoint.mark_changed();
        }
    }

    /// Carries out the outputs of the session. Returns `true` if it has work to do.
    pub(crate) fn drain_outputs_for(self: &Arc<Self>, at: Attachment) -> bool {
        let state = self.lock();
        let has_work = state.endpoint.session.has_work();
        self.drain_outputs(state, Place::Driver(at));
        has_work
    }

    /// Returns `true` if the session has work to do.
    pub(crate) fn has_work(&self) -> bool {
        self.lock().endpoint.session.has_work()
    }

    /// Returns `true` if the session has a link, so that it can have another transport.
    pub(crate) fn is_linked(&self) -> bool {
        self.lock().endpoint.is_linked()
    }
}
