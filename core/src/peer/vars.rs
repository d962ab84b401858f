//! Session variables: named values that live as long as their session, whichever process has it.
//! Plain data, and references to durable objects; everything is bounded.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::error::ErrorCode;
use crate::peer::recipe::{NotDurable, StoredRecipe};
use crate::peer::restorers::{RestoreCtx, Restorers};
use crate::peer::stub::{Starting, Stub};
use crate::value::{self, Cap, DecodeError, EncodeError, Payload, Value};

/// Variables of a session.
pub const VARS_MAX: usize = 1_000;

/// Characters of a name.
pub const NAME_CHARS_MAX: usize = 256;

/// Elements of an array.
pub const ARRAY_MAX: usize = 1_000;

/// Keys of an object.
pub const KEYS_MAX: usize = 100;

/// Bytes of all variables of a session: names, values and recipes.
pub const BYTES_MAX: usize = 256 << 10;

/// The variables of a session. Clones are the same variables.
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
/// At most 1,000 variables of 256 KiB together; names of at most 256 characters, none of them a
/// control character; arrays of at most 1,000 elements, objects of at most 100 keys.
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

/// A value, and how what it refers to is made again.
struct Variable {
    text: String,
    recipes: Vec<StoredRecipe>,
    refs: Refs,
}

enum Refs {
    Here(Vec<Cap>),
    /// Made when the variable is first read.
    Restored(Arc<Restorers>, RestoreCtx),
}

impl Variable {
    fn bytes(&self, name: &str) -> usize {
        name.len() + self.text.len() + self.recipes.iter().map(StoredRecipe::size).sum::<usize>()
    }
}

/// Variables as they are kept: see [`Vars::stored`].
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
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a variable.
    ///
    /// # Errors
    /// The name or the value is not one that a variable can have, or there is too much already;
    /// then the variable stays as it was.
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
        // What it held may be the last of something.
        drop(before);
        Ok(())
    }

    /// The value of a variable, if there is one of this name.
    ///
    /// # Errors
    /// It is of another type, or refers to an object that nobody can make again. An object that
    /// cannot be made again for another reason fails its calls.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, VarError> {
        match self.payload(name)? {
            Some(payload) => value::decode(payload).map(Some).map_err(VarError::Decode),
            None => Ok(None),
        }
    }

    /// Whether there is a variable of this name.
    pub fn has(&self, name: &str) -> bool {
        self.inner().lock().by_name.contains_key(name)
    }

    /// Removes a variable; says whether there was one.
    pub fn delete(&self, name: &str) -> bool {
        let inner = self.inner();
        let before = inner.lock().take(name);
        if before.is_some() {
            inner.changed.notify_one();
        }
        before.is_some()
    }

    /// The names of all variables, in order.
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

    /// The variables as data, for another process. Equal variables give equal data.
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

    /// The variables of a session that another process had. What they refer to is made when it is
    /// first read, for the peer of `ctx`.
    ///
    /// # Errors
    /// They are not such as can be set.
    pub fn restored(stored: StoredVars, restorers: &Arc<Restorers>, ctx: &RestoreCtx) -> Result<Self, VarError> {
        Self::restored_for(stored, restorers, |_| ctx.clone())
    }

    /// Creates the variables that another process stored, for restorers that read them: `ctx` gets a
    /// [weak](Self::weak) handle on the variables, to be part of what the peer is.
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
            // Read once with something in place of what it refers to.
            let refs = recipes.iter().map(|_| Stub::settled(Ok(Payload::plain("null"))).into_cap()).collect();
            check_shape(&value::decode(payload_of(&text, refs)?).map_err(VarError::Decode)?)?;
            let refs = Refs::Restored(Arc::clone(restorers), ctx.clone());
            inner.lock().put(&name, Variable { text, recipes, refs })?;
        }
        Ok(vars)
    }

    /// Waits until a variable was changed, since this ended last. Cancel-safe.
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
        // that reads it gets what is being restored instead of restoring it once more.
        let restoring = recipes.iter().map(|recipe| restorers.prepare(ctx, recipe));
        let (stubs, restoring): (Vec<Stub>, Vec<_>) = restoring.unzip();
        let caps: Vec<Cap> = stubs.into_iter().map(Stub::into_cap).collect();
        let before = std::mem::replace(refs, Refs::Here(caps.clone()));
        drop(state);
        drop(before);
        restoring.into_iter().for_each(Starting::start);
        payload_of(&text, caps).map(Some)
    }

    /// Creates a handle on the same variables that does not keep them. Once they are gone it reads as
    /// no variables, and what is set through it is lost.
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

/// How many there are; what they hold is nobody's business.
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

/// Returns the value of a variable, which another process may have stored.
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

/// Nested as deep as a message may be, which the decoder has looked at.
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

/// Why a variable cannot be set or read.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum VarError {
    /// The name is empty or has a control character.
    Name,
    /// What there is too much of, and how much there may be.
    Limit(&'static str, usize),
    /// It refers to something that is not durable.
    NotDurable(NotDurable),
    /// The value cannot be encoded.
    Encode(EncodeError),
    /// The value is of another type.
    Decode(DecodeError),
    /// It refers to something that is gone.
    Lost(ErrorCode),
}

impl fmt::Display for VarError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name => f.write_str("the name of a variable is empty or has a control character"),
            Self::Limit(what, most) => write!(f, "limit: {what} (at most {most})"),
            Self::NotDurable(why) => write!(f, "not a value for a variable: {why}"),
            Self::Encode(error) => error.fmt(f),
            Self::Decode(error) => error.fmt(f),
            Self::Lost(code) => write!(f, "what the variable refers to is gone: {code}"),
        }
    }
}

impl std::error::Error for VarError {}
