//! Serde shapes in both directions, each containing a capability, a bigint, a date, and bytes.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bowline_core::value::{
    BigInt, Bytes, BytesKind, Cap, Date, ErrorValue, Object, PLACEHOLDER, Payload, Url, Value, bigint, date, decode,
    decode_args, encode, encode_args,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{cap, error, read, with_caps};

/// A type that is read as it was written.
trait Part: Serialize + DeserializeOwned + Clone + PartialEq + Debug {}
impl<T: Serialize + DeserializeOwned + Clone + PartialEq + Debug> Part for T {}

#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
#[serde(bound = "T: Part")]
struct Flat<T> {
    before: u8,
    #[serde(flatten)]
    inner: Struct<T>,
    #[serde(flatten)]
    tagged: Tagged<T>,
}

#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
struct Struct<T> {
    #[serde(rename = "theCap")]
    it: T,
    other: String,
}

#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
struct Wrapped<T> {
    wrapped: T,
}

#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
#[serde(tag = "kind", rename_all = "snake_case", bound = "T: Part")]
enum Tagged<T> {
    Push { to: T, list: Vec<T> },
    Wrap(Wrapped<T>),
    Poll,
}

#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
#[serde(tag = "t", content = "c")]
enum Adjacent<T> {
    One(T),
    Two(T, u8),
    Named { it: T },
    Nothing,
}

#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
enum External<T> {
    One(T),
    Two(T, u8),
    Named { it: T },
    Nothing,
}

#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
#[serde(untagged)]
enum Untagged<T> {
    Number(u64),
    Pair(T, T),
    Named { it: T },
    It(T),
}

#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
struct Newtype<T>(T);

#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
struct Pair<T>(T, T);

fn round<T: Part>(value: T) {
    let written = encode(&value).unwrap();
    assert_eq!(written.text().matches(PLACEHOLDER).count(), written.refs().len());
    let text = written.text().to_owned();
    // Through a dynamic value as well.
    let dynamic: Value = decode(written.clone()).unwrap();
    assert_eq!(encode(&dynamic).unwrap(), written);
    assert_eq!(decode::<T>(written).expect(&text), value, "{text}");
}

fn all_shapes<T: Part>(x: &T, y: &T) {
    let x = || x.clone();
    let y = || y.clone();
    let named = || Struct { it: x(), other: "o".to_owned() };
    round(x());
    round(vec![x(), y(), x()]);
    round((x(), 3, [y(), x()]));
    round(Some(x()));
    round(None::<T>);
    round(HashMap::from([("k".to_owned(), x())]));
    round(BTreeMap::from([(-1i32, x()), (7, y())]));
    round(BTreeMap::from([(true, x())]));
    round(Newtype(x()));
    round(Newtype(Newtype(Some(x()))));
    round(Pair(x(), y()));
    round(Box::new(x()));
    round(named());
    for tagged in [Tagged::Push { to: x(), list: vec![y(), x()] }, Tagged::Wrap(Wrapped { wrapped: x() }), Tagged::Poll]
    {
        round(tagged.clone());
        round(Flat { before: 1, inner: Struct { it: y(), other: String::new() }, tagged });
    }
    for adjacent in [Adjacent::One(x()), Adjacent::Two(x(), 1), Adjacent::Named { it: x() }, Adjacent::Nothing] {
        round(adjacent);
    }
    for external in [External::One(x()), External::Two(x(), 1), External::Named { it: x() }, External::Nothing] {
        round(external);
    }
    for untagged in [Untagged::Number(3), Untagged::It(x()), Untagged::Pair(x(), y()), Untagged::Named { it: x() }] {
        round(untagged);
    }
    round(Tagged::Wrap(Wrapped { wrapped: Untagged::It(Newtype(Some(x()))) }));
    let arc: Arc<T> = decode(encode(&*Arc::new(x())).unwrap()).map(Arc::new).unwrap();
    assert_eq!(*arc, x());
    let args = encode_args(&(x(), y())).unwrap();
    assert_eq!(decode_args::<(T, T)>(args.clone()).unwrap(), (x(), y()));
    assert_eq!(decode_args::<T>(args).unwrap(), x());
}

