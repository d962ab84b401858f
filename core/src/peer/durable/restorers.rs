//! Restorers: the application's code that restores durable objects, with the migration of older
//! recipes and the bounds on time and concurrency. Recipes are in `recipe`.

use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::fmt;
use std::future::{Future, poll_fn};
use std::iter;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;

use crate::error::{ErrorChain, ErrorCode};
use crate::peer::host::target::Target;
use crate::peer::interface::lost::RestoreFailure;
use crate::peer::reference::recipe::{ATTENUATED, ATTENUATED_VERSION, DEPTH_MAX, StoredRecipe};
use crate::peer::reference::stub::{Starting, Stub};
use crate::peer::reference::typed::Reference;
use crate::peer::runtime;
use crate::peer::unwind::{caught, drop_quietly};
use crate::value::{self, Cap, Payload};

/// The default timeout for restoring one object.
const RESTORE_TIMEOUT: Duration = Duration::from_secs(2);

/// The default number of objects that are restored concurrently, in all sessions together.
const AT_ONCE: usize = 64;

/// The session and the principal for whom an object is restored.
///
/// Access may have been revoked since the recipe was stored, so a restorer checks permissions anew.
///
/// ```
/// # mod bowline { pub mod durable { pub use bowline_core::peer::{BoxError, RestoreCtx, RestoreError}; } }
/// use bowline::durable::{BoxError, RestoreCtx, RestoreError};
///
/// fn check(ctx: &RestoreCtx, owner: &str) -> Result<(), BoxError> {
///     if ctx.principal() == owner { Ok(()) } else { Err(RestoreError::PermissionDenied.into()) }
/// }
/// # assert!(check(&RestoreCtx::new("s_1", "ann", "shop"), "ann").is_ok());
/// ```
#[derive(Clone)]
pub struct RestoreCtx {
    session_id: Arc<str>,
    principal: Arc<str>,
    audience: Arc<str>,
    peer: Option<Arc<dyn Any + Send + Sync>>,
}

impl RestoreCtx {
    /// Creates the context of a session of `principal` at the service `audience`.
    pub fn new(session_id: impl Into<Arc<str>>, principal: impl Into<Arc<str>>, audience: impl Into<Arc<str>>) -> Self {
        Self { session_id: session_id.into(), principal: principal.into(), audience: audience.into(), peer: None }
    }

    /// Adds the application's data about the peer, which [`peer`](Self::peer) returns.
    #[must_use]
    pub fn with_peer<T: Send + Sync + 'static>(self, peer: T) -> Self {
        Self { peer: Some(Arc::new(peer)), ..self }
    }

    /// Returns the id of the session. For a saved reference, this is the name of the saved reference.
    pub fn session_id(&self) -> &str {
        &self.session_id
    }

    pub(crate) fn shared_session_id(&self) -> Arc<str> {
        Arc::clone(&self.session_id)
    }

    /// Returns the name that the authenticator gave the peer, or an empty string if the peer is
    /// anonymous.
    pub fn principal(&self) -> &str {
        &self.principal
    }

    /// Returns the name of the service.
    pub fn audience(&self) -> &str {
        &self.audience
    }

    /// Returns the data about the peer, if it is of type `T`.
    pub fn peer<T: 'static>(&self) -> Option<&T> {
        self.peer.as_ref()?.downcast_ref()
    }
}

impl fmt::Debug for RestoreCtx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RestoreCtx")
            .field("session_id", &self.session_id)
            .field("principal", &self.principal)
            .field("audience", &self.audience)
            .finish_non_exhaustive()
    }
}

/// Any error of a restorer or of a migration.
///
/// `?` converts every error into it, and `.into()` a text. Calls on an object whose restorer fails are
/// rejected with `RESTORE_FAILED`. The error itself is logged and not sent to the peer, except for a
/// [`RestoreError`], which says what the peer is told.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// A failure to restore an object whose kind the peer is told.
///
/// ```
/// # use bowline_core::peer::{BoxError, RestoreError};
/// # struct Cart { owner: String }
/// fn check(cart: &Cart, principal: &str) -> Result<(), BoxError> {
///     if cart.owner != principal {
///         return Err(RestoreError::PermissionDenied.into());
///     }
///     Ok(())
/// }
/// # let cart = Cart { owner: "ann".to_owned() };
/// # assert!(check(&cart, "ann").is_ok() && check(&cart, "ben").is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RestoreError {
    /// The peer may not access the object. Its calls fail with `PERMISSION_DENIED`, even if this is the
    /// cause of another error.
    PermissionDenied,
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PermissionDenied => "access to the object is not permitted",
        })
    }
}

