//! The scenarios of `session` again, with the transport cut at every message: what crosses and
//! what is left must be what it was without a cut. `session/pair.rs` asks for the name of this test.

#[path = "../session/main.rs"]
mod session;
