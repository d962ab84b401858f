//! Programs of two sessions that pass each other capabilities with a label beside each, amid data
//! that resembles capabilities: no capability leaves its label.
//!
//! `fuzz/run 600 session_labels` runs it for ten minutes.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../core/tests/session/labels.rs"]
mod labels;

fuzz_target!(|data: &[u8]| labels::replay(data));
