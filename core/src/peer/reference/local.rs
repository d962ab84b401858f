//! Local objects. Each has a private session through which local references call it, so that local
//! calls have the same order, pipelining, and errors as remote ones.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::id::PromiseId;
use crate::peer::host::nesting;
use crate::peer::host::shared::Shared;
use crate::peer::host::target::{Entry, Target};
use crate::peer::interface::object::{Args, DynTarget, Object, Reply};
use crate::peer::reference::attenuation::Gate;
use crate::peer::reference::readable::Readable;
use crate::peer::reference::recipe::Recipe;
use crate::peer::reference::spool::Spool;
use crate::session::{CloseReason, Kind, Step};
use crate::value::{Cap, Capability, Payload};

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
    Writable(Box<dyn WritableEnd>),
    /// The readable end of a stream.
    Readable(Arc<Readable>),
    /// The placeholder of an object that is being dropped.
    Gone,
}

/// The writable end of a stream.
pub(crate) trait WritableEnd: Any + fmt::Debug + Send + Sync {
    /// Runs a call or a property read of the peer.
    fn deliver(&self, shared: &Arc<Shared>, call: PromiseId, path: &[Step], args: Option<Payload<Cap>>);

    /// Records that the session in which the peer could write has ended. The reader fails with that end as
    /// the reason, unless another writer closes the stream.
    fn lose_writer(&self, closed: &CloseReason);

    /// Returns `true` if a reader in this process reads the stream.
    fn is_read(&self) -> bool;
}

impl Capability for Local {
    fn is_readable(&self) -> bool {
        matches!(self.body, Body::Readable(_))
    }

    fn spooled(&self) -> Option<Cap> {
        match &self.body {
            Body::Readable(readable) => Some(Cap::new(Spool::new(Arc::clone(readable)))),
            _ => None,
        }
    }
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
        let shared = Shared::private(Some(Entry::Object(Arc::clone(self) as Arc<dyn Target>)));
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
