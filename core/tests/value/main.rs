//! The public API of values: what is written, what is read, and what is refused.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod corpus;
mod depth;
mod golden;
mod http;
mod property;
mod refused;
mod scopes;
mod shapes;

use bowline_core::value::{Cap, Capability, DecodeError, PLACEHOLDER, Payload, decode};
use serde::de::DeserializeOwned;

/// A capability that is identified by a number.
#[derive(Debug)]
pub struct Thing(pub u32);

impl Capability for Thing {}

/// Creates a capability.
pub fn cap(id: u32) -> Cap {
    Cap::new(Thing(id))
}

/// Returns a payload with `caps` in place of the dollar signs of `text`.
pub fn with_caps<const N: usize>(text: &str, caps: [Cap; N]) -> Payload<Cap> {
    Payload::new(text.replace('$', PLACEHOLDER), caps.into()).unwrap()
}

/// Reads text without capabilities.
pub fn read<T: DeserializeOwned>(text: &str) -> Result<T, DecodeError> {
    decode(Payload::plain(text))
}

/// Returns the error of reading `text` as a `T`.
pub fn error<T: DeserializeOwned + std::fmt::Debug>(text: &str) -> String {
    read::<T>(text).unwrap_err().to_string()
}
