//! The keys of tokens: one that signs and seals, and earlier ones that are still accepted.

use std::fmt;

use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::{DecodeError, Engine, alphabet};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

/// The minimum length of a root key, in bytes.
const ROOT_BYTES_MIN: usize = 32;

/// The maximum length of a key's name, in bytes.
const ID_BYTES_MAX: usize = 32;

const PURPOSE_MAC: &[u8] = b"bowline/mac/1";
const PURPOSE_POP: &[u8] = b"bowline/pop/1";
const PURPOSE_SEAL: &[u8] = b"bowline/seal/1";
const PURPOSE_STURDY: &[u8] = b"bowline/sturdy/1";

/// The prefix of the bytes from which `sub` is computed. No token begins with it, so a tag is never
/// a valid `sub`.
const SUBJECT: &[u8] = b"bowline/sub/1";

/// An error in creating a key or changing a key ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The root key is too short.
    #[error("the root key has {0} bytes; the minimum is {ROOT_BYTES_MIN}")]
    TooShort(usize),
    /// The text of a root key is not base64.
    #[error("the root key is not base64: {0}")]
    NotBase64(&'static str),
    /// The operating system provides no random bytes.
    #[error("the operating system provides no random bytes")]
    NoRandomness,
    /// The name of the key is empty or too long. It is part of every token.
    #[error("the name of the key has {0} bytes; it must have 1 to {ID_BYTES_MAX}")]
    Name(usize),
    /// The key ring already has a key of this name. Tokens name their key.
    #[error("the key ring already has a key of this name")]
    SameName,
    /// The key ring has no accepted key of this name. The active key cannot be removed.
    #[error("the key ring has no accepted key of this name other than the active one")]
    NotThere,
}

/// A key, from which separate keys are derived for each purpose.
///
/// ```
/// # mod bowline { pub mod auth { pub use bowline_core::resume::Key; } }
/// use bowline::auth::Key;
///
/// # fn main() -> Result<(), bowline_core::resume::KeyError> {
/// // The output of `openssl rand -base64 32`, from a secret store.
/// let key = Key::from_base64("2026-11", "3q2+7wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")?;
/// # drop(key);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Key {
    id: String,
    mac: Zeroizing<[u8; 32]>,
    pop: Zeroizing<[u8; 32]>,
    seal: Zeroizing<[u8; 32]>,
    sturdy: Zeroizing<[u8; 32]>,
}

impl Key {
    /// Creates a key from at least 32 secret random bytes. The name must never have been used for
    /// another key.
    ///
    /// # Errors
    /// Fails if there are too few bytes, or if the name is empty or longer than 32 bytes.
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
    /// Fails if the name is empty or longer than 32 bytes, or if the operating system provides no
    /// random bytes.
    #[expect(clippy::disallowed_methods, reason = "a key is made before there is a session")]
    pub fn generate(id: impl Into<String>) -> Result<Self, KeyError> {
        let mut root = Zeroizing::new([0; ROOT_BYTES_MIN]);
        getrandom::fill(&mut *root).map_err(|_unavailable| KeyError::NoRandomness)?;
        Self::new(id, &*root)
    }

    /// Creates a key from the base64 of at least 32 random bytes, such as the output of `openssl
    /// rand -base64 32`. Accepts both alphabets, with and without padding. Surrounding whitespace
    /// is ignored.
    ///
    /// ```
    /// # fn main() -> Result<(), bowline_core::resume::KeyError> {
    /// use bowline_core::resume::{Key, KeyRing};
    ///
    /// // Every process of the service reads the same secret. The name is part of tokens, and must
    /// // never be used for another key.
    /// # let secret = "3q2+7wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n";
    /// let key = Key::from_base64("2026-11", secret)?;
    /// let keys = KeyRing::new(key);
    /// # drop(keys);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Fails if the text is not base64 or contains fewer than 32 bytes, or if the name is empty or
    /// longer than 32 bytes.
    pub fn from_base64(id: impl Into<String>, root: &str) -> Result<Self, KeyError> {
        let root = root.trim();
        let alphabet = if root.contains(['-', '_']) { &alphabet::URL_SAFE } else { &alphabet::STANDARD };
        let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
        let decoded = GeneralPurpose::new(alphabet, config).decode(root).map_err(|error| {
            KeyError::NotBase64(match error {
                DecodeError::InvalidByte(..) => "it contains an invalid character",
                DecodeError::InvalidLength(_) => "its length is invalid",
                _ => "its end is malformed",
            })
        })?;
        Self::new(id, &Zeroizing::new(decoded))
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Blinds a principal, for use as `sub`.
    pub(super) fn subject(&self, principal: &str) -> [u8; 32] {
        sign(&*self.mac, &[SUBJECT, principal.as_bytes()])
    }

    /// Compares in constant time.
    pub(super) fn is_subject(&self, principal: &str, subject: &[u8]) -> bool {
        is_signature(&*self.mac, &[SUBJECT, principal.as_bytes()], subject)
    }

    pub(super) fn tag(&self, signed: &[u8]) -> [u8; 32] {
        sign(&*self.mac, &[signed])
    }

    /// Compares in constant time.
    pub(super) fn is_tag(&self, signed: &[u8], tag: &[u8]) -> bool {
        is_signature(&*self.mac, &[signed], tag)
    }

    /// Returns the key that seals the state of sessions.
    pub(super) fn seal(&self) -> &[u8; 32] {
        &self.seal
    }

    /// Returns the key that seals saved references.
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

/// The active key, which signs, and accepted ones, which signed earlier. An earlier key must stay
/// accepted for as long as its tokens live; without it, sessions that wait for their client cannot
/// be resumed.
///
/// ```
/// use bowline::auth::{Key, KeyRing};
///
/// # mod bowline { pub mod auth { pub use bowline_core::resume::{Key, KeyError, KeyRing}; } }
/// # fn main() -> Result<(), bowline::auth::KeyError> {
/// // The first key signs. Tokens of last month's key are still accepted.
/// let ring = KeyRing::new(Key::generate("2026-11")?).accept(Key::generate("2026-10")?)?;
/// # drop(ring);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct KeyRing {
    active: Key,
    accepted: Vec<Key>,
}

impl KeyRing {
    /// Creates a ring of one key.
    pub fn new(active: Key) -> Self {
        Self { active, accepted: Vec::new() }
    }

    /// Adds a key whose tokens are accepted, too.
    ///
    /// # Errors
    /// Fails if the ring has a key of this name.
    pub fn accept(mut self, key: Key) -> Result<Self, KeyError> {
        if self.key(key.id()).is_some() {
            return Err(KeyError::SameName);
        }
        self.accepted.push(key);
        Ok(self)
    }

    /// Makes `key` the active key. The previous one stays accepted.
    ///
    /// # Errors
    /// Fails if the ring has a key of this name.
    pub fn rotate(mut self, key: Key) -> Result<Self, KeyError> {
        if self.key(key.id()).is_some() {
            return Err(KeyError::SameName);
        }
        self.accepted.push(std::mem::replace(&mut self.active, key));
        Ok(self)
    }

    /// Removes an accepted key. Its tokens are refused from then on.
    ///
    /// # Errors
    /// Fails if there is no such key, or if it is the active one.
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

/// Compares in constant time.
pub(super) fn is_signature(key: &[u8], parts: &[&[u8]], signature: &[u8]) -> bool {
    hmac(key, parts).verify_slice(signature).is_ok()
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC accepts keys of any length");
    for part in parts {
        mac.update(part);
    }
    mac
}
