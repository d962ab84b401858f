//! The words before a session: what a client asks for, and what both agree on.
//!
//! The server speaks first, with a challenge. The client does not wait for it to say hello; a
//! client that wants its session back does, because the challenge goes into its proof.

use super::frame::Frame;
use super::greeting::{Credentials, Hello, Refused, Resume};
use crate::error::ErrorCode;

/// The versions of the link that are spoken here, best first.
pub const VERSIONS: [u32; 1] = [1];

/// Bytes of a frame before a session; credentials are the longest part.
pub const OPENING_BYTES_MAX: usize = 16 << 10;

/// Bytes of a frame that asks for a session back: a token may hold the session itself.
pub const RESUME_BYTES_MAX: usize = OPENING_BYTES_MAX + (64 << 10);

/// Bytes of the name of a hello; 16 random bytes in base64url are 22.
pub const HELLO_ID_BYTES_MAX: usize = 64;

/// Tries of one connection to say who the client is.
pub const AUTHENTICATIONS_MAX: usize = 3;

/// The first thing that a client says.
#[derive(Clone, Debug, PartialEq)]
pub enum Opening {
    /// It wants a session.
    Hello(Hello),
    /// It wants its session back.
    Resume(Resume),
}

impl Opening {
    /// Reads the first text of a client.
    ///
    /// # Errors
    /// It is too long, is none of both, or speaks no version in common.
    pub fn read(text: &str) -> Result<Self, Refused> {
        let too_large = |most: usize| {
            let message = format!("a frame before a session may have {most} bytes");
            Err(Refused::new(ErrorCode::PayloadTooLarge, message))
        };
        if text.len() > RESUME_BYTES_MAX {
            return too_large(RESUME_BYTES_MAX);
        }
        if !Frame::is_frame(text) {
            return Err(Refused::new(ErrorCode::HandshakeRequired, "say hello first"));
        }
        let opening = match Frame::read(text)? {
            Some(Frame::Hello(_)) if text.len() > OPENING_BYTES_MAX => return too_large(OPENING_BYTES_MAX),
            Some(Frame::Hello(hello)) => Self::Hello(hello),
            Some(Frame::Resume(resume)) => Self::Resume(resume),
            _ => return Err(Refused::new(ErrorCode::HandshakeRequired, "say hello first")),
        };
        let (Self::Hello(Hello { protocol, .. }) | Self::Resume(Resume { protocol, .. })) = &opening;
        negotiate(protocol)?;
        if let Self::Hello(Hello { hello_id: Some(id), .. }) = &opening
            && id.len() > HELLO_ID_BYTES_MAX
        {
            let message = format!("`hello_id` has {} bytes, {HELLO_ID_BYTES_MAX} at most are kept", id.len());
            return Err(Refused::new(ErrorCode::InvalidRequest, message));
        }
        if let Self::Hello(hello) = &opening
            && hello.auth.scheme == Credentials::MTLS
            && hello.client.fingerprint.is_none()
        {
            let message = "`client.fingerprint` has to say which certificate `auth.scheme` \"mtls\" is about";
            return Err(Refused::new(ErrorCode::InvalidRequest, message));
        }
        Ok(opening)
    }
}

/// The best version that both speak.
///
/// # Errors
/// There is none, or none was named.
pub fn negotiate(theirs: &[u32]) -> Result<u32, Refused> {
    if theirs.is_empty() {
        return Err(Refused::new(ErrorCode::InvalidRequest, "`protocol` names no version"));
    }
    let common = VERSIONS.into_iter().find(|version| theirs.contains(version));
    common.ok_or_else(|| {
        Refused::new(ErrorCode::ProtocolUnsupported, format!("spoken here: {VERSIONS:?}, there: {theirs:?}"))
    })
}
