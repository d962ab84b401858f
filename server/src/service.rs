//! The tower service: distinguishes batches from WebSockets, admits peers, and applies the
//! settings.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bowline_core::error::ErrorCode;
use bowline_core::limits::Limits;
use bowline_core::link::Credentials;
use bowline_core::peer::{MemoryBudget, Reference, RunningCalls, SessionOptions, Stub};
use bowline_core::value::ErrorValue;
use http::request::Parts;
use http::{Method, Request, StatusCode};
use http_body::Body;
use tokio::time::{timeout, timeout_at};

use crate::auth::{self, Anonymous, Authenticator, Principal};
use crate::drain::{Deadlines, DrainReport, Sessions, Ticket};
use crate::error::Refusal;
use crate::http_limits::HttpLimits;
use crate::origin::{Hosts, Origins};
use crate::peer_info::{Peer, TransportKind};
use crate::permits::{ConnectionPermit, Connections, Permits};
use crate::places::{GiveWay, Places};
use crate::proxies::TrustedProxies;
use crate::recovery::{Keeper, Keeping, Recovery};
use crate::registry::Registry;
use crate::reply::{self, Answer};
use crate::resumption::Resumption;
use crate::{batch, ws};

/// A service that speaks Cap'n Web. A `POST` request is an HTTP batch, and a `GET` request with
/// `Upgrade: websocket` opens a session.
///
/// Use it alone with [`listen`](Self::listen) or [`serve`](Self::serve), or mount it in another
/// server as a tower service. The other server must support HTTP/1.1 upgrades through hyper, as
/// axum does.
///
/// Clones are the same service; [`drain`](Self::drain) on one of them drains all.
///
/// ```no_run
/// # mod bowline { pub use bowline_core::peer::Stub; pub use bowline_core::limits::Limits; pub use bowline_server::{HttpLimits, Peer, Service}; }
/// use bowline::{HttpLimits, Limits, Peer, Service, Stub};
///
/// # async fn run(root: Stub) -> Result<(), Box<dyn std::error::Error>> {
/// let service = Service::new(move |_peer: Peer| root.clone())
///     .limits(Limits::public())
///     .http_limits(HttpLimits::default().connections(1_000))
///     .allow_origins(["https://example.com"]);
/// service.listen("127.0.0.1:8080").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Service {
    root: Root,
    pub(crate) options: SessionOptions,
    pub(crate) http: HttpLimits,
    pub(crate) origins: Origins,
    pub(crate) hosts: Hosts,
    /// The bytes that all sessions hold together.
    memory: MemoryBudget,
    pub(crate) sessions: Sessions,
    pub(crate) connections: Connections,
    /// Connections that speak the link protocol and whose clients have not been admitted yet.
    pub(crate) openings: Places,
    pub(crate) proxies: Option<TrustedProxies>,
    authenticator: Arc<dyn Authenticator>,
    pub(crate) registry: Arc<Registry>,
}

/// Which process takes over the sessions of a service that drains.
///
/// ```
/// # mod bowline { pub mod server { pub use bowline_server::Successor; } }
/// use std::time::Duration;
///
/// use bowline::server::Successor;
///
/// let successor = Successor::after(Duration::from_millis(500)).at("wss://b.example.com/rpc");
/// assert_eq!(successor.retry_after, Some(Duration::from_millis(500)));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Successor {
    /// How long clients should wait before they reconnect.
    pub retry_after: Option<Duration>,
    /// The URL at which clients find their sessions, if it is not the current one. A client does
    /// not go from a `wss:` to a `ws:` URL.
    pub resume_url: Option<String>,
}

impl Successor {
    /// Creates a successor at the same URL, to which clients reconnect after `wait`.
    pub fn after(wait: Duration) -> Self {
        Self { retry_after: Some(wait), resume_url: None }
    }

    /// Sets the URL of the successor.
    #[must_use]
    pub fn at(mut self, url: impl Into<String>) -> Self {
        self.resume_url = Some(url.into());
        self
    }
}

