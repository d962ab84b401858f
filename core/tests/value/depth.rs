//! The depth limit, counted as in official peers, and the stack that it requires.

use bowline_core::value::{EncodeError, ErrorValue, Object, Payload, Value, decode, decode_args, encode, encode_args};
use serde::{Deserialize, Serialize};

use crate::read;

/// The stack size of a runtime's threads.
const STACK: usize = 2 << 20;

fn on_small_stack(test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(STACK).spawn(test);
    thread.unwrap().join().unwrap();
}

fn arrays(levels: usize) -> Value {
    (0..levels).fold(Value::Null, |inner, _| Value::Array(vec![inner]))
}

fn objects(levels: usize) -> Value {
    (0..levels).fold(Value::Null, |inner, _| Value::Object(Object::from([("a", inner)])))
}

fn errors(levels: usize) -> Value {
    (0..levels).fold(Value::Null, |inner, _| ErrorValue::new("E", "m").with_prop("a", inner).into())
}

#[test]
fn values_up_to_the_depth_limit_fit_a_small_stack() {
    on_small_stack(|| {
        for value in [arrays(255), objects(255), errors(255)] {
            let written = encode(&value).unwrap();
            assert_eq!(decode::<Value>(written).unwrap(), value);
        }
        let value = arrays(254);
        let written = encode_args(&value).unwrap();
        assert_eq!(decode_args::<Value>(written).unwrap(), value);
    });
}

#[test]
fn deeper_values_are_refused() {
    on_small_stack(|| {
        for value in [arrays(256), objects(256)] {
            assert_eq!(encode(&value), Err(EncodeError::TooDeep));
            assert_eq!(encode_args(&value), Err(EncodeError::TooDeep));
        }
        assert_eq!(encode_args(&arrays(255)), Err(EncodeError::TooDeep));
        let text = |levels| "[[".repeat(levels) + "1" + &"]]".repeat(levels);
        assert!(read::<Value>(&text(255)).is_ok());
        for levels in [256, 300, 100_000] {
            let error = read::<Value>(&text(levels)).unwrap_err();
            assert_eq!(error.message(), "Deserialization exceeded maximum allowed message depth of 256.");
        }
        let args = |levels| Payload::plain(format!("[{}]", text(levels)));
        assert!(decode_args::<Value>(args(254)).is_ok());
        assert!(decode_args::<Value>(args(255)).is_err());
        assert!(read::<Value>(&r#"{"a":"#.repeat(100_000)).is_err());
        assert!(read::<Value>(&r#"["error","","",null,{"a":"#.repeat(100_000)).is_err());
        assert!(read::<Value>(&r#"["response","#.repeat(100_000)).is_err());
    });
}

#[test]
fn too_deep_error_property_is_left_out() {
    let Value::Error(error) = errors(300) else { unreachable!() };
    assert!(encode(&error).is_ok());
}

#[test]
fn plain_json_counts_its_own_levels() {
    on_small_stack(|| {
        let text = |outer: usize, inner: usize| {
            let cf = "[".repeat(inner) + &"]".repeat(inner);
            let request = format!(r#"["request","https://e.com/",{{"cf":{cf}}}]"#);
            "[[".repeat(outer) + &request + &"]]".repeat(outer)
        };
        for (outer, inner) in [(0, 60), (255, 60)] {
            let value = read::<Value>(&text(outer, inner)).unwrap();
            assert_eq!(encode(&value).unwrap().text(), text(outer, inner));
        }
        assert!(read::<Value>(&text(0, 300)).is_err());
        assert!(read::<Value>(&text(255, 100_000)).is_err());
    });
}

#[derive(Serialize, Deserialize, Debug, PartialEq)]
#[serde(untagged)]
enum Tree {
    Leaf(u8),
    Node { children: Vec<Self> },
}

#[test]
fn serde_buffers_fit_a_small_stack() {
    on_small_stack(|| {
        // Each level of an untagged enum buffers all levels below. The depth that serde supports is
        // its own, so this tests only that the stack does not overflow.
        let tree = (0..100).fold(Tree::Leaf(1), |inner, _| Tree::Node { children: vec![inner] });
        let written = encode(&tree).unwrap();
        assert_eq!(decode::<Tree>(written).unwrap(), tree);
    });
}
