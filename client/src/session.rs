//! A session on a WebSocket, as its user holds it.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bowline_core::link::{Features, LinkStats, List, ListFilter, Objects, RuntimeIdentity, SharedLimits, Welcome};
use bowline_core::peer::{Connection, Events, KeepError, Reference, SessionError, Stub};
use bowline_core::session::{Closed, Stats};
use tokio::sync::oneshot;

use crate::saved::Papers;

/// An open session. Clones are the same session, and so are all references obtained from it.
///
/// The session ends with [`close`](Self::close), when the server ends it, and when the last handle on
/// it is dropped: the last `Session`, and the last reference, promise, reader and writer obtained from
/// it. Objects that this side has given to the server are no handles; [`detach`](Self::detach) leaves a
/// session open that serves those alone. A session that is [saved](crate::Connect::save) loses its
/// connection with the last handle, and stays at the server for a later process until its window is
/// over.
#[derive(Clone)]
pub struct Session {
    connection: Connection,
    alive: Arc<Alive>,
    server: Option<Arc<Server>>,
    papers: Option<Arc<Papers>>,
}

/// Dropped with the last `Session`.
struct Alive(Mutex<Option<oneshot::Sender<()>>>);

/// Tells when a session is of no use to the application any more.
pub(crate) struct Handles(oneshot::Receiver<()>);

impl Handles {
    /// Waits until the last handle on the session is dropped; forever if the session is detached.
    pub(crate) async fn unused(self, connection: &Connection) {
        match self.0.await {
            Ok(()) => std::future::pending().await,
            Err(_dropped) => connection.unused().await,
        }
    }
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
    pub(crate) fn new(connection: Connection, linked: Option<(Server, Arc<Papers>)>) -> (Self, Handles) {
        let (server, papers) = linked.unzip();
        let (alive, handles) = oneshot::channel();
        let alive = Arc::new(Alive(Mutex::new(Some(alive))));
        (Self { connection, alive, server: server.map(Arc::new), papers }, Handles(handles))
    }

    /// Leaves the session open when the last handle on it is dropped: until the server ends it, the
    /// runtime does, or the connection is lost for longer than the server keeps the session. For
    /// programs that serve objects they have given to the server, and call nothing themselves.
    pub fn detach(self) {
        let alive = self.alive.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Refused means that the session has ended.
        let _ = alive.map(|alive| alive.send(()));
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
