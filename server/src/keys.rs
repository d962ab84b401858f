//! The keys of a service, which can change while it runs.

use std::sync::{Arc, PoisonError, RwLock};

use bowline_core::resume::{Key, KeyError, KeyRing};

/// The key that signs tokens, and the keys whose tokens are accepted.
///
/// Clones share the keys: a change applies to every service that has a clone, from the next token
/// on.
///
/// ```
/// use bowline::auth::{Key, KeyRing, Keys};
///
/// # mod bowline { pub mod auth { pub use bowline_server::{Key, KeyError, KeyRing, Keys}; } }
/// # fn main() -> Result<(), bowline::auth::KeyError> {
/// let keys = Keys::new(KeyRing::new(Key::generate("2026-10")?));
/// // A service that has a clone signs with the new key from now on.
/// keys.rotate(Key::generate("2026-11")?)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Keys(Arc<RwLock<Arc<KeyRing>>>);

impl Keys {
    /// Creates keys from a ring.
    pub fn new(ring: KeyRing) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(ring))))
    }

    /// Signs tokens with `key` from now on. Tokens of the other keys are still accepted.
    ///
    /// # Errors
    /// Returns a [`KeyError`] if there is a key with the same id.
    pub fn rotate(&self, key: Key) -> Result<(), KeyError> {
        self.change(|ring| ring.rotate(key))
    }

    /// Accepts tokens of another key, which other processes are about to sign with.
    ///
    /// # Errors
    /// Returns a [`KeyError`] if there is a key with the same id.
    pub fn accept(&self, key: Key) -> Result<(), KeyError> {
        self.change(|ring| ring.accept(key))
    }

    /// Removes a key. Detached sessions whose token it signed are lost with
    /// `RESUME_TOKEN_KEY_UNKNOWN`.
    ///
    /// # Errors
    /// Returns a [`KeyError`] if there is no key with this id, or if it is the key that signs.
    pub fn remove(&self, id: &str) -> Result<(), KeyError> {
        self.change(|ring| ring.remove(id))
    }

    /// Returns the current keys.
    pub fn ring(&self) -> Arc<KeyRing> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change(&self, change: impl FnOnce(KeyRing) -> Result<KeyRing, KeyError>) -> Result<(), KeyError> {
        let mut ring = self.0.write().unwrap_or_else(PoisonError::into_inner);
        *ring = Arc::new(change(KeyRing::clone(&ring))?);
        Ok(())
    }
}

impl From<KeyRing> for Keys {
    fn from(ring: KeyRing) -> Self {
        Self::new(ring)
    }
}
