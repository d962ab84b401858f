//! The public API of streams: readers, writers, and sinks, through two sessions over an in-memory
//! transport. Their messages are tested in `core/tests/session/streams.rs`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "tests have tasks and clocks; the library has none")]

mod blobs; // blobs and bodies
mod ends; // every way in which a stream can end
mod feeding; // writers as `futures::Sink`
mod fixture; // the objects that the tests call
mod flow; // windows, backpressure, limits, and fairness
#[path = "../shared/objects.rs"]
mod objects; // what the objects are made of
mod passing; // forwarded streams, capabilities in chunks, and streams without a session
