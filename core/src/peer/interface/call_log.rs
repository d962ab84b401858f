//! The ids of calls, and the log of recorded calls. See docs/durable.md.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::error::ErrorCode;
use crate::id::ExportId;

/// The log of the recorded calls of one session, by the number of the call. Entries are kept for as
/// long as the session, as far as the store has room.
#[async_trait]
pub trait CallLog: Send + Sync + 'static {
    /// Records that a call is about to begin, and returns what the log has of it. From then on, the call
    /// counts as begun for every caller.
    ///
    /// # Errors
    /// The code with which the call fails. It does not run.
    async fn begin(&self, call: i64) -> Result<Begun, ErrorCode>;

    /// Records the outcome of a call. `outcome` is at most 64 KiB.
    ///
    /// # Errors
    /// The outcome was not recorded. The call is answered nevertheless.
    async fn end(&self, call: i64, outcome: &str) -> Result<(), ErrorCode>;
}

/// The entry that the log had of a call when [`CallLog::begin`] was called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begun {
    /// The call never began before.
    Now,
    /// The call began before, and its outcome is unknown.
    Before,
    /// The call ended before, with this outcome.
    Ended(String),
}

/// The id of a call.
///
/// It stays the same when the call is repeated, after a lost connection and in another process. No two
/// calls have the same id.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CallId {
    session: Arc<str>,
    number: i64,
}

impl CallId {
    /// Returns the id of the call whose push has this id in a session. Other calls have none.
    pub(crate) fn new(session: impl FnOnce() -> Arc<str>, id: ExportId) -> Option<Self> {
        (id != ExportId::MAIN).then(|| Self { session: session(), number: id.0 })
    }

    /// Returns the id of the session in which the call was made.
    pub fn session_id(&self) -> &str {
        &self.session
    }

    /// Returns the number of the call in its session.
    pub fn number(&self) -> i64 {
        self.number
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.session, self.number)
    }
}

thread_local! {
    static CURRENT: RefCell<Option<CallId>> = const { RefCell::new(None) };
}

/// Returns the id of the current call, inside of a method.
///
/// An application that stores the id in one transaction with the effect of the call can detect
/// repetitions.
///
/// Returns `None` outside of methods, in tasks that a method spawns, in sessions that are not durable,
/// and for calls that have no id: those of a mapper function, and calls on results of other sessions.
pub fn call_id() -> Option<CallId> {
    CURRENT.try_with(|current| current.borrow().clone()).ok().flatten()
}

/// A guard that sets the current call.
pub(crate) struct Named(Option<CallId>);

impl Named {
    pub(crate) fn enter(id: &CallId) -> Self {
        Self(CURRENT.with(|current| current.replace(Some(id.clone()))))
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        let before = self.0.take();
        // During the destruction of thread-locals there is no current call to restore.
        let _ = CURRENT.try_with(|current| current.replace(before));
    }
}
