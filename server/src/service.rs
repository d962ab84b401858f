//! The tower service: tells batches from WebSockets, and asks for a root object.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bowline_core::limits::Limits;
use bowline_core::peer::{Options, Reference, Stub};
use bowline_core::value::ErrorValue;
use http::header::{ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN};
use http::request::Parts;
use http::{HeaderValue, Method, Request, StatusCode};
use http_body::Body;
use tokio::time::{timeout, timeout_at};

use crate::drain::{Deadlines, Sessions, Ticket};
use crate::error::Refusal;
use crate::http_limits::HttpLimits;
use crate::peer_info::{Peer, Via};
use crate::permits::Connections;
use crate::reply::{self, Answer};
use crate::{batch, ws};

/// Serves Cap'n Web: `POST` is an HTTP batch, `GET` with `Upgrade: websocket` a session.
///
/// Clones are the same service; [`drain`](Self::drain) on one drains all.
///
/// WebSockets need a server that supports HTTP/1.1 upgrades through hyper, as axum's does.
#[derive(Clone)]
pub struct Service {
    root: Root,
    pub(crate) options: Options,
    pub(crate) http: HttpLimits,
    allowed_origin: Option<HeaderValue>,
    pub(crate) sessions: Sessions,
    pub(crate) connections: Connections,
}

type Root = Arc<dyn Fn(Peer) -> Opening + Send + Sync>;
type Opening = Pin<Box<dyn Future<Output = Result<Stub, Refusal>> + Send>>;

impl Service {
    /// A service whose every session, and every batch, gets the root object that `root` returns.
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

    /// As [`new`](Self::new), for a root object that takes time or may be refused. The future is
    /// dropped when the peer goes away, and after [`HttpLimits::handshake`].
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
        Self {
            root,
            options: Options::default(),
            http: HttpLimits::default(),
            allowed_origin: None,
            sessions: Sessions::default(),
            connections: Connections::default(),
        }
    }

    /// Sets the bounds of each session.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.options.limits = limits;
        self
    }

    /// Sets what is sent in place of each error; see [`Options::on_send_error`].
    #[must_use]
    pub fn on_send_error(mut self, hook: impl Fn(ErrorValue) -> ErrorValue + Send + Sync + 'static) -> Self {
        self.options = self.options.on_send_error(hook);
        self
    }

    /// Sets the bounds on HTTP.
    #[must_use]
    pub fn http_limits(mut self, http: HttpLimits) -> Self {
        self.http = http;
        self
    }

    /// Lets scripts of this origin, or of any with `*`, read the answers of batches. Off by
    /// default. It does not concern WebSockets, which browsers let any site open: see
    /// [`Peer::headers`].
    #[must_use]
    pub fn allow_origin(mut self, origin: HeaderValue) -> Self {
        self.allowed_origin = Some(origin);
        self
    }

    /// Stops, and returns when that is done, at the latest after `within`.
    ///
    /// New requests are answered with 503. Each session is closed once nothing is owed to its
    /// peer, with code 1001; what still runs shortly before the deadline is cut off. When the
    /// future is dropped the service stops all the same.
    pub async fn drain(&self, within: Duration) {
        let deadlines = self.sessions.start_drain(within);
        self.emptied(deadlines).await;
    }

    /// Waits until all that a drain waits for is over, or until its deadline. Cancel-safe.
    pub(crate) async fn emptied(&self, deadlines: Deadlines) {
        let empty = async {
            self.sessions.emptied().await;
            self.connections.emptied().await;
        };
        // Whoever is left at the deadline ends by the same deadline.
        drop(timeout_at(deadlines.all, empty).await);
    }

    pub(crate) async fn respond<B>(self, request: Request<B>) -> Answer
    where
        B: Body<Error: fmt::Display> + Send,
    {
        let (mut request, body) = request.into_parts();
        if request.method == Method::OPTIONS && self.allowed_origin.is_some() {
            return self.preflight();
        }
        let upgrade = ws::asks_for_websocket(&request);
        if request.method != Method::POST && !upgrade {
            return reply::not_allowed();
        }
        let ticket = match self.sessions.admit(self.http.connections) {
            Ok(ticket) => ticket,
            Err(why) => return reply::unavailable(why),
        };
        if upgrade { ws::open(&self, &mut request, ticket).await } else { self.batch(&request, body, ticket).await }
    }

    async fn batch<B>(&self, request: &Parts, body: B, ticket: Ticket) -> Answer
    where
        B: Body<Error: fmt::Display> + Send,
    {
        let mut answer = match self.root(Peer::new(request, Via::Batch)).await {
            Ok(root) => batch::answer(self, root, body, &ticket).await,
            Err(refused) => refused,
        };
        if let Some(origin) = &self.allowed_origin {
            answer.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        }
        answer
    }

    /// Asks for a root object. An `Err` is the answer to give.
    pub(crate) async fn root(&self, peer: Peer) -> Result<Stub, Answer> {
        let late = || reply::text(StatusCode::GATEWAY_TIMEOUT, format!("no session within {:?}", self.http.handshake));
        timeout(self.http.handshake, (self.root)(peer))
            .await
            .map_err(|_elapsed| late())?
            .map_err(|refusal| reply::text(refusal.status, refusal.message))
    }

    fn preflight(&self) -> Answer {
        let mut answer = reply::text(StatusCode::NO_CONTENT, "");
        let headers = answer.headers_mut();
        if let Some(origin) = &self.allowed_origin {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        }
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST"));
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("*"));
        answer
    }
}

impl<B> tower_service::Service<Request<B>> for Service
where
    B: Body<Error: fmt::Display> + Send + 'static,
{
    type Response = Answer;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Answer, Infallible>> + Send>>;

    /// Always ready: what is too much is answered with 503.
    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move { Ok(service.respond(request).await) })
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").field("options", &self.options).field("http", &self.http).finish_non_exhaustive()
    }
}
