//! The error codes that both sides of a link use, on the wire and in the errors of calls. docs/link.md
//! lists them.

use std::error::Error;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $wire:literal,)*) => {
        /// An error code of Bowline.
        ///
        /// A code that this version does not know is kept as [`Unknown`](Self::Unknown).
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorCode {
            $($(#[$doc])* $name,)*
            /// A code that this version does not know.
            Unknown(String),
        }

        impl ErrorCode {
            /// Returns the code as it is written on the wire.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$name => $wire,)*
                    Self::Unknown(code) => code,
                }
            }

            /// Returns the code that is written as `code`, or `None` if this version does not know it.
            pub fn known(code: &str) -> Option<Self> {
                match code {
                    $($wire => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// All codes that this version knows.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];
        }

        impl From<&str> for ErrorCode {
            fn from(code: &str) -> Self {
                Self::known(code).unwrap_or_else(|| Self::Unknown(code.to_owned()))
            }
        }
    };
}

codes! {
    /// A frame cannot be read, or is not allowed at this point.
    InvalidRequest = "INVALID_REQUEST",
    /// The input cannot be parsed.
    ParseError = "PARSE_ERROR",
    /// The method does not exist, or the peer does not support the request.
    MethodNotFound = "METHOD_NOT_FOUND",
    /// The arguments do not fit the method.
    InvalidParams = "INVALID_PARAMS",
    /// The target does not exist.
    NotFound = "NOT_FOUND",
    /// The peer is gone, together with the calls in flight.
    AgentDisconnected = "AGENT_DISCONNECTED",
    /// A frame arrived before the hello, or no hello arrived in time.
    HandshakeRequired = "HANDSHAKE_REQUIRED",
    /// The peers have no version of the link protocol in common.
    ProtocolUnsupported = "PROTOCOL_UNSUPPORTED",
    /// The peer showed no credentials, or they were rejected.
    Unauthenticated = "UNAUTHENTICATED",
    /// The peer is authenticated, but access is not permitted.
    PermissionDenied = "PERMISSION_DENIED",
    /// A rate limit was reached; try again later.
    RateLimited = "RATE_LIMITED",
    /// The peer sent more than is allowed before a session exists.
    PayloadTooLarge = "PAYLOAD_TOO_LARGE",
    /// An internal fault of the side that reports it.
    InternalError = "INTERNAL_ERROR",
    /// The server is not the one that the client has pinned.
    WrongRuntime = "WRONG_RUNTIME",
    /// The server is shutting down.
    Draining = "DRAINING",
    /// The token was not issued by this service, or was tampered with.
    ResumeTokenInvalid = "RESUME_TOKEN_INVALID",
    /// The token has expired.
    ResumeTokenExpired = "RESUME_TOKEN_EXPIRED",
    /// The token is not valid yet, so one of the clocks is wrong.
    ResumeTokenNotYetValid = "RESUME_TOKEN_NOT_YET_VALID",
    /// The key that issued the token is no longer known.
    ResumeTokenKeyUnknown = "RESUME_TOKEN_KEY_UNKNOWN",
    /// The token was replaced, and its holder has confirmed the newer one.
    ResumeTokenReplayed = "RESUME_TOKEN_REPLAYED",
    /// The client does not hold the key that the token is bound to.
    ResumeProofInvalid = "RESUME_PROOF_INVALID",
    /// The state of the session does not fit into a token, and there is no session store.
    TokenTooLarge = "TOKEN_TOO_LARGE",
    /// The session has reached the maximum age of a session.
    SessionTooOld = "SESSION_TOO_OLD",
    /// The session no longer exists: the client was away for too long, or the process was replaced.
    ResumeWindowExpired = "RESUME_WINDOW_EXPIRED",
    /// The message numbers of the two sides do not match.
    ResumeGap = "RESUME_GAP",
    /// Another holder of the session's token has resumed the session.
    SessionTakenOver = "SESSION_TAKEN_OVER",
    /// The retransmit buffer is full while the peer is detached.
    BufferOverflow = "BUFFER_OVERFLOW",
    /// The object was lost with its process and could not be restored.
    CapabilityLost = "CAPABILITY_LOST",
    /// The call may or may not have run: the process that had it is gone.
    CallOutcomeUnknown = "CALL_OUTCOME_UNKNOWN",
    /// The call did not run and can be repeated.
    CallNotAttempted = "CALL_NOT_ATTEMPTED",
    /// Another process of the service owns the session, or owned it until a moment ago.
    SessionElsewhere = "SESSION_ELSEWHERE",
    /// The stream was lost with the process at its other end.
    StreamInterrupted = "STREAM_INTERRUPTED",
    /// Restoring the object failed.
    RestoreFailed = "RESTORE_FAILED",
    /// No restorer is registered for the object.
    RestorerUnknown = "RESTORER_UNKNOWN",
    /// The session store cannot be reached.
    StoreUnavailable = "STORE_UNAVAILABLE",
    /// The stored state is damaged.
    StoreCorrupt = "STORE_CORRUPT",
}

impl ErrorCode {
    /// Returns the code with which a WebSocket is closed for this reason; see docs/link.md.
    pub fn close_code(&self) -> u16 {
        match self {
            Self::Unauthenticated | Self::PermissionDenied => 4401,
            Self::SessionTakenOver => 4409,
            Self::ResumeWindowExpired | Self::ResumeGap | Self::SessionTooOld => 4410,
            Self::Draining => 4412,
            Self::PayloadTooLarge => 4413,
            Self::RateLimited => 4429,
            Self::InternalError => 4500,
            _ => 4400,
        }
    }
}

/// Displays an error together with its causes, for logs: `Display` of an error does not repeat them.
#[derive(Debug)]
pub struct ErrorChain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for ErrorChain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        self.0.source().map_or(Ok(()), |cause| write!(f, ": {}", ErrorChain(cause)))
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for ErrorCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ErrorCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::from(String::deserialize(deserializer)?.as_str()))
    }
}
