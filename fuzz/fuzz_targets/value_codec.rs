//! Decodes arbitrary text as a value, as typed data, and as arguments.
//!
//! `fuzz/run 600 value_codec` runs it for ten minutes.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../core/tests/value/corpus.rs"]
mod corpus;

fuzz_target!(|text: &str| corpus::replay(text));
