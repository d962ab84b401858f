//! Recipes: what is known of an object that can be made again by another process. A recipe says
//! which object it is, not what state it is in: state belongs where the application keeps it.
//!
//! How objects are made again is in `restorers`; how a session keeps the recipes of what its peer
//! holds is the business of `caps`.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::peer::local::{Body, Local};
use crate::peer::object::Object;
use crate::peer::record;
use crate::peer::shared::Shared;
use crate::peer::stub::{Inner, Kind, Remote, Stub};
use crate::session::{self, Ref};
use crate::value::{self, Cap, EncodeError, Payload};

/// Recipes inside of recipes, beyond which an object is not durable.
pub(crate) const DEPTH_MAX: usize = 32;

/// Bytes of the parameters of one recipe, beyond which an object is not durable; and of a stored
/// recipe with all that are inside of it.
pub(crate) const BYTES_MAX: usize = 64 << 10;

/// The restorer of attenuated references, which every process has. No other can have its name.
pub(crate) const ATTENUATED: &str = "bowline.only";
pub(crate) const ATTENUATED_VERSION: u32 = 1;

/// What a recipe inside of another takes at least.
const BYTES_EACH: usize = 32;

/// An object that can be made again, by a process that has never seen it.
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
/// `#[bowline::durable]` writes it for a struct of data and durable references. A reference made
/// by `CartRef::durable` remembers the recipe, and the restorer registered under its name makes
/// the object again; see [`Restorer`](crate::peer::Restorer).
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no recipe, so no other process could make it again",
    note = "`#[bowline::durable]` on the struct writes one, or implement `Durable`"
)]
pub trait Durable {
    /// How to make the object again. Asked once, when a reference to it is made.
    fn recipe(&self) -> Recipe;
}

/// A type whose recipe `#[bowline::durable]` has written.
pub trait Restorable: Durable {
    /// The name of its restorer.
    const RESTORER: &'static str;
    /// The version of its parameters.
    const VERSION: u32;
    /// What its recipe consists of.
    type Params: Serialize + DeserializeOwned;
}

/// How to make an object again: by whom, and from what.
#[derive(Clone)]
pub struct Recipe {
    restorer: Cow<'static, str>,
    version: u32,
    params: Result<Payload<Cap>, EncodeError>,
    /// How many recipes are inside of each other.
    depth: usize,
}

impl Recipe {
    /// The recipe of an object that the restorer of this name makes from `params`, whose form is
    /// that of `version`.
    ///
    /// `params` may hold references: to durable objects, and to objects of the peer's, such as
    /// callbacks. An object that refers to something else of ours cannot be made again, and is
    /// lost with its process as if it had no recipe; a warning says so. The same goes for
    /// parameters that cannot be encoded, are longer than 64 KiB or nested more than 32 levels.
    pub fn new(restorer: impl Into<Cow<'static, str>>, version: u32, params: &impl Serialize) -> Self {
        let params = value::encode(params);
        let parts = params.iter().flat_map(Payload::refs);
        let depth = parts.map(|part| Stub::from_cap(part).recipe_depth()).max().unwrap_or_default() + 1;
        Self { restorer: restorer.into(), version, params, depth }
    }

    /// The recipe of a reference to `inner` that reaches only `names`: one of the framework's own
    /// around that of `inner`, which is a durable object, or one that its session knows to be.
    pub(crate) fn attenuated(inner: &Stub, names: &[String]) -> Self {
        Self::new(ATTENUATED, ATTENUATED_VERSION, &(inner, names))
    }

    /// Whether it is of an attenuated reference.
    pub(crate) fn is_attenuation(&self) -> bool {
        self.restorer == ATTENUATED
    }

    /// The name of the restorer.
    pub fn restorer(&self) -> &str {
        &self.restorer
    }

    /// The version of the parameters.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The parameters, if an object can be made of them.
    pub(crate) fn params(&self) -> Result<&Payload<Cap>, NotDurable> {
        match &self.params {
            Ok(_) if self.depth > DEPTH_MAX => Err(NotDurable::TooDeep),
            Ok(params) if params.text_len() > BYTES_MAX => Err(NotDurable::TooLong),
            Ok(params) => Ok(params),
            Err(error) => Err(NotDurable::Encode(error.clone())),
        }
    }

    /// Goes no deeper than `params` allows. A part that is used twice is written twice, so it is
    /// `room` that bounds the work.
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

/// A recipe that needs no session: as it is kept with sturdy references and session variables.
/// Its parameters are not shown by `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredRecipe {
    #[serde(rename = "r")]
    pub(crate) restorer: String,
    #[serde(rename = "v")]
    pub(crate) version: u32,
    #[serde(rename = "p")]
    pub(crate) params: String,
    /// The references among the parameters.
    #[serde(rename = "q", default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) parts: Vec<Self>,
}

impl StoredRecipe {
    /// The name of the restorer.
    pub fn restorer(&self) -> &str {
        &self.restorer
    }

    /// The version of the parameters.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Bytes of the whole, about.
    pub(crate) fn size(&self) -> usize {
        self.restorer.len() + self.params.len() + self.parts.iter().map(Self::size).sum::<usize>()
    }
}

impl fmt::Debug for StoredRecipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoredRecipe({}, {})", self.restorer, self.version)
    }
}

/// Why a reference cannot be kept beyond its session.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum NotDurable {
    /// It is no object of ours, or one without a recipe.
    NoRecipe,
    /// Its parameters cannot be encoded.
    Encode(EncodeError),
    /// Its parameters are longer than 64 KiB, with those of the objects that they name where it is
    /// kept by itself.
    TooLong,
    /// Its parameters name objects that name objects, and so on for more than 32 levels.
    TooDeep,
}

impl fmt::Display for NotDurable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRecipe => f.write_str("only references to durable objects can be kept"),
            Self::Encode(error) => write!(f, "the recipe has no form on the wire: {error}"),
            Self::TooLong => write!(f, "the recipe is longer than {BYTES_MAX} bytes"),
            Self::TooDeep => write!(f, "recipes are nested more than {DEPTH_MAX} levels"),
        }
    }
}

impl std::error::Error for NotDurable {}

/// The recipe that a session has of an object of ours.
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
    /// The recipe of the object, without what only a session knows.
    ///
    /// # Errors
    /// It cannot be made again outside of this session: it is no durable object of ours, or its
    /// parameters name something that is none.
    pub fn stored_recipe(&self) -> Result<StoredRecipe, NotDurable> {
        let mut room = BYTES_MAX;
        self.stored_within(&mut room)
    }

    fn stored_within(&self, room: &mut usize) -> Result<StoredRecipe, NotDurable> {
        match self.inner() {
            Inner::Local(local) => local.recipe().ok_or(NotDurable::NoRecipe)?.stored(room),
            // An object that has not been made again yet.
            Inner::Remote(Remote { shared, of, .. }) => stored_of(shared, *of, room, 0),
            _ => Err(NotDurable::NoRecipe),
        }
    }

    /// Whether it is an object with a recipe, or one of a session, which knows whether it has one.
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

    /// A reference to an object of ours that can be made again.
    pub fn durable<O: Object>(object: O, recipe: Recipe) -> Self {
        match record::refuse_new() {
            Some(broken) => Self::broken_by(broken),
            None => Self::from_local(Local::durable(Body::Object(Arc::new(object)), recipe)),
        }
    }
}
