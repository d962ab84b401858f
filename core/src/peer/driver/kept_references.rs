//! References that a client keeps for its next process, and reattaching to a session, on either side.

use std::fmt;
use std::sync::Arc;

use crate::endpoint::{Endpoint, RecoverError, Recovered};
use crate::error::ErrorCode;
use crate::link::{Left, LinkRules};
use crate::peer::driver::connection::Connection;
use crate::peer::driver::options::SessionOptions;
use crate::peer::durable::durability::Durability;
use crate::peer::host::remote::{Kind, Remote};
use crate::peer::reference::stub::{Inner, Stub};
use crate::session::{self, Recipe, Ref};

/// The maximum number of references that a session keeps for another process.
pub const KEPT_MAX: usize = 1_000;

/// The maximum length of the name of a kept reference, in bytes.
pub const KEPT_NAME_BYTES_MAX: usize = 256;

/// The reason that a reference cannot be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeepError {
    /// The reference was not received from the server in this session, or is a property of one.
    NotOfSession,
    /// The name is empty or too long.
    Name,
    /// The maximum number of references is reached.
    TooMany,
}

impl fmt::Display for KeepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOfSession => write!(f, "only references received from the server in this session can be kept"),
            Self::Name => write!(f, "the name of a kept reference must have 1 to {KEPT_NAME_BYTES_MAX} bytes"),
            Self::TooMany => write!(f, "limit: references kept in a session (at most {KEPT_MAX})"),
        }
    }
}

impl std::error::Error for KeepError {}

/// Returns `Ok` if another process can restore a local object.
fn lives(durability: Option<&Durability>, recipe: Option<&Recipe>, kind: session::Kind) -> Result<(), ErrorCode> {
    match durability {
        Some(Durability { restorers, .. }) => restorers.lives(recipe, kind),
        None => Err(ErrorCode::CapabilityLost),
    }
}

impl Connection {
    /// Keeps a reference under a name. It replaces the reference that was kept under the name before.
    ///
    /// # Errors
    /// The reference cannot be kept, the name is invalid, or the limit is reached.
    pub fn keep(&self, name: &str, reference: &Stub) -> Result<(), KeepError> {
        if name.is_empty() || name.len() > KEPT_NAME_BYTES_MAX {
            return Err(KeepError::Name);
        }
        let Inner::Remote(remote) = reference.inner() else { return Err(KeepError::NotOfSession) };
        let of = remote.of;
        if !Arc::ptr_eq(&remote.shared, self.shared()) || matches!(of, Ref::Target(_)) {
            return Err(KeepError::NotOfSession);
        }
        self.command(|endpoint| {
            let session = &mut endpoint.session;
            if session.kept(name).is_none() && session.kept_names().len() >= KEPT_MAX {
                return Err(KeepError::TooMany);
            }
            session.keep(name, of);
            Ok(())
        })
    }

    /// Returns the reference that is kept under a name.
    pub fn kept(&self, name: &str) -> Option<Stub> {
        let of = self.command(|endpoint| {
            let of = endpoint.session.kept(name)?;
            endpoint.session.retain(of);
            Some(of)
        })?;
        let kind = match of {
            Ref::Import(id) if id.0 <= 0 => Kind::Stub,
            _ => Kind::Result,
        };
        Some(Stub::from_remote(Remote { shared: Arc::clone(self.shared()), of, kind }))
    }

    /// Stops keeping a reference. Returns `true` if there was one under this name.
    pub fn forget(&self, name: &str) -> bool {
        self.command(|endpoint| endpoint.session.forget_kept(name))
    }

    /// Returns the names of the kept references, sorted.
    pub fn kept_names(&self) -> Vec<String> {
        self.read(|endpoint| endpoint.session.kept_names().map(str::to_owned).collect())
    }

    /// Returns the state of this client session as bytes, for the next process, or `None` if the session has
    /// ended. See [`Endpoint::saved_state`].
    pub fn saved_state(&self) -> Option<Vec<u8>> {
        let durability = Durability::of(self.shared());
        self.shared().between_inputs(|endpoint| endpoint.saved_state(|recipe, kind| lives(durability, recipe, kind)))
    }

    /// Recreates a client session from the bytes of [`saved_state`](Self::saved_state). Also returns what the client
    /// still holds, which the server has to know.
    ///
    /// # Errors
    /// The bytes are not a saved session, or are damaged.
    pub fn from_saved_state(
        bytes: &[u8],
        main: Option<Stub>,
        options: SessionOptions,
        rules: LinkRules,
    ) -> Result<(Self, Left), RecoverError> {
        let lives = |recipe: Option<&Recipe>, kind| lives(options.durability.as_deref(), recipe, kind);
        let restored = Endpoint::from_saved_state(bytes, options.limits.clone(), rules, lives)?;
        let left = restored.left();
        let Recovered { endpoint, revived, .. } = restored;
        Ok((Self::recovered(endpoint, &revived.targets, main, options), left))
    }
}
