//! The keys of tokens: one that signs and seals, and those of before that are still accepted.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

/// The shortest root key.
const ROOT_BYTES_MIN: usize = 32;

/// The longest name of a key.
const ID_BYTES_MAX: usize = 32;

const PURPOSE_MAC: &[u8] = b"bowline/mac/1";
const PURPOSE_POP: &[u8] = b"bowline/pop/1";
const PURPOSE_SEAL: &[u8] = b"bowline/seal/1";
const PURPOSE_STURDY: &[u8] = b"bowline/sturdy/1";

/// A key cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// A root key is too short to be one.
    #[error("a root key has {ROOT_BYTES_MIN} bytes at least, not {0}")]
    TooShort(usize),
    /// The name of a key goes into every token.
    #[error("the name of a key has 1 to {ID_BYTES_MAX} bytes, not {0}")]
    Name(usize),
    /// A token says which key made it, by name.
    #[error("two keys have one name")]
    SameName,
    /// Only a key that is accepted, and does not sign, can be taken away.
    #[error("no key of this name is accepted beside the one that signs")]
    NotThere,
}

/// A root key, as the keys that are derived from it: no two purposes share one.
#[derive(Clone)]
pub struct Key {
    id: String,
    mac: Zeroizing<[u8; 32]>,
    pop: Zeroizing<[u8; 32]>,
    seal: Zeroizing<[u8; 32]>,
    sturdy: Zeroizing<[u8; 32]>,
}

impl Key {
    /// A key from at least 32 bytes that nobody can guess, with a name that was never given to
    /// another.
    ///
    /// # Errors
    /// The bytes are too few, or the name is empty or too long.
    pub fn new(id: impl Into<String>, root: &[u8]) -> Result<Self, KeyError> {
        let id = id.into();
        if id.is_empty() || id.len() > ID_BYTES_MAX {
            return Err(KeyError::Name(id.len()));
        }
        if root.len() < ROOT_BYTES_MIN {
            return Err(KeyError::TooShort(root.len()));
        }
        let derive = |purpose: &[u8]| Zeroizing::new(sign(root, &[purpose]));
        Ok(Self {
            id,
            mac: derive(PURPOSE_MAC),
            pop: derive(PURPOSE_POP),
            seal: derive(PURPOSE_SEAL),
            sturdy: derive(PURPOSE_STURDY),
        })
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn tag(&self, signed: &[u8]) -> [u8; 32] {
        sign(&*self.mac, &[signed])
    }

    /// Takes the same time whatever differs.
    pub(super) fn is_tag(&self, signed: &[u8], tag: &[u8]) -> bool {
        is_signature(&*self.mac, &[signed], tag)
    }

    /// Seals the state of sessions.
    pub(super) fn seal(&self) -> &[u8; 32] {
        &self.seal
    }

    /// Seals durable references.
    pub(super) fn sturdy(&self) -> &[u8; 32] {
        &self.sturdy
    }

    pub(super) fn possession(&self, parts: &[&[u8]]) -> [u8; 32] {
        sign(&*self.pop, parts)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The key that signs, and those that signed before. A key is kept accepted for as long as a
/// token lives; whoever replaces the keys before that ends the sessions that are away.
#[derive(Clone, Debug)]
pub struct KeyRing {
    active: Key,
    accepted: Vec<Key>,
}

impl KeyRing {
    /// A ring of one key.
    pub fn new(active: Key) -> Self {
        Self { active, accepted: Vec::new() }
    }

    /// Accepts what another key has signed, too.
    ///
    /// # Errors
    /// A key of this name is there already.
    pub fn accept(mut self, key: Key) -> Result<Self, KeyError> {
        if self.key(key.id()).is_some() {
            return Err(KeyError::SameName);
        }
        self.accepted.push(key);
        Ok(self)
    }

    /// Signs with `key` from now on, and goes on to accept what was signed until now.
    ///
    /// # Errors
    /// A key of this name is there already.
    pub fn rotate(mut self, key: Key) -> Result<Self, KeyError> {
        if self.key(key.id()).is_some() {
            return Err(KeyError::SameName);
        }
        self.accepted.push(std::mem::replace(&mut self.active, key));
        Ok(self)
    }

    /// Accepts no more what a key has signed.
    ///
    /// # Errors
    /// There is no such key, or it is the one that signs.
    pub fn remove(mut self, id: &str) -> Result<Self, KeyError> {
        let place = self.accepted.iter().position(|key| key.id == id).ok_or(KeyError::NotThere)?;
        self.accepted.remove(place);
        Ok(self)
    }

    pub(super) fn active(&self) -> &Key {
        &self.active
    }

    pub(super) fn key(&self, id: &str) -> Option<&Key> {
        std::iter::once(&self.active).chain(&self.accepted).find(|key| key.id == id)
    }
}

pub(super) fn sign(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    hmac(key, parts).finalize().into_bytes().into()
}

/// Takes the same time whatever differs.
pub(super) fn is_signature(key: &[u8], parts: &[&[u8]], signature: &[u8]) -> bool {
    hmac(key, parts).verify_slice(signature).is_ok()
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in parts {
        mac.update(part);
    }
    mac
}
