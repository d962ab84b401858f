//! Why a token is refused.

use super::token::TOKEN_BYTES_MAX;
use crate::error::ErrorCode;

/// Why a token is refused, or was not made. The texts are for the server's log; what the presenter
/// is told is [`code`](Self::code).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Longer than any token.
    #[error("a token has {TOKEN_BYTES_MAX} bytes at most, not {0}")]
    TooLong(usize),
    /// Not four parts of base64url with a header that can be read.
    #[error("malformed token: {0}")]
    Shape(&'static str),
    /// Of a version, kind or mode that is not known here.
    #[error("a token of a version, kind or mode that is not known here")]
    Kind,
    /// The key is not in the ring.
    #[error("the key that signed the token is not in the ring")]
    KeyUnknown,
    /// The tag is not that of these bytes.
    #[error("the tag is not that of the token")]
    Tag,
    /// What is sealed was not sealed with this key under this header, or was changed.
    #[error("the seal is not that of the token")]
    Seal,
    /// Minted later than now.
    #[error("the token is from {0} seconds ahead")]
    NotYetValid(u64),
    /// Past its time.
    #[error("the token ended {0} seconds ago")]
    Expired(u64),
    /// The session is past its time.
    #[error("the session began {0} seconds ago")]
    TooOld(u64),
    /// For another service.
    #[error("the token is for another service")]
    Audience,
    /// The presenter does not hold the key that goes with it.
    #[error("the proof of possession is wrong")]
    Proof,
    /// The client holds a newer one.
    #[error("the token was replaced by one that its holder has shown to have")]
    Replayed,
    /// What the token would hold does not fit into one, and it was not made.
    #[error("the token would have {bytes} bytes, and may have {max}")]
    TooLarge {
        /// The length of the token.
        bytes: usize,
        /// How long it may be.
        max: usize,
    },
}

impl TokenError {
    /// Returns whether only the time is wrong of a token that was good.
    pub fn is_late(&self) -> bool {
        matches!(self, Self::Expired(_) | Self::TooOld(_))
    }

    /// What the presenter is told. Shape, tag and seal are one: whoever guesses learns
    /// nothing.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::TooLong(_) | Self::Shape(_) | Self::Kind | Self::Tag | Self::Seal | Self::Audience => {
                ErrorCode::ResumeTokenInvalid
            }
            Self::KeyUnknown => ErrorCode::ResumeTokenKeyUnknown,
            Self::NotYetValid(_) => ErrorCode::ResumeTokenNotYetValid,
            Self::Expired(_) => ErrorCode::ResumeTokenExpired,
            Self::TooOld(_) => ErrorCode::SessionTooOld,
            Self::Proof => ErrorCode::ResumeProofInvalid,
            Self::Replayed => ErrorCode::ResumeTokenReplayed,
            Self::TooLarge { .. } => ErrorCode::TokenTooLarge,
        }
    }
}
