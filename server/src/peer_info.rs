//! The peer of a session, as far as it is known when the session begins.

use std::net::SocketAddr;

use bowline_core::peer::Vars;
use bowline_core::resume::principal_hash;
use http::request::Parts;
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Uri};

use crate::address::AddressGroup;
use crate::auth::Principal;
use crate::recovery::Keeping;

/// The client that requests a session.
///
/// Nothing in it is verified except `address` and `principal`.
///
/// ```
/// # mod bowline { pub use bowline_core::peer::Stub; pub use bowline_server::{Peer, Service}; }
/// use bowline::{Peer, Service, Stub};
///
/// # fn example(members: Stub, guests: Stub) -> Service {
/// Service::new(move |peer: Peer| if peer.principal.is_anonymous() { guests.clone() } else { members.clone() })
/// # }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Peer {
    /// The address of the connection, or of the client behind a [trusted
    /// proxy](crate::Service::trusted_proxies). `None` if the service is mounted in another server
    /// and no layer added a [`PeerAddress`] to the request's extensions.
    pub address: Option<SocketAddr>,
    /// The URI of the request.
    pub uri: Uri,
    /// The headers of the request, such as `cookie`, `authorization`, and `origin`. Requests from
    /// pages of other origins were already refused; see
    /// [`Service::allow_origins`](crate::Service::allow_origins).
    pub headers: HeaderMap,
    /// How the messages of the session are transported.
    pub transport: TransportKind,
    /// The authenticated principal; anonymous without an authenticator.
    pub principal: Principal,
    /// The variables of the session, which live as long as it. The peer cannot access them unless
    /// the application hands out [`Vars::target`].
    pub vars: Vars,
    /// Extensions that layers in front of the service added, such as axum's `ConnectInfo`.
    pub extensions: Extensions,
    pub(crate) keeping: Option<Keeping>,
}

/// How the messages of a session are transported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TransportKind {
    /// A WebSocket session.
    WebSocket,
    /// An HTTP batch.
    Batch,
}

/// The address of a connection, as a request extension. [`serve`](crate::Service::serve) adds it.
/// If the service is mounted in another server, a layer can add it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddress(pub SocketAddr);

impl Peer {
    pub(crate) fn new(request: &Parts, transport: TransportKind, keeping: Option<Keeping>) -> Self {
        Self {
            address: request.extensions.get().map(|PeerAddress(address)| *address),
            uri: owned_uri(&request.uri),
            headers: owned_headers(&request.headers),
            transport,
            principal: Principal::anonymous(),
            vars: Vars::new(),
            extensions: request.extensions.clone(),
            keeping,
        }
    }
}

impl Peer {
    /// Returns the name under which stored data of the peer is counted: that of its principal, or
    /// of its address if it is anonymous.
    pub(crate) fn account(&self) -> Option<String> {
        if !self.principal.is_anonymous() {
            return Some(format!("p:{}", principal_hash(&self.principal.id)));
        }
        self.address_group().map(|address| format!("a:{address}"))
    }

    /// Returns the address group of the peer.
    pub(crate) fn address_group(&self) -> Option<AddressGroup> {
        self.address.map(AddressGroup::from)
    }
}

// Values of a request share the buffer that it was read into. A session may last for days, so it
// takes copies that do not keep the buffer alive.

fn owned_uri(uri: &Uri) -> Uri {
    uri.to_string().parse().unwrap_or_else(|_| uri.clone())
}

fn owned_headers(headers: &HeaderMap) -> HeaderMap {
    let owned = |name: &HeaderName, value: &HeaderValue| {
        let mut copy = HeaderValue::from_bytes(value.as_bytes()).ok()?;
        copy.set_sensitive(value.is_sensitive());
        Some((HeaderName::from_bytes(name.as_str().as_bytes()).ok()?, copy))
    };
    let pairs = headers.iter().map(|(name, value)| owned(name, value).unwrap_or_else(|| (name.clone(), value.clone())));
    let mut copies = HeaderMap::with_capacity(headers.len());
    for (name, value) in pairs {
        copies.append(name, value);
    }
    copies
}
