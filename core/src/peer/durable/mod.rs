//! What lets a session survive its process: restorers, restored objects, and session variables.

pub(crate) mod durability;
pub(crate) mod restored_objects;
pub(crate) mod restorers;
pub(crate) mod session_vars;
pub mod vars;