impl Error for RestoreError {}

type RestoreFuture = Pin<Box<dyn Future<Output = Result<Stub, BoxError>> + Send>>;
type RestoreFn = dyn Fn(RestoreCtx, Payload<Cap>) -> Result<RestoreFuture, BoxError> + Send + Sync;
type MigrationFn = dyn Fn(Payload<Cap>) -> Result<Payload<Cap>, BoxError> + Send + Sync;

/// A restorer of the durable objects of one kind.
///
/// ```
/// use bowline_core::peer::{RestoreCtx, RestoreError, Restorer, Restorers, Stub};
/// # use bowline_core::peer::{Args, Member, Object, Recipe, Reply};
/// # struct Cart { id: u64, owner: String }
/// # impl Cart {
/// #     async fn load(id: u64) -> Result<Self, std::io::Error> { Ok(Self { id, owner: "ann".into() }) }
/// #     fn reference(self) -> Stub { let recipe = Recipe::new("cart", 2, &self.id); Stub::durable(self, recipe) }
/// # }
/// # impl Object for Cart {
/// #     fn interface(&self) -> &'static str { "Cart" }
/// #     fn members(&self) -> &'static [Member] { &[] }
/// #     fn call(self: std::sync::Arc<Self>, _: &str, _: Args) -> Option<Reply> { None }
/// #     fn get(self: std::sync::Arc<Self>, _: &str) -> Option<Reply> { None }
/// # }
/// let cart = Restorer::new("cart", 2, |ctx: RestoreCtx, id: u64| async move {
///     let cart = Cart::load(id).await?;
///     if cart.owner != ctx.principal() {
///         return Err(RestoreError::PermissionDenied.into()); // today's policy applies
///     }
///     Ok(cart.reference())
/// });
/// // Version 1 stored the number as text.
/// let cart = cart.migrate(1, |id: String| Ok(id.parse::<u64>()?));
/// let restorers = Restorers::new().with(cart);
/// ```
pub struct Restorer {
    name: String,
    version: u32,
    eager: bool,
    make: Box<RestoreFn>,
    /// The migration steps, each from a version to the next.
    steps: BTreeMap<u32, Box<MigrationFn>>,
}

impl Restorer {
    /// Creates a restorer named `name` for recipes of `version`.
    ///
    /// `restore` receives the parameters, decides whether the peer may access the object, and creates
    /// the object. By default it has two seconds. Within a session, equal recipes are restored once, and
    /// all references to them refer to the same object.
    pub fn new<P, R, F, Fut>(name: impl Into<String>, version: u32, restore: F) -> Self
    where
        P: DeserializeOwned + 'static,
        R: Reference,
        F: Fn(RestoreCtx, P) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, BoxError>> + Send + 'static,
    {
        let make = move |ctx, params| -> Result<RestoreFuture, BoxError> {
            let made = restore(ctx, value::decode(params)?);
            Ok(Box::pin(async move { made.await.map(|reference| reference.stub().clone()) }))
        };
        Self { name: name.into(), version, eager: false, make: Box::new(make), steps: BTreeMap::new() }
    }

    /// Adds a step that converts parameters of version `from` to the version after it. Older recipes go
    /// through all steps up to the current version.
    #[must_use]
    pub fn migrate<A, B>(mut self, from: u32, step: impl Fn(A) -> Result<B, BoxError> + Send + Sync + 'static) -> Self
    where
        A: DeserializeOwned + 'static,
        B: Serialize + 'static,
    {
        let step = move |params| Ok(value::encode(&step(value::decode(params)?)?)?);
        self.steps.insert(from, Box::new(step));
        self
    }

    /// Restores the objects as soon as their session is recovered, rather than on first use.
    #[must_use]
    pub fn eager(self) -> Self {
        Self { eager: true, ..self }
    }

    fn start(&self, ctx: RestoreCtx, version: u32, mut params: Payload<Cap>) -> Result<RestoreFuture, BoxError> {
        if version > self.version {
            let newest = self.version;
            return Err(format!(
                "the recipe has version {version}, which is newer than the restorer's version {newest}"
            )
            .into());
        }
        for from in version..self.version {
            let Some(step) = self.steps.get(&from) else {
                return Err(format!("there is no migration from version {from}").into());
            };
            params = step(params)?;
        }
        (self.make)(ctx, params)
    }
}

impl fmt::Debug for Restorer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Restorer({}, {})", self.name, self.version)
    }
}

