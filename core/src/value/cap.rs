//! The type-erased handle of a capability in a value.
//!
//! Here it is only stored, compared, and returned; the layer that created it knows what it can do.
//! `scope.rs` carries it through an encode or a decode.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer};
use serde::ser::{Error as _, Serialize, Serializer};

use super::{Value, scope, special};

/// A live object that a [`Cap`] can hold.
pub trait Capability: Any + Send + Sync + fmt::Debug {
    /// Returns `true` if it crosses the wire as the readable end of a stream.
    #[doc(hidden)]
    fn is_readable(&self) -> bool {
        false
    }

    /// Returns the stream in a form that can be read repeatedly, if this is a stream that can be read only
    /// once.
    #[doc(hidden)]
    fn spooled(&self) -> Option<Cap> {
        None
    }
}

/// A capability inside of a value. Clones share it, and two are equal if they are the same one.
///
/// It can be serialized and deserialized only as part of a Bowline message. Any other serializer is
/// refused, so that a capability cannot leak into a log or a file as a number.
#[derive(Clone)]
pub struct Cap(Arc<dyn Capability>);

impl Cap {
    /// Creates a capability that holds a live object.
    pub fn new(capability: impl Capability) -> Self {
        Self(Arc::new(capability))
    }

    /// Creates a capability that holds a shared live object.
    pub fn from_arc(capability: Arc<dyn Capability>) -> Self {
        Self(capability)
    }

    /// Returns the live object, if it is a `C`.
    pub fn downcast_ref<C: Capability>(&self) -> Option<&C> {
        let any: &dyn Any = &*self.0;
        any.downcast_ref()
    }

    /// Returns the live object to be shared, if it is a `C`.
    pub fn downcast<C: Capability>(&self) -> Option<Arc<C>> {
        self.downcast_ref::<C>()?;
        let any: Arc<dyn Any + Send + Sync> = self.0.clone();
        any.downcast().ok()
    }

    /// Returns `true` for the readable end of a stream, the only capability that a body or a blob can
    /// consist of.
    pub(crate) fn is_readable(&self) -> bool {
        self.0.is_readable()
    }

    /// Returns the stream in a form that can be read repeatedly.
    pub(crate) fn spooled(&self) -> Option<Self> {
        self.0.spooled()
    }

    /// Returns `true` if both are the same capability.
    pub fn ptr_eq(&self, other: &Self) -> bool {
        std::ptr::addr_eq(Arc::as_ptr(&self.0), Arc::as_ptr(&other.0))
    }
}

impl fmt::Debug for Cap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl PartialEq for Cap {
    fn eq(&self, other: &Self) -> bool {
        self.ptr_eq(other)
    }
}

impl Eq for Cap {}

impl Serialize for Cap {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let ticket = scope::note(self)
            .ok_or_else(|| S::Error::custom("a capability can be serialized only as part of a Bowline message"))?;
        serializer.serialize_unit_variant(special::CAP, ticket, "capability")
    }
}

impl<'de> Deserialize<'de> for Cap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match special::read(deserializer)? {
            Value::Cap(cap) => Ok(cap),
            other => Err(special::unexpected(&other, "a capability")),
        }
    }
}
