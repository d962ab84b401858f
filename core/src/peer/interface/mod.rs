//! The interface between a session and the code of an application: which members an object has, how a
//! call reaches it, and the errors of calls.

pub(crate) mod call_log;
pub(crate) mod description;
pub(crate) mod error;
pub(crate) mod lost;
pub(crate) mod object;
