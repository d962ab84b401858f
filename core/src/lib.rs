//! The protocol of Bowline. No runtime, clock or randomness lives here.
pub mod id;
pub mod limits;
pub mod session;
pub mod value;
mod wire;
