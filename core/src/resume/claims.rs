//! What tokens say, and whether that holds.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::error::TokenError;
use super::owner::Jti;
use crate::time::UnixTime;

/// The version of the claims.
const VERSION: u32 = 1;

/// How far the clocks of those who mint and those who check may differ.
const LEEWAY_SECONDS: u64 = 30;

/// How long tokens and sessions live, and how much a token may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TokenPolicy {
    /// Seconds after which a token is refused. Clients that stay connected are sent a new one in
    /// time. Default 3,600.
    pub token_seconds: u64,
    /// Seconds from its beginning after which no session is resumed. Default 86,400.
    pub session_seconds: u64,
    /// Bytes of the longest token that holds the session's state itself; never more than 65,536.
    /// Beyond: the token names what a store has. Zero: tokens hold no state. Default 16,384.
    pub inline_bytes: usize,
}

impl Default for TokenPolicy {
    fn default() -> Self {
        Self { token_seconds: 3_600, session_seconds: 86_400, inline_bytes: 16 << 10 }
    }
}

/// What the token of a session says.
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
    /// Whose session it is, as only the holder of the key can check: see [`KeyRing::is_subject`](super::KeyRing::is_subject).
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
    /// The lineage of the checkpoint that the session comes back as, if the state is kept.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub ln: u64,
    /// The number of that checkpoint.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub ck: u64,
    /// [`snapshot_sum`] of its snapshot; empty if no state is kept.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub sum: String,
    /// [`app_hash`] of the program that made the snapshot; empty if no state is kept.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub app: String,
    /// The key that signed or sealed it; written in the header, not here.
    #[serde(skip)]
    pub kid: String,
    /// [`principal_hash`] of the principal, which `sub` is made of when a token is minted. Not in the
    /// token, so empty in claims that were opened: set it once it is known who presents them.
    #[serde(skip)]
    pub principal: String,
    /// The snapshot, if the token holds it itself. It is the one of `sum`.
    #[serde(skip)]
    pub snapshot: Option<Vec<u8>>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What the token of a durable reference says. What it refers to is in a store, under its name,
/// for as long as nobody revokes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sturdy {
    /// The version of this list.
    pub v: u32,
    /// The reference.
    pub id: String,
    /// Who saved it; see [`principal_hash`].
    pub sub: String,
    /// The service that it is for.
    pub aud: String,
    /// When it was saved.
    pub iat: u64,
    /// The key that sealed it; written in the header, not here.
    #[serde(skip)]
    pub kid: String,
}

impl Claims {
    /// The claims of a session's next token.
    pub fn new(sid: &str, principal: &str, audience: &str, born: UnixTime) -> Self {
        Self {
            v: VERSION,
            sid: sid.to_owned(),
            ep: 1,
            jti: Jti(String::new()),
            sub: String::new(),
            aud: audience.to_owned(),
            iat: 0,
            exp: 0,
            born: born.0,
            mx: 0,
            ln: 0,
            ck: 0,
            sum: String::new(),
            app: String::new(),
            kid: String::new(),
            principal: principal_hash(principal),
            snapshot: None,
        }
    }

    /// What it claims, in the order in which it is looked at.
    pub(super) fn check(&self, audience: &str, now: UnixTime) -> Result<(), TokenError> {
        check_origin(self.v, self.iat, now)?;
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

impl Sturdy {
    /// The claims of a reference that is saved.
    pub fn new(id: &str, principal: &str, audience: &str) -> Self {
        Self {
            v: VERSION,
            id: id.to_owned(),
            sub: principal_hash(principal),
            aud: audience.to_owned(),
            iat: 0,
            kid: String::new(),
        }
    }

    pub(super) fn check(&self, audience: &str, now: UnixTime) -> Result<(), TokenError> {
        check_origin(self.v, self.iat, now)?;
        if self.aud == audience { Ok(()) } else { Err(TokenError::Audience) }
    }
}

fn check_origin(version: u32, minted: u64, now: UnixTime) -> Result<(), TokenError> {
    if version != VERSION {
        return Err(TokenError::Kind);
    }
    if minted > now.0.saturating_add(LEEWAY_SECONDS) {
        return Err(TokenError::NotYetValid(minted - now.0));
    }
    Ok(())
}

/// What stores and sealed tokens know of a principal: enough to tell two apart. A guessed
/// name can be confirmed with it, so it is never part of a text that others can read.
pub fn principal_hash(principal: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(principal))
}

/// What a token and a store know of a snapshot's bytes: enough to tell that they are the same.
pub fn snapshot_sum(snapshot: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(snapshot))
}

/// What a token knows of the program that made its snapshot: the names and versions of what it can
/// make again. Another program may lack some, and then says of which object.
pub fn app_hash<'a>(restorers: impl IntoIterator<Item = (&'a str, u32)>) -> String {
    let mut names: Vec<_> = restorers.into_iter().collect();
    names.sort_unstable();
    let mut hash = Sha256::new();
    for (name, version) in names {
        hash.update((name.len() as u64).to_be_bytes());
        hash.update(name);
        hash.update(version.to_be_bytes());
    }
    URL_SAFE_NO_PAD.encode(hash.finalize())
}
