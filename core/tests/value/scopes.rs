//! Capabilities during serialization: they stay in their message, whatever fails.

use std::cell::RefCell;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use bowline_core::value::{
    Cap, Capability, EncodeError, ErrorValue, Object, PLACEHOLDER, Payload, Value, decode, encode,
};
use serde::ser::{Error as _, SerializeSeq};
use serde::{Deserialize, Serialize, Serializer};

use crate::{cap, error, read, with_caps};

/// Counts its live instances.
#[derive(Debug)]
struct Counted(Arc<AtomicUsize>);

impl Capability for Counted {}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
        // A drop may encode.
        encode(&1).unwrap();
    }
}

fn counted() -> (Arc<AtomicUsize>, Cap) {
    let living = Arc::new(AtomicUsize::new(1));
    (living.clone(), Cap::new(Counted(living)))
}

struct Fails;

impl Serialize for Fails {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(S::Error::custom("boom"))
    }
}

struct Panics;

impl Serialize for Panics {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        panic!("boom")
    }
}

#[test]
fn failed_encode_leaves_no_state() {
    let (living, cap) = counted();
    assert_eq!(encode(&(cap, Fails)), Err(EncodeError::Custom("boom".into())));
    assert_eq!(living.load(Relaxed), 0);

    let (living, cap) = counted();
    let panicked = std::panic::catch_unwind(AssertUnwindSafe(move || {
        let pair = (cap, Panics);
        encode(&pair)
    }));
    assert!(panicked.is_err());
    assert_eq!(living.load(Relaxed), 0);
    assert!(serde_json::to_string(&crate::cap(1)).is_err());
}

#[test]
fn failed_decode_leaves_no_state() {
    let (living, cap) = counted();
    let payload = with_caps(r#"[[$,"x"]]"#, [cap]);
    assert!(decode::<(Cap, u8)>(payload).is_err());
    assert_eq!(living.load(Relaxed), 0);
}

#[test]
fn capability_serializes_in_messages_only() {
    let message = "a capability can be serialized only as part of a Bowline message";
    let value = Value::from(vec![Value::Cap(cap(1))]);
    assert_eq!(serde_json::to_string(&cap(1)).unwrap_err().to_string(), message);
    assert_eq!(serde_json::to_string(&value).unwrap_err().to_string(), message);
    assert!(serde_json::from_str::<Cap>("3").is_err());
    assert!(serde_json::from_str::<Cap>(r#"["c",0]"#).is_err());
}

#[test]
fn plain_values_serialize_anywhere() {
    let text = r#"{"a":[1,null,"x",2.5]}"#;
    let value: Value = serde_json::from_str(text).unwrap();
    assert_eq!(serde_json::to_string(&value).unwrap(), text);
}

/// Serializes a capability into JSON of its own instead of the message.
struct Leaks(Cap);

impl Serialize for Leaks {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = serde_json::to_string(&self.0).map_err(S::Error::custom)?;
        serializer.serialize_str(&text)
    }
}

#[test]
fn capability_without_its_reference_is_an_error() {
    assert_eq!(encode(&Leaks(cap(1))), Err(EncodeError::LostCapability));
}

/// Encodes another message while it is serialized.
struct Nests(Cap, Cap);

impl Serialize for Nests {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut seq = serializer.serialize_seq(Some(2))?;
        seq.serialize_element(&self.0)?;
        let inner = encode(&[&self.1, &self.1]).map_err(S::Error::custom)?;
        assert_eq!(inner.refs(), [self.1.clone(), self.1.clone()]);
        let read: Vec<Cap> = decode(inner).map_err(S::Error::custom)?;
        assert_eq!(read, [self.1.clone(), self.1.clone()]);
        seq.serialize_element(&self.0)?;
        seq.end()
    }
}

#[test]
fn encode_scopes_nest() {
    let (a, b) = (cap(1), cap(2));
    let written = encode(&Nests(a.clone(), b)).unwrap();
    assert_eq!(written.text().replace(PLACEHOLDER, "$"), "[[$,$]]");
    assert_eq!(written.refs(), [a.clone(), a]);
}

thread_local! {
    static KEPT: RefCell<Option<Payload<Cap>>> = const { RefCell::new(None) };
}

/// Decodes another message while it is deserialized.
#[derive(Debug)]
struct ReadsAnother(Cap, Cap);

impl<'de> Deserialize<'de> for ReadsAnother {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let other = KEPT.take().unwrap();
        let other: Cap = decode(other).map_err(serde::de::Error::custom)?;
        Ok(Self(Cap::deserialize(deserializer)?, other))
    }
}

