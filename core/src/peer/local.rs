//! Objects of ours as handles know them: the object, and the private session through which
//! local handles call it, so that local calls, pipelining and order are those of any session.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::peer::guard::Gate;
use crate::peer::nesting;
use crate::peer::object::{Args, DynTarget, Object, Reply};
use crate::peer::recipe::Recipe;
use crate::peer::shared::{Entry, Shared};
use crate::peer::stream::{Readable, Writable};
use crate::session::Kind;

/// An object of ours.
pub(crate) struct Local {
    pub(crate) body: Body,
    /// How it can be made again.
    recipe: Option<Box<Recipe>>,
    /// Alive while a call or a result of one is: the session holds the object, not the other
    /// way round.
    private: Mutex<Weak<Shared>>,
}

/// What there is to call.
pub(crate) enum Body {
    /// Methods and properties.
    Object(Arc<dyn Object>),
    /// One method of an object, read without being called.
    Bound(Box<(Arc<dyn Object>, String)>),
    /// Whatever is asked for.
    Dynamic(Arc<dyn DynTarget>),
    /// Callable, and nothing else.
    Function(Box<dyn Fn(Args) -> Reply + Send + Sync>),
    /// Another reference behind a condition.
    Gate(Box<Gate>),
    /// The end of a stream that is written to.
    Writable(Writable),
    /// The end of a stream that is read.
    Readable(Box<Readable>),
    /// Nothing: the object is being dropped.
    Gone,
}

impl Local {
    pub(crate) fn new(body: Body) -> Arc<Self> {
        Arc::new(Self { body, recipe: None, private: Mutex::new(Weak::new()) })
    }

    /// An object that can be made again.
    pub(crate) fn durable(body: Body, recipe: Recipe) -> Arc<Self> {
        Arc::new(Self { body, recipe: Some(Box::new(recipe)), private: Mutex::new(Weak::new()) })
    }

    /// Tells objects apart that are alive.
    pub(crate) fn address(self: &Arc<Self>) -> usize {
        Arc::as_ptr(self).addr()
    }

    pub(crate) fn recipe(&self) -> Option<&Recipe> {
        self.recipe.as_deref()
    }

    /// The session through which local handles call the object; its main object is this one.
    pub(crate) fn private(self: &Arc<Self>) -> Arc<Shared> {
        let mut private = self.private.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = private.upgrade() {
            return shared;
        }
        let shared = Shared::private(Some(Entry::Local(Arc::clone(self))));
        *private = Arc::downgrade(&shared);
        shared
    }
}

impl Drop for Local {
    /// It may hold the last reference to an object that holds the last one to another, and so on.
    fn drop(&mut self) {
        nesting::drop_flat((std::mem::replace(&mut self.body, Body::Gone), self.recipe.take()));
    }
}

impl Body {
    /// What logs call it.
    pub(crate) fn interface(&self) -> &'static str {
        match self {
            Self::Object(object) => object.interface(),
            Self::Bound(bound) => bound.0.interface(),
            Self::Dynamic(_) => "dynamic target",
            Self::Function(_) => "function",
            Self::Gate(_) => "guarded reference",
            Self::Writable(_) | Self::Readable(_) => "stream",
            Self::Gone => "",
        }
    }

    /// Whether it is the end of a stream that a reader in this process reads.
    pub(crate) fn is_read(&self) -> bool {
        matches!(self, Self::Writable(Writable::Pipe(entry)) if entry.is_read())
    }

    /// How it goes into a message.
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Writable(_) => Kind::Writable,
            Self::Readable(_) => Kind::Readable,
            _ => Kind::Object,
        }
    }
}

impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Local").field(&self.body.interface()).finish()
    }
}
