//! Tokens: minted by the server, kept by the client, and readable by the server alone.
//!
//! A tag or seal covers the bytes as they are sent. Before it has been verified, only the header is
//! read: the kind of the token and the name of its key.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::claims::{Claims, Sturdy, TokenPolicy, principal_hash, snapshot_sum};
use super::error::TokenError;
use super::keys::{Key, KeyRing};
use super::seal::{self, NONCE_BYTES};
use crate::link::Secret;
use crate::time::UnixTime;

/// The version, which determines every algorithm. No algorithm is named elsewhere.
const PREFIX: &str = "bwl1";

/// The maximum length of a token of any kind, in bytes.
pub(super) const TOKEN_BYTES_MAX: usize = 64 << 10;

/// The kind of a token.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Refers to a session without containing its state. Signed.
    Ref,
    /// Contains the session's state. Sealed.
    Inline,
    /// Refers to a saved reference. Sealed with a key of its own.
    Sturdy,
}

impl Kind {
    /// Returns the kind and the mode as written in the header.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Ref => ("ref", "s"),
            Self::Inline => ("inline", "x"),
            Self::Sturdy => ("sturdy", "x"),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Header {
    k: String,
    t: String,
    m: String,
}

impl Header {
    /// Returns the encoded header.
    fn text(key: &Key, kind: Kind) -> String {
        let (t, m) = kind.names();
        let header = Self { k: key.id().to_owned(), t: t.to_owned(), m: m.to_owned() };
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&header).expect("a header consists of three strings"))
    }

    fn kind(&self) -> Result<Kind, TokenError> {
        let kinds = [Kind::Ref, Kind::Inline, Kind::Sturdy];
        kinds.into_iter().find(|kind| kind.names() == (&self.t, &self.m)).ok_or(TokenError::Kind)
    }
}

/// The minted token of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Minted {
    /// The token.
    pub token: Secret,
    /// Whether the token contains the snapshot, so that a store need not.
    pub holds_snapshot: bool,
}

/// Where a snapshot is, apart from the token to be minted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// In a store.
    InStore,
    /// Nowhere else.
    InTokenAlone,
}

impl KeyRing {
    /// Mints a token without state, and fills in the token's own fields of `claims`. Equal claims
    /// and keys give equal tokens.
    pub fn mint(&self, claims: &mut Claims, policy: &TokenPolicy, now: UnixTime) -> Secret {
        let key = self.active();
        claims.fill(key, policy, now);
        let body = URL_SAFE_NO_PAD.encode(claims.written());
        let signed = format!("{PREFIX}.{}.{body}", Header::text(key, Kind::Ref));
        let tag = URL_SAFE_NO_PAD.encode(key.tag(signed.as_bytes()));
        Secret::new(format!("{signed}.{tag}"))
    }

    /// Mints the token of a checkpoint. The token contains the snapshot if that fits into
    /// [`TokenPolicy::inline_bytes`], and otherwise refers to the store. `nonce` must be random and
    /// new.
    ///
    /// # Errors
    /// Fails with [`TokenError::TooLarge`] if the snapshot does not fit and is not in a store.
    pub fn mint_checkpoint(
        &self,
        claims: &mut Claims,
        snapshot: &[u8],
        kept: Kept,
        policy: &TokenPolicy,
        now: UnixTime,
        nonce: &[u8; NONCE_BYTES],
    ) -> Result<Minted, TokenError> {
        let key = self.active();
        claims.sum = snapshot_sum(snapshot);
        claims.fill(key, policy, now);
        let written = claims.written();
        let header = Header::text(key, Kind::Inline);
        let bytes = sealed_bytes(&header, written.len() + snapshot.len());
        let max = policy.inline_bytes.min(TOKEN_BYTES_MAX);
        if bytes <= max {
            let token = sealed(&header, &seal::seal(key.seal(), nonce, &aad(&header), &written, snapshot));
            return Ok(Minted { token, holds_snapshot: true });
        }
        match kept {
            Kept::InStore => Ok(Minted { token: self.mint(claims, policy, now), holds_snapshot: false }),
            Kept::InTokenAlone => Err(TokenError::TooLarge { bytes, max }),
        }
    }

    /// Mints the token of a saved reference. `nonce` must be random and new.
    pub fn mint_sturdy(&self, claims: &mut Sturdy, now: UnixTime, nonce: &[u8; NONCE_BYTES]) -> Secret {
        let key = self.active();
        claims.iat = now.0;
        key.id().clone_into(&mut claims.kid);
        let written = serde_json::to_vec(claims).expect("claims consist of strings and numbers");
        let header = Header::text(key, Kind::Sturdy);
        sealed(&header, &seal::seal(key.sturdy(), nonce, &aad(&header), &written, &[]))
    }

