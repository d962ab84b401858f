//! Arbitrary text as a token, as its proof, and as claims that are well signed.
//!
//! `cargo fuzz run -s none token_open`, on stable.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../core/tests/resume/hostile.rs"]
mod hostile;

fuzz_target!(|text: &str| hostile::replay(text));
