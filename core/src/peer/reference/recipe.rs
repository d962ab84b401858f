//! Recipes: what another process needs to restore an object. A recipe identifies an object; it is not
//! the object's state, which belongs where the application keeps its data.
//!
//! Restoring is in `restorers`. `caps` puts the recipes of exported objects into their session. See
//! docs/durable.md.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::peer::host::remote::Kind;
use crate::peer::host::shared::Shared;
use crate::peer::interface::object::Object;
use crate::peer::reference::local::{Body, Local};
use crate::peer::reference::record;
use crate::peer::reference::stub::{Inner, Stub};
use crate::session::{self, Ref};
use crate::value::{self, Cap, EncodeError, Payload};

/// Levels of nested recipes, beyond which an object is not durable.
pub(crate) const DEPTH_MAX: usize = 32;

/// Bytes of the parameters of one recipe, beyond which an object is not durable. For a stored recipe:
/// bytes of its parameters together with those of all nested recipes.
pub(crate) const BYTES_MAX: usize = 64 << 10;

/// The built-in restorer of attenuated references. No other restorer can have this name.
pub(crate) const ATTENUATED: &str = "bowline.only";
pub(crate) const ATTENUATED_VERSION: u32 = 1;

/// The bytes that each nested recipe counts at least.
const BYTES_EACH: usize = 32;

/// An object that another process can restore.
///
/// ```
/// use bowline_core::peer::{Durable, Recipe};
/// # struct Cart { id: u64 }
/// impl Durable for Cart {
///     fn recipe(&self) -> Recipe {
///         Recipe::new("cart", 1, &self.id)
///     }
/// }
/// ```
///
/// `#[bowline::durable]` implements it for a struct of data and durable references. A reference made
/// by `CartRef::durable` carries the recipe, and the restorer that is registered under the recipe's
/// name restores the object; see [`Restorer`](crate::peer::Restorer).
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no recipe, so no other process can restore it",
    note = "`#[bowline::durable]` on the struct writes one, or implement `Durable`"
)]
pub trait Durable {
    /// Returns the recipe of the object. Called once, when a reference to the object is made.
    fn recipe(&self) -> Recipe;
}

/// The name of a restorer, and the parameters to restore an object from.
#[derive(Clone)]
pub struct Recipe {
    restorer: Cow<'static, str>,
    version: u32,
    params: Result<Payload<Cap>, EncodeError>,
    /// The number of levels of nested recipes, this one included.
    depth: usize,
}

impl Recipe {
    /// Creates the recipe of an object that the restorer named `restorer` restores from `params`, whose
    /// format is `version`.
    ///
    /// `params` may contain references to durable objects, and to objects of the peer, such as
    /// callbacks. If it contains a reference to any other local object, or if it cannot be encoded, is
    /// longer than 64 KiB, or is nested more than 32 levels deep, the object is lost with its process as
    /// if it had no recipe, and a warning is logged.
    pub fn new(restorer: impl Into<Cow<'static, str>>, version: u32, params: &impl Serialize) -> Self {
        let params = value::encode(params);
        let parts = params.iter().flat_map(Payload::refs);
        let depth = parts.map(|part| Stub::from_cap(part).recipe_depth()).max().unwrap_or_default() + 1;
        Self { restorer: restorer.into(), version, params, depth }
    }

    /// Creates the recipe of a reference to `inner` that reaches only `names`. `inner` is a durable object,
    /// or an object of a session that knows its recipe.
    pub(crate) fn attenuated(inner: &Stub, names: &[String]) -> Self {
        Self::new(ATTENUATED, ATTENUATED_VERSION, &(inner, names))
    }

    /// Returns `true` if this is the recipe of an attenuated reference.
    pub(crate) fn is_attenuation(&self) -> bool {
        self.restorer == ATTENUATED
    }

    /// Returns the name of the restorer.
    pub fn restorer(&self) -> &str {
        &self.restorer
    }

    /// Returns the version of the parameters.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Returns the parameters, if they are within the limits.
    pub(crate) fn params(&self) -> Result<&Payload<Cap>, NotDurable> {
        match &self.params {
            Ok(_) if self.depth > DEPTH_MAX => Err(NotDurable::TooDeep),
            Ok(params) if params.text_len() > BYTES_MAX => Err(NotDurable::TooLong),
            Ok(params) => Ok(params),
            Err(error) => Err(NotDurable::Encode(error.clone())),
        }
    }

    /// Converts the recipe and all nested ones. The depth is bounded by `params`. A part that is used
    /// twice is written twice, so `room` bounds the work.
    fn stored(&self, room: &mut usize) -> Result<StoredRecipe, NotDurable> {
        let params = self.params()?;
        take(room, self.restorer.len() + params.text_len())?;
        let parts = params.refs().iter().map(|cap| Stub::from_cap(cap).stored_within(room));
        Ok(StoredRecipe {
            parts: parts.collect::<Result<_, _>>()?,
            restorer: self.restorer.to_string(),
            version: self.version,
            params: params.text().to_owned(),
        })
    }
}

