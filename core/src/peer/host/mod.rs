//! The host of a session: its state behind a lock, and everything that happens when it has outputs.

pub(crate) mod between_inputs;
pub(crate) mod dormant;
pub(crate) mod events;
pub(crate) mod jobs;
pub(crate) mod lifting;
pub(crate) mod memory;
pub(crate) mod nesting;
pub(crate) mod outgoing_errors;
pub(crate) mod outputs;
pub(crate) mod quiescence;
pub(crate) mod remote;
pub(crate) mod running;
pub(crate) mod settings;
pub(crate) mod shared;
pub(crate) mod slices;
pub(crate) mod target;
pub(crate) mod wait;
