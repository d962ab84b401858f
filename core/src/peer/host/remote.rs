//! References into a session.

use std::fmt;
use std::sync::Arc;

use crate::id::ImportId;
use crate::peer::host::shared::Shared;
use crate::session::Ref;
use crate::value::Capability;

/// A reference into a session. It accounts for one reference count there.
pub(crate) struct Remote {
    pub(crate) shared: Arc<Shared>,
    pub(crate) of: Ref,
    pub(crate) kind: Kind,
}

/// Whether the target is a known object or a result that may not have arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An object. Awaiting it returns the reference itself.
    Stub,
    /// A result, which may be any value.
    Result,
}

impl Capability for Remote {}

impl Drop for Remote {
    fn drop(&mut self) {
        if self.of == Ref::Import(ImportId::MAIN) {
            self.shared.drop_root();
        } else {
            self.shared.release(self.of);
        }
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.of.fmt(f)
    }
}