/// The restorers of a process. They are registered at startup and shared by all sessions.
///
/// ```
/// # mod bowline { pub use bowline_core::peer::Stub; pub mod durable { pub use bowline_core::peer::{Restorer, Restorers}; } }
/// use std::time::Duration;
///
/// use bowline::Stub;
/// use bowline::durable::{Restorer, Restorers};
///
/// # async fn load(id: u64) -> Result<Stub, std::io::Error> { panic!("no cart {id}") }
/// let carts = Restorer::new("cart", 1, |_ctx, id: u64| async move { Ok(load(id).await?) });
/// let restorers = Restorers::new().with(carts).restore_timeout(Duration::from_secs(5)).max_concurrent(16);
/// assert!(restorers.knows("cart"));
/// ```
#[derive(Debug)]
pub struct Restorers {
    by_name: HashMap<String, Restorer>,
    room: Semaphore,
    restore_timeout: Duration,
    has_warned: AtomicBool,
}

impl Default for Restorers {
    fn default() -> Self {
        Self {
            by_name: HashMap::new(),
            room: Semaphore::new(AT_ONCE),
            restore_timeout: RESTORE_TIMEOUT,
            has_warned: AtomicBool::new(false),
        }
    }
}

impl Restorers {
    /// Creates an empty set of restorers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a restorer. It replaces a restorer of the same name.
    ///
    /// # Panics
    /// If the name is `bowline.only`, which is the built-in restorer of references made by [`Stub::only`].
    #[must_use]
    pub fn with(mut self, restorer: Restorer) -> Self {
        assert!(restorer.name != ATTENUATED, "a restorer cannot be named `{ATTENUATED}`");
        self.by_name.insert(restorer.name.clone(), restorer);
        self
    }

    /// Sets the timeout for restoring one object. The default is two seconds.
    #[must_use]
    pub fn restore_timeout(self, restore_timeout: Duration) -> Self {
        Self { restore_timeout, ..self }
    }

    /// Sets how many objects are restored concurrently, in all sessions together. The default is 64, and
    /// the minimum 1.
    #[must_use]
    pub fn max_concurrent(self, count: usize) -> Self {
        Self { room: Semaphore::new(count.clamp(1, Semaphore::MAX_PERMITS)), ..self }
    }

    /// Returns the names and versions of the restorers, sorted by name.
    pub fn versions(&self) -> BTreeMap<&str, u32> {
        self.by_name.values().map(|restorer| (restorer.name.as_str(), restorer.version)).collect()
    }

    /// Returns `true` if there is a restorer of this name.
    pub fn knows(&self, name: &str) -> bool {
        name == ATTENUATED || self.by_name.contains_key(name)
    }

    /// Returns `true` once: for the first warning that revocable references are not durable.
    pub(crate) fn warns_of_revocable(&self) -> bool {
        !self.has_warned.swap(true, Ordering::SeqCst)
    }

    pub(crate) fn is_eager(&self, name: &str) -> bool {
        self.by_name.get(name).is_some_and(|restorer| restorer.eager)
    }

    /// Restores an object from a stored recipe and returns a reference to it.
    ///
    /// The caller must have checked that the peer may use the recipe. Restoring begins at once and needs a
    /// Tokio runtime. Calls on the reference wait for it, and fail with its code if it fails.
    pub fn restore(self: &Arc<Self>, ctx: &RestoreCtx, recipe: &StoredRecipe) -> Stub {
        let (stub, starting) = self.prepare(ctx, recipe);
        starting.start();
        stub
    }

    /// Prepares to restore an object. Restorers run once the returned [`Starting`] is started.
    pub(crate) fn prepare(self: &Arc<Self>, ctx: &RestoreCtx, recipe: &StoredRecipe) -> (Stub, Starting) {
        let (all, ctx, recipe) = (Arc::clone(self), ctx.clone(), recipe.clone());
        Stub::promised_later(Box::pin(async move {
            let made = all.restore_stored(&ctx, &recipe, 0).await;
            made.map(|stub| Payload::capability(stub.into_cap())).map_err(|unmade| unmade.payload())
        }))
    }