/// How long sessions may take to end after the deadline of a drain.
const CUT_OFF: Duration = Duration::from_millis(100);

type Root = Arc<dyn Fn(Peer) -> RootFuture + Send + Sync>;
type RootFuture = Pin<Box<dyn Future<Output = Result<Stub, Refusal>> + Send>>;

impl Service {
    /// Creates a service. `root` returns the root object of each session and each batch.
    pub fn new<F, R>(root: F) -> Self
    where
        F: Fn(Peer) -> R + Send + Sync + 'static,
        R: Reference,
    {
        Self::opening(Arc::new(move |peer| {
            let stub = root(peer).stub().clone();
            Box::pin(std::future::ready(Ok(stub)))
        }))
    }

    /// Creates a service whose root objects take time to create or may be refused.
    ///
    /// The future is dropped when the peer disconnects, and after [`HttpLimits::handshake`].
    pub fn try_new<F, Fut, R>(root: F) -> Self
    where
        F: Fn(Peer) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, Refusal>> + Send + 'static,
        R: Reference,
    {
        Self::opening(Arc::new(move |peer| {
            let root = root(peer);
            Box::pin(async move { root.await.map(|root| root.stub().clone()) })
        }))
    }

    fn opening(root: Root) -> Self {
        let http = HttpLimits::default();
        let memory = MemoryBudget::new(http.total_held_bytes);
        Self {
            root,
            options: SessionOptions::default()
                .memory(memory.clone())
                .running_calls(RunningCalls::new(http.running_calls)),
            memory,
            http,
            origins: Origins::default(),
            hosts: Hosts::default(),
            sessions: Sessions::default(),
            connections: Connections::default(),
            openings: Places::new(GiveWay::All),
            proxies: None,
            authenticator: Arc::new(Anonymous),
            registry: Registry::new(Resumption::default(), None),
        }
    }

