//! The trait of typed references, references inside of data, and steps of property paths.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::peer::reference::stub::Stub;
use crate::session::Step;
use crate::value::Cap;

/// A reference type: [`Stub`], the types that `#[bowline::interface]` generates, and `Func`.
pub trait Reference: Clone + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Converts an untyped reference. The type is not checked: the peer may have another interface.
    fn from_stub(stub: Stub) -> Self;

    /// Returns the untyped reference.
    fn stub(&self) -> &Stub;
}

impl Reference for Stub {
    fn from_stub(stub: Stub) -> Self {
        stub
    }

    fn stub(&self) -> &Stub {
        self
    }
}

/// A type that can be a step of a property path: names and array indexes.
pub trait IntoStep {
    /// Converts `self` into a step.
    fn into_step(self) -> Step;
}

impl IntoStep for Step {
    fn into_step(self) -> Step {
        self
    }
}

impl IntoStep for &str {
    fn into_step(self) -> Step {
        Step::Name(self.into())
    }
}

impl IntoStep for String {
    fn into_step(self) -> Step {
        Step::Name(self.into())
    }
}

impl IntoStep for u64 {
    fn into_step(self) -> Step {
        Step::Index(self)
    }
}

impl IntoStep for usize {
    fn into_step(self) -> Step {
        Step::Index(self as u64)
    }
}

impl Serialize for Stub {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.clone().into_cap().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Stub {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let cap = Cap::deserialize(deserializer)?;
        Ok(Self::from_cap(&cap))
    }
}
