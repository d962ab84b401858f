//! The type-erased handle on a capability that values carry.
//!
//! What a capability can do is the business of the layer that made it; here it is only kept,
//! compared and handed back. How it crosses an encode or a decode is in `scope.rs`.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer};
use serde::ser::{Error as _, Serialize, Serializer};

use super::{Value, scope, special};

/// Something live that a [`Cap`] can hold.
pub trait Capability: Any + Send + Sync + fmt::Debug {
    /// True if it crosses the wire as the readable end of a stream.
    #[doc(hidden)]
    fn is_readable(&self) -> bool {
        false
    }

    /// The same stream as one that can be read any number of times, if this is a stream that can be
    /// read once.
    #[doc(hidden)]
    fn spooled(&self) -> Option<Cap> {
        None
    }
}

/// A capability inside a value. Cloning it shares it; two are equal when they are the same one.
///
/// It can be serialized and deserialized only as part of a Bowline message: any other
/// serializer is refused, so that a capability cannot leak into a log or a file as a number.
#[derive(Clone)]
pub struct Cap(Arc<dyn Capability>);

impl Cap {
    /// Wraps a live handle.
    pub fn new(capability: impl Capability) -> Self {
        Self(Arc::new(capability))
    }

    /// Wraps a handle that is shared already.
    pub fn from_arc(capability: Arc<dyn Capability>) -> Self {
        Self(capability)
    }

    /// The handle, if it is a `C`.
    pub fn downcast_ref<C: Capability>(&self) -> Option<&C> {
        let any: &dyn Any = &*self.0;
        any.downcast_ref()
    }

    /// The handle to share, if it is a `C`.
    pub fn downcast<C: Capability>(&self) -> Option<Arc<C>> {
        let any: Arc<dyn Any + Send + Sync> = self.0.clone();
        any.downcast().ok()
    }

    /// True for the readable end of a stream, which is all that a body or a blob may consist of.
    pub(crate) fn is_readable(&self) -> bool {
        self.0.is_readable()
    }

    /// The same stream as one that can be read more than once.
    pub(crate) fn spooled(&self) -> Option<Self> {
        self.0.spooled()
    }

    /// True if both are one and the same.
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
            .ok_or_else(|| S::Error::custom("a capability can be serialized only inside a Bowline message"))?;
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
