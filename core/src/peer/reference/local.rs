//! Local objects. Each has a private session through which local references call it, so that local
//! calls have the same order, pipelining, and errors as remote ones.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::peer::host::nesting;
use crate::peer::host::shared::{Entry, Shared};
use crate::peer::interface::object::{Args, DynTarget, Object, Reply};
use crate::peer::reference::attenuation::Gate;
use crate::peer::reference::recipe::Recipe;
use crate::peer::stream::{Readable, Writable};
use crate::session::Kind;

/// A local object.
pub(crate) struct Local {
    pub(crate) body: Body,
    /// The recipe of a durable object.
    recipe: Option<Box<Recipe>>,
    /// The private session. It lives while a call or the result of one does: the session holds the object,
    /// not the other way round.
    private: Mutex<Weak<Shared>>,
}

/// The kind of a local object.
pub(crate) enum Body {
    /// An object with methods and properties.
    Object(Arc<dyn Object>),
    /// One method of an object, read without being called.
    Bound(Box<(Arc<dyn Object>, String)>),
    /// A target that handles every name itself.
    Dynamic(Arc<dyn DynTarget>),
    /// A function.
    Function(Box<dyn Fn(Args) -> Reply + Send + Sync>),
    /// A guarded reference.
    Gate(Box<Gate>),
    /// The writable end of a stream.
    Writable(Writable),
    /// The readable end of a stream.
    Readable(Box<Readable>),
    /// The placeholder of an object that is being dropped.
    Gone,
}

impl Local {
    pub(crate) fn new(body: Body) -> Arc<Self> {
        Arc::new(Self { body, recipe: None, private: Mutex::new(Weak::new()) })
    }

    /// Creates an object that another process can restore from `recipe`.
    pub(crate) fn durable(body: Body, recipe: Recipe) -> Arc<Self> {
        Arc::new(Self { body, recipe: Some(Box::new(recipe)), private: Mutex::new(Weak::new()) })
    }

    /// Returns the address of the object, which identifies it while it is alive.
    pub(crate) fn address(self: &Arc<Self>) -> usize {
        Arc::as_ptr(self).addr()
    }

    pub(crate) fn recipe(&self) -> Option<&Recipe> {
        self.recipe.as_deref()
    }

    /// Returns the private session, and creates it if there is none. Its main object is this object.
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
    /// Drops the body iteratively: it may hold the last reference to another object, which may hold the
    /// last one to a third, and so on.
    fn drop(&mut self) {
        nesting::drop_flat((std::mem::replace(&mut self.body, Body::Gone), self.recipe.take()));
    }
}

impl Body {
    /// Returns the name of the interface, for logs.
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

    /// Returns `true` if it is the writable end of a stream that a reader in this process reads.
    pub(crate) fn is_read(&self) -> bool {
        matches!(self, Self::Writable(Writable::Pipe(entry)) if entry.is_read())
    }

    /// Returns the kind of the object on the wire.
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
