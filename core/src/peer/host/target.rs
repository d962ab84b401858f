//! What the target ids of a session stand for, and the deliveries to it.

use std::fmt;
use std::sync::Arc;

use crate::id::{PromiseId, TargetId};
use crate::peer::host::running::Permit;
use crate::peer::host::shared::Shared;
use crate::peer::interface::call_log::CallId;
use crate::session::{CloseReason, Path};
use crate::value::{Cap, Payload};

/// An object that a session can deliver calls to. The layers above implement it for local objects, and for
/// references into other sessions.
pub(crate) trait Target: fmt::Debug + Send + Sync {
    /// Starts a delivery. Everything before its first await runs here.
    fn deliver(self: Arc<Self>, shared: &Arc<Shared>, call: Call);

    /// Returns a reference to the object. Runs no user code.
    fn reference(self: Arc<Self>) -> Cap;

    /// Returns `true` if it is the writable end of a stream.
    fn is_writable(&self) -> bool {
        false
    }

    /// Returns `true` if it is the writable end of a stream that a reader in this process reads.
    fn is_read(&self) -> bool {
        false
    }

    /// Records that the session in which the peer could write has ended.
    fn lose_writer(&self, closed: &CloseReason) {
        let _ = closed;
    }
}

/// The object that a [`TargetId`] stands for.
#[derive(Clone, Debug)]
pub(crate) enum Entry {
    Object(Arc<dyn Target>),
    /// An object that has not been restored yet, by its index among the dormant objects.
    Dormant(usize),
}

impl Entry {
    pub(crate) fn new(target: impl Target + 'static) -> Self {
        Self::Object(Arc::new(target))
    }
}

/// A delivery, with its target looked up and its references lifted.
pub(crate) struct Call {
    pub(crate) entry: Option<Entry>,
    pub(crate) call: PromiseId,
    pub(crate) target: TargetId,
    /// Where the call comes from, in a durable session.
    pub(crate) origin: Option<Origin>,
    pub(crate) path: Path,
    pub(crate) args: Option<Payload<Cap>>,
    /// The call's place among the running calls of all sessions, once it has one.
    pub(crate) permit: Option<Permit>,
}

/// What a durable session knows of a delivery before it runs.
pub(crate) struct Origin {
    pub(crate) name: Option<CallId>,
    /// Whether another process may have run the call.
    pub(crate) again: bool,
}

impl Call {
    /// Returns `true` if the call writes to, closes, or aborts a stream that this side exports.
    pub(crate) fn is_of_stream(&self) -> bool {
        matches!(&self.entry, Some(Entry::Object(object)) if object.is_writable()) && self.uses_stream()
    }

    /// Returns `true` unless the call reads the object itself.
    pub(crate) fn uses_stream(&self) -> bool {
        self.args.is_some() || !self.path.is_empty()
    }
}
