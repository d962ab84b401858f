//! The claims of tokens, and their validation; see docs/token.md.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::error::TokenError;
use super::owner::Jti;
use crate::time::UnixTime;

/// The version of the claims.
const VERSION: u32 = 1;

/// The tolerated difference between the clocks of the processes that mint and check tokens, in
/// seconds.
const LEEWAY_SECONDS: u64 = 30;

/// The lifetimes of tokens and sessions, and the size of tokens.
///
/// ```
/// # mod bowline { pub mod auth { pub use bowline_core::resume::TokenPolicy; } }
/// use std::time::Duration;
///
/// use bowline::auth::TokenPolicy;
///
/// let policy = TokenPolicy::default().token_lifetime(Duration::from_secs(600));
/// assert_eq!(policy.session_lifetime, Duration::from_secs(86_400));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TokenPolicy {
    /// The lifetime of a token, in whole seconds. Connected clients are sent a new token in time.
    /// Default 1 h.
    pub token_lifetime: Duration,
    /// The age from which a session cannot be resumed, in whole seconds. Default 24 h.
    pub session_lifetime: Duration,
    /// The maximum length of a token that contains the session's state, in bytes; never more than
    /// 65,536. A longer one refers to the store instead. With 0, no token contains state. Default
    /// 16,384.
    pub inline_bytes: usize,
}

impl Default for TokenPolicy {
    fn default() -> Self {
        Self {
            token_lifetime: Duration::from_secs(3_600),
            session_lifetime: Duration::from_secs(86_400),
            inline_bytes: 16 << 10,
        }
    }
}

setters! {
    TokenPolicy {
        token_lifetime: Duration,
        session_lifetime: Duration,
        inline_bytes: usize,
    }
}

/// The claims of a session's token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The version of the claims.
    pub v: u32,
    /// The id of the session.
    pub sid: String,
    /// The epoch: the number of the connection with which the token was sent.
    pub ep: u64,
    /// The id of the token.
    pub jti: Jti,
    /// The principal, blinded so that only a holder of the key can check it; see
    /// [`KeyRing::is_subject`](super::KeyRing::is_subject).
    pub sub: String,
    /// The audience: the service that the token is for.
    pub aud: String,
    /// When the token was minted, in seconds since 1970.
    pub iat: u64,
    /// When the token expires, in seconds since 1970.
    pub exp: u64,
    /// When the session began, in seconds since 1970.
    pub born: u64,
    /// The maximum age of the session, in seconds.
    pub mx: u64,
    /// The lineage of the checkpoint to recover from, if state is stored.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub ln: u64,
    /// The number of that checkpoint.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub ck: u64,
    /// The [`snapshot_sum`] of its snapshot; empty if no state is stored.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub sum: String,
    /// The [`app_hash`] of the program that took the snapshot; empty if no state is stored.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub app: String,
    /// The id of the key that signed or sealed the token. It is part of the header, not of the
    /// claims.
    #[serde(skip)]
    pub kid: String,
    /// The [`principal_hash`] from which `sub` is computed when a token is minted. It is not part
    /// of the token, so it is empty in opened claims: set it once the principal has been verified.
    #[serde(skip)]
    pub principal: String,
    /// The snapshot, if the token contains it. Its sum is `sum`.
    #[serde(skip)]
    pub snapshot: Option<Vec<u8>>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The claims of a saved reference's token. The recipe is in a store, under `id`, until the
/// reference is revoked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sturdy {
    /// The version of the claims.
    pub v: u32,
    /// The id of the saved reference.
    pub id: String,
    /// The [`principal_hash`] of the principal that saved it.
    pub sub: String,
    /// The audience: the service that the token is for.
    pub aud: String,
    /// When it was saved, in seconds since 1970.
    pub iat: u64,
    /// The id of the key that sealed the token. It is part of the header, not of the claims.
    #[serde(skip)]
    pub kid: String,
}

impl Claims {
    /// Creates the claims of a session, from which its tokens are minted.
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

    /// Checks the claims in the order that docs/token.md states.
    pub(super) fn check(&self, audience: &str, now: UnixTime) -> Result<(), TokenError> {
        check_origin(self.v, self.iat, now)?;
        if now.0 > self.exp.saturating_add(LEEWAY_SECONDS) {
            return Err(TokenError::Expired(Duration::from_secs(now.0 - self.exp)));
        }
        if now.0 > self.born.saturating_add(self.mx) {
            return Err(TokenError::TooOld(Duration::from_secs(now.0 - self.born)));
        }
        if self.aud != audience {
            return Err(TokenError::Audience);
        }
        Ok(())
    }
}

impl Sturdy {
    /// Creates the claims of a saved reference.
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
        return Err(TokenError::NotYetValid(Duration::from_secs(minted - now.0)));
    }
    Ok(())
}

/// Returns a hash of a principal, for stores and sealed tokens. A guessed name can be confirmed
/// with it, so it must not be part of a text that others can read.
pub fn principal_hash(principal: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(principal))
}

/// Returns a hash of a snapshot, by which tokens and stores identify it.
pub fn snapshot_sum(snapshot: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(snapshot))
}

/// Returns a hash of the names and versions of a program's restorers. If the hash of another
/// program differs, it may lack some of them.
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
