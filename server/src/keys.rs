//! The keys of a service, which can be changed while it runs.

use std::sync::{Arc, PoisonError, RwLock};

use bowline_core::resume::{Key, KeyError, KeyRing};

/// The keys that sign tokens and those that are accepted. Clones are the same keys: what is
/// changed in one is changed for every service that has one, from the next token on.
#[derive(Clone, Debug)]
pub struct Keys(Arc<RwLock<Arc<KeyRing>>>);

impl Keys {
    /// The keys of a ring.
    pub fn new(ring: KeyRing) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(ring))))
    }

    /// Signs with `key` from now on, and goes on to accept what was signed until now.
    ///
    /// # Errors
    /// A key of this name is there already.
    pub fn rotate(&self, key: Key) -> Result<(), KeyError> {
        self.change(|ring| ring.rotate(key))
    }

    /// Accepts what another key has signed, too: one that other processes are about to sign with.
    ///
    /// # Errors
    /// A key of this name is there already.
    pub fn accept(&self, key: Key) -> Result<(), KeyError> {
        self.change(|ring| ring.accept(key))
    }

    /// Accepts no more what a key has signed: sessions that are away with a token of it are lost
    /// with `RESUME_TOKEN_KEY_UNKNOWN`.
    ///
    /// # Errors
    /// There is no such key, or it is the one that signs.
    pub fn remove(&self, id: &str) -> Result<(), KeyError> {
        self.change(|ring| ring.remove(id))
    }

    /// The keys as they are now.
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
