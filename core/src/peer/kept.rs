//! References that a client wants to have again when its own process was another, and going on with
//! a session after that, on either side.

use std::fmt;
use std::sync::Arc;

use crate::endpoint::{Attached, Endpoint, RestoreError, Restored};
use crate::error::ErrorCode;
use crate::id::Ids;
use crate::link::{Features, Left, LinkRules, Refused};
use crate::peer::connection::Connection;
use crate::peer::durability::Durability;
use crate::peer::options::Options;
use crate::peer::stub::{Inner, Kind, Remote, Stub};
use crate::session::{self, Recipe, Ref};

/// References that a session keeps for another process, at most.
pub const KEPT_MAX: usize = 1_000;

/// Bytes of a name under which one is kept, at most.
pub const KEPT_NAME_BYTES_MAX: usize = 256;

/// Why a reference is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeepError {
    /// It is not one that the server gave in this session, or is a property of one.
    NotOfSession,
    /// The name is empty or too long.
    Name,
    /// As many are kept as may be.
    TooMany,
}

impl fmt::Display for KeepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOfSession => write!(f, "only references that the server gave in this session can be kept"),
            Self::Name => write!(f, "a name has 1 to {KEPT_NAME_BYTES_MAX} bytes"),
            Self::TooMany => write!(f, "{KEPT_MAX} references are kept already"),
        }
    }
}

impl std::error::Error for KeepError {}

impl Options {
    /// Whether an object of ours can be made again in another process.
    fn lives(&self, recipe: Option<&Recipe>, kind: session::Kind) -> Result<(), ErrorCode> {
        match self.durability.as_deref() {
            Some(Durability { restorers, .. }) => restorers.lives(recipe, kind),
            None => Err(ErrorCode::CapabilityLost),
        }
    }
}

impl Connection {
    /// Keeps a reference under a name, in place of what was kept under it.
    ///
    /// # Errors
    /// It cannot be kept, or too many are.
    pub fn keep(&self, name: &str, reference: &Stub) -> Result<(), KeepError> {
        if name.is_empty() || name.len() > KEPT_NAME_BYTES_MAX {
            return Err(KeepError::Name);
        }
        let Inner::Remote(Remote { shared, of, .. }) = reference.inner() else { return Err(KeepError::NotOfSession) };
        if !Arc::ptr_eq(shared, self.shared()) || matches!(of, Ref::Target(_)) {
            return Err(KeepError::NotOfSession);
        }
        self.link(|endpoint| {
            let session = &mut endpoint.session;
            if session.kept(name).is_none() && session.kept_names().len() >= KEPT_MAX {
                return Err(KeepError::TooMany);
            }
            session.keep(name, *of);
            Ok(())
        })
    }

    /// The reference that is kept under a name.
    pub fn kept(&self, name: &str) -> Option<Stub> {
        let of = self.link(|endpoint| {
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

    /// Keeps it no longer; says whether something was kept.
    pub fn unkeep(&self, name: &str) -> bool {
        self.link(|endpoint| endpoint.session.unkeep(name))
    }

    /// The names under which references are kept, in order.
    pub fn kept_names(&self) -> Vec<String> {
        self.link(|endpoint| endpoint.session.kept_names().map(str::to_owned).collect())
    }

    /// This client's end as bytes, for its next process; see [`Endpoint::outlive`].
    pub fn outlive(&self) -> Option<Vec<u8>> {
        self.between_inputs(|endpoint| endpoint.outlive(|recipe, kind| self.shared().options().lives(recipe, kind)))
    }

    /// A client's end, made again from the bytes of [`outlive`](Self::outlive), and what the server
    /// has to know of it.
    ///
    /// # Errors
    /// The bytes are something else.
    pub fn made_again(
        bytes: &[u8],
        main: Option<Stub>,
        options: Options,
        rules: LinkRules,
    ) -> Result<(Self, Left), RestoreError> {
        let lives = |recipe: Option<&Recipe>, kind| options.lives(recipe, kind);
        let restored = Endpoint::made_again(bytes, options.limits.clone(), rules, lives)?;
        let left = restored.left();
        let Restored { endpoint, revived, .. } = restored;
        Ok((Self::restored(endpoint, &revived.targets, main, options), left))
    }

    /// As [`attach`](Self::attach), for a server whose client was made again: see
    /// [`Endpoint::attach_restarted`].
    ///
    /// # Errors
    /// The session is over, or the client claims more than can have been given.
    pub fn attach_restarted(&self, features: Features, left: &Left, ids: Ids) -> Result<(Attached, Left), Refused> {
        let mut ours = Left::default();
        let attached = self.shared().attach_by(|endpoint, now| {
            let (attached, left) = endpoint.attach_restarted(now, features, left, ids)?;
            ours = left;
            Ok(attached)
        })?;
        Ok((attached, ours))
    }

    /// As [`attach`](Self::attach), for a client that was made again, whose server says what is left
    /// on its side.
    ///
    /// # Errors
    /// The server claims that more was given than can have been.
    pub fn attach_reattached(&self, features: Features, ids: Ids, left: &Left) -> Result<Attached, Refused> {
        self.shared().attach_by(|endpoint, now| endpoint.attach_reattached(now, features, ids, left))
    }
}
