//! Errors of opening a session.

use std::io;
use std::time::Duration;

use bowline_core::error::ErrorCode;
use bowline_core::link::Refused;
use http::StatusCode;

/// Why a session could not be opened.
///
/// When an open session ends, its calls fail with a `SessionError` instead.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The URL is malformed, or its scheme is not `ws:`, `wss:`, `http:`, or `https:`.
    #[error("{url:?} is not the URL of a server: {reason}")]
    Url {
        /// The URL as given.
        url: String,
        /// What is wrong with the URL.
        reason: &'static str,
    },
    /// Credentials or resume tokens would have been sent unencrypted to another machine.
    #[error(
        "{secrets} would be sent to {authority} unencrypted: use wss: or https:, or allow this with `allow_unencrypted`{}",
        if *secrets == TOKENS { "; a session opened with `SessionBuilder::plain` has no tokens" } else { "" }
    )]
    Unencrypted {
        /// The host and port.
        authority: String,
        /// The kind of secret.
        secrets: &'static str,
    },
    /// A header is malformed.
    #[error("a header is malformed")]
    Header(#[from] http::Error),
    /// The connection to the server failed.
    #[error("cannot connect to {authority}")]
    Unreachable {
        /// The host and port.
        authority: String,
        /// The error of the operating system or of TLS.
        source: io::Error,
    },
    /// The server answered the handshake with an HTTP status that refuses the session.
    #[error("the server refused: {status}{}{body}", if body.is_empty() { "" } else { ": " })]
    Refused {
        /// The HTTP status.
        status: StatusCode,
        /// The body of the response, as far as it arrived with the head.
        body: String,
    },
    /// The server speaks the link protocol and refused the session.
    #[error("the server refused: {code}: {message}")]
    Rejected {
        /// The code of the refusal.
        code: ErrorCode,
        /// The message of the server.
        message: String,
    },
    /// The saved state was not written by [`SessionBuilder::save`](crate::SessionBuilder::save), or by an
    /// incompatible version.
    #[error("cannot read the saved session: {0}")]
    Saved(String),
    /// The session was opened, but could not be saved.
    #[error("cannot save the session")]
    NotSaved(#[source] io::Error),
    /// The server does not resume sessions, so a saved session cannot be reattached.
    #[error("the server does not resume sessions: open a new session")]
    NotResumable,
    /// The handshake failed, for example because the server does not speak WebSocket.
    #[error("the handshake failed: {0}")]
    Handshake(String),
    /// The session was not opened within the timeout.
    #[error("the session was not opened within {0:?}")]
    TimedOut(Duration),
}

/// The kind of secret that a server gives to clients whose sessions it resumes.
pub(crate) const TOKENS: &str = "the tokens of the session";

/// The kind of secret that identifies the client.
pub(crate) const CREDENTIALS: &str = "credentials";

impl ConnectError {
    /// Creates the error for a secret that would be sent unencrypted.
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
