//! Runs arbitrary lists of operations on two sessions that are connected to each other.
//!
//! `fuzz/run 600 session_operations` runs it for ten minutes.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../core/tests/session/operations.rs"]
mod operations;

fuzz_target!(|text: &str| operations::replay(text));
