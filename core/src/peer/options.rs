//! What a session is started with.

use std::fmt;
use std::sync::Arc;

use crate::limits::Limits;
use crate::peer::durability::Durability;
use crate::peer::leaving::Leaving;
use crate::peer::memory::MemoryBudget;
use crate::peer::running::RunningCalls;
use crate::value::ErrorValue;

/// What a session is started with: its bounds, and what becomes of errors on their way out.
#[derive(Clone, Default)]
pub struct Options {
    /// Every bound on what the peer can make us hold.
    pub limits: Arc<Limits>,
    on_send_error: Option<Arc<Hook>>,
    pub(crate) durability: Option<Arc<Durability>>,
    pub(crate) memory: Option<MemoryBudget>,
    pub(crate) running_calls: Option<RunningCalls>,
}

pub(crate) type Hook = dyn Fn(ErrorValue) -> ErrorValue + Send + Sync;

impl Options {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the bounds.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits.into();
        self
    }

    /// Makes the session durable: recipes of the objects that the peer is given are kept in it, and
    /// calls that may come again are told apart.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = Some(Arc::new(durability));
        self
    }

    /// Bounds the calls that run at the same time in all sessions that are given a clone of `bound`,
    /// beside [`Limits::running_calls`], which is for each session alone. Without, nothing bounds
    /// them together.
    #[must_use]
    pub fn running_calls(mut self, bound: RunningCalls) -> Self {
        self.running_calls = Some(bound);
        self
    }

    /// Sets what is sent in place of each error.
    ///
    /// `hook` sees every error that leaves: what methods reject with, errors inside of results and
    /// arguments, the error of an abort. Of an error with a cause, the cause comes first. It may
    /// take away or add what it likes, a stack included, and what it returns is sent as it is;
    /// only capabilities among the properties are left out. Values thrown that are no errors are
    /// not its business.
    ///
    /// Without a hook errors are sent as they are, but never with a stack.
    ///
    /// It runs on the task that sends, so it must not block. Should it panic, the peer gets
    /// `Error: internal error`.
    #[must_use]
    pub fn on_send_error(mut self, hook: impl Fn(ErrorValue) -> ErrorValue + Send + Sync + 'static) -> Self {
        self.on_send_error = Some(Arc::new(hook));
        self
    }

    /// A message as it leaves, for those who write one beside a session: see
    /// [`on_send_error`](Self::on_send_error).
    pub fn message_to_send(&self, text: String) -> String {
        Leaving::new(self).message(text)
    }

    pub(crate) fn hook(&self) -> Option<Arc<Hook>> {
        self.on_send_error.clone()
    }
}

impl From<Limits> for Options {
    fn from(limits: Limits) -> Self {
        Self { limits: limits.into(), ..Self::default() }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("limits", &self.limits)
            .field("on_send_error", &self.on_send_error.is_some())
            .field("durability", &self.durability)
            .field("memory", &self.memory)
            .finish()
    }
}
