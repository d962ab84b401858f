//! The protocol of Bowline. No runtime, clock or randomness lives here.
pub mod endpoint;
pub mod error;
pub mod generated;
pub mod id;
pub mod limits;
pub mod link;
pub mod peer;
pub mod resume;
pub mod session;
pub mod time;
pub mod value;
mod wire;
