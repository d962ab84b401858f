//! Authentication: who a peer is. What it may do is up to the root object that the service gives
//! it.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bowline_core::link::{Credentials, TrustLevel};
use http::StatusCode;
use http::header::AUTHORIZATION;

use crate::error::Refusal;
use crate::peer_info::Peer;

/// The identity of an authenticated peer.
///
/// ```
/// # mod bowline { pub use bowline_server::Principal; }
/// use std::time::Duration;
///
/// use bowline::Principal;
///
/// let ann = Principal::new("ann").lease(Duration::from_secs(3_600));
/// assert_eq!(ann.to_string(), "ann");
/// assert!(Principal::anonymous().is_anonymous());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Principal {
    /// The id of a user or a program, the same in every session. Tokens contain a hash of it, and
    /// the peer receives the id.
    pub id: String,
    /// How long the credentials are valid. A client that supports this is asked for new credentials
    /// a minute before the lease ends, and is evicted if it has not sent any by then. `None` means
    /// as long as the session.
    pub lease: Option<Duration>,
    /// The trust level that is reported to the peer.
    pub trust_level: Option<TrustLevel>,
    /// Whether the identity is that of the connection, such as a client certificate or the
    /// credentials of a Unix socket. The client is then authenticated again on every connection
    /// that resumes the session.
    pub is_bound_to_connection: bool,
    is_anonymous: bool,
}

impl Principal {
    /// Creates a principal with this id.
    ///
    /// An authenticator must not return a principal with an empty id. The peer is then refused with
    /// 401, so that a missing id in a user record does not create an anonymous session. See
    /// [`anonymous`](Self::anonymous).
    pub fn new(id: impl Into<String>) -> Self {
        Self { id: id.into(), lease: None, trust_level: None, is_bound_to_connection: false, is_anonymous: false }
    }

    /// Marks the identity as that of the connection.
    #[must_use]
    pub fn bound_to_connection(mut self) -> Self {
        self.is_bound_to_connection = true;
        self
    }

    /// Creates the principal of peers that are not authenticated.
    pub fn anonymous() -> Self {
        Self { is_anonymous: true, ..Self::new("") }
    }

    /// Returns whether the principal is anonymous.
    pub fn is_anonymous(&self) -> bool {
        self.id.is_empty()
    }

    /// Returns the principal, or a refusal if its id is empty and it is not marked as anonymous.
    pub(crate) fn named(self) -> Result<Self, Refusal> {
        if self.id.is_empty() && !self.is_anonymous {
            tracing::warn!("the authenticator returned a principal with an empty id");
            return Err(unauthorized("the principal of these credentials has no id"));
        }
        Ok(self)
    }
}

bowline_core::setters! {
    Principal {
        lease: Duration as Some,
        trust_level: TrustLevel as Some,
    }
}

/// Authenticates peers.
///
/// A peer is authenticated before it gets a root object. It is authenticated again when its lease
/// is about to end, when another process recovers its session, and when [`Reauth`](crate::Reauth)
/// requires it.
///
/// Closures `Fn(&str) -> Option<Principal>`, from a bearer token to its principal, are
/// authenticators, too.
///
/// ```
/// # mod bowline { pub use bowline_server::{Authenticator, Peer, Principal}; pub mod auth { pub use bowline_server::{Credentials, Refusal}; } }
/// # fn main() {
/// use bowline::auth::{Credentials, Refusal};
/// use bowline::{Authenticator, Peer, Principal};
/// use http::StatusCode;
///
/// struct Accounts;
///
/// #[async_trait::async_trait]
/// impl Authenticator for Accounts {
///     async fn authenticate(&self, _peer: &Peer, credentials: &Credentials) -> Result<Principal, Refusal> {
///         match (credentials.scheme.as_str(), &credentials.token) {
///             (Credentials::BEARER, Some(token)) if token.expose() == "sesame" => Ok(Principal::new("ann")),
///             _ => Err(Refusal::new(StatusCode::UNAUTHORIZED, "a bearer token is required")),
///         }
///     }
/// }
/// # }
/// ```
#[async_trait]
pub trait Authenticator: Send + Sync + 'static {
    /// Returns the principal of these credentials.
    ///
    /// The peer chooses the scheme, so refuse unknown ones. A peer without credentials has the
    /// scheme `none`; a bearer token in an `Authorization` header has the scheme `http-bearer`.
    ///
    /// The future is dropped when the peer disconnects, and after
    /// [`HttpLimits::handshake`](crate::HttpLimits::handshake).
    ///
    /// # Errors
    /// Return a [`Refusal`] to refuse the peer. With status 401, the peer may send other
    /// credentials, up to three attempts in all on one connection.
    async fn authenticate(&self, peer: &Peer, credentials: &Credentials) -> Result<Principal, Refusal>;
}

/// The authenticator of services without one: accepts peers without credentials.
#[derive(Debug)]
pub(crate) struct Anonymous;

#[async_trait]
impl Authenticator for Anonymous {
    async fn authenticate(&self, _peer: &Peer, credentials: &Credentials) -> Result<Principal, Refusal> {
        // A bearer token in an HTTP header is left to the root function, which sees the headers.
        match credentials.scheme.as_str() {
            Credentials::NONE | HTTP => Ok(Principal::anonymous()),
            scheme => Err(unauthorized(format!("this service does not accept credentials of the scheme {scheme:?}"))),
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
            return Err(unauthorized("a bearer token is required"));
        };
        self(token.expose()).ok_or_else(|| unauthorized("the token is invalid"))
    }
}

/// The scheme of a bearer token in an HTTP header.
pub(crate) const HTTP: &str = "http-bearer";

/// Returns the credentials in the headers of a request.
pub(crate) fn of_headers(peer: &Peer) -> Credentials {
    let header = peer.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token =
        header.and_then(|header| header.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    match token {
        Some((_, token)) => Credentials::new(HTTP, token.trim()),
        None => Credentials::default(),
    }
}

/// Returns the scheme for the log. Clients choose it freely, so it is replaced if it is long or
/// contains special characters.
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
