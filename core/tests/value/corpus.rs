//! Arbitrary text as a value, as typed data, and as arguments. Nothing may panic, and what was read
//! must be written so that it reads the same again. The fuzz target `value_codec` runs `replay` on
//! its inputs; the test here runs it on the corpus.

use std::collections::BTreeMap;

use bowline_core::value::{
    BigInt, Bytes, Cap, Capability, Date, EncodeError, ErrorValue, PLACEHOLDER, Payload, Value, bigint, decode,
    decode_args, encode, encode_args,
};
use serde::{Deserialize, Serialize};

#[derive(Debug)]
struct Anything;

impl Capability for Anything {}

#[derive(Serialize, Deserialize, Debug, PartialEq)]
struct Typed {
    a: Option<u8>,
    #[serde(default)]
    b: Vec<Kind>,
    #[serde(default)]
    map: BTreeMap<i32, Value>,
    #[serde(flatten)]
    rest: Option<Rest>,
}

#[derive(Serialize, Deserialize, Debug, PartialEq)]
struct Rest {
    cap: Option<Cap>,
    #[serde(with = "bigint")]
    n: u64,
    at: Date,
    raw: Bytes,
    error: ErrorValue,
}

#[derive(Serialize, Deserialize, Debug, PartialEq)]
#[serde(untagged)]
enum Kind {
    Number(i64),
    Big(BigInt),
    Cap(Cap),
    Pair(String, (u8, char)),
    Other(Value),
}

/// Reads `text` in many ways: as received from a peer, and with up to three capabilities.
pub(crate) fn replay(text: &str) {
    // Placeholders without references are escaped, so this text has none.
    if let Ok(value) = decode::<Value>(Payload::plain(text)) {
        let written = encode(&value).expect("what was read can be written");
        assert_eq!(decode::<Value>(written).expect("what was written can be read"), value, "{text}");
        // A value of the maximum depth is too deep for an argument.
        if let Ok(args) = encode_args(&(&value, &value)) {
            assert_eq!(decode_args::<Value>(args).expect("the value can be an argument"), value);
        }
    }
    let placeholders = text.matches(PLACEHOLDER).count();
    let caps = (0..placeholders.min(3)).map(|_| Cap::new(Anything)).collect();
    let Ok(payload) = Payload::new(text, caps) else { return };
    if let Ok(value) = decode::<Value>(payload.clone()) {
        assert_written_the_same(&value);
    }
    if let Ok(typed) = decode::<Typed>(payload.clone())
        && encode(&typed).is_ok()
    {
        assert_written_the_same(&typed);
    }
    let _ = decode_args::<(Kind, Option<Typed>, u8)>(payload.clone());
    let _ = decode_args::<()>(payload.clone());
    let _ = decode::<f64>(payload.clone());
    let _ = decode::<i128>(payload);
}

/// Asserts that a value that was written and read is written the same again. Capabilities in the
/// properties of an error are left out the first time.
fn assert_written_the_same<T: Serialize + for<'de> Deserialize<'de>>(value: &T) {
    let written = match encode(value) {
        // Whether a capability is a stream shows only when it is sent.
        Err(EncodeError::Custom(why)) if why.contains("must be a stream of bytes") => return,
        written => written.expect("what was read can be written"),
    };
    let read: T = decode(written.clone()).expect("what was written can be read");
    let again = encode(&read).expect("what was read can be written");
    assert_eq!(again.text(), written.text());
    assert_eq!(again.refs().len(), written.refs().len());
    for pair in again.refs().iter().zip(written.refs()) {
        // A body is sent as a new capability in each message, which may differ.
        let is_ours = |cap: &Cap| cap.downcast_ref::<Anything>().is_some();
        assert!(pair.0 == pair.1 || !(is_ours(pair.0) || is_ours(pair.1)), "{}", written.text());
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn fuzz_corpus_is_handled() {
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/value_codec");
        let entries: Vec<_> = std::fs::read_dir(corpus).unwrap().collect();
        assert!(entries.len() >= 20);
        for entry in entries {
            super::replay(&std::fs::read_to_string(entry.unwrap().path()).unwrap());
        }
    }
}
