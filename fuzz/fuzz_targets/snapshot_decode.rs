//! Decodes arbitrary text as the snapshot of a session, and feeds the rest to that session as messages.
//!
//! `fuzz/run 600 snapshot_decode` runs it for ten minutes.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../core/tests/session/hostile.rs"]
#[allow(dead_code, reason = "only the target session_messages uses the rest")]
mod hostile;
#[path = "../../core/tests/session/stored.rs"]
mod stored;

fuzz_target!(|text: &str| stored::replay(text));
