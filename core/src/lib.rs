//! The protocol of Bowline: values, wire text, the session machine, and the layer that runs it
//! under an application.
//!
//! Applications use the `bowline` package, which re-exports what they need. From below:
//!
//! - [`id`] and [`limits`]: the numbers by which a session names things, and every bound on what a
//!   peer can make us hold.
//! - [`value`]: what JavaScript peers know as values, and serde to and from their text.
//! - `wire`: the grammar of messages.
//! - [`session`]: one end of a session as plain data, text in and text out. No clock, no lock, no
//!   object.
//! - [`peer`]: references, promises and objects, and the driver between a transport and a session.
//!   The only async part; its `runtime` file alone names Tokio's tasks and timers.
//! - `generated`: what the macros' output refers to.
//!
//! A module names only those above it in this list (`generated` excepted); ARCHITECTURE.md has the
//! table and tests/it/tidy.rs holds it.

#[doc(hidden)]
pub mod generated;
pub mod id;
pub mod limits;
pub mod peer;
pub mod session;
pub mod typescript;
pub mod value;
mod wire;