    /// Opens the token of a session. Checks its length, shape, kind, key, tag or seal, and then the
    /// claims.
    ///
    /// # Errors
    /// The first of these checks that fails.
    pub fn open(&self, token: &str, audience: &str, now: UnixTime) -> Result<Claims, TokenError> {
        let parts = Parts::of(token)?;
        let kind = parts.header.kind()?;
        let key = match kind {
            Kind::Ref | Kind::Inline => self.key(&parts.header.k).ok_or(TokenError::KeyUnknown)?,
            Kind::Sturdy => return Err(TokenError::Kind),
        };
        let (written, snapshot) = match kind {
            Kind::Ref => (parts.signed_by(key)?, None),
            _ => parts.sealed_with(key.seal()).map(|(written, snapshot)| (written, Some(snapshot)))?,
        };
        let mut claims: Claims = read(&written)?;
        if snapshot.as_ref().is_some_and(|snapshot| snapshot_sum(snapshot) != claims.sum) {
            return Err(TokenError::Shape("the snapshot does not match its sum"));
        }
        claims.kid = parts.header.k;
        claims.snapshot = snapshot;
        claims.check(audience, now)?;
        Ok(claims)
    }

    /// Returns `true` if opened claims are for a session of this principal. Compares in constant
    /// time.
    pub fn is_subject(&self, claims: &Claims, principal: &str) -> bool {
        let subject = URL_SAFE_NO_PAD.decode(&claims.sub).unwrap_or_default();
        self.key(&claims.kid).is_some_and(|key| key.is_subject(&principal_hash(principal), &subject))
    }

    /// Opens the token of a saved reference, with the same checks in the same order.
    ///
    /// # Errors
    /// The first check that fails.
    pub fn open_sturdy(&self, token: &str, audience: &str, now: UnixTime) -> Result<Sturdy, TokenError> {
        let parts = Parts::of(token)?;
        if parts.header.kind()? != Kind::Sturdy {
            return Err(TokenError::Kind);
        }
        let key = self.key(&parts.header.k).ok_or(TokenError::KeyUnknown)?;
        let (written, _) = parts.sealed_with(key.sturdy())?;
        let mut claims: Sturdy = read(&written)?;
        claims.kid = parts.header.k;
        claims.check(audience, now)?;
        Ok(claims)
    }
}

impl Claims {
    fn fill(&mut self, key: &Key, policy: &TokenPolicy, now: UnixTime) {
        self.iat = now.0;
        self.exp = now.0.saturating_add(policy.token_lifetime.as_secs());
        self.mx = policy.session_lifetime.as_secs();
        self.sub = URL_SAFE_NO_PAD.encode(key.subject(&self.principal));
        key.id().clone_into(&mut self.kid);
    }

    fn written(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("claims consist of strings and numbers")
    }
}

/// The parts of a token, of which only the header was read.
struct Parts<'a> {
    /// The text that a tag covers.
    signed: &'a str,
    header_text: &'a str,
    header: Header,
    body: &'a str,
    tag: &'a str,
}

impl<'a> Parts<'a> {
    fn of(token: &'a str) -> Result<Self, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::TooLong(token.len()));
        }
        let (signed, tag) = token.rsplit_once('.').ok_or(TokenError::Shape("no tag"))?;
        let mut parts = signed.split('.');
        let (Some(PREFIX), Some(header_text), Some(body), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenError::Shape("not four parts of version 1"));
        };
        let header = URL_SAFE_NO_PAD.decode(header_text).ok().and_then(|header| serde_json::from_slice(&header).ok());
        let header = header.ok_or(TokenError::Shape("the header cannot be read"))?;
        Ok(Self { signed, header_text, header, body, tag })
    }

    /// Returns the claims, if they were signed with `key`.
    fn signed_by(&self, key: &Key) -> Result<Vec<u8>, TokenError> {
        let tag =
            URL_SAFE_NO_PAD.decode(self.tag).map_err(|_malformed| TokenError::Shape("the tag is not base64url"))?;
        if !key.is_tag(self.signed.as_bytes(), &tag) {
            return Err(TokenError::Tag);
        }
        URL_SAFE_NO_PAD.decode(self.body).map_err(|_malformed| TokenError::Shape("the claims are not base64url"))
    }

    /// Returns the claims and the body, if they were sealed with `key`.
    fn sealed_with(&self, key: &[u8; 32]) -> Result<(Vec<u8>, Vec<u8>), TokenError> {
        if !self.tag.is_empty() {
            return Err(TokenError::Shape("a sealed token has a tag"));
        }
        let body = URL_SAFE_NO_PAD
            .decode(self.body)
            .map_err(|_malformed| TokenError::Shape("the sealed part is not base64url"))?;
        seal::unseal(key, &aad(self.header_text), &body)
    }
}

fn aad(header: &str) -> String {
    format!("{PREFIX}.{header}")
}

fn sealed(header: &str, body: &[u8]) -> Secret {
    Secret::new(format!("{PREFIX}.{header}.{}.", URL_SAFE_NO_PAD.encode(body)))
}

/// Returns the length of a token whose claims and body have `bytes` in all.
fn sealed_bytes(header: &str, bytes: usize) -> usize {
    PREFIX.len() + header.len() + 3 + (seal::sealed_bytes(bytes) * 4).div_ceil(3)
}

fn read<T: for<'de> Deserialize<'de>>(claims: &[u8]) -> Result<T, TokenError> {
    serde_json::from_slice(claims).map_err(|_malformed| TokenError::Shape("the claims cannot be read"))
}
