//! Session variables: named values that live as long as their session, in whichever process it is.
//! They contain plain data and references to durable objects, within limits.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::error::ErrorCode;
use crate::peer::durable::restorers::{RestoreCtx, Restorers};
use crate::peer::reference::recipe::{NotDurable, StoredRecipe};
use crate::peer::reference::stub::{Starting, Stub};
use crate::value::{self, Cap, DecodeError, EncodeError, Payload, Value};

/// The maximum number of variables of a session.
pub const VARS_MAX: usize = 1_000;

/// The maximum number of characters of a name.
pub const NAME_CHARS_MAX: usize = 256;

/// The maximum number of elements of an array.
pub const ARRAY_MAX: usize = 1_000;

/// The maximum number of keys of an object.
pub const KEYS_MAX: usize = 100;

/// The maximum number of bytes of all variables of a session: names, values, and recipes.
pub const BYTES_MAX: usize = 256 << 10;

/// The variables of a session. Clones refer to the same variables.
///
/// ```
/// use bowline_core::peer::Vars;
///
/// let vars = Vars::new();
/// vars.set("theme", &"dark")?;
/// assert_eq!(vars.get::<String>("theme")?, Some("dark".to_owned()));
/// # Ok::<(), bowline_core::peer::VarError>(())
/// ```
///
/// # Limits
///
/// A session has at most 1,000 variables, which take at most 256 KiB together. A name has 1 to 256
/// characters, none of them a control character. An array has at most 1,000 elements and an object at
/// most 100 keys.
#[derive(Clone)]
pub struct Vars(Handle);

#[derive(Clone)]
enum Handle {
    Strong(Arc<Inner>),
    Weak(Weak<Inner>),
}

impl Default for Vars {
    fn default() -> Self {
        Self(Handle::Strong(Arc::default()))
    }
}

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    by_name: BTreeMap<String, Variable>,
    bytes: usize,
}

/// A value, with the recipes of the objects that it refers to.
struct Variable {
    text: String,
    recipes: Vec<StoredRecipe>,
    refs: Refs,
}

enum Refs {
    Here(Vec<Cap>),
    /// Restored when the variable is first read.
    Restored(Arc<Restorers>, RestoreCtx),
}

impl Variable {
    fn bytes(&self, name: &str) -> usize {
        name.len() + self.text.len() + self.recipes.iter().map(StoredRecipe::size).sum::<usize>()
    }
}

/// Variables as data, to be stored; see [`Vars::stored`].
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StoredVars(Vec<StoredVar>);

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct StoredVar {
    #[serde(rename = "n")]
    name: String,
    #[serde(rename = "x")]
    text: String,
    #[serde(rename = "q", default, skip_serializing_if = "Vec::is_empty")]
    recipes: Vec<StoredRecipe>,
}

impl fmt::Debug for StoredVars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoredVars({})", self.0.len())
    }
}

impl Vars {
    /// Creates an empty set of variables.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a variable.
    ///
    /// # Errors
    /// The name or the value is not allowed, or a limit would be exceeded. The variable is then unchanged.
    pub fn set(&self, name: &str, to: &(impl Serialize + ?Sized)) -> Result<(), VarError> {
        check_name(name)?;
        let value = value::encode(to).map_err(VarError::Encode)?;
        check_shape(&value::decode(value.clone()).map_err(VarError::Decode)?)?;
        let (text, refs) = value.into_parts();
        let recipes = refs.iter().map(|cap| Stub::from_cap(cap).stored_recipe());
        let recipes = recipes.collect::<Result<_, _>>().map_err(VarError::NotDurable)?;
        let inner = self.inner();
        let before = inner.lock().put(name, Variable { text: text.into(), recipes, refs: Refs::Here(refs) })?;
        inner.changed.notify_one();
        // The old value may hold the last reference to an object, so it is dropped without the lock.
        drop(before);
        Ok(())
    }

