//! What a call takes, counted where counts do not depend on the machine: reads, writes, allocations and memory.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

/// Allocations of codec and calls.
mod allocations;
/// The peak of allocated bytes, shared with the benchmark of amplification.
#[path = "../../benches/amplification/held.rs"]
mod held;
/// The memory that a hostile peer takes.
mod hostile;
/// What a session at rest holds.
mod memory;
/// Who calls whom, shared with the scenarios whose instructions are counted.
#[path = "../../benches/gate/peers.rs"]
mod peers;
/// What a hostile peer sends, shared with the benchmark of amplification.
#[allow(dead_code, reason = "messages whose time is measured are for the benchmark")]
#[path = "../../benches/amplification/rows.rs"]
mod rows;
/// Reads and writes of 64 calls made at once.
mod system_calls;
