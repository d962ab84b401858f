//! Why a session ended.

use std::borrow::Cow;
use std::fmt;

use crate::error::ErrorCode;

/// Why a session ended.
///
/// ```
/// use bowline_core::error::ErrorCode;
/// use bowline_core::session::{CloseCause, CloseReason, ClosedBy};
///
/// fn describe(reason: &CloseReason) -> String {
///     match (&reason.by, &reason.cause) {
///         (_, CloseCause::Code(ErrorCode::Draining)) => "the server is being replaced".to_owned(),
///         (ClosedBy::Local, _) => "closed by this program".to_owned(),
///         (ClosedBy::Peer, CloseCause::Error(class)) => format!("the peer failed with a {class}: {reason}"),
///         _ => reason.to_string(),
///     }
/// }
/// # let reason = CloseReason::with_code(ClosedBy::Peer, ErrorCode::Draining, "server is draining");
/// # assert_eq!(describe(&reason), "the server is being replaced");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct CloseReason {
    /// The side or layer that ended the session.
    pub by: ClosedBy,
    /// What ended the session.
    pub cause: CloseCause,
    /// A description of what happened.
    pub message: String,
}

/// What ended a session.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseCause {
    /// An event for which Bowline has a code.
    Code(ErrorCode),
    /// Any other error, with its class as in JavaScript.
    Error(Cow<'static, str>),
}

impl CloseReason {
    /// Creates the reason for an end with an error of this class.
    pub fn new(by: ClosedBy, class: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { by, cause: CloseCause::Error(class.into()), message: message.into() }
    }

    /// Creates the reason for an end with a code.
    pub fn with_code(by: ClosedBy, code: ErrorCode, message: impl Into<String>) -> Self {
        Self { by, cause: CloseCause::Code(code), message: message.into() }
    }

    /// Creates the reason for ending a session whose peer contradicts the restored state.
    pub(crate) fn gap(message: String) -> Self {
        Self::with_code(ClosedBy::Protocol, ErrorCode::ResumeGap, message)
    }

    /// Returns the code. A session that ended with its connection always has one.
    pub fn code(&self) -> Option<ErrorCode> {
        let gone = (self.by == ClosedBy::Transport).then_some(ErrorCode::AgentDisconnected);
        self.cause.code().cloned().or(gone)
    }
}

impl CloseCause {
    /// Creates the cause that a peer names in an `abort`.
    pub(in crate::session) fn of_name(name: String) -> Self {
        ErrorCode::known(&name).map_or_else(|| Self::Error(name.into()), Self::Code)
    }

    /// Returns the code, if there is one.
    pub fn code(&self) -> Option<&ErrorCode> {
        match self {
            Self::Code(code) => Some(code),
            Self::Error(_) => None,
        }
    }

    /// Returns the code or the class of the error, as it is written on the wire.
    pub fn name(&self) -> &str {
        match self {
            Self::Code(code) => code.as_str(),
            Self::Error(class) => class,
        }
    }

    /// Returns the code for a frame of the link, which has no field for a class.
    pub fn to_code(&self) -> ErrorCode {
        match self {
            Self::Code(code) => code.clone(),
            Self::Error(class) => ErrorCode::Unknown(class.clone().into_owned()),
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for CloseReason {}

/// The side or layer that ended a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ClosedBy {
    /// The peer sent `abort`.
    Peer,
    /// This side, because the peer violated the protocol or a limit. An `abort` was sent.
    Protocol,
    /// The application on this side.
    Local,
    /// The connection ended or failed.
    Transport,
}
