//! Lifting: converts the ids of a session into capabilities, with which they reach the application.
//!
//! It runs under the lock, so it must not drop a reference, which may run user code.

use std::sync::Arc;

use crate::id::ImportId;
use crate::peer::host::remote::{Kind, Remote};
use crate::peer::host::shared::{Shared, State};
use crate::peer::host::target::Entry;
use crate::session::{self, Ref};
use crate::value::{Cap, Payload};

impl State {
    /// Converts a payload for the application. Each reference count passes to the reference that holds it.
    pub(crate) fn lift(&mut self, shared: &Arc<Shared>, payload: Payload<Ref>) -> Payload<Cap> {
        payload.map_refs(|of| self.lift_one(shared, of))
    }

    fn lift_one(&mut self, shared: &Arc<Shared>, of: Ref) -> Cap {
        let kind = match of {
            Ref::Target(target) => {
                // An object that has not been restored is restored when it is called, through the session.
                if let Some(Entry::Object(object)) = self.targets.get(target) {
                    let cap = Arc::clone(object).reference();
                    self.endpoint.session.release(of);
                    return cap;
                }
                Kind::Stub
            }
            Ref::Import(id) => {
                if self.endpoint.session.kind(of) == session::Kind::Writable
                    && let Some(streams) = shared.settings().streams
                {
                    return streams.outlet(shared, of);
                }
                if id == ImportId::MAIN {
                    shared.add_root();
                }
                Kind::Stub
            }
            Ref::Promise(_) => Kind::Result,
        };
        Cap::new(Remote { shared: Arc::clone(shared), of, kind })
    }
}