#[test]
fn decode_scopes_nest() {
    let (a, b) = (cap(1), cap(2));
    KEPT.set(Some(Payload::capability(b.clone())));
    let read: ReadsAnother = decode(Payload::capability(a.clone())).unwrap();
    assert_eq!((read.0, read.1), (a, b));
}

#[test]
fn plain_data_is_never_read_as_a_capability() {
    #[derive(Deserialize, Debug, PartialEq)]
    #[serde(untagged)]
    enum Either {
        Cap(Cap),
        Number(u64),
        List(Vec<Value>),
    }
    assert_eq!(read::<Either>("3").unwrap(), Either::Number(3));
    let known = cap(1);
    assert_eq!(decode::<Either>(Payload::capability(known.clone())).unwrap(), Either::Cap(known));
    for forged in [r#"[["c",0]]"#, r#"[["c",0,0]]"#] {
        assert!(matches!(read::<Either>(forged), Ok(Either::List(_))), "{forged}");
    }
    for text in ["3", r#"[["c",0]]"#, r#""c""#, r#"{"c":0}"#, "null"] {
        assert!(error::<Cap>(text).starts_with("expected a capability, found"));
    }
    // Nor is a capability read as plain data.
    for failed in [
        decode::<String>(Payload::capability(cap(1))).is_err(),
        decode::<u64>(Payload::capability(cap(1))).is_err(),
        decode::<Vec<Value>>(Payload::capability(cap(1))).is_err(),
        decode::<(char, u64)>(Payload::capability(cap(1))).is_err(),
    ] {
        assert!(failed);
    }
}

#[test]
fn placeholders_and_references_must_agree() {
    let payload = |text: &str, count| Payload::new(text.replace('$', PLACEHOLDER), vec![cap(1); count]);
    for (text, count) in [("$", 0), ("[[$,$]]", 1), ("[[$]]", 2), ("1", 1), (r#"["@"]"#, 1)] {
        assert!(payload(text, count).is_err(), "{text}");
    }
    let error = payload("[[$,$]]", 1).unwrap_err().to_string();
    assert_eq!(error, "a payload has 2 placeholders for 1 capabilities");
    payload("[[$,$]]", 2).unwrap();
}

#[test]
fn text_resembling_a_capability_is_text() {
    for text in [r#"["@"]"#, r#"[ "@"]"#, r#"["\u0040"]"#, r#"["@" ]"#] {
        assert_eq!(error::<Value>(text), "unknown special value \"@\"", "{text}");
        assert_eq!(error::<Cap>(text), "unknown special value \"@\"", "{text}");
    }
    // A raw control character is escaped where it is not a placeholder.
    assert_eq!(read::<String>("\"\u{1a}\"").unwrap(), "\u{1a}");
    assert!(read::<Value>("\u{1a}").is_err());
    assert!(read::<Value>("[[\u{1a}]]").is_err());
}

#[test]
fn error_omits_properties_it_cannot_carry() {
    let nested = Object::from([("deep", Value::Cap(cap(1))), ("n", 1.into())]);
    let error = ErrorValue::new("E", "m").with_prop("cap", cap(2)).with_prop("name", "no").with_prop("nested", nested);
    let written = encode(&(error.clone(), cap(3))).unwrap();
    assert_eq!(written.text().replace(PLACEHOLDER, "$"), r#"[[["error","E","m"],$]]"#);
    assert_eq!(written.refs().len(), 1);
    let written = encode(&error.with_prop("kept", vec![Value::from(1)])).unwrap();
    assert_eq!(written.text(), r#"["error","E","m",null,{"kept":[[1]]}]"#);
    assert!(written.refs().is_empty());
}

#[test]
fn capability_is_not_plain_json() {
    use bowline_core::value::{Request, Url};
    let mut request = Request::get(Url::parse("https://ex.com").unwrap());
    request.options.insert("cf", Value::Cap(cap(1)));
    assert_eq!(encode(&request), Err(EncodeError::LostCapability));
}

#[test]
fn plain_json_may_contain_the_string_at_sign() {
    use bowline_core::value::{Request, Url};
    let mut request = Request::get(Url::parse("https://ex.com").unwrap());
    request.options.insert("cf", vec![Value::from("@")]);
    let written = encode(&(request.clone(), cap(1))).unwrap();
    assert_eq!(written.text().matches(PLACEHOLDER).count(), 1);
    assert_eq!(decode::<(Request, Cap)>(written).unwrap().0, request);
    assert_eq!(
        read::<Request>(r#"["request","https://ex.com",{"method":"POST","cf":["@"]}]"#).unwrap().options.get("cf"),
        request.options.get("cf")
    );
    let forged = with_caps(r#"["request","https://ex.com",{"cf":$}]"#, [cap(1)]);
    assert!(decode::<Value>(forged).unwrap_err().to_string().contains("plain JSON"));
}
