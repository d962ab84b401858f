//! The protocol of Bowline: values, wire text, the session machine, and the layer that runs it
//! under an application.
//!
//! Applications use the `bowline` package, which re-exports what they need. From below:
//!
//! - [`id`], [`time`], [`limits`], [`error`]: the numbers by which a session names things, the only
//!   notions of time, every bound on what a peer can make us hold, and the codes of what goes wrong.
//! - [`value`]: what JavaScript peers know as values, and serde to and from their text.
//! - `wire`: the grammar of messages.
//! - [`session`]: one end of a session as plain data, text in and text out. No clock, no lock, no
//!   object.
//! - [`link`]: what lets a session outlive its transport: numbers, what is kept to be sent again,
//!   heartbeats. Knows neither messages nor sessions.
//! - [`resume`]: the tokens by which a client has its session back, and the keys that sign them.
//! - [`endpoint`]: session and link as one pure value.
//! - [`peer`]: references, promises and objects, and the driver between a transport and a session.
//!   The only async part; its `runtime` file alone names Tokio's tasks and timers.
//! - `generated`: what the macros' output refers to.
//!
//! A module names only those above it in this list (`generated` excepted); ARCHITECTURE.md has the
//! table and tests/it/tidy.rs holds it.

pub mod endpoint;
pub mod error;
#[doc(hidden)]
pub mod generated;
pub mod id;
pub mod limits;
pub mod link;
pub mod peer;
pub mod resume;
pub mod session;
pub mod time;
pub mod typescript;
pub mod value;
mod wire;
