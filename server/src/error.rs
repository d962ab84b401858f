//! Errors outside of a session: failing to listen, and refusing a peer.

use std::io;

use http::StatusCode;

/// Why a server could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The server cannot listen on the address.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address as given.
        address: String,
        /// The error of the operating system.
        source: io::Error,
    },
}

/// A refusal of a peer before its session begins. The peer sees the status and the message.
///
/// ```
/// # mod bowline { pub mod auth { pub use bowline_server::Refusal; } }
/// use bowline::auth::Refusal;
/// use http::StatusCode;
///
/// let refusal = Refusal::new(StatusCode::FORBIDDEN, "the account is locked");
/// assert_eq!(refusal.to_string(), "403 Forbidden: the account is locked");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{status}: {message}")]
pub struct Refusal {
    /// The HTTP status, such as 401 or 403.
    pub status: StatusCode,
    /// The message, sent as the body of the response.
    pub message: String,
}

impl Refusal {
    /// Creates a refusal with a message for the peer.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }
}

impl From<StatusCode> for Refusal {
    /// Creates a refusal whose message is the reason phrase of the status.
    fn from(status: StatusCode) -> Self {
        Self::new(status, status.canonical_reason().unwrap_or_default())
    }
}
