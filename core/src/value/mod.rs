//! The value model: what can cross the wire, its serde bridge, and the text it is written as.
mod payload;
pub(crate) mod text;
pub use payload::{HOLE, Payload};
