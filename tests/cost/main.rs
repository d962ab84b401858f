//! What a call takes, counted where counts do not depend on the machine: reads, writes, allocations and memory.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

/// Allocations of codec and calls.
mod allocations;
/// What a session at rest holds.
mod memory;
/// Who calls whom, shared with the scenarios whose instructions are counted.
#[path = "../../benches/gate/peers.rs"]
mod peers;
/// Reads and writes of 64 calls made at once.
mod system_calls;
