//! The public API of the peer layer: two sessions over an in-memory transport, with objects written
//! by hand. Messages are compared one by one where their order matters.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "tests have tasks and clocks; the library has none")]

mod calls; // calls, pipelining, errors, and properties
mod chains; // long chains of references
#[path = "../simulator/dice.rs"]
mod dice; // seeded random numbers
mod dropping; // releases, cancellation, and lost sessions
mod ending; // running calls when their session ends
mod errors; // outgoing errors: hooks, stacks, causes, and aggregates
mod failing; // panics and ended runtimes
mod fixture; // the objects that the tests call
mod forwarding; // gateways: any number of arguments, forwarded errors
mod keeping; // when a checkpoint is due
mod lines; // messages that share a text
mod load; // many threads and calls
mod local; // references and promises without a connection
mod locks; // wakers, logs, and waits that use a session
mod maps; // maps over results that have not arrived
mod memory; // the memory that sessions hold together
#[path = "../shared/objects.rs"]
mod objects; // what the objects are made of
mod passing; // capabilities as arguments and results, proxies, and attenuation
mod recipes;
mod resembling; // data that resembles a capability
mod restoring; // sessions that another process recovers
mod runtimes; // the runtime of methods
mod shape; // types that must be Send and Sync
mod slices; // sessions with much work
mod vars; // session variables
