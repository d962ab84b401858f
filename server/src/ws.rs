//! WebSocket sessions: the HTTP side of the handshake, and plain sessions from the upgrade to the
//! end. `link` has sessions with a link.

use std::pin::Pin;
use std::sync::Arc;

use bowline_core::link::SUBPROTOCOL;
use bowline_core::link::handshake::RESUME_BYTES_MAX;
use bowline_core::peer::{Connection, Stub};
use bowline_core::session::CloseReason;
use bowline_transport::{Ending, KeepAlive, Metered, Parting, Traffic, WebSocket};
use http::header::{
    CONNECTION, HOST, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{timeout, timeout_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;
use tracing::Instrument;

use crate::drain::{Deadlines, GOING_AWAY, Ticket};
use crate::handshake::Handshake;
use crate::link;
use crate::peer_info::{Peer, TransportKind};
use crate::permits::Permits;
use crate::recovery::Keeping;
use crate::reply::{self, Answer};
use crate::service::Service;

/// The only version (RFC 6455, section 4.1).
const VERSION: HeaderValue = HeaderValue::from_static("13");
/// The length of 16 bytes in base64.
const KEY_CHARS: usize = 24;

/// Returns whether a request asks for a WebSocket, even if it is malformed.
pub(crate) fn asks_for_websocket(request: &Parts) -> bool {
    request.method == Method::GET && lists(&request.headers, UPGRADE, "websocket")
}

/// Answers the handshake. The session begins after the upgrade. Compression and unknown
/// subprotocols are declined by not mentioning them.
pub(crate) async fn open(service: &Arc<Service>, request: &mut Parts, permits: Permits, ticket: Ticket) -> Answer {
    let accept = match accept_key(request) {
        Ok(accept) => accept,
        Err(refused) => return *refused,
    };
    let Some(upgrade) = request.extensions.remove::<OnUpgrade>() else {
        return reply::text(StatusCode::NOT_IMPLEMENTED, "the HTTP server does not support upgrades");
    };
    let peer = Peer::new(request, TransportKind::WebSocket, Keeping::of(&service.registry));
    let span = tracing::debug_span!("session", via = "websocket", peer = ?peer.address);
    let keeps = !service.registry.resumption.window.is_zero();
    let linked = keeps && lists(&request.headers, SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL);
    let first = if linked {
        First::Hello(Box::new(peer))
    } else {
        let admitted = {
            let _busy = permits.busy();
            service.admit(peer).await
        };
        match admitted {
            Ok(root) => {
                permits.settle();
                First::Root(root)
            }
            Err(refusal) => return reply::text(refusal.status, refusal.message),
        }
    };
    let opening = Opening { service: Arc::clone(service), first, ticket };
    let session = async move {
        // The size of a task is that of the largest future it may await. Boxes keep futures out of
        // it that only some sessions need, or only for a moment.
        let begun = tokio::select! {
            begun = Box::pin(opening.begin(upgrade)) => begun,
            () = Box::pin(permits.displaced()) => {
                tracing::debug!("connection displaced by clients of other addresses");
                None
            }
        };
        if let Some(session) = begun {
            permits.settle();
            session.await;
        }
        drop(permits);
    };
    tokio::spawn(session.instrument(span));
    switching(accept, linked)
}

fn accept_key(request: &Parts) -> Result<HeaderValue, Box<Answer>> {
    let headers = &request.headers;
    let bad = |why: &'static str| Err(Box::new(reply::text(StatusCode::BAD_REQUEST, why)));
    if request.version != Version::HTTP_11 || !lists(headers, CONNECTION, "upgrade") || !headers.contains_key(HOST) {
        return bad("a WebSocket handshake needs HTTP/1.1 with Host and Connection: Upgrade");
    }
    if headers.get(SEC_WEBSOCKET_VERSION) != Some(&VERSION) {
        let mut answer = reply::text(StatusCode::UPGRADE_REQUIRED, "only WebSocket version 13 is supported");
        answer.headers_mut().insert(SEC_WEBSOCKET_VERSION, VERSION);
        answer.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
        return Err(Box::new(answer));
    }
    let key = headers.get(SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes).unwrap_or_default();
    if key.len() != KEY_CHARS || !key.ends_with(b"==") {
        return bad("Sec-WebSocket-Key is missing or not 16 bytes in base64");
    }
    HeaderValue::from_str(&derive_accept_key(key)).or_else(|_unprintable| bad("Sec-WebSocket-Key is invalid"))
}

fn switching(accept: HeaderValue, linked: bool) -> Answer {
    let mut answer = Answer::default();
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = answer.headers_mut();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    if linked {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    }
    answer
}

/// Returns whether a header whose value is a list, possibly in several lines, contains `token`.
fn lists(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    let values = headers.get_all(name);
    let mut tokens = values.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    tokens.any(|listed| listed.trim().eq_ignore_ascii_case(token))
}

/// A session after its handshake was answered.
struct Opening {
    service: Arc<Service>,
    first: First,
    ticket: Ticket,
}

/// What is transmitted first on a connection.
enum First {
    /// Messages of a plain session with this root object.
    Root(Stub),
    /// The handshake of the link protocol.
    Hello(Box<Peer>),
}

/// A future that runs a session on its connection, to the end.
pub(crate) type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Opening {
    /// Waits for the upgrade and begins the session.
    async fn begin(self, upgrade: OnUpgrade) -> Option<Running> {
        let io = match timeout(self.service.http.handshake, upgrade).await {
            Ok(Ok(io)) => io,
            Ok(Err(error)) => {
                tracing::debug!(%error, "WebSocket upgrade failed");
                return None;
            }
            Err(_elapsed) => {
                tracing::debug!("WebSocket upgrade timed out");
                return None;
            }
        };
        match io.downcast::<TokioIo<TcpStream>>() {
            Ok(parts) => {
                let io = parts.io.into_inner();
                // The driver batches writes itself, so Nagle's algorithm would only add delay. The
                // server in which the service is mounted may not have disabled it.
                if let Err(error) = io.set_nodelay(true) {
                    tracing::debug!(%error, "cannot set TCP_NODELAY");
                }
                // Copied, because they are part of hyper's buffer, which is much larger.
                let read = parts.read_buf.to_vec();
                drop(parts.read_buf);
                self.session(io, read).await
            }
            Err(io) => self.session(TokioIo::<Upgraded>::new(io), Vec::new()).await,
        }
    }

    async fn session<S>(self, io: S, read: Vec<u8>) -> Option<Running>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let config = bowline_transport::config(&self.service.options.limits);
        let mut io = Metered::new(io).after(read);
        if let First::Hello(_) = self.first {
            io = io.opening(RESUME_BYTES_MAX);
        }
        let stream = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
        let keep_alive: KeepAlive = self.service.http.keep_alive;
        let (transport, ending, parting) = WebSocket::new(stream, keep_alive);
        let root = match self.first {
            First::Root(root) => root,
            First::Hello(peer) => {
                let handshake = Handshake { service: self.service, peer };
                return link::begin(handshake, self.ticket, transport, ending, parting).await;
            }
        };
        let (connection, driver) = Connection::start(transport, Some(root), self.service.options.clone());
        tracing::debug!("session opened");
        let session = Session { connection, driver: Box::pin(driver), ending, parting };
        Some(Box::pin(session.run(self.ticket)))
    }
}

/// A plain session that is running.
struct Session<S, D> {
    connection: Connection,
    driver: D,
    ending: Ending<S>,
    parting: Parting,
}

impl<S, D> Session<S, D>
where
    S: AsyncRead + AsyncWrite + Unpin,
    D: Future<Output = CloseReason> + Unpin,
{
    /// Runs the session to its end. If the future is dropped early, the connection is closed
    /// without a close frame.
    async fn run(mut self, ticket: Ticket) {
        tokio::select! {
            closed = &mut self.driver => Box::pin(self.ended(&closed)).await,
            deadlines = ticket.draining() => Box::pin(self.drain(deadlines, &ticket)).await,
        }
    }

    async fn ended(self, closed: &CloseReason) {
        let stats = self.connection.stats();
        let Traffic { bytes_in, bytes_out, messages_in, messages_out } = self.ending.finish().await;
        tracing::debug!(
            by = ?closed.by, message = closed.message, imports = stats.imports, exports = stats.exports,
            bytes_in, bytes_out, messages_in, messages_out, "session closed"
        );
    }

    /// Waits for running calls, then closes the connection, all by the deadlines.
    async fn drain(mut self, deadlines: Deadlines, ticket: &Ticket) {
        let quiet = async { timeout_at(deadlines.calls, self.connection.settled()).await };
        let mut closed = tokio::select! {
            closed = &mut self.driver => Some(closed),
            quiet = quiet => {
                if quiet.is_err() {
                    ticket.cut(self.connection.calls_running());
                }
                None
            }
        };
        let goodbye = async move {
            if closed.is_none() {
                self.parting.set(GOING_AWAY.0, GOING_AWAY.1);
                self.connection.close();
            }
            let closed = match closed.take() {
                Some(closed) => closed,
                None => (&mut self.driver).await,
            };
            self.ended(&closed).await;
        };
        if timeout_at(deadlines.all, goodbye).await.is_err() {
            tracing::debug!("session cut off by the end of the drain");
        }
    }
}