    /// Restores an object after the objects that it is built from.
    fn restore_stored<'a>(
        &'a self,
        ctx: &'a RestoreCtx,
        recipe: &'a StoredRecipe,
        depth: usize,
    ) -> Pin<Box<dyn Future<Output = Result<Stub, RestoreFailure>> + Send + 'a>> {
        Box::pin(async move {
            if depth == DEPTH_MAX {
                return Err(RestoreFailure(ErrorCode::RestoreFailed));
            }
            let mut refs = Vec::with_capacity(recipe.parts.len());
            for part in &recipe.parts {
                let made = self.restore_stored(ctx, part, depth + 1).await;
                if recipe.restorer == ATTENUATED {
                    // An attenuated reference fails with the code of its target.
                    refs.push(made?.into_cap());
                    continue;
                }
                refs.push(made.map_or_else(|unmade| Arc::new(unmade).reference(), Stub::into_cap));
            }
            let params = Payload::new(recipe.params.as_str(), refs).map_err(|mismatch| {
                tracing::warn!(restorer = recipe.restorer, %mismatch, "a stored recipe is damaged");
                RestoreFailure(ErrorCode::RestoreFailed)
            })?;
            self.restore_from(ctx.clone(), &recipe.restorer, recipe.version, params).await
        })
    }

    /// Runs the restorer of one object. Dropping the future cancels it.
    pub(crate) async fn restore_from(
        &self,
        ctx: RestoreCtx,
        name: &str,
        version: u32,
        params: Payload<Cap>,
    ) -> Result<Stub, RestoreFailure> {
        if name == ATTENUATED {
            return attenuated(version, params);
        }
        let Some(restorer) = self.by_name.get(name) else {
            tracing::warn!(restorer = name, "no restorer is registered for an object");
            return Err(RestoreFailure(ErrorCode::RestorerUnknown));
        };
        // The semaphore is never closed. Each holder has a bounded time, so every waiter gets a permit.
        let _room = self.room.acquire().await.ok();
        let making = unpanicked(|| restorer.start(ctx, version, params)).and_then(|started| started);
        let result = match making {
            Ok(making) => match runtime::within(self.restore_timeout, pin!(made(making))).await {
                Some(result) => result,
                None => Err(format!("timed out after {:?}", self.restore_timeout).into()),
            },
            Err(error) => Err(error),
        };
        result.map_err(|error| {
            if is_refusal(&*error) {
                return RestoreFailure(ErrorCode::PermissionDenied);
            }
            tracing::warn!(restorer = name, version, error = %ErrorChain(&*error), "an object could not be restored");
            RestoreFailure(ErrorCode::RestoreFailed)
        })
    }
}

/// Restores an attenuated reference whose target has been restored.
fn attenuated(version: u32, params: Payload<Cap>) -> Result<Stub, RestoreFailure> {
    let failed = |error: &dyn fmt::Display| {
        tracing::warn!(restorer = ATTENUATED, version, %error, "an object could not be restored");
        RestoreFailure(ErrorCode::RestoreFailed)
    };
    if version != ATTENUATED_VERSION {
        return Err(failed(&"the version is unknown"));
    }
    let (inner, names): (Stub, Vec<String>) = value::decode(params).map_err(|error| failed(&error))?;
    Ok(inner.only(names))
}

/// Returns `true` if the error is a refusal of access, or has one among its causes.
fn is_refusal(error: &(dyn Error + 'static)) -> bool {
    let mut chain = iter::successors(Some(error), |&error| error.source());
    chain.any(|error| error.downcast_ref() == Some(&RestoreError::PermissionDenied))
}

/// Runs code of the application and converts a panic into an error.
fn unpanicked<T>(run: impl FnOnce() -> T) -> Result<T, BoxError> {
    caught(run).map_err(|_| BoxError::from("panic in a restorer"))
}

async fn made(mut making: RestoreFuture) -> Result<Stub, BoxError> {
    let result = poll_fn(|cx| match unpanicked(|| making.as_mut().poll(cx)) {
        Ok(polled) => polled,
        Err(error) => Poll::Ready(Err(error)),
    })
    .await;
    drop_quietly(making);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_has_a_message_of_its_own() {
        use ErrorCode::{
            CapabilityLost, PermissionDenied, RestoreFailed, RestorerUnknown, SessionElsewhere, StoreCorrupt,
            StoreUnavailable, StreamInterrupted,
        };
        let codes = [
            PermissionDenied,
            RestorerUnknown,
            CapabilityLost,
            StreamInterrupted,
            StoreUnavailable,
            SessionElsewhere,
            StoreCorrupt,
            RestoreFailed,
        ];
        let without_code = |code: &ErrorCode| {
            let payload: Payload<Cap> = RestoreFailure(code.clone()).payload();
            assert!(payload.text().contains(code.as_str()), "{}", payload.text());
            payload.text().replace(code.as_str(), "")
        };
        let mut messages: Vec<_> = codes.iter().map(without_code).collect();
        messages.sort_unstable();
        messages.dedup();
        assert_eq!(messages.len(), codes.len(), "{messages:?}");
    }
}