    /// Returns the value of a variable, or `None` if there is no variable of this name.
    ///
    /// # Errors
    /// The value is of another type, or refers to an object for which no restorer is registered. If
    /// restoring an object fails for another reason, this succeeds and calls on the object fail.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, VarError> {
        match self.payload(name)? {
            Some(payload) => value::decode(payload).map(Some).map_err(VarError::Decode),
            None => Ok(None),
        }
    }

    /// Returns `true` if there is a variable of this name.
    pub fn has(&self, name: &str) -> bool {
        self.inner().lock().by_name.contains_key(name)
    }

    /// Removes a variable. Returns `true` if there was one.
    pub fn delete(&self, name: &str) -> bool {
        let inner = self.inner();
        let before = inner.lock().take(name);
        if before.is_some() {
            inner.changed.notify_one();
        }
        before.is_some()
    }

    /// Returns the names of all variables, sorted.
    pub fn names(&self) -> Vec<String> {
        self.inner().lock().by_name.keys().cloned().collect()
    }

    /// Removes all variables.
    pub fn clear(&self) {
        let inner = self.inner();
        let before = std::mem::take(&mut *inner.lock());
        if !before.by_name.is_empty() {
            inner.changed.notify_one();
        }
    }

    /// Returns the variables as data, for another process. Equal variables give equal data.
    pub fn stored(&self) -> StoredVars {
        let inner = self.inner();
        let state = inner.lock();
        let stored = state.by_name.iter().map(|(name, variable)| StoredVar {
            name: name.clone(),
            text: variable.text.clone(),
            recipes: variable.recipes.clone(),
        });
        StoredVars(stored.collect())
    }

    /// Creates the variables that another process stored. The objects that a variable refers to are
    /// restored when it is first read, for the peer of `ctx`.
    ///
    /// # Errors
    /// `stored` exceeds the limits of variables.
    pub fn restored(stored: StoredVars, restorers: &Arc<Restorers>, ctx: &RestoreCtx) -> Result<Self, VarError> {
        Self::restored_for(stored, restorers, |_| ctx.clone())
    }

    /// Creates the variables that another process stored, for restorers that read the variables
    /// themselves: `ctx` receives a [weak](Self::weak) handle on them, to be part of the peer's data.
    ///
    /// # Errors
    /// `stored` exceeds the limits of variables.
    pub fn restored_for(
        stored: StoredVars,
        restorers: &Arc<Restorers>,
        ctx: impl FnOnce(Self) -> RestoreCtx,
    ) -> Result<Self, VarError> {
        let vars = Self::new();
        let inner = vars.inner();
        let ctx = ctx(vars.weak());
        for StoredVar { name, text, recipes } in stored.0 {
            check_name(&name)?;
            // Checked once, with null in place of each reference.
            let refs = recipes.iter().map(|_| Stub::settled(Ok(Payload::plain("null"))).into_cap()).collect();
            check_shape(&value::decode(payload_of(&text, refs)?).map_err(VarError::Decode)?)?;
            let refs = Refs::Restored(Arc::clone(restorers), ctx.clone());
            inner.lock().put(&name, Variable { text, recipes, refs })?;
        }
        Ok(vars)
    }

    /// Waits until a variable has changed since the last call completed. Cancel-safe.
    pub async fn changed(&self) {
        let inner = self.inner();
        inner.changed.notified().await;
    }

    pub(crate) fn payload(&self, name: &str) -> Result<Option<Payload<Cap>>, VarError> {
        let inner = self.inner();
        let mut state = inner.lock();
        let Some(variable) = state.by_name.get_mut(name) else { return Ok(None) };
        let Variable { text, recipes, refs } = variable;
        let text = text.clone();
        let (restorers, ctx) = match refs {
            Refs::Here(caps) => return payload_of(&text, caps.clone()).map(Some),
            Refs::Restored(restorers, ctx) => (restorers, ctx),
        };
        if recipes.iter().any(|recipe| !restorers.knows(recipe.restorer())) {
            return Err(VarError::Lost(ErrorCode::RestorerUnknown));
        }
        // Restorers run below, without the lock. The variable has their promises by then: a restorer
        // that reads the variable gets the promises instead of restoring the objects a second time.
        let restoring = recipes.iter().map(|recipe| restorers.prepare(ctx, recipe));
        let (stubs, restoring): (Vec<Stub>, Vec<_>) = restoring.unzip();
        let caps: Vec<Cap> = stubs.into_iter().map(Stub::into_cap).collect();
        let before = std::mem::replace(refs, Refs::Here(caps.clone()));
        drop(state);
        drop(before);
        restoring.into_iter().for_each(Starting::start);
        payload_of(&text, caps).map(Some)
    }

    /// Creates a weak handle on the same variables. Once the variables are dropped, the handle reads as
    /// an empty set, and values set through it are lost.
    #[must_use]
    pub fn weak(&self) -> Self {
        Self(match &self.0 {
            Handle::Strong(inner) => Handle::Weak(Arc::downgrade(inner)),
            Handle::Weak(inner) => Handle::Weak(Weak::clone(inner)),
        })
    }

    fn inner(&self) -> Arc<Inner> {
        match &self.0 {
            Handle::Strong(inner) => Arc::clone(inner),
            Handle::Weak(inner) => inner.upgrade().unwrap_or_default(),
        }
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Shows the number of variables, but not their values, which may be private.
impl fmt::Debug for Vars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Vars({})", self.inner().lock().by_name.len())
    }
}

