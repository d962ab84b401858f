//! The codes by which both sides of a link name what went wrong, on the wire and in the errors
//! of calls. What a code means for whom is in docs/link.md.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $wire:literal,)*) => {
        /// What went wrong. Codes of newer peers are kept as they came.
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum ErrorCode {
            $($(#[$doc])* $name,)*
            /// A code that this version does not know.
            Unknown(String),
        }

        impl ErrorCode {
            /// The code as it is written.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$name => $wire,)*
                    Self::Unknown(code) => code,
                }
            }

            /// The code that is written so, if this version knows it.
            pub fn known(code: &str) -> Option<Self> {
                match code {
                    $($wire => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// Every code of this version.
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
    /// A frame that cannot be read, or that has no place at this point.
    InvalidRequest = "INVALID_REQUEST",
    /// What came cannot be taken apart at all.
    ParseError = "PARSE_ERROR",
    /// There is no such method, or the peer knows nothing of what was asked of it.
    MethodNotFound = "METHOD_NOT_FOUND",
    /// The arguments are not those of the method.
    InvalidParams = "INVALID_PARAMS",
    /// What was named is not there.
    NotFound = "NOT_FOUND",
    /// The peer is gone, and what was under way with it.
    AgentDisconnected = "AGENT_DISCONNECTED",
    /// Something came before the handshake.
    HandshakeRequired = "HANDSHAKE_REQUIRED",
    /// No version of the link is spoken by both.
    ProtocolUnsupported = "PROTOCOL_UNSUPPORTED",
    /// Who the peer is was not shown, or not believed.
    Unauthenticated = "UNAUTHENTICATED",
    /// The peer is known, and may not.
    PermissionDenied = "PERMISSION_DENIED",
    /// Too much at this time.
    RateLimited = "RATE_LIMITED",
    /// A frame is longer than allowed before a session.
    PayloadTooLarge = "PAYLOAD_TOO_LARGE",
    /// A fault of the side that says so.
    InternalError = "INTERNAL_ERROR",
    /// The server went by another name or certificate before.
    WrongRuntime = "WRONG_RUNTIME",
    /// The server stops.
    Draining = "DRAINING",
    /// The token was not made here, or was changed.
    ResumeTokenInvalid = "RESUME_TOKEN_INVALID",
    /// The token is past its time.
    ResumeTokenExpired = "RESUME_TOKEN_EXPIRED",
    /// The token is from the future, so one of the clocks is wrong.
    ResumeTokenNotYetValid = "RESUME_TOKEN_NOT_YET_VALID",
    /// The key that made the token is not known any more.
    ResumeTokenKeyUnknown = "RESUME_TOKEN_KEY_UNKNOWN",
    /// The token was replaced by one that its holder has shown to have.
    ResumeTokenReplayed = "RESUME_TOKEN_REPLAYED",
    /// The presenter of the token does not hold the key that goes with it.
    ResumeProofInvalid = "RESUME_PROOF_INVALID",
    /// The state of the session fits into no token, and is kept nowhere else.
    TokenTooLarge = "TOKEN_TOO_LARGE",
    /// The session is past the age that any session may have.
    SessionTooOld = "SESSION_TOO_OLD",
    /// The session is gone: it was away for too long, or its process was replaced.
    ResumeWindowExpired = "RESUME_WINDOW_EXPIRED",
    /// The numbers of both sides do not fit together.
    ResumeGap = "RESUME_GAP",
    /// Another holder of the session's token has resumed it.
    SessionTakenOver = "SESSION_TAKEN_OVER",
    /// More than may be kept waits for a peer that is away.
    BufferOverflow = "BUFFER_OVERFLOW",
    /// The process that held the object is gone, and it could not be made again.
    CapabilityLost = "CAPABILITY_LOST",
    /// The call may have been carried out or not: the process that had it is gone.
    CallOutcomeUnknown = "CALL_OUTCOME_UNKNOWN",
    /// The call was not carried out, and may be made again.
    CallNotAttempted = "CALL_NOT_ATTEMPTED",
    /// Another process of the service has the session, or had it until a moment ago.
    SessionElsewhere = "SESSION_ELSEWHERE",
    /// The stream ended with the process at its other end.
    StreamInterrupted = "STREAM_INTERRUPTED",
    /// The object could not be made again.
    RestoreFailed = "RESTORE_FAILED",
    /// Nobody here knows how to make the object again.
    RestorerUnknown = "RESTORER_UNKNOWN",
    /// What sessions and outcomes are kept in cannot be reached.
    StoreUnavailable = "STORE_UNAVAILABLE",
    /// What was kept is not what comes back.
    StoreCorrupt = "STORE_CORRUPT",
}

impl ErrorCode {
    /// With which code a WebSocket is closed for this reason; see docs/link.md.
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
