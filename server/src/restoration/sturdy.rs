//! References that outlive every session: what a principal saves under a label, and what its later
//! sessions have back by token, here or in another process.

use std::fmt;
use std::sync::Arc;

use bowline_core::error::ErrorCode;
use bowline_core::link::Secret;
use bowline_core::peer::{NotDurable, Reference, RestoreCtx, Restorers};
use bowline_core::resume::{Sturdy as Claims, TokenError, principal_hash};
use bowline_core::value::ErrorValue;

use crate::keys::Keys;
use crate::peer_info::Peer;
use crate::registry::{Registry, random, unix_now};
use crate::store::{SessionStore, StoreError, SturdyEntry, SturdyRecord};

/// The references that a principal has saved; see [`Peer::sturdy`].
///
/// A token is worth nothing to anybody but the principal that saved the reference, at a service of
/// the same audience, and nothing to anybody once it is revoked. What it refers to is made again by
/// the restorer of its recipe, which decides by today's policy.
///
/// ```
/// # use bowline_core::{link::Secret, peer::Stub, value::ErrorValue};
/// # use bowline_server::{Peer, SavedRefs};
/// /// A method of an application's, by which a client has its cart back tomorrow.
/// async fn keep_for_later(peer: &Peer, cart: &Stub) -> Result<String, ErrorValue> {
///     let ticket = peer.sturdy()?.save(cart, "cart").await?;
///     Ok(ticket.expose().to_owned())
/// }
///
/// async fn have_back(peer: &Peer, ticket: String) -> Result<Stub, ErrorValue> {
///     Ok(peer.sturdy()?.restore(&Secret::new(&ticket)).await?)
/// }
/// ```
#[derive(Clone)]
pub struct SavedRefs {
    keeping: Keeping,
    owner: String,
    peer: Peer,
}

/// With what references of a service are kept.
#[derive(Clone)]
pub(crate) struct Keeping {
    store: Arc<dyn SessionStore>,
    restorers: Arc<Restorers>,
    keys: Keys,
    audience: String,
}

/// Why a reference was not saved, or is not there.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SturdyError {
    /// The service has no store; see [`Restoration::in_store`](crate::Restoration::in_store).
    #[error("references are saved in a store, and this service has none")]
    NoStore,
    /// References belong to somebody; see [`Service::authenticate`](crate::Service::authenticate).
    #[error("a reference belongs to who saved it, and nobody has said who the peer is")]
    Anonymous,
    /// It cannot be made again.
    #[error(transparent)]
    NotDurable(#[from] NotDurable),
    /// The token is no good here.
    #[error("the token is no good: {0}")]
    Token(#[from] TokenError),
    /// It was saved by somebody else.
    #[error("the reference was saved by somebody else")]
    NotTheirs,
    /// It was revoked, or never saved.
    #[error("there is no such reference any more")]
    Revoked,
    /// What is kept cannot be read.
    #[error("the recipe of a saved reference cannot be read")]
    Corrupt,
    /// The store did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl SturdyError {
    /// The code that a peer is told.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Anonymous => ErrorCode::Unauthenticated,
            Self::NotDurable(_) => ErrorCode::InvalidParams,
            Self::Token(error) => error.code(),
            Self::NotTheirs => ErrorCode::PermissionDenied,
            Self::Revoked => ErrorCode::NotFound,
            Self::Corrupt => ErrorCode::StoreCorrupt,
            Self::Store(StoreError::TooMuch { .. }) => ErrorCode::RateLimited,
            Self::NoStore | Self::Store(_) => ErrorCode::StoreUnavailable,
        }
    }
}

/// As a peer is told: what went wrong in a store is for the log.
impl From<SturdyError> for ErrorValue {
    fn from(error: SturdyError) -> Self {
        let message = match &error {
            SturdyError::Store(StoreError::TooMuch { .. }) => "too many references are saved".to_owned(),
            SturdyError::Store(hidden) => {
                tracing::warn!(error = %hidden, "a saved reference could not be reached");
                "saved references cannot be reached".to_owned()
            }
            SturdyError::Token(_) => "the token is not valid here".to_owned(),
            told => told.to_string(),
        };
        Self::new("Error", message).with_prop("code", error.code().as_str())
    }
}

