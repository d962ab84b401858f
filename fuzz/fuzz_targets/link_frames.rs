//! Feeds arbitrary lines as frames of the link to a client and to a server.
//!
//! `fuzz/run 600 link_frames` runs it for ten minutes.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../core/tests/link/hostile.rs"]
mod hostile;

fuzz_target!(|text: &str| hostile::replay(text));
