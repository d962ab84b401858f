//! The scenarios of `session` with a connection that is cut at every message. What is exchanged and
//! what is left must be the same as without cuts. `session/pair.rs` checks for the name of this
//! test binary.

#[path = "../session/main.rs"]
mod session;