impl SavedRefs {
    /// Saves a reference until it is revoked. The token has it back; the label is for whoever reads
    /// the list. Dropped before it ends, it may have been saved.
    ///
    /// # Errors
    /// It is no reference to a durable object of this service's, its recipe names callbacks of the
    /// peer's, the label is longer than 256 bytes, the principal has too many, or the store does not
    /// answer.
    pub async fn save(&self, reference: &impl Reference, label: &str) -> Result<Secret, SturdyError> {
        let recipe =
            serde_json::to_vec(&reference.stub().stored_recipe()?).map_err(|_unwritten| SturdyError::Corrupt)?;
        let id = format!("r_{}", random::<16>());
        let record = SturdyRecord { owner: self.owner.clone(), label: label.to_owned(), recipe: recipe.into() };
        self.keeping.store.save(&id, record).await?;
        let mut claims = Claims::new(&id, &self.peer.principal.id, &self.keeping.audience);
        Ok(self.keeping.keys.ring().mint_sturdy(&mut claims, unix_now(), &rand::random()))
    }

    /// Has a reference back. The object is made meanwhile: calls wait for it, and fail with the
    /// restorer's code if it is not made. Cancel-safe.
    ///
    /// # Errors
    /// The token is no good here, was saved by somebody else or is revoked, or the store does not
    /// answer.
    pub async fn restore<R: Reference>(&self, token: &Secret) -> Result<R, SturdyError> {
        let claims = self.keeping.keys.ring().open_sturdy(token.expose(), &self.keeping.audience, unix_now());
        let claims = claims.inspect_err(|error| tracing::warn!(%error, "a saved reference was refused"))?;
        if claims.sub != self.owner {
            tracing::warn!(reference = claims.id, principal = %self.peer.principal, "a saved reference of somebody else");
            return Err(SturdyError::NotTheirs);
        }
        let record = self.keeping.store.sturdy(&claims.id).await?.ok_or(SturdyError::Revoked)?;
        if record.owner != self.owner {
            return Err(SturdyError::NotTheirs);
        }
        let recipe = serde_json::from_slice(&record.recipe).map_err(|error| {
            tracing::error!(reference = claims.id, %error, "a saved reference is damaged");
            SturdyError::Corrupt
        })?;
        let ctx = RestoreCtx::new(claims.id, self.peer.principal.id.as_str(), self.keeping.audience.as_str());
        Ok(R::from_stub(self.keeping.restorers.restore(&ctx.with_peer(self.peer.clone()), &recipe)))
    }

    /// What the principal has saved, in the order of names: those after `after`, which is empty for
    /// the first page, and at most `limit`, 1,000 at most. Cancel-safe.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn list(&self, after: &str, limit: usize) -> Result<Vec<SturdyEntry>, SturdyError> {
        Ok(self.keeping.store.list_sturdy(&self.owner, after, limit).await?)
    }

    /// Forgets a reference by its name in the list; says whether it was there. References that were
    /// had back before go on to work.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn revoke(&self, id: &str) -> Result<bool, SturdyError> {
        Ok(self.keeping.store.revoke(&self.owner, id).await?)
    }
}

impl Peer {
    /// The references that the peer's principal has saved, which outlive its sessions.
    ///
    /// # Errors
    /// The service has no store, or the peer is anonymous.
    pub fn sturdy(&self) -> Result<SavedRefs, SturdyError> {
        let keeping = self.keeping.clone().ok_or(SturdyError::NoStore)?;
        if self.principal.is_anonymous() {
            return Err(SturdyError::Anonymous);
        }
        Ok(SavedRefs { keeping, owner: principal_hash(&self.principal.id), peer: self.clone() })
    }
}

impl Keeping {
    /// Of a service that has a store.
    pub(crate) fn of(registry: &Registry) -> Option<Self> {
        let keeper = registry.keeper.as_ref()?;
        Some(Self {
            store: Arc::clone(keeper.store.as_ref()?),
            restorers: Arc::clone(&keeper.restorers),
            keys: registry.resumption.keys.clone(),
            audience: registry.resumption.token_audience(),
        })
    }
}

impl fmt::Debug for Keeping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keeping(..)")
    }
}

impl fmt::Debug for SavedRefs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SavedRefs({})", self.peer.principal)
    }
}
