//! The public API of streams: readers, writers, and sinks, through two sessions over an in-memory
//! transport. Their messages are tested in `core/tests/session/streams.rs`.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]
#![allow(clippy::disallowed_methods, reason = "tests have tasks and clocks; the library has none")]

mod blobs; // blobs, bodies
mod ends; // every way a stream can end, row by row
mod feeding; // writers as sinks of the crate futures
mod fixture; // the objects the others call
mod flow; // windows, backpressure, bounds, fairness
mod passing; // streams passed on, capabilities in chunks, streams without a session
