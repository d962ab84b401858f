//! Calls, promises, and reference counts: what becomes of a call between its message and its result.

mod answer;
mod call;
mod close;
mod depth;
mod gather;
pub(crate) mod listing;
mod promise;
mod reference;
mod stream;
mod walk;
pub(crate) mod window;
