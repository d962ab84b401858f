//! Why there is no session.

use std::io;
use std::time::Duration;

use bowline_core::error::ErrorCode;
use bowline_core::link::Refused;
use http::StatusCode;

/// Why a session could not be opened. Errors of a session that was open are `SessionError`s of
/// the calls they end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The address is none of `ws:`, `wss:`, `http:`, `https:`, or is malformed.
    #[error("{url:?} is no address of a server: {reason}")]
    Url {
        /// As it was given.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Credentials, or the tokens of a session, would have been sent unencrypted to another machine.
    #[error(
        "{secrets} would be sent to {authority} unencrypted: use wss: or https:, or allow it with `allow_unencrypted`{}",
        if *secrets == TOKENS { "; a session opened with `Connect::plain` has no tokens" } else { "" }
    )]
    Unencrypted {
        /// Host and port.
        authority: String,
        /// What is secret.
        secrets: &'static str,
    },
    /// A header that was to be sent is malformed.
    #[error("a header is malformed: {0}")]
    Header(#[from] http::Error),
    /// No connection to the server.
    #[error("cannot connect to {authority}: {source}")]
    Unreachable {
        /// Host and port.
        authority: String,
        /// What the system, or TLS, said.
        source: io::Error,
    },
    /// The server answered, and would not open a session.
    #[error("the server refused: {status}{}{body}", if body.is_empty() { "" } else { ": " })]
    Refused {
        /// The HTTP status.
        status: StatusCode,
        /// What the server said, as far as it came with the head of the answer.
        body: String,
    },
    /// The server knows how to resume sessions, and would not open one.
    #[error("the server refused: {code}: {message}")]
    Rejected {
        /// Why.
        code: ErrorCode,
        /// The same for people.
        message: String,
    },
    /// What was saved of the session is not what [`Connect::save`](crate::Connect::save) wrote.
    #[error("not a saved session: {0}")]
    Saved(String),
    /// The session is there, and could not be saved.
    #[error("the session could not be saved: {0}")]
    NotSaved(io::Error),
    /// The server does not know how to resume sessions.
    #[error("the server does not resume sessions, so a saved one cannot go on")]
    NotResumable,
    /// What answered does not speak WebSocket.
    #[error("the handshake failed: {0}")]
    Handshake(String),
    /// It took too long.
    #[error("no session within {0:?}")]
    TimedOut(Duration),
}

/// What a server that resumes sessions hands to its clients.
pub(crate) const TOKENS: &str = "the tokens of the session";

/// What says who the client is.
pub(crate) const CREDENTIALS: &str = "credentials";

impl ConnectError {
    /// Refuses to send secrets in the clear.
    pub(crate) fn unencrypted(authority: &str, secrets: &'static str) -> Self {
        Self::Unencrypted { authority: authority.to_owned(), secrets }
    }

    pub(crate) fn from_refused(refused: Refused) -> Self {
        let Refused { code, message, status, .. } = refused;
        match status.and_then(|status| StatusCode::from_u16(status).ok()) {
            Some(status) => Self::Refused { status, body: message },
            None => Self::Rejected { code, message },
        }
    }
}
