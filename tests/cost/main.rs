//! The cost of a call and of a session in numbers that do not depend on the machine: system calls,
//! allocations, and memory.
#![allow(clippy::unwrap_used, reason = "a failed unwrap reports where a test failed")]

/// Allocations of the codec and of calls.
mod allocations;
/// The peak of allocated bytes, shared with the benchmark of amplification.
#[path = "../../benches/amplification/held.rs"]
mod held;
/// The memory that a hostile peer takes.
mod hostile;
/// Memory of an idle session.
mod memory;
/// The callers and objects of the scenarios, shared with benches/gate.
#[path = "../../benches/gate/peers.rs"]
mod peers;
/// The messages of a hostile peer, shared with the benchmark of amplification.
#[allow(dead_code, reason = "the benchmark uses messages that this test does not")]
#[path = "../../benches/amplification/rows.rs"]
mod rows;
/// Reads and writes of 64 concurrent calls.
mod system_calls;
