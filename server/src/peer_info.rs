//! What is known of a peer when its session begins.

use std::net::SocketAddr;

use bowline_core::peer::Vars;
use bowline_core::resume::principal_hash;
use http::request::Parts;
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Uri};

use crate::address::AddressGroup;
use crate::auth::Principal;
use crate::restoration::Keeping;

/// Who asks for a session, as far as HTTP tells. Nothing in it is proven but `address` and `principal`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Peer {
    /// Where the connection comes from, or the client behind a
    /// [trusted proxy](crate::Service::trusted_proxies). `None` when the service is mounted in another
    /// server and no layer there put a [`PeerAddress`] into the request's extensions.
    pub address: Option<SocketAddr>,
    /// What was asked for.
    pub uri: Uri,
    /// The request's headers: cookies, `authorization`, `origin`. Requests from pages of other
    /// origins are refused before; see [`Service::allow_origins`](crate::Service::allow_origins).
    pub headers: HeaderMap,
    /// How the session's messages travel.
    pub via: Via,
    /// Who the peer was found to be; anonymous without an authenticator.
    pub principal: Principal,
    /// The variables of the session, which last as long as it does. The peer itself has no part in
    /// them unless it is given [`Vars::target`].
    pub vars: Vars,
    /// What layers before the service added, such as axum's `ConnectInfo`.
    pub extensions: Extensions,
    pub(crate) keeping: Option<Keeping>,
}

/// How the messages of a session travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// Both ways, until the socket is closed.
    WebSocket,
    /// One request, one answer.
    Batch,
}

/// The address of a connection, as a request extension. [`serve`](crate::Service::serve) adds
/// it; a layer may, when the service is mounted in another server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddress(pub SocketAddr);

impl Peer {
    pub(crate) fn new(request: &Parts, via: Via, keeping: Option<Keeping>) -> Self {
        Self {
            address: request.extensions.get().map(|PeerAddress(address)| *address),
            uri: owned_uri(&request.uri),
            headers: owned_headers(&request.headers),
            via,
            principal: Principal::anonymous(),
            vars: Vars::new(),
            extensions: request.extensions.clone(),
            keeping,
        }
    }
}

impl Peer {
    /// Returns the name under which what is stored for the peer is counted: that of its principal, or of its
    /// address if it is anonymous.
    pub(crate) fn account(&self) -> Option<String> {
        if !self.principal.is_anonymous() {
            return Some(format!("p:{}", principal_hash(&self.principal.id)));
        }
        self.address_group().map(|address| format!("a:{address}"))
    }

    /// Returns the unit in which the peer counts by address.
    pub(crate) fn address_group(&self) -> Option<AddressGroup> {
        self.address.map(AddressGroup::from)
    }
}

// What a request holds shares the buffer that it was read into. A session may last for days, and must
// not keep that alive.

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