impl fmt::Debug for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recipe({}, {})", self.restorer, self.version)
    }
}

/// A recipe that is independent of a session, as it is stored with saved references and session
/// variables. `Debug` does not show its parameters.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredRecipe {
    #[serde(rename = "r")]
    pub(crate) restorer: String,
    #[serde(rename = "v")]
    pub(crate) version: u32,
    #[serde(rename = "p")]
    pub(crate) params: String,
    /// The recipes of the references among the parameters.
    #[serde(rename = "q", default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) parts: Vec<Self>,
}

impl StoredRecipe {
    /// Returns the name of the restorer.
    pub fn restorer(&self) -> &str {
        &self.restorer
    }

    /// Returns the version of the parameters.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Returns the approximate size in bytes, nested recipes included.
    pub(crate) fn size(&self) -> usize {
        self.restorer.len() + self.params.len() + self.parts.iter().map(Self::size).sum::<usize>()
    }
}

impl fmt::Debug for StoredRecipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoredRecipe({}, {})", self.restorer, self.version)
    }
}

/// The reason that a reference cannot be stored beyond its session.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum NotDurable {
    /// The reference is not to a local object, or the object has no recipe.
    NoRecipe,
    /// The parameters cannot be encoded.
    Encode(EncodeError),
    /// The parameters are longer than 64 KiB. For a recipe that is stored by itself, the nested recipes
    /// count as well.
    TooLong,
    /// The recipes are nested more than 32 levels deep.
    TooDeep,
}

impl fmt::Display for NotDurable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRecipe => f.write_str("only references to durable objects can be stored"),
            Self::Encode(_) => f.write_str("the parameters of the recipe cannot be encoded"),
            Self::TooLong => write!(f, "the recipe is longer than {BYTES_MAX} bytes"),
            Self::TooDeep => write!(f, "recipes are nested more than {DEPTH_MAX} levels"),
        }
    }
}

impl std::error::Error for NotDurable {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Encode(error) => Some(error),
            Self::NoRecipe | Self::TooLong | Self::TooDeep => None,
        }
    }
}

/// Returns the recipe that a session has of a local object, as a stored recipe.
fn stored_of(shared: &Shared, of: Ref, room: &mut usize, depth: usize) -> Result<StoredRecipe, NotDurable> {
    let Ref::Target(target) = of else { return Err(NotDurable::NoRecipe) };
    if depth == DEPTH_MAX {
        return Err(NotDurable::TooDeep);
    }
    let kept = shared.lock().endpoint.session.recipe(target).cloned();
    let session::Recipe { restorer, version, params } = kept.ok_or(NotDurable::NoRecipe)?;
    take(room, restorer.len() + params.text_len())?;
    let parts = params.refs().iter().map(|&of| stored_of(shared, of, room, depth + 1));
    Ok(StoredRecipe { parts: parts.collect::<Result<_, _>>()?, restorer, version, params: params.into_text().into() })
}

fn take(room: &mut usize, bytes: usize) -> Result<(), NotDurable> {
    *room = room.checked_sub(bytes + BYTES_EACH).ok_or(NotDurable::TooLong)?;
    Ok(())
}

impl Stub {
    /// Returns the recipe of the object in a form that is independent of a session.
    ///
    /// # Errors
    /// The reference is not to a durable local object, or the parameters of its recipe contain a
    /// reference that is not, or the recipe exceeds a limit.
    pub fn stored_recipe(&self) -> Result<StoredRecipe, NotDurable> {
        let mut room = BYTES_MAX;
        self.stored_within(&mut room)
    }

    fn stored_within(&self, room: &mut usize) -> Result<StoredRecipe, NotDurable> {
        match self.inner() {
            Inner::Local(local) => local.recipe().ok_or(NotDurable::NoRecipe)?.stored(room),
            // An object that has not been restored yet. Its session has the recipe.
            Inner::Remote(remote) => stored_of(&remote.shared, remote.of, room, 0),
            _ => Err(NotDurable::NoRecipe),
        }
    }

    /// Returns `true` if it is an object with a recipe, or an object of a session, which may have one.
    pub(crate) fn may_be_durable(&self) -> bool {
        match self.inner() {
            Inner::Local(local) => local.recipe().is_some(),
            Inner::Remote(remote) => remote.kind == Kind::Stub && !remote.shared.is_private(),
            _ => false,
        }
    }

    fn recipe_depth(&self) -> usize {
        self.as_local().and_then(|local| local.recipe()).map_or(0, |recipe| recipe.depth)
    }

    /// Creates a reference to a local object that another process can restore from `recipe`.
    pub fn durable<O: Object>(object: O, recipe: Recipe) -> Self {
        match record::refuse_new() {
            Some(broken) => Self::broken_by(broken),
            None => Self::from_local(Local::durable(Body::Object(Arc::new(object)), recipe)),
        }
    }
}
