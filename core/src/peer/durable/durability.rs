//! The configuration that makes a session durable: its restorers, the log of recorded calls, and its
//! variables. See docs/durable.md.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use crate::error::ErrorCode;
use crate::peer::durable::restorers::{RestoreCtx, Restorers};
use crate::peer::durable::vars::Vars;
use crate::peer::host::settings::Persistence;
use crate::peer::host::shared::Shared;
use crate::peer::host::target::Call;
use crate::peer::interface::call_log::CallLog;
use crate::peer::reference::repeats::Kept;
use crate::session::{Kind, Recipe};

/// The parts of a durable session; see [`SessionOptions::durability`](crate::peer::SessionOptions::durability).
#[derive(Clone)]
pub struct Durability {
    pub(crate) ctx: RestoreCtx,
    pub(crate) restorers: Arc<Restorers>,
    pub(crate) log: Option<Arc<dyn CallLog>>,
    pub(crate) vars: Vars,
}

impl Durability {
    /// Creates the configuration for the session and the peer of `ctx`, without a call log and with no
    /// variables.
    pub fn new(ctx: RestoreCtx, restorers: Arc<Restorers>) -> Self {
        Self { ctx, restorers, log: None, vars: Vars::new() }
    }

    /// Sets the session variables, which are stored with the session. See
    /// [`Connection::changed`](crate::peer::Connection::changed).
    #[must_use]
    pub fn vars(self, vars: Vars) -> Self {
        Self { vars, ..self }
    }

    /// Sets where the outcomes of `#[rpc(recorded)]` methods are stored. Without a log, these methods are
    /// treated as all others.
    #[must_use]
    pub fn log(self, log: impl CallLog) -> Self {
        Self { log: Some(Arc::new(log)), ..self }
    }
}

impl Durability {
    /// Returns the configuration of a session, or `None` if the session is not durable.
    pub(crate) fn of(shared: &Shared) -> Option<&Self> {
        let persistence: &dyn Any = shared.settings().persistence.as_deref()?;
        persistence.downcast_ref()
    }
}

impl Persistence for Durability {
    fn session_id(&self) -> Arc<str> {
        self.ctx.shared_session_id()
    }

    fn log(&self) -> Option<Arc<dyn CallLog>> {
        self.log.clone()
    }

    fn keep_for_rerun(&self, shared: &Arc<Shared>, call: &Call) {
        let kept = Kept { target: call.target, path: call.path.clone(), args: call.args.clone() };
        shared.keep_for_rerun(call.call, kept);
    }

    fn warns_of_revocable(&self) -> bool {
        self.restorers.warns_of_revocable()
    }
}

impl fmt::Debug for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Durability").field("ctx", &self.ctx).field("log", &self.log.is_some()).finish_non_exhaustive()
    }
}

impl Restorers {
    /// Returns `Ok` if an object of a session can be restored by another process, judging by its recipe
    /// and its kind. For `Session::revive`.
    ///
    /// # Errors
    /// The code with which the object is lost.
    pub fn lives(&self, recipe: Option<&Recipe>, kind: Kind) -> Result<(), ErrorCode> {
        match recipe {
            _ if kind != Kind::Object => Err(ErrorCode::StreamInterrupted),
            None => Err(ErrorCode::CapabilityLost),
            Some(recipe) if self.knows(&recipe.restorer) => Ok(()),
            Some(_) => Err(ErrorCode::RestorerUnknown),
        }
    }
}
