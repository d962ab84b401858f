//! Runs programs in which two sessions pass each other labeled capabilities, amid data that resembles
//! capabilities, and checks that no capability is separated from its label.
//!
//! `fuzz/run 600 session_labels` runs it for ten minutes.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../core/tests/session/labels.rs"]
mod labels;

fuzz_target!(|data: &[u8]| labels::replay(data));
