//! Maps a value with arbitrary functions.
//!
//! `fuzz/run 600 map_programs` runs it for ten minutes.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../core/tests/session/hostile.rs"]
#[allow(dead_code, reason = "only the target session_messages uses the rest")]
mod hostile;
#[path = "../../core/tests/session/programs.rs"]
mod programs;

fuzz_target!(|text: &str| programs::replay(text));
