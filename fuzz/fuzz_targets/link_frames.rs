//! Arbitrary lines as frames of the link, towards a client and towards a server.
//!
//! `cargo fuzz run -s none link_frames`, on stable.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../core/tests/link/hostile.rs"]
mod hostile;

fuzz_target!(|text: &str| hostile::replay(text));