impl State {
    fn put(&mut self, name: &str, variable: Variable) -> Result<Option<Variable>, VarError> {
        let replaced = self.by_name.get(name).map_or(0, |before| before.bytes(name));
        let bytes = self.bytes - replaced + variable.bytes(name);
        if bytes > BYTES_MAX {
            return Err(VarError::Limit("bytes of the variables of a session", BYTES_MAX));
        }
        if !self.by_name.contains_key(name) && self.by_name.len() == VARS_MAX {
            return Err(VarError::Limit("variables of a session", VARS_MAX));
        }
        self.bytes = bytes;
        Ok(self.by_name.insert(name.to_owned(), variable))
    }

    fn take(&mut self, name: &str) -> Option<Variable> {
        let variable = self.by_name.remove(name)?;
        self.bytes -= variable.bytes(name);
        Some(variable)
    }
}

/// Combines the text and the references of a variable. Another process may have stored the text, so
/// the two may not match.
fn payload_of(text: &str, refs: Vec<Cap>) -> Result<Payload<Cap>, VarError> {
    Payload::new(text, refs).map_err(|mismatch| VarError::Decode(mismatch.into()))
}

fn check_name(name: &str) -> Result<(), VarError> {
    if name.chars().count() > NAME_CHARS_MAX {
        return Err(VarError::Limit("characters of the name of a variable", NAME_CHARS_MAX));
    }
    if name.is_empty() || name.chars().any(char::is_control) {
        return Err(VarError::Name);
    }
    Ok(())
}

/// Checks the limits of a value. The recursion is bounded, because the decoder has checked the depth.
fn check_shape(value: &Value) -> Result<(), VarError> {
    match value {
        Value::Array(elements) if elements.len() > ARRAY_MAX => {
            Err(VarError::Limit("elements of an array in a variable", ARRAY_MAX))
        }
        Value::Array(elements) => elements.iter().try_for_each(check_shape),
        Value::Object(object) if object.len() > KEYS_MAX => {
            Err(VarError::Limit("keys of an object in a variable", KEYS_MAX))
        }
        Value::Object(object) => object.iter().try_for_each(|(_, value)| check_shape(value)),
        _ => Ok(()),
    }
}

/// The reason that a variable cannot be set or read.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum VarError {
    /// The name is empty or contains a control character.
    Name,
    /// A limit is exceeded: what it bounds, and its value.
    Limit(&'static str, usize),
    /// The value contains a reference that is not durable.
    NotDurable(NotDurable),
    /// The value cannot be encoded.
    Encode(EncodeError),
    /// The value is of another type.
    Decode(DecodeError),
    /// The value refers to an object that is lost, with this code.
    Lost(ErrorCode),
}

impl fmt::Display for VarError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name => f.write_str("the name of a variable is empty or contains a control character"),
            Self::Limit(what, most) => write!(f, "limit: {what} (at most {most})"),
            Self::NotDurable(_) => f.write_str("the value cannot be stored in a variable"),
            Self::Encode(_) => f.write_str("the value cannot be encoded"),
            Self::Decode(_) => f.write_str("the variable is of another type"),
            Self::Lost(code) => write!(f, "the variable refers to an object that is lost: {code}"),
        }
    }
}

impl std::error::Error for VarError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NotDurable(error) => Some(error),
            Self::Encode(error) => Some(error),
            Self::Decode(error) => Some(error),
            Self::Name | Self::Limit(..) | Self::Lost(_) => None,
        }
    }
}
