//! The public API of the peer layer: two sessions over an in-memory transport, with objects written
//! by hand. Messages are compared one by one where their order matters.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]
#![allow(clippy::disallowed_methods, reason = "tests have tasks and clocks; the library has none")]

mod calls; // calls, pipelining, errors, properties
mod chains; // references of references of references
#[path = "../simulator/dice.rs"]
mod dice; // numbers from a seed
mod dropping; // release accounting, cancellation, lost sessions
mod ending; // running calls of sessions that end
mod errors; // errors on their way out: hooks, stacks, causes, aggregates
mod failing; // panics and lost runtimes
mod fixture; // the objects the others call
mod forwarding; // any number of arguments, errors passed on
mod keeping; // when a session has to be kept again
mod lines; // messages that share a text
mod load; // many threads, many calls
mod local; // references and promises without a connection
mod locks; // wakers, logs and waits that look at a session
mod maps; // map_each
mod memory; // what sessions hold together
mod passing; // capabilities as arguments and results, proxies, attenuation
mod recipes;
mod resembling; // durable objects, and those who make them again
mod restoring; // sessions that another process goes on with
mod runtimes; // where methods run
mod shape; // what must be Send, Sync and nameable
mod slices; // sessions that have much to do
mod vars; // session variables
