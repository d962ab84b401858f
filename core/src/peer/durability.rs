//! What a session is given so that another process can go on with it: who restores its objects,
//! where outcomes of calls are kept, and by which names its calls are known.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::error::ErrorCode;
use crate::id::ExportId;
use crate::peer::restorers::{RestoreCtx, Restorers};
use crate::peer::vars::Vars;
use crate::session::{Kind, Recipe};

/// What makes a session durable; see [`Options::durability`](crate::peer::Options::durability).
#[derive(Clone)]
pub struct Durability {
    pub(crate) ctx: RestoreCtx,
    pub(crate) restorers: Arc<Restorers>,
    pub(crate) log: Option<Arc<dyn CallLog>>,
    pub(crate) vars: Vars,
}

impl Durability {
    /// For the session and the peer of `ctx`.
    pub fn new(ctx: RestoreCtx, restorers: Arc<Restorers>) -> Self {
        Self { ctx, restorers, log: None, vars: Vars::new() }
    }

    /// The session's variables, which are kept with it: see
    /// [`Connection::changed`](crate::peer::Connection::changed).
    #[must_use]
    pub fn vars(self, vars: Vars) -> Self {
        Self { vars, ..self }
    }

    /// Keeps the outcomes of `#[rpc(recorded)]` methods. Without a log they fail, when they come
    /// again, as any other method does.
    #[must_use]
    pub fn log(self, log: impl CallLog) -> Self {
        Self { log: Some(Arc::new(log)), ..self }
    }
}

impl fmt::Debug for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Durability").field("ctx", &self.ctx).field("log", &self.log.is_some()).finish_non_exhaustive()
    }
}

impl Restorers {
    /// Whether something of a session outlives the process: an object by its recipe, and what it
    /// is on the wire. For `Session::revive`.
    ///
    /// # Errors
    /// With which code it is lost.
    pub fn lives(&self, recipe: Option<&Recipe>, kind: Kind) -> Result<(), ErrorCode> {
        match recipe {
            _ if kind != Kind::Object => Err(ErrorCode::StreamInterrupted),
            None => Err(ErrorCode::CapabilityLost),
            Some(recipe) if self.knows(&recipe.restorer) => Ok(()),
            Some(_) => Err(ErrorCode::RestorerUnknown),
        }
    }
}

/// Where the outcomes of recorded calls of one session are kept, by the numbers of the calls, for
/// ten minutes at least.
#[async_trait]
pub trait CallLog: Send + Sync + 'static {
    /// A call is about to begin. From now on it has begun, whoever asks.
    ///
    /// # Errors
    /// The code that the call fails with; it is not carried out.
    async fn begin(&self, call: i64) -> Result<Begun, ErrorCode>;

    /// A call has ended. `outcome` is at most 64 KiB.
    ///
    /// # Errors
    /// It was not kept. The call is answered all the same.
    async fn end(&self, call: i64, outcome: &str) -> Result<(), ErrorCode>;
}

/// What is known of a call that is about to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begun {
    /// It never began before.
    Now,
    /// It began, and nobody knows how it ended.
    Before,
    /// It has ended, with this outcome.
    Ended(String),
}

/// The name of a call, the same whenever it comes again: after a lost connection, and in another
/// process. No two calls have the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CallId {
    session: Arc<str>,
    number: i64,
}

impl CallId {
    pub(crate) fn new(durability: &Durability, id: ExportId) -> Option<Self> {
        (id != ExportId::MAIN).then(|| Self { session: durability.ctx.shared_session_id(), number: id.0 })
    }

    /// The session in which it was made.
    pub fn session_id(&self) -> &str {
        &self.session
    }

    /// Its number in the session.
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

/// The name of the call that is being carried out, inside of a method. An application that keeps
/// it together with the effect of the call can tell a call that comes again.
///
/// `None` outside of methods and in what they spawn, in sessions that are not durable, and for
/// calls that have no name: those of a mapped function, and those on results of other sessions.
pub fn call_id() -> Option<CallId> {
    CURRENT.try_with(|current| current.borrow().clone()).ok().flatten()
}

/// While it lives, `call_id` has an answer.
pub(crate) struct Named(Option<CallId>);

impl Named {
    pub(crate) fn enter(id: &CallId) -> Self {
        Self(CURRENT.with(|current| current.replace(Some(id.clone()))))
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        let before = self.0.take();
        // A thread that ends has no current call.
        let _ = CURRENT.try_with(|current| current.replace(before));
    }
}
