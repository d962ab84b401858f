//! Opens arbitrary text as a token, as its proof, and as correctly signed claims.
//!
//! `fuzz/run 600 token_open` runs it for ten minutes.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../core/tests/resume/hostile.rs"]
mod hostile;

fuzz_target!(|text: &str| hostile::replay(text));
