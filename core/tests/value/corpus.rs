//! The corpus of the fuzz target `value_codec`, replayed.

use bowline_core::value::{Value, decode, encode};

use crate::read;

#[test]
fn what_is_read_can_be_written_and_read_again() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/value_codec");
    let mut replayed = 0;
    for entry in std::fs::read_dir(corpus).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        if let Ok(value) = read::<Value>(&text) {
            assert_eq!(decode::<Value>(encode(&value).unwrap()).unwrap(), value, "{text}");
        }
        replayed += 1;
    }
    assert!(replayed >= 20);
}
