//! References inside of data, and what typed references have in common.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::peer::stub::Stub;
use crate::session::Step;
use crate::value::Cap;

/// A reference type: [`Stub`] itself, those that `#[bowline::interface]` makes, and `Func`.
pub trait Reference: Clone + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Gives a reference a type. Nothing is checked: a peer's types are its own affair.
    fn from_stub(stub: Stub) -> Self;

    /// The reference without its type.
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

/// What can be a step of a property path: names and array indexes.
pub trait IntoStep {
    /// The step.
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
