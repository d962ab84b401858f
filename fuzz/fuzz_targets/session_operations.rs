//! Arbitrary lists of operations on two sessions that talk to each other.
//!
//! `cargo fuzz run -s none session_operations`, on stable.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../core/tests/session/operations.rs"]
mod operations;

fuzz_target!(|text: &str| operations::replay(text));
