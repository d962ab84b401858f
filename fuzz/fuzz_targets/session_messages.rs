//! Arbitrary lines as the messages of a peer.
//!
//! `cargo fuzz run -s none session_messages`, on stable.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../core/tests/session/hostile.rs"]
mod hostile;

fuzz_target!(|text: &str| hostile::replay(text));
