//! Sample values of every kind, and sample errors of every shape.

use bowline::error::ErrorValue;
use bowline::value::{BigInt, BytesKind, Date};
use bowline::value::{Headers, Object, Url};
use bowline::{Bytes, Reference, Value};

use crate::contract::CounterRef;
use crate::counter::Count;

pub(crate) fn range_error(message: impl Into<String>) -> ErrorValue {
    ErrorValue::new("RangeError", message)
}

/// Returns the sample value with this name.
///
/// # Errors
/// A `RangeError` if there is no such value.
pub(crate) fn make(kind: &str) -> Result<Value, ErrorValue> {
    Ok(match kind {
        "null" => Value::Null,
        "undefined" => Value::Undefined,
        "true" => true.into(),
        "zero" => 0.into(),
        "fraction" => 0.1.into(),
        "negative" => (-12.5).into(),
        "maxSafe" => 9_007_199_254_740_991.0.into(),
        "nan" => f64::NAN.into(),
        "inf" => f64::INFINITY.into(),
        "-inf" => f64::NEG_INFINITY.into(),
        "string" => "plain".into(),
        "unicode" => "žluťoučký 日本語 🚣 \0\t\"\\".into(),
        "empty" => "".into(),
        "bigint" => bigint("123456789012345678901234567890"),
        "-bigint" => bigint("-98765432109876543210"),
        "date" => Date::from_ms(1_757_214_689_123.0).into(),
        "invalidDate" => Date::INVALID.into(),
        "bytes" => Bytes::from(&[0, 1, 2, 253, 254, 255]).into(),
        "emptyBytes" => Bytes::default().into(),
        "arrayBuffer" => typed(BytesKind::ArrayBuffer, &[[1], [2], [3]]),
        "int16" => typed(BytesKind::Int16Array, &[(-2_i16).to_le_bytes(), 258_i16.to_le_bytes()]),
        "float64" => typed(BytesKind::Float64Array, &[1.5_f64.to_le_bytes(), (-2_f64).to_le_bytes()]),
        "bigUint64" => {
            typed(BytesKind::BigUint64Array, &[1_u64.to_le_bytes(), 0x0102_0304_0506_0708_u64.to_le_bytes()])
        }
        "error" => range_error("made error").into(),
        _ => return composite(kind),
    })
}

fn composite(kind: &str) -> Result<Value, ErrorValue> {
    let array = |items: Vec<Value>| Value::Array(items);
    Ok(match kind {
        "emptyArray" => array(Vec::new()),
        "array" => {
            let inner = array(vec![3.into(), array(Vec::new())]);
            array(vec![1.into(), array(vec![2.into(), inner]), "x".into()])
        }
        "emptyObject" => Object::new().into(),
        "object" => {
            let inner = Object::from([("c", array(vec![true.into(), Value::Null]))]);
            Object::from([("a", Value::from(1)), ("b", inner.into())]).into()
        }
        "url" => Url::parse("https://example.com/path?q=1#frag").expect("the URL is valid").into(),
        "headers" => headers(&[("content-type", "text/plain"), ("x-one", "1")]),
        _ => return Err(range_error(format!("unknown kind: {kind}"))),
    })
}

fn bigint(digits: &str) -> Value {
    BigInt::parse(digits).expect("the digits are valid").into()
}

fn typed<const N: usize>(kind: BytesKind, elements: &[[u8; N]]) -> Value {
    Bytes::with_kind(kind, elements.concat()).expect("all elements are whole").into()
}

fn headers(pairs: &[(&str, &str)]) -> Value {
    let mut headers = Headers::new();
    for (name, value) in pairs {
        headers.append(name, value).expect("the headers are valid");
    }
    headers.into()
}

/// An error with properties of several kinds.
pub(crate) fn detailed() -> ErrorValue {
    let list = Value::Array(vec![1.into(), 2.into(), 3.into()]);
    ErrorValue::new("Error", "detailed")
        .with_prop("big", BigInt::from(10))
        .with_prop("code", "E_TEST")
        .with_prop("detail", Object::from([("list", list)]))
        .with_prop("status", 418)
        .with_prop("when", Date::from_ms(1000.0))
}

/// An error with a chain of `depth` causes.
pub(crate) fn caused(depth: u32) -> ErrorValue {
    (1..=depth).fold(ErrorValue::new("TypeError", "cause 0"), |cause, level| {
        ErrorValue::new("Error", format!("cause {level}")).with_prop("cause", cause)
    })
}

/// An error that contains two others.
pub(crate) fn aggregate() -> ErrorValue {
    let errors = vec![range_error("one").into(), ErrorValue::new("TypeError", "two").into()];
    ErrorValue::new("AggregateError", "both failed").with_prop("errors", errors)
}

/// An error with a capability among its properties, which is not sent.
pub(crate) fn with_capability() -> ErrorValue {
    let counter = CounterRef::new(Count::from(1.0));
    ErrorValue::new("Error", "has a capability")
        .with_prop("cap", counter.stub().clone().into_value())
        .with_prop("ok", 1)
}
