//! What can go wrong outside of a session: opening a socket, and refusing a peer.

use std::io;

use http::StatusCode;

/// Why a server could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// As it was given.
        address: String,
        /// What the system said.
        source: io::Error,
    },
}

/// Refuses a peer before a session begins. It sees the status and the message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{status}: {message}")]
pub struct Refusal {
    /// The HTTP status, such as 401 or 403.
    pub status: StatusCode,
    /// The body of the answer.
    pub message: String,
}

impl Refusal {
    /// A refusal with a reason for the peer to read.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }
}

impl From<StatusCode> for Refusal {
    /// The message is the status' own phrase.
    fn from(status: StatusCode) -> Self {
        Self::new(status, status.canonical_reason().unwrap_or_default())
    }
}
