//! The handshake of the link: the first frame of a client, and the choice of a version; see
//! docs/link.md, "Negotiation". The server sends a challenge first, which confirms the link to the
//! client. The proof of a `resume` includes it.

use super::frame::Frame;
use super::greeting::{Credentials, Hello, Refused, Resume};
use crate::error::ErrorCode;

/// The supported versions of the link, best first.
pub const VERSIONS: [u32; 1] = [1];

/// The maximum length of a frame before a session, in bytes. Credentials are the longest part.
pub const OPENING_BYTES_MAX: usize = 16 << 10;

/// The maximum length of a `resume` frame, in bytes. Its token may contain the session itself.
pub const RESUME_BYTES_MAX: usize = OPENING_BYTES_MAX + (64 << 10);

/// The maximum length of a `hello_id`, in bytes. 16 random bytes in base64url take 22.
pub const HELLO_ID_BYTES_MAX: usize = 64;

/// The maximum number of attempts to authenticate on one connection.
pub const AUTHENTICATIONS_MAX: usize = 3;

/// The first frame of a client.
#[derive(Clone, Debug, PartialEq)]
pub enum Opening {
    /// Requests a session.
    Hello(Hello),
    /// Requests that a session continue.
    Resume(Resume),
}

impl Opening {
    /// Reads the first text of a client.
    ///
    /// # Errors
    /// Fails if the text is too long, is neither of the two frames, or names no supported version.
    pub fn read(text: &str) -> Result<Self, Refused> {
        let too_large = |most: usize| {
            let message = format!("a frame before the session may have at most {most} bytes");
            Err(Refused::new(ErrorCode::PayloadTooLarge, message))
        };
        if text.len() > RESUME_BYTES_MAX {
            return too_large(RESUME_BYTES_MAX);
        }
        if !Frame::is_frame(text) {
            return Err(Refused::new(ErrorCode::HandshakeRequired, "expected `session.hello` or `session.resume`"));
        }
        let opening = match Frame::read(text)? {
            Some(Frame::Hello(_)) if text.len() > OPENING_BYTES_MAX => return too_large(OPENING_BYTES_MAX),
            Some(Frame::Hello(hello)) => Self::Hello(hello),
            Some(Frame::Resume(resume)) => Self::Resume(resume),
            _ => {
                return Err(Refused::new(ErrorCode::HandshakeRequired, "expected `session.hello` or `session.resume`"));
            }
        };
        let (Self::Hello(Hello { protocol, .. }) | Self::Resume(Resume { protocol, .. })) = &opening;
        negotiate(protocol)?;
        if let Self::Hello(Hello { hello_id: Some(id), .. }) = &opening
            && id.len() > HELLO_ID_BYTES_MAX
        {
            let message = format!("`hello_id` has {} bytes; the maximum is {HELLO_ID_BYTES_MAX}", id.len());
            return Err(Refused::new(ErrorCode::InvalidRequest, message));
        }
        if let Self::Hello(hello) = &opening
            && hello.auth.scheme == Credentials::MTLS
            && hello.client.fingerprint.is_none()
        {
            let message = "`auth.scheme` \"mtls\" requires `client.fingerprint`";
            return Err(Refused::new(ErrorCode::InvalidRequest, message));
        }
        Ok(opening)
    }
}

/// Returns the best version that both sides support.
///
/// # Errors
/// Fails with `PROTOCOL_UNSUPPORTED` if there is none, and with `INVALID_REQUEST` if `theirs` is
/// empty.
pub fn negotiate(theirs: &[u32]) -> Result<u32, Refused> {
    if theirs.is_empty() {
        return Err(Refused::new(ErrorCode::InvalidRequest, "`protocol` names no version"));
    }
    let common = VERSIONS.into_iter().find(|version| theirs.contains(version));
    common.ok_or_else(|| {
        Refused::new(
            ErrorCode::ProtocolUnsupported,
            format!("no common version: the client offers {theirs:?}, the server supports {VERSIONS:?}"),
        )
    })
}
