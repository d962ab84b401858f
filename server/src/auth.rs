//! Who a peer is. What it may do is the business of the object it is given.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bowline_core::link::{Credentials, Secret, TrustLevel};
use http::StatusCode;
use http::header::AUTHORIZATION;

use crate::error::Refusal;
use crate::peer_info::Peer;

/// Who a peer was found to be.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Principal {
    /// Names a user or a program, the same in every session. Goes into tokens as a hash, and to
    /// the peer itself.
    pub id: String,
    /// How long the peer may go on before it has to say again who it is. A client that knows how
    /// is asked a minute before; whoever has not answered by then is evicted. `None` is for as long
    /// as the session lasts.
    pub lease: Option<Duration>,
    /// How far the peer is trusted, for it to know.
    pub trust_level: Option<TrustLevel>,
    /// It was found out by the connection: a certificate, or a peer of the operating system. Every
    /// connection on which the session goes on is looked at again.
    pub is_of_connection: bool,
    is_anonymous: bool,
}

impl Principal {
    /// Creates a principal of this name. An authenticator must not return one whose name is empty:
    /// the peer is then refused with 401, so that a name that is missing in a user's record makes
    /// no anonymous session. See [`anonymous`](Self::anonymous).
    pub fn new(id: impl Into<String>) -> Self {
        Self { id: id.into(), lease: None, trust_level: None, is_of_connection: false, is_anonymous: false }
    }

    /// Sets how long the peer may go on before it has to say again who it is.
    #[must_use]
    pub fn with_lease(mut self, lease: Duration) -> Self {
        self.lease = Some(lease);
        self
    }

    /// Sets how far the peer is trusted.
    #[must_use]
    pub fn with_trust_level(mut self, trust_level: TrustLevel) -> Self {
        self.trust_level = Some(trust_level);
        self
    }

    /// Says that it was found out by the connection.
    #[must_use]
    pub fn of_connection(mut self) -> Self {
        self.is_of_connection = true;
        self
    }

    /// Creates the principal of peers that are not authenticated.
    pub fn anonymous() -> Self {
        Self { is_anonymous: true, ..Self::new("") }
    }

    /// Whether nobody has said who this is.
    pub fn is_anonymous(&self) -> bool {
        self.id.is_empty()
    }

    /// Returns the principal, or a refusal if its name is empty and it is not marked as anonymous.
    pub(crate) fn named(self) -> Result<Self, Refusal> {
        if self.id.is_empty() && !self.is_anonymous {
            tracing::warn!("the authenticator returned a principal with an empty id");
            return Err(unauthorized("the credentials name no principal"));
        }
        Ok(self)
    }
}

/// Finds out who a peer is before it gets a root object: once for each session, and again when
/// its lease is about to end, when the session is made again by another process, and when
/// [`Reauth`](crate::Reauth) asks for it.
///
/// Closures from a bearer token to an optional principal are authenticators, too.
#[async_trait]
pub trait Authenticator: Send + Sync + 'static {
    /// Who presents these credentials. The scheme is whatever the peer says: refuse those that
    /// are not known. Peers that show nothing have the scheme `none`.
    ///
    /// Dropped when the peer goes away, and after [`HttpLimits::handshake`](crate::HttpLimits::handshake).
    ///
    /// # Errors
    /// The peer is refused. With status 401 it may try again, three times on a connection.
    async fn authenticate(&self, peer: &Peer, credentials: &Credentials) -> Result<Principal, Refusal>;
}

/// Takes everybody who does not say who they are.
#[derive(Debug)]
pub(crate) struct Anonymous;

#[async_trait]
impl Authenticator for Anonymous {
    async fn authenticate(&self, _peer: &Peer, credentials: &Credentials) -> Result<Principal, Refusal> {
        // A token of HTTP's own is for the root function, which sees the headers.
        match credentials.scheme.as_str() {
            Credentials::NONE | HTTP => Ok(Principal::anonymous()),
            scheme => Err(unauthorized(format!("credentials of scheme {scheme:?} are not asked for here"))),
        }
    }
}

#[async_trait]
impl<F> Authenticator for F
where
    F: Fn(&str) -> Option<Principal> + Send + Sync + 'static,
{
    async fn authenticate(&self, _peer: &Peer, credentials: &Credentials) -> Result<Principal, Refusal> {
        let (Credentials::BEARER | HTTP, Some(token)) = (credentials.scheme.as_str(), &credentials.token) else {
            return Err(unauthorized("a bearer token is asked for"));
        };
        self(token.expose()).ok_or_else(|| unauthorized("this token is nobody's"))
    }
}

/// The scheme of a bearer token that came as an HTTP header.
pub(crate) const HTTP: &str = "http-bearer";

/// What a peer has shown by its request's headers.
pub(crate) fn of_headers(peer: &Peer) -> Credentials {
    let header = peer.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token =
        header.and_then(|header| header.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    match token {
        Some((_, token)) => Credentials { scheme: HTTP.to_owned(), token: Some(Secret::new(token.trim())) },
        None => Credentials::default(),
    }
}

/// Returns the scheme of credentials as it may be logged: clients may write anything into it.
pub(crate) fn loggable_scheme(shown: &Credentials) -> &str {
    const CHARS_MAX: usize = 32;
    let scheme = shown.scheme.as_str();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let is_loggable = !scheme.is_empty() && scheme.len() <= CHARS_MAX && scheme.bytes().all(is_plain);
    if is_loggable { scheme } else { "malformed" }
}

fn unauthorized(why: impl Into<String>) -> Refusal {
    Refusal::new(StatusCode::UNAUTHORIZED, why)
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_anonymous() { "anonymous" } else { &self.id })
    }
}
