//! The token: minted by the server, held by the client, read by nobody but the server.
//!
//! Its tag covers the bytes as they are sent. Nothing inside is looked at before the tag is
//! checked but the name of the key.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::keys::KeyRing;
use super::owner::Jti;
use crate::error::ErrorCode;
use crate::link::Secret;
use crate::time::UnixTime;

/// Fixes every algorithm: there is no other place that names one.
const PREFIX: &str = "bwl1";

/// The version of the claims.
const VERSION: u32 = 1;

/// No token is longer, of whatever kind.
const TOKEN_BYTES_MAX: usize = 64 << 10;

/// How far the clocks of those who mint and those who check may differ.
const LEEWAY_SECONDS: u64 = 30;

/// How long tokens and sessions live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TokenPolicy {
    /// Seconds after which a token is refused. Clients that stay connected are sent a new one in
    /// time. Default 3,600.
    pub token_seconds: u64,
    /// Seconds from its beginning after which no session is resumed. Default 86,400.
    pub session_seconds: u64,
}

impl Default for TokenPolicy {
    fn default() -> Self {
        Self { token_seconds: 3_600, session_seconds: 86_400 }
    }
}

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The version of this list.
    pub v: u32,
    /// The session.
    pub sid: String,
    /// The transport of the session with which it was handed out.
    pub ep: u64,
    /// The token itself.
    pub jti: Jti,
    /// Whose session it is; see [`principal_hash`].
    pub sub: String,
    /// The service that it is for.
    pub aud: String,
    /// When it was minted.
    pub iat: u64,
    /// When it ends.
    pub exp: u64,
    /// When the session began.
    pub born: u64,
    /// Seconds that the session may live.
    pub mx: u64,
    /// The key that signed it; written in the header, not here.
    #[serde(skip)]
    pub kid: String,
}

#[derive(Serialize, Deserialize)]
struct Header {
    k: String,
    t: String,
    m: String,
}

/// The kind of token that names a session and holds nothing of it.
const KIND_REF: &str = "ref";
/// Signed, not sealed.
const MODE_SIGNED: &str = "s";

/// Why a token is refused. The texts are for the server's log; what the presenter is told is
/// [`code`](Self::code).
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
}

impl TokenError {
    /// What the presenter is told. Shape and tag are one: whoever guesses learns nothing.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::TooLong(_) | Self::Shape(_) | Self::Kind | Self::Tag | Self::Audience => {
                ErrorCode::ResumeTokenInvalid
            }
            Self::KeyUnknown => ErrorCode::ResumeTokenKeyUnknown,
            Self::NotYetValid(_) => ErrorCode::ResumeTokenNotYetValid,
            Self::Expired(_) => ErrorCode::ResumeTokenExpired,
            Self::TooOld(_) => ErrorCode::SessionTooOld,
            Self::Proof => ErrorCode::ResumeProofInvalid,
            Self::Replayed => ErrorCode::ResumeTokenReplayed,
        }
    }
}

/// What a token knows of a principal: enough to tell two apart, not enough to name one.
pub fn principal_hash(principal: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(principal))
}

/// What a token and a store know of a snapshot's bytes: enough to tell that they are the same.
pub fn snapshot_sum(snapshot: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(snapshot))
}

impl Claims {
    /// The claims of a session's next token.
    pub fn new(sid: &str, principal: &str, audience: &str, born: UnixTime) -> Self {
        Self {
            v: VERSION,
            sid: sid.to_owned(),
            ep: 1,
            jti: Jti(String::new()),
            sub: principal_hash(principal),
            aud: audience.to_owned(),
            iat: 0,
            exp: 0,
            born: born.0,
            mx: 0,
            kid: String::new(),
        }
    }
}

impl KeyRing {
    /// Mints a token: `claims` with the token's own fields filled in. The same claims and keys
    /// give the same bytes.
    pub fn mint(&self, claims: &mut Claims, policy: &TokenPolicy, now: UnixTime) -> Secret {
        claims.iat = now.0;
        claims.exp = now.0.saturating_add(policy.token_seconds);
        claims.mx = policy.session_seconds;
        let key = self.active();
        key.id().clone_into(&mut claims.kid);
        let header = Header { k: claims.kid.clone(), t: KIND_REF.to_owned(), m: MODE_SIGNED.to_owned() };
        let header = serde_json::to_vec(&header).expect("a header is three strings");
        let body = serde_json::to_vec(claims).expect("claims are strings and numbers");
        let signed = format!("{PREFIX}.{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(body));
        let tag = URL_SAFE_NO_PAD.encode(key.tag(signed.as_bytes()));
        Secret::new(format!("{signed}.{tag}"))
    }

    /// Opens a token: length, shape, key, tag, then what it claims.
    ///
    /// # Errors
    /// The first of these that is wrong.
    pub fn open(&self, token: &str, audience: &str, now: UnixTime) -> Result<Claims, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::TooLong(token.len()));
        }
        let (signed, tag) = token.rsplit_once('.').ok_or(TokenError::Shape("no tag"))?;
        let mut parts = signed.split('.');
        let (Some(PREFIX), Some(header), Some(body), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenError::Shape("not four parts of version 1"));
        };
        let header: Header = read(header).ok_or(TokenError::Shape("the header cannot be read"))?;
        if header.t != KIND_REF || header.m != MODE_SIGNED {
            return Err(TokenError::Kind);
        }
        let tag = URL_SAFE_NO_PAD.decode(tag).map_err(|_malformed| TokenError::Shape("the tag is no base64url"))?;
        let key = self.key(&header.k).ok_or(TokenError::KeyUnknown)?;
        if !key.is_tag(signed.as_bytes(), &tag) {
            return Err(TokenError::Tag);
        }
        let mut claims: Claims = read(body).ok_or(TokenError::Shape("the claims cannot be read"))?;
        claims.kid = header.k;
        claims.check(audience, now)?;
        Ok(claims)
    }
}

impl Claims {
    fn check(&self, audience: &str, now: UnixTime) -> Result<(), TokenError> {
        if self.v != VERSION {
            return Err(TokenError::Kind);
        }
        if self.iat > now.0.saturating_add(LEEWAY_SECONDS) {
            return Err(TokenError::NotYetValid(self.iat - now.0));
        }
        if now.0 > self.exp.saturating_add(LEEWAY_SECONDS) {
            return Err(TokenError::Expired(now.0 - self.exp));
        }
        if now.0 > self.born.saturating_add(self.mx) {
            return Err(TokenError::TooOld(now.0 - self.born));
        }
        if self.aud != audience {
            return Err(TokenError::Audience);
        }
        Ok(())
    }
}

fn read<T: for<'de> Deserialize<'de>>(part: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}
