//! Arbitrary text as a value, as typed data and as arguments: nothing may panic, and what was
//! read must be written so that it is read the same again.
//!
//! `cargo fuzz run -s none value_codec`, on stable.
#![no_main]

use std::collections::BTreeMap;

use bowline_core::value::{
    BigInt, Bytes, Cap, Capability, Date, ErrorValue, Payload, Value, bigint, decode, decode_args,
    encode, encode_args,
};
use libfuzzer_sys::fuzz_target;
use serde::{Deserialize, Serialize};

#[derive(Debug)]
struct Thing;

impl Capability for Thing {}

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

fuzz_target!(|text: &str| {
    if let Ok(value) = decode::<Value>(Payload::plain(text)) {
        let written = encode(&value).expect("what was read can be written");
        assert_eq!(decode::<Value>(written).expect("and read again"), value);
        let args = encode_args(&(&value, &value));
        if let Ok(args) = args {
            assert_eq!(
                decode_args::<Value>(args).expect("as an argument too"),
                value
            );
        }
    }
    let caps: Vec<Cap> = (0..3).map(|_| Cap::new(Thing)).collect();
    let payload = || Payload::new(text.to_owned(), caps.clone()).unwrap();
    if let Ok(value) = decode::<Value>(payload()) {
        let written = encode(&value).expect("what was read can be written");
        // Capabilities in the properties of an error are left out on the way.
        let again = decode::<Value>(written.clone()).expect("and read again");
        assert_eq!(encode(&again).expect("and written again").text, written.text);
    }
    if let Ok(typed) = decode::<Typed>(payload())
        && let Ok(written) = encode(&typed)
    {
        let again = decode::<Typed>(written.clone()).expect("typed data is read again");
        assert_eq!(encode(&again).expect("and written again").text, written.text);
    }
    let _ = decode_args::<(Kind, Option<Typed>, u8)>(payload());
    let _ = decode_args::<()>(payload());
    let _ = decode::<f64>(payload());
    let _ = decode::<i128>(payload());
});
