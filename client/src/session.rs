//! The application's handle of a session.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bowline_core::link::{Features, LinkStats, RuntimeIdentity, SharedLimits, Welcome};
use bowline_core::peer::{Connection, KeepError, LinkEvents, Reference, Stub};
use bowline_core::session::{CloseReason, SessionStats};
use bowline_core::time::UnixTime;
use tokio::sync::oneshot;

use crate::connect::SessionBuilder;
use crate::listing::ObjectPages;
use crate::saved_session::SavedSession;

/// An open session. It is cheap to clone; clones are handles of the same session.
///
/// The session ends
///
/// - when [`close`](Self::close) is called,
/// - when the server ends it, and
/// - when its last handle is dropped. The handles are `Session` values and all references,
///   promises, readers, and writers that were obtained from them. Objects of this side that the
///   server holds are not handles; call [`detach`](Self::detach) to keep a session open for them
///   alone.
///
/// If the session is [saved](crate::SessionBuilder::save), dropping the last handle closes only the
/// connection. The server keeps the session for a later process until the resume window ends.
///
/// ```no_run
/// # mod bowline { pub use bowline_client::Session; }
/// use bowline::Session;
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let session = Session::builder("wss://example.com/rpc").bearer("secret").connect().await?;
/// session.root_dyn().call("hello", ()).await?;
/// let reason = session.close().await;
/// println!("closed: {reason}");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Session {
    connection: Connection,
    alive: Arc<Alive>,
    server: Option<Arc<ServerInfo>>,
    saved_session: Option<Arc<SavedSession>>,
}

/// Signals its drop with the last `Session`.
struct Alive(Mutex<Option<oneshot::Sender<()>>>);

/// Resolves when the application has dropped all handles of the session.
pub(crate) struct Handles(oneshot::Receiver<()>);

impl Handles {
    /// Waits until the last handle is dropped; forever if the session is detached.
    pub(crate) async fn unused(self, connection: &Connection) {
        match self.0.await {
            Ok(()) => std::future::pending().await,
            Err(_dropped) => connection.unused().await,
        }
    }
}

/// What a server that resumes sessions has said about itself and the session.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerInfo {
    /// The id of the session, as in the logs of both sides.
    pub session_id: String,
    /// The identity of the server.
    pub runtime: RuntimeIdentity,
    /// The principal that the server assigned to this client; `None` if it is anonymous.
    pub principal: Option<String>,
    /// The features that both sides support.
    pub features: Features,
    /// The limits of the server, if it has sent them.
    pub limits: Option<SharedLimits>,
    /// How long the server keeps the session without a connection.
    pub resume_window: Duration,
}

impl ServerInfo {
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
    /// Returns a builder of a session with the server at a `ws:` or `wss:` URL, with default settings.
    /// `http:` and `https:` URLs name the same servers.
    pub fn builder(url: impl Into<String>) -> SessionBuilder {
        SessionBuilder::new(url.into())
    }

    pub(crate) fn new(connection: Connection, linked: Option<(ServerInfo, Arc<SavedSession>)>) -> (Self, Handles) {
        let (server, saved_session) = linked.unzip();
        let (alive, handles) = oneshot::channel();
        let alive = Arc::new(Alive(Mutex::new(Some(alive))));
        (Self { connection, alive, server: server.map(Arc::new), saved_session }, Handles(handles))
    }

    /// Keeps the session open after its last handle is dropped: until the server ends it, the
    /// runtime shuts down, or the connection is lost for longer than the resume window. This is for
    /// programs that only serve objects they have given to the server.
    pub fn detach(self) {
        let alive = self.alive.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        // An error means that the session has ended.
        let _ = alive.map(|alive| alive.send(()));
    }

    /// Returns the root object of the server. Nothing is sent. If the object does not have the
    /// methods of `R`, calls fail.
    pub fn root<R: Reference>(&self) -> R {
        self.connection.root()
    }

    /// Returns the root object of the server as a reference without a type.
    pub fn root_dyn(&self) -> Stub {
        self.connection.root_dyn()
    }

    /// Closes the session and waits until it has ended. Unanswered calls fail. The session is
    /// closed even if the future is dropped.
    pub async fn close(&self) -> CloseReason {
        self.connection.close();
        self.closed().await
    }

    /// Waits until the session has ended, and returns why. Cancel-safe.
    pub async fn closed(&self) -> CloseReason {
        self.connection.closed().await
    }

    /// Returns whether the session can resume: the server supports it, and the session has not
    /// ended.
    pub fn is_resumable(&self) -> bool {
        self.connection.is_linked() && !self.connection.is_closed()
    }

    /// Returns a stream of what happens to the session from now on, such as a lost or resumed
    /// connection. A session that is not resumable has no events.
    pub fn events(&self) -> LinkEvents {
        self.connection.events()
    }

    /// Returns what the server said about itself, or `None` if it does not resume sessions.
    pub fn server(&self) -> Option<&ServerInfo> {
        self.server.as_deref()
    }

    /// Returns when the current credentials expire, or `None` if they last as long as the session.
    /// New credentials come from [`SessionBuilder::credentials`](crate::SessionBuilder::credentials).
    pub fn lease_expires_at(&self) -> Option<SystemTime> {
        UnixTime(self.connection.lease()?.expires_at).to_system_time()
    }

    /// Lists what the server holds for this session: results of calls, and objects that this side
    /// was given.
    ///
    /// Nothing is requested before [`ObjectPages::next_page`].
    pub fn list(&self) -> ObjectPages {
        ObjectPages::new(self.connection.clone())
    }

    /// Keeps a reference to an object of the server under a name, so that a later process of this
    /// program finds it; see [`SessionBuilder::save`](crate::SessionBuilder::save). It replaces the reference
    /// that was kept under this name.
    ///
    /// The change takes effect when the session is next saved. If the reference is the result of a
    /// call that is not answered before this process ends, calls on it fail with
    /// `CALL_OUTCOME_UNKNOWN` afterward.
    ///
    /// # Errors
    /// Returns a [`KeepError`] if the reference is not from the server of this session, if the name
    /// is longer than 256 bytes, or if 1,000 references are kept already.
    pub fn keep(&self, name: &str, reference: &impl Reference) -> Result<(), KeepError> {
        self.connection.keep(name, reference.stub())
    }

    /// Returns the reference that is kept under a name. Calls on it fail with `CAPABILITY_LOST` if
    /// the server no longer has its object.
    pub fn kept<R: Reference>(&self, name: &str) -> Option<R> {
        self.connection.kept(name).map(R::from_stub)
    }

    /// Stops keeping the reference under a name. Returns whether there was one.
    pub fn forget(&self, name: &str) -> bool {
        self.connection.forget(name)
    }

    /// Returns the names of all kept references, sorted.
    pub fn kept_names(&self) -> Vec<String> {
        self.connection.kept_names()
    }

    /// Saves the session now; see [`SessionBuilder::save`](crate::SessionBuilder::save). Does nothing if no
    /// function for it was set, or if the session has ended. A write that has begun continues even
    /// if the future is dropped.
    ///
    /// # Errors
    /// Returns the error of the write.
    pub async fn save(&self) -> io::Result<()> {
        match &self.saved_session {
            Some(saved_session) => saved_session.save(&self.connection).await,
            None => Ok(()),
        }
    }

    /// Returns the message counters of the link.
    pub fn link_stats(&self) -> LinkStats {
        self.connection.link_stats()
    }

    /// Returns how many references both sides hold of each other.
    pub fn stats(&self) -> SessionStats {
        self.connection.stats()
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
