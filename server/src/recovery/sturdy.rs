//! Saved references, which outlive all sessions: a principal saves one under a label, and restores
//! it in later sessions by a token, in this or another process. See docs/durable.md, "Saved
//! references".

use std::fmt;
use std::sync::Arc;

use bowline_core::error::{ErrorChain, ErrorCode};
use bowline_core::link::Secret;
use bowline_core::peer::{NotDurable, Reference, RestoreCtx, Restorers};
use bowline_core::resume::{Sturdy as Claims, TokenError, principal_hash};
use bowline_core::value::ErrorValue;

use crate::keys::Keys;
use crate::peer_info::Peer;
use crate::registry::{Registry, random, unix_now};
use crate::store::{SessionStore, StoreError, SturdyEntry, SturdyRecord};

/// The saved references of a principal. See [`Peer::sturdy`].
///
/// A token is valid only for the principal that saved the reference, at services with the same
/// audience, until it is revoked. The object is restored by the restorer of its recipe, which
/// applies the policy of that time.
///
/// ```
/// # use bowline_core::{link::Secret, peer::Stub, value::ErrorValue};
/// # use bowline_server::{Peer, SavedRefs};
/// /// Saves a cart, so that its client can restore it in a later session.
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

/// What a service needs to save references.
#[derive(Clone)]
pub(crate) struct Keeping {
    store: Arc<dyn SessionStore>,
    restorers: Arc<Restorers>,
    keys: Keys,
    audience: String,
}

/// Why a reference was not saved or restored.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SturdyError {
    /// The service has no store. See [`Recovery::in_store`](crate::Recovery::in_store).
    #[error("this service has no store to save references in")]
    NoStore,
    /// The peer is anonymous. See [`Service::authenticate`](crate::Service::authenticate).
    #[error("only authenticated peers can save references")]
    Anonymous,
    /// The reference is not durable.
    #[error(transparent)]
    NotDurable(#[from] NotDurable),
    /// The token is invalid.
    #[error("the token of a saved reference is invalid")]
    Token(#[from] TokenError),
    /// Another principal saved the reference.
    #[error("the reference was saved by another principal")]
    NotTheirs,
    /// The reference was revoked.
    #[error("the saved reference no longer exists")]
    Revoked,
    /// The stored recipe cannot be read.
    #[error("the recipe of a saved reference cannot be read")]
    Corrupt,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl SturdyError {
    /// Returns the code that is sent to a peer.
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

/// Returns the error that is sent to a peer. Errors of the store are only logged.
impl From<SturdyError> for ErrorValue {
    fn from(error: SturdyError) -> Self {
        let message = match &error {
            SturdyError::Store(StoreError::TooMuch { .. }) => "too many references are saved".to_owned(),
            SturdyError::Store(hidden) => {
                tracing::warn!(error = %hidden, "saved references are unavailable");
                "saved references are unavailable".to_owned()
            }
            SturdyError::Token(_) => "the token is invalid".to_owned(),
            told => ErrorChain(told).to_string(),
        };
        Self::new("Error", message).with_prop("code", error.code().as_str())
    }
}

impl SavedRefs {
    /// Saves a reference until it is revoked, and returns the token that restores it. The label
    /// identifies it in the list. If the future is dropped, the reference may have been saved.
    ///
    /// # Errors
    /// Returns a [`SturdyError`] if the reference is not to a durable object of this service, if
    /// its recipe contains callbacks of the peer, if the label is longer than 256 bytes, if the
    /// principal has too many saved references, or if the store fails.
    pub async fn save(&self, reference: &impl Reference, label: &str) -> Result<Secret, SturdyError> {
        let recipe =
            serde_json::to_vec(&reference.stub().stored_recipe()?).map_err(|_unwritten| SturdyError::Corrupt)?;
        let id = format!("r_{}", random::<16>());
        let record = SturdyRecord { owner: self.owner.clone(), label: label.to_owned(), recipe: recipe.into() };
        self.keeping.store.save(&id, record).await?;
        let mut claims = Claims::new(&id, &self.peer.principal.id, &self.keeping.audience);
        Ok(self.keeping.keys.ring().mint_sturdy(&mut claims, unix_now(), &rand::random()))
    }

    /// Restores a reference. Returns without waiting for the restorer: calls wait for the object,
    /// and fail with the restorer's code if it cannot be restored. Cancel-safe.
    ///
    /// # Errors
    /// Returns a [`SturdyError`] if the token is invalid or was revoked, if another principal saved
    /// the reference, or if the store fails.
    pub async fn restore<R: Reference>(&self, token: &Secret) -> Result<R, SturdyError> {
        let claims = self.keeping.keys.ring().open_sturdy(token.expose(), &self.keeping.audience, unix_now());
        let claims = claims.inspect_err(|error| tracing::warn!(%error, "token of a saved reference refused"))?;
        if claims.sub != self.owner {
            tracing::warn!(
                reference = claims.id,
                principal = %self.peer.principal,
                "token of a saved reference presented by another principal"
            );
            return Err(SturdyError::NotTheirs);
        }
        let record = self.keeping.store.sturdy(&claims.id).await?.ok_or(SturdyError::Revoked)?;
        if record.owner != self.owner {
            return Err(SturdyError::NotTheirs);
        }
        let recipe = serde_json::from_slice(&record.recipe).map_err(|error| {
            tracing::error!(reference = claims.id, %error, "the stored recipe of a saved reference is damaged");
            SturdyError::Corrupt
        })?;
        let ctx = RestoreCtx::new(claims.id, self.peer.principal.id.as_str(), self.keeping.audience.as_str());
        Ok(R::from_stub(self.keeping.restorers.restore(&ctx.with_peer(self.peer.clone()), &recipe)))
    }

    /// Lists what the principal has saved, sorted by id: at most `limit` entries after the id
    /// `after`. The first page is after the empty id, and a page has at most 1,000 entries.
    /// Cancel-safe.
    ///
    /// # Errors
    /// Returns a [`SturdyError`] if the store fails.
    pub async fn list(&self, after: &str, limit: usize) -> Result<Vec<SturdyEntry>, SturdyError> {
        Ok(self.keeping.store.list_sturdy(&self.owner, after, limit).await?)
    }

    /// Revokes a saved reference by its id in the list. Returns whether it existed. References that
    /// were restored before keep working.
    ///
    /// # Errors
    /// Returns a [`SturdyError`] if the store fails.
    pub async fn revoke(&self, id: &str) -> Result<bool, SturdyError> {
        Ok(self.keeping.store.revoke(&self.owner, id).await?)
    }
}

impl Peer {
    /// Returns the saved references of the peer's principal.
    ///
    /// # Errors
    /// Returns a [`SturdyError`] if the service has no store, or if the peer is anonymous.
    pub fn sturdy(&self) -> Result<SavedRefs, SturdyError> {
        let keeping = self.keeping.clone().ok_or(SturdyError::NoStore)?;
        if self.principal.is_anonymous() {
            return Err(SturdyError::Anonymous);
        }
        Ok(SavedRefs { keeping, owner: principal_hash(&self.principal.id), peer: self.clone() })
    }
}

impl Keeping {
    /// Returns what is needed to save references, if the service has a store.
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
