//! Feeds arbitrary lines as messages of a peer to a session.
//!
//! `fuzz/run 600 session_messages` runs it for ten minutes.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../core/tests/session/hostile.rs"]
#[allow(dead_code, reason = "other targets use the rest")]
mod hostile;

fuzz_target!(|text: &str| hostile::replay(text));