    /// Sets the limits of each session.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.options.limits = limits.into();
        self
    }

    /// Sets a function that sees each error before it is sent, and returns what is sent in its
    /// place. See [`SessionOptions::on_send_error`].
    #[must_use]
    pub fn on_send_error(mut self, hook: impl Fn(ErrorValue) -> ErrorValue + Send + Sync + 'static) -> Self {
        self.options = self.options.on_send_error(hook);
        self
    }

    /// Sets the authenticator, which determines [`Peer::principal`] before a peer gets a root
    /// object. By default, every peer is anonymous, and credentials in the first frame of a session
    /// are refused.
    ///
    /// A client that speaks the link protocol sends its credentials in the first frame. All others
    /// use the header `Authorization: Bearer`, which the authenticator sees as the scheme
    /// `http-bearer`.
    #[must_use]
    pub fn authenticate(mut self, authenticator: impl Authenticator) -> Self {
        self.authenticator = Arc::new(authenticator);
        self
    }

    /// Sets how sessions outlive their connections. Call this before the service is cloned: earlier
    /// clones do not share their sessions with this one.
    #[must_use]
    pub fn resumption(mut self, resumption: Resumption) -> Self {
        self.registry = Registry::new(resumption, self.registry.keeper.clone());
        self
    }

    /// Lets sessions outlive this process: their state is stored where another process finds it. By
    /// default, sessions end with the process.
    ///
    /// All processes need the same [`Resumption::keys`]. Call this before the service is cloned:
    /// earlier clones do not share their sessions with this one.
    #[must_use]
    pub fn recovery(mut self, recovery: Recovery) -> Self {
        self.registry = Registry::new(self.registry.resumption.clone(), Some(Keeper::new(recovery)));
        self
    }

    /// Returns the number of sessions that are kept without a connection.
    pub fn parked_sessions(&self) -> usize {
        self.registry.parked()
    }

    /// Sets the limits on connections, requests, and batches.
    #[must_use]
    pub fn http_limits(mut self, http: HttpLimits) -> Self {
        self.memory = MemoryBudget::new(http.total_held_bytes);
        self.options = self.options.memory(self.memory.clone()).running_calls(RunningCalls::new(http.running_calls));
        self.http = http;
        self
    }

    /// Stores a checkpoint of every session now, and returns when the clients have acknowledged it,
    /// or after one second for each. Does nothing for sessions that end with the process.
    ///
    /// If the future is dropped, some sessions are not stored.
    pub async fn checkpoint(&self) {
        self.registry.checkpoint_all().await;
    }

    /// Drains the service: waits for running calls, ends or hands over all sessions, and returns
    /// when that is done, at the latest after `within`.
    ///
    /// New requests are answered with 503. A session or batch ends once none of its calls is
    /// running and every answer was written, whether or not results are awaited. Clients can make
    /// further calls until then. Calls that are still running shortly before the deadline are
    /// aborted; the report counts them.
    ///
    /// A session that another process takes over is handed over as soon as the calls have completed
    /// that were running when the drain began. Its client then holds back new calls until it
    /// reaches the other process. A stream that the client is still writing to at that point ends
    /// with `STREAM_INTERRUPTED`.
    ///
    /// Dropping the future does not stop the drain. With [`Duration::MAX`], the drain waits for
    /// calls as long as they run.
    pub async fn drain(&self, within: Duration) -> DrainReport {
        self.drain_to(within, Successor::default()).await
    }

    /// Drains the service as [`drain`](Self::drain) does, and tells clients whose sessions outlive
    /// this process where and when to reconnect.
    pub async fn drain_to(&self, within: Duration, successor: Successor) -> DrainReport {
        self.registry.set_successor(successor);
        let deadlines = self.sessions.start_drain(within);
        self.registry.drain_parked(&self.sessions, deadlines);
        self.emptied(deadlines).await;
        if let Some(keeper) = &self.registry.keeper {
            keeper.close().await;
        }
        let report = self.sessions.report();
        tracing::info!(calls_cut = report.calls_cut, "service drained");
        report
    }

    /// Ends a session for good. Returns `false` if this process does not own it.
    ///
    /// `session` is the id in [`Welcome`](bowline_core::link::Welcome) and in the log. The client
    /// gets `code` and `reason`, its tokens become invalid, and the stored state of the session is
    /// deleted.
    ///
    /// With [`Recovery::in_tokens_unfenced`], tokens cannot be revoked: until it expires, the
    /// last token that the client received recovers the session, here or in another process. Revoke
    /// the client's credentials as well, or keep sessions in a store.
    pub fn evict(&self, session: &str, code: &ErrorCode, reason: &str) -> bool {
        let entry = self.registry.entry(session);
        entry.inspect(|entry| self.registry.evict(entry, code, reason)).is_some()
    }

    /// Ends all sessions of a principal for good, as [`evict`](Self::evict) does. Returns how many
    /// there were.
    pub fn evict_principal(&self, id: &str, code: &ErrorCode, reason: &str) -> usize {
        let sessions = self.registry.of_whom(|entry| entry.principal.id == id);
        sessions.iter().for_each(|entry| self.registry.evict(entry, code, reason));
        sessions.len()
    }

    /// Waits until all sessions and connections have ended, or until the deadline of the drain.
    /// Cancel-safe.
    pub(crate) async fn emptied(&self, deadlines: Deadlines) {
        let empty = async {
            self.sessions.emptied().await;
            self.connections.emptied().await;
        };
        // What is left at the deadline ends by itself at the deadline.
        if timeout_at(deadlines.all, empty).await.is_err() {
            // Wait briefly until the sessions have counted the calls that they abort.
            drop(timeout(CUT_OFF, self.sessions.emptied()).await);
        }
    }

    pub(crate) async fn respond<B>(self: Arc<Self>, request: Request<B>) -> Answer
    where
        B: Body<Error: fmt::Display> + Send,
    {
        let (mut request, body) = request.into_parts();
        let from = self.find_client(&mut request);
        if let Err(refused) = self.check_origin(&request) {
            return *refused;
        }
        // Removed from the request, because the application may keep its extensions longer than the
        // connection lasts.
        let permit = request.extensions.remove::<ConnectionPermit>();
        let client = match permit.as_ref().map(|permit| permit.serve(from, &self.http)).transpose() {
            Ok(client) => client,
            Err(why) => return reply::unavailable(why),
        };
        let permits = Permits { connection: permit, _client: client };
        let mut answer = match self.preflight(&request) {
            Some(answer) => answer,
            None => self.answer(&mut request, body, permits).await,
        };
        self.allow_reading(&request.headers, &mut answer);
        answer
    }

    async fn answer<B>(self: &Arc<Self>, request: &mut Parts, body: B, permits: Permits) -> Answer
    where
        B: Body<Error: fmt::Display> + Send,
    {
        let upgrade = ws::asks_for_websocket(request);
        if request.method != Method::POST && !upgrade {
            return reply::not_allowed();
        }
        let ticket = match self.sessions.admit(self.http.connections) {
            Ok(ticket) => ticket,
            Err(why) => return reply::unavailable(why),
        };
        self.registry.watch_memory(&self.memory);
        if upgrade {
            ws::open(self, request, permits, ticket).await
        } else {
            self.batch(request, body, permits, ticket).await
        }
    }

    async fn batch<B>(&self, request: &Parts, body: B, permits: Permits, ticket: Ticket) -> Answer
    where
        B: Body<Error: fmt::Display> + Send,
    {
        let admitted = {
            let _busy = permits.busy();
            self.admit(Peer::new(request, TransportKind::Batch, Keeping::of(&self.registry))).await
        };
        match admitted {
            Ok(root) => batch::answer(self, root, body, &permits, ticket).await,
            Err(refusal) => reply::text(refusal.status, refusal.message),
        }
    }

    /// Authenticates a peer by its headers, and returns its root object.
    pub(crate) async fn admit(&self, mut peer: Peer) -> Result<Stub, Refusal> {
        peer.principal = self.authenticate_peer(&peer, &auth::of_headers(&peer)).await?;
        let (address, via) = (peer.address, peer.transport);
        self.root(peer).await.inspect_err(|refusal| {
            tracing::info!(
                monotonic_counter.bowline_sessions_refused = 1_u64,
                ?address,
                ?via,
                status = refusal.status.as_u16(),
                "session refused"
            );
        })
    }

    /// Authenticates a peer. Refused credentials are counted and logged here for all kinds of
    /// sessions, without the token.
    pub(crate) async fn authenticate_peer(&self, peer: &Peer, shown: &Credentials) -> Result<Principal, Refusal> {
        let found = self.in_time(self.authenticator.authenticate(peer, shown)).await;
        found.and_then(Principal::named).inspect_err(|refusal| {
            tracing::info!(
                monotonic_counter.bowline_credentials_refused = 1_u64,
                address = ?peer.address, via = ?peer.transport, scheme = auth::loggable_scheme(shown),
                status = refusal.status.as_u16(), "credentials refused"
            );
        })
    }

    /// Returns the root object for a peer.
    pub(crate) async fn root(&self, peer: Peer) -> Result<Stub, Refusal> {
        self.in_time((self.root)(peer)).await
    }

    async fn in_time<T>(&self, step: impl Future<Output = Result<T, Refusal>>) -> Result<T, Refusal> {
        timeout(self.http.handshake, step).await.unwrap_or_else(|_elapsed| {
            let message = format!("the session was not opened within {:?}", self.http.handshake);
            Err(Refusal::new(StatusCode::GATEWAY_TIMEOUT, message))
        })
    }
}

impl<B> tower_service::Service<Request<B>> for Service
where
    B: Body<Error: fmt::Display> + Send + 'static,
{
    type Response = Answer;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Answer, Infallible>> + Send>>;

    /// Always ready: excess requests are answered with 503.
    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let service = Arc::new(self.clone());
        Box::pin(async move { Ok(service.respond(request).await) })
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").field("options", &self.options).field("http", &self.http).finish_non_exhaustive()
    }
}
