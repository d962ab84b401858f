//! The protocol of Bowline. No runtime, clock or randomness lives here.
pub mod generated;
pub mod id;
pub mod limits;
pub mod peer;
pub mod session;
pub mod typescript;
pub mod value;
mod wire;
