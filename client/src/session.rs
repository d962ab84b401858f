//! A session on a WebSocket, as its user holds it.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bowline_core::link::{Features, LinkStats, List, ListFilter, Objects, RuntimeIdentity, SharedLimits, Welcome};
use bowline_core::peer::{Connection, Events, KeepError, Reference, SessionError, Stub};
use bowline_core::session::{Closed, Stats};

use crate::saved::Papers;

/// An open session. Clones are the same session, and so are all references obtained from it; it
/// stays open until [`close`](Self::close), or until the server ends it, even
/// when every handle on it is dropped while references live.
#[derive(Clone)]
pub struct Session {
    connection: Connection,
    server: Option<Arc<Server>>,
    papers: Option<Arc<Papers>>,
}

/// What a server that resumes sessions has said of itself and of this one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Server {
    /// Names the session in logs of both sides.
    pub session_id: String,
    /// What the server is.
    pub runtime: RuntimeIdentity,
    /// Who it takes us for; `None` is nobody in particular.
    pub principal: Option<String>,
    /// What both sides can do.
    pub features: Features,
    /// What the server bounds, if it has said so.
    pub limits: Option<SharedLimits>,
    /// How long the session is kept without a connection.
    pub resume_window: Duration,
}

impl Server {
    pub(crate) fn of(welcome: &Welcome) -> Self {
        Self {
            session_id: welcome.session_id.clone(),
            runtime: welcome.runtime.clone(),
            principal: welcome.principal.clone(),
            features: Features::of(&welcome.features),
            limits: welcome.limits,
            resume_window: Duration::from_secs(welcome.resume_window_sec),
        }
    }
}

impl Session {
    pub(crate) fn new(connection: Connection, linked: Option<(Server, Arc<Papers>)>) -> Self {
        let (server, papers) = linked.unzip();
        Self { connection, server: server.map(Arc::new), papers }
    }

    /// The server's root object. Nothing is sent; that it has these methods shows when one is
    /// called.
    pub fn root<R: Reference>(&self) -> R {
        self.connection.root()
    }

    /// The server's root object, untyped.
    pub fn root_dyn(&self) -> Stub {
        self.connection.root_dyn()
    }

    /// Ends the session and waits until it has ended. Calls that are not answered yet fail.
    /// Dropping the future does not take it back.
    pub async fn close(&self) -> Closed {
        self.connection.close();
        self.closed().await
    }

    /// Waits until the session has ended, and says why. Cancel-safe.
    pub async fn closed(&self) -> Closed {
        self.connection.closed().await
    }

    /// Whether the session outlives its connection: the server knows how, and it has not ended.
    pub fn is_resumable(&self) -> bool {
        self.connection.link(|endpoint| endpoint.is_linked() && !endpoint.session.is_closed())
    }

    /// What happens to the connection from now on: it is lost, it is back, or the session is over.
    /// A session that is not resumable has no events.
    pub fn events(&self) -> Events {
        self.connection.events()
    }

    /// What the server has said of itself; `None` if it does not resume sessions.
    pub fn server(&self) -> Option<&Server> {
        self.server.as_deref()
    }

    /// Until when we may go on without saying again who we are, in seconds since 1970; see
    /// [`Connect::credentials`](crate::Connect::credentials). `None` is for as long as the session
    /// lasts.
    pub fn lease_expires_at(&self) -> Option<u64> {
        let renewed = self.connection.link(|endpoint| endpoint.lease());
        renewed.map(|lease| lease.expires_at)
    }

    /// What the server holds for this session: results of our calls, and objects that we were
    /// given. Answers come a page at a time, 100 entries unless the question says otherwise;
    /// `next_cursor` asks for the next. Cancel-safe.
    ///
    /// # Errors
    /// The session is over, or the server does not answer such questions.
    pub async fn list(
        &self,
        filter: ListFilter,
        limit: Option<usize>,
        cursor: Option<String>,
    ) -> Result<Objects, SessionError> {
        self.connection.list(List { request_id: 0, filter, limit, cursor }).await
    }

    /// Keeps a reference of the server's under a name, in place of what was kept under it, so that
    /// this program finds it again when it was started anew; see
    /// [`Connect::save`](crate::Connect::save). It is kept once the session is saved. One whose call
    /// is not answered when the program ends fails with `CALL_OUTCOME_UNKNOWN` afterwards.
    ///
    /// # Errors
    /// It is none that the server gave in this session, the name is longer than 256 bytes, or 1,000
    /// are kept.
    pub fn keep(&self, name: &str, reference: &impl Reference) -> Result<(), KeepError> {
        self.connection.keep(name, reference.stub())
    }

    /// The reference that is kept under a name. It fails with `CAPABILITY_LOST` if the server does
    /// not have any more what it refers to.
    pub fn kept<R: Reference>(&self, name: &str) -> Option<R> {
        self.connection.kept(name).map(R::from_stub)
    }

    /// Keeps it no longer; says whether something was kept.
    pub fn unkeep(&self, name: &str) -> bool {
        self.connection.unkeep(name)
    }

    /// The names under which references are kept, in order.
    pub fn kept_names(&self) -> Vec<String> {
        self.connection.kept_names()
    }

    /// Saves the session as it is now; see [`Connect::save`](crate::Connect::save). Does nothing
    /// when nobody has said where to, and when the session is over. What has begun is written to its
    /// end, also when the future is dropped.
    ///
    /// # Errors
    /// That of the write.
    pub async fn save(&self) -> io::Result<()> {
        match &self.papers {
            Some(papers) => papers.save(&self.connection).await,
            None => Ok(()),
        }
    }

    /// How far the two sides are with each other.
    pub fn link_stats(&self) -> LinkStats {
        self.connection.link(|endpoint| endpoint.link_stats())
    }

    /// How many references the two sides hold of each other.
    pub fn stats(&self) -> Stats {
        self.connection.stats()
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
