//! The protocol of Bowline: values, wire text, the session state machine, the link that lets a
//! session outlive its connection, and the async layer on which applications build.
//!
//! Applications use the `bowline` package, which re-exports what they need. The modules, from the
//! bottom up:
//!
//! - [`id`], [`time`], [`limits`], [`error`]: the ids that a session assigns, the types for time, the
//!   bounds on what a peer can make this process hold, and the error codes.
//! - [`value`]: the values of Cap'n Web, and serde to and from their text.
//! - `wire`: the grammar of messages.
//! - [`session`]: one end of a session as plain data, text in and text out. It has no clock, no lock,
//!   and no application object.
//! - [`link`]: message numbers, the retransmit buffer, acks, and heartbeats. It does not parse the
//!   messages that it carries.
//! - [`resume`]: the tokens with which a client resumes its session, and the keys that sign them.
//! - [`endpoint`]: a session and its link as one plain value.
//! - [`peer`]: references, promises, objects, and the driver between a transport and a session. This
//!   is the only async module; only its `runtime` file names Tokio's tasks and timers.
//! - [`typescript`]: TypeScript declarations of interfaces and data.
//! - `setters`: the macro that writes the setters of configuration types.
//! - `generated`: the items that macro-generated code refers to.
//!
//! A module names only modules above it in this list, with one exception: `wire` reads property
//! paths, whose types belong to [`session`]. The table in ARCHITECTURE.md says which of them each may
//! name, and `tests/it/tidy` enforces it.

#[macro_use]
mod setters;

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