#[test]
fn capabilities_keep_their_position_in_every_shape() {
    all_shapes(&cap(1), &cap(2));
    all_shapes(&Value::Cap(cap(1)), &Value::Cap(cap(2)));
}

#[test]
fn specials_survive_every_shape() {
    all_shapes(&BigInt::from(1_i64 << 60), &BigInt::from(-5));
    all_shapes(&Date::from_ms(5.0), &Date::INVALID);
    all_shapes(&Bytes::new([1, 2, 3]), &Bytes::default());
    let floats = Bytes::with_kind(BytesKind::Float32Array, [0; 8]).unwrap();
    all_shapes(&floats, &Bytes::new([9]));
    let url = Url::parse("https://ex.com/").unwrap();
    all_shapes(&url, &url);
    let plain = ErrorValue::new("E", "m");
    let rich = plain.clone().with_prop("list", vec![Value::from(Date::from_ms(1.0))]);
    all_shapes(&rich, &plain);
    all_shapes(&Object::from([("a", Value::from(rich))]), &Object::new());
    all_shapes(&serde_bytes::ByteBuf::from([1, 2]), &serde_bytes::ByteBuf::new());
}

#[test]
fn dynamic_values_survive_every_shape() {
    let values = [
        Value::from(1.5),
        Value::from("text"),
        Value::from(true),
        Value::from(vec![BigInt::from(7).into(), Value::Null]),
        Value::from(f64::NEG_INFINITY),
        Value::from(Object::from([("x", Value::Undefined)])),
    ];
    for x in &values {
        for y in &values {
            round(vec![x.clone(), y.clone()]);
            round(Tagged::Push { to: x.clone(), list: vec![y.clone()] });
        }
    }
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Numbers {
    #[serde(with = "bigint")]
    a: u64,
    #[serde(with = "bigint")]
    b: Option<i128>,
    #[serde(with = "date")]
    at: SystemTime,
    #[serde(with = "serde_bytes")]
    raw: Vec<u8>,
}

#[test]
fn fields_can_choose_their_encoding() {
    let numbers = Numbers { a: u64::MAX, b: None, at: UNIX_EPOCH + Duration::from_millis(5), raw: vec![1, 2] };
    let text = r#"{"a":["bigint","18446744073709551615"],"b":null,"at":["date",5],"raw":["bytes","AQI"]}"#;
    assert_eq!(encode(&numbers).unwrap().text(), text);
    assert_eq!(read::<Numbers>(text).unwrap(), numbers);
    let text = r#"{"a":7,"b":-3e2,"at":["date",5],"raw":["bytes","AQI","Int16Array"]}"#;
    let read: Numbers = read(text).unwrap();
    assert_eq!((read.a, read.b, read.raw), (7, Some(-300), vec![1, 2]));
}

#[test]
fn flattened_fields_can_choose_their_encoding() {
    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Outer {
        #[serde(flatten)]
        numbers: Numbers,
    }
    let text = r#"{"a":["bigint","18446744073709551615"],"b":["bigint","-3"],"at":["date",5],"raw":["bytes","AQI"]}"#;
    let outer: Outer = read(text).unwrap();
    assert_eq!((outer.numbers.a, outer.numbers.b), (u64::MAX, Some(-3)));
    assert_eq!(encode(&outer).unwrap().text(), text);
}

#[test]
fn integers_are_read_from_numbers_and_bigints_that_fit() {
    assert_eq!(read::<u8>("25.0").unwrap(), 25);
    assert_eq!(read::<i16>("-1e3").unwrap(), -1000);
    assert_eq!(read::<u64>("18446744073709551615").unwrap(), u64::MAX);
    assert_eq!(read::<i64>(r#"["bigint","-9223372036854775808"]"#).unwrap(), i64::MIN);
    assert_eq!(read::<u128>(&format!(r#"["bigint","{}"]"#, u128::MAX)).unwrap(), u128::MAX);
    assert_eq!(read::<i128>("5").unwrap(), 5);
    assert_eq!(read::<f64>("3").unwrap(), 3.0);
    assert_eq!(read::<f32>("0.1").unwrap(), 0.1);
    assert_eq!(read::<i8>("-0").unwrap(), 0);
    assert_eq!(error::<u8>("300"), "invalid value: integer `300`, expected u8");
    assert_eq!(error::<u8>("1.5"), "expected u8, found the number 1.5");
    assert_eq!(error::<u8>(r#"["nan"]"#), "expected u8, found the number NaN");
    assert!(read::<i8>(r#"["bigint","200"]"#).is_err());
}

#[test]
fn none_and_unit_are_interchangeable() {
    assert_eq!(encode(&None::<u8>).unwrap().text(), "null");
    assert_eq!(encode(&()).unwrap().text(), r#"["undefined"]"#);
    for text in ["null", r#"["undefined"]"#, r#" [ "undefined" ] "#] {
        assert_eq!(read::<Option<u8>>(text).unwrap(), None);
        read::<()>(text).unwrap();
        assert_eq!(read::<Vec<Option<Vec<u8>>>>(&format!("[[{text},[[1]]]]")).unwrap().len(), 2);
    }
    assert_eq!(error::<()>("5"), "expected unit, found the number 5");
}

#[test]
fn missing_arguments_are_undefined_and_extra_ones_ignored() {
    type Three = (u8, Option<String>, Option<u8>);
    let three = |text| decode_args::<Three>(Payload::plain(text));
    assert_eq!(three("[1]").unwrap(), (1, None, None));
    assert_eq!(three(r#"[1,"a",null,[[]],4]"#).unwrap(), (1, Some("a".to_owned()), None));
    let message = three("[]").unwrap_err().to_string();
    assert_eq!(message, "at `args[0]`: expected u8, found undefined");
    decode_args::<()>(Payload::plain("[]")).unwrap();
    decode_args::<()>(Payload::plain("[1,2]")).unwrap();
    assert_eq!(decode_args::<u8>(Payload::plain("[1,2]")).unwrap(), 1);
    assert_eq!(decode_args::<Vec<u8>>(Payload::plain("[[[1,2]],3]")).unwrap(), [1, 2]);
    assert_eq!(decode_args::<Value>(Payload::plain("[]")).unwrap(), Value::Undefined);
    assert!(decode_args::<u8>(Payload::plain("1")).is_err());
    assert!(decode_args::<u8>(Payload::plain("[1]]")).is_err());
}

#[test]
fn errors_name_the_position() {
    #[derive(Deserialize, Debug)]
    #[expect(dead_code, reason = "only read")]
    struct User {
        id: u8,
    }
    #[derive(Deserialize, Debug)]
    #[expect(dead_code, reason = "only read")]
    struct Call {
        users: Vec<User>,
    }
    let payload = with_caps(r#"[0,{"users":[[{"id":1},{"id":$}]]}]"#, [cap(1)]);
    let error = decode_args::<(u8, Call)>(payload).unwrap_err();
    assert_eq!(error.path(), "args[1].users[1].id");
    assert_eq!(error.message(), "expected u8, found a capability");
    let missing = decode::<Call>(Payload::plain(r#"{"users":[[{}]]}"#)).unwrap_err();
    assert_eq!(missing.to_string(), "at `users[0]`: missing field `id`");
}

#[test]
fn skipped_values_consume_their_capabilities() {
    #[derive(Deserialize)]
    struct Last {
        last: Cap,
    }
    let caps = [cap(0), cap(1), cap(2), cap(3)];
    let text = r#"{"a":[[$,"[\"@\"]",["@"]]],"b":["error","E","m",$,{"x":$}],"last":$}"#;
    let payload = with_caps(text, caps.clone());
    assert_eq!(decode::<Last>(payload).unwrap().last, caps[3]);
}
