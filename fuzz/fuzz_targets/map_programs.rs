//! A value, and arbitrary functions to map it with.
//!
//! `fuzz/run 600 map_programs` runs it for ten minutes.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../core/tests/session/hostile.rs"]
#[allow(dead_code, reason = "its own target uses the rest")]
mod hostile;
#[path = "../../core/tests/session/programs.rs"]
mod programs;

fuzz_target!(|text: &str| programs::replay(text));
