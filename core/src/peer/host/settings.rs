//! The settings of a session that its host uses, and what the layers above implement for it.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use crate::limits::Limits;
use crate::peer::host::memory::MemoryBudget;
use crate::peer::host::outgoing_errors::Hook;
use crate::peer::host::running::RunningCalls;
use crate::peer::host::shared::Shared;
use crate::peer::host::target::{Call, Entry, Target};
use crate::peer::interface::call_log::CallLog;
use crate::session::Ref;
use crate::value::Cap;

/// The settings of a session.
#[derive(Clone, Default)]
pub(crate) struct Settings {
    pub(crate) limits: Arc<Limits>,
    pub(crate) on_send_error: Option<Arc<Hook>>,
    pub(crate) memory: Option<MemoryBudget>,
    pub(crate) running_calls: Option<RunningCalls>,
    /// `None` unless the session is durable.
    pub(crate) persistence: Option<Arc<dyn Persistence>>,
    /// `None` for a private session, which has no peer to exchange streams with.
    pub(crate) streams: Option<&'static dyn Streams>,
}

/// What makes a session durable.
pub(crate) trait Persistence: Any + fmt::Debug + Send + Sync {
    fn session_id(&self) -> Arc<str>;

    /// Returns the log of recorded calls.
    fn log(&self) -> Option<Arc<dyn CallLog>>;

    /// Lets another process run a call that has not begun, if this one ends first.
    fn keep_for_rerun(&self, shared: &Arc<Shared>, call: &Call);

    /// Returns `true` once: the caller then warns that a revocable reference is not durable.
    fn warns_of_revocable(&self) -> bool;
}

/// The streams of a session.
pub(crate) trait Streams: Sync {
    /// Creates a reference to a writable of the peer. Takes over a reference count of `of`.
    fn outlet(&self, shared: &Arc<Shared>, of: Ref) -> Cap;

    /// Creates the two ends of a stream from the peer: the one that it writes to, and the one to read.
    fn pipe(&self, shared: &Arc<Shared>) -> [Arc<dyn Target>; 2];

    /// Returns the job that sends a local stream. Takes over a reference count of `into`.
    fn pump(&self, shared: &Arc<Shared>, source: Option<&Entry>, into: Ref) -> Box<dyn FnOnce() + Send>;
}
