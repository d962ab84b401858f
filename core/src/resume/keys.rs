//! The keys of tokens: one that signs and seals, and those of before that are still accepted.

use std::fmt;

use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::{DecodeError, Engine, alphabet};
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

/// What `sub` is made of, before the principal. No token begins with it, so no tag is a `sub`.
const SUBJECT: &[u8] = b"bowline/sub/1";

/// A key cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// A root key is too short to be one.
    #[error("a root key has {ROOT_BYTES_MIN} bytes at least, not {0}")]
    TooShort(usize),
    /// The text of a root key is not base64.
    #[error("the root key is not base64: {0}")]
    NotBase64(&'static str),
    /// The operating system gives no random bytes.
    #[error("the operating system gives no random bytes for a key")]
    NoRandomness,
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

    /// Creates a key of 32 random bytes. It is lost with the process, and so are the sessions and
    /// saved references whose tokens it signed; a service whose sessions outlive the process reads
    /// its key with [`from_base64`](Self::from_base64).
    ///
    /// # Errors
    /// The name is empty or longer than 32 bytes, or the operating system gives no random bytes.
    #[expect(clippy::disallowed_methods, reason = "a key is made before there is a session")]
    pub fn generate(id: impl Into<String>) -> Result<Self, KeyError> {
        let mut root = Zeroizing::new([0; ROOT_BYTES_MIN]);
        getrandom::fill(&mut *root).map_err(|_unavailable| KeyError::NoRandomness)?;
        Self::new(id, &*root)
    }

    /// Creates a key from the base64 of at least 32 random bytes, such as `openssl rand -base64 32`
    /// prints. Both alphabets are read, with and without padding; white space around the text is
    /// skipped.
    ///
    /// ```
    /// # fn main() -> Result<(), bowline_core::resume::KeyError> {
    /// use bowline_core::resume::{Key, KeyRing};
    ///
    /// // Every process of the service reads the same text, from where it keeps its secrets. The name
    /// // goes into tokens, and is never given to another key.
    /// # let secret = "3q2+7wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n";
    /// let key = Key::from_base64("2026-11", secret)?;
    /// let keys = KeyRing::new(key);
    /// # drop(keys);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The text is not base64, it holds fewer than 32 bytes, or the name is empty or longer than 32
    /// bytes.
    pub fn from_base64(id: impl Into<String>, root: &str) -> Result<Self, KeyError> {
        let root = root.trim();
        let alphabet = if root.contains(['-', '_']) { &alphabet::URL_SAFE } else { &alphabet::STANDARD };
        let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
        let decoded = GeneralPurpose::new(alphabet, config).decode(root).map_err(|error| {
            KeyError::NotBase64(match error {
                DecodeError::InvalidByte(..) => "it has a character that base64 does not have",
                DecodeError::InvalidLength(_) => "a character is missing at its end",
                _ => "its end is malformed",
            })
        })?;
        Self::new(id, &Zeroizing::new(decoded))
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Blinds what is known of a principal.
    pub(super) fn subject(&self, principal: &str) -> [u8; 32] {
        sign(&*self.mac, &[SUBJECT, principal.as_bytes()])
    }

    /// Takes the same time whatever differs.
    pub(super) fn is_subject(&self, principal: &str, subject: &[u8]) -> bool {
        is_signature(&*self.mac, &[SUBJECT, principal.as_bytes()], subject)
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
