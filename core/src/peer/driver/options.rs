//! The options of a session.

use std::fmt;
use std::sync::Arc;

use crate::limits::Limits;
use crate::peer::durable::durability::Durability;
use crate::peer::host::memory::MemoryBudget;
use crate::peer::host::outgoing_errors::{Hook, OutgoingErrors};
use crate::peer::host::running::RunningCalls;
use crate::peer::host::settings::{Persistence, Settings};
use crate::peer::stream::LinkedStreams;
use crate::value::ErrorValue;

/// The options of a session: its limits, and how errors are sent.
///
/// ```
/// # mod bowline { pub use bowline_core::limits::Limits; pub use bowline_core::peer::{Stub, testing}; pub mod transport { pub use bowline_core::peer::SessionOptions; } }
/// use bowline::testing::pair_with;
/// use bowline::transport::SessionOptions;
/// use bowline::{Limits, Stub};
///
/// # async fn example(root: Stub) {
/// // Errors are sent without their properties.
/// let options = SessionOptions::new().limits(Limits::public()).on_send_error(|mut error| {
///     error.props = Default::default();
///     error
/// });
/// let pair = pair_with(None, Some(root), options);
/// # }
/// ```
#[derive(Clone, Default)]
pub struct SessionOptions {
    /// The bounds on what the peer can make this side hold.
    pub limits: Arc<Limits>,
    on_send_error: Option<Arc<Hook>>,
    pub(crate) durability: Option<Arc<Durability>>,
    pub(crate) memory: Option<MemoryBudget>,
    pub(crate) running_calls: Option<RunningCalls>,
}

impl SessionOptions {
    /// Creates the default options.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the limits.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits.into();
        self
    }

    /// Makes the session durable: it keeps the recipes of the objects that the peer holds, and can tell
    /// repeated calls apart.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = Some(Arc::new(durability));
        self
    }

    /// Bounds the calls that run concurrently in all sessions that share a clone of `bound`, in addition to
    /// [`Limits::running_calls`], which applies to each session. There is no such bound by default.
    #[must_use]
    pub fn running_calls(mut self, bound: RunningCalls) -> Self {
        self.running_calls = Some(bound);
        self
    }

    /// Counts what the session holds towards a budget that other sessions share.
    #[must_use]
    pub fn memory(mut self, budget: MemoryBudget) -> Self {
        self.memory = Some(budget);
        self
    }

    /// Sets a hook that replaces each error before it is sent.
    ///
    /// `hook` is called with every error that is sent: rejections of methods, errors inside of results and
    /// arguments, and the error of an abort. For an error with a cause, it is called with the cause
    /// first. It may add and remove properties, including the stack, and its result is sent as it is,
    /// except that capabilities among the properties are left out. It is not called for thrown values that
    /// are not errors.
    ///
    /// Without a hook, errors are sent unchanged but never with a stack.
    ///
    /// The hook runs on the task that sends, so it must not block. If it panics, the peer receives
    /// `Error: internal error`.
    #[must_use]
    pub fn on_send_error(mut self, hook: impl Fn(ErrorValue) -> ErrorValue + Send + Sync + 'static) -> Self {
        self.on_send_error = Some(Arc::new(hook));
        self
    }

    /// Returns a message as it is to be sent, with the [hook](Self::on_send_error) applied. For messages
    /// that are written outside of a session.
    pub fn message_to_send(&self, text: String) -> String {
        OutgoingErrors::new(self.on_send_error.clone()).message(text)
    }
}

impl From<SessionOptions> for Settings {
    fn from(options: SessionOptions) -> Self {
        let SessionOptions { limits, on_send_error, durability, memory, running_calls } = options;
        let persistence = durability.map(|durability| durability as Arc<dyn Persistence>);
        Self { limits, on_send_error, memory, running_calls, persistence, streams: Some(&LinkedStreams) }
    }
}

impl From<Limits> for SessionOptions {
    fn from(limits: Limits) -> Self {
        Self { limits: limits.into(), ..Self::default() }
    }
}

impl fmt::Debug for SessionOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionOptions")
            .field("limits", &self.limits)
            .field("on_send_error", &self.on_send_error.is_some())
            .field("durability", &self.durability)
            .field("memory", &self.memory)
            .finish()
    }
}
