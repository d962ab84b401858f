//! Errors of tokens.

use std::time::Duration;

use super::token::TOKEN_BYTES_MAX;
use crate::error::ErrorCode;

/// The reason for refusing a token, or for not minting one. The messages are for the server's log;
/// the peer receives [`code`](Self::code) only.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The token is longer than any valid one.
    #[error("the token has {0} bytes; the maximum is {TOKEN_BYTES_MAX}")]
    TooLong(usize),
    /// The token does not consist of four parts of base64url with a valid header.
    #[error("malformed token: {0}")]
    Shape(&'static str),
    /// The version, kind, or mode of the token is not supported.
    #[error("the version, kind, or mode of the token is not supported")]
    Kind,
    /// The key is not in the key ring.
    #[error("the key of the token is not in the key ring")]
    KeyUnknown,
    /// The tag does not match the token.
    #[error("the tag does not match the token")]
    Tag,
    /// The token was sealed with another key or under another header, or was modified.
    #[error("the seal does not match the token")]
    Seal,
    /// The token was minted in the future, by this time.
    #[error("the token was minted {0:?} in the future; check the clocks")]
    NotYetValid(Duration),
    /// The token expired this long ago.
    #[error("the token expired {0:?} ago")]
    Expired(Duration),
    /// The session is too old. It began this long ago.
    #[error("the session began {0:?} ago, which exceeds its maximum age")]
    TooOld(Duration),
    /// The token is for another service.
    #[error("the token is for another service")]
    Audience,
    /// The proof of possession is invalid.
    #[error("the proof of possession is invalid")]
    Proof,
    /// The token was replaced, and the client has confirmed a newer one.
    #[error("the token was replaced, and the client has confirmed a newer one")]
    Replayed,
    /// The token was not minted, because its contents do not fit.
    #[error("the token would have {bytes} bytes; the maximum is {max}")]
    TooLarge {
        /// The length of the token, in bytes.
        bytes: usize,
        /// The maximum length, in bytes.
        max: usize,
    },
}

impl TokenError {
    /// Returns `true` if the token is valid except that it or its session is too old.
    pub fn is_late(&self) -> bool {
        matches!(self, Self::Expired(_) | Self::TooOld(_))
    }

    /// Returns the code for the peer. Shape, tag, seal, and audience have the same code, so that
    /// guesses reveal nothing.
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
