//! The host of a session: its state behind a lock, and everything that happens when it has outputs.

pub(crate) mod events;
pub(crate) mod jobs;
pub(crate) mod memory;
pub(crate) mod nesting;
pub(crate) mod outgoing_errors;
pub(crate) mod outputs;
pub(crate) mod quiescence;
pub(crate) mod running;
pub(crate) mod shared;
pub(crate) mod slices;
pub(crate) mod wait;
