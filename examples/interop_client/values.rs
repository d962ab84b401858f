//! Round trips of every kind of value.

use bowline::error::ErrorValue;
use bowline::value::{BigInt, BytesKind, Date};
use bowline::value::{Headers, Object, Url};
use bowline::{Bytes, CallError, Value};
use serde_json::json;

use crate::contract::InteropRef;
use crate::describe::describe;
use crate::kit::{Context, Outcome};

pub(crate) async fn run(step: &str, Context { m, .. }: &Context) -> Option<Outcome> {
    let values = match step {
        "value-simple" => vec![Value::Null, Value::Undefined, true.into(), false.into()],
        "value-numbers" => {
            let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
            [0.0, -7.0, 0.1, 9_007_199_254_740_991.0].into_iter().chain(odd).map(Value::from).collect()
        }
        "value-strings" => ["", "hello", "žluť 日本 🚣", "\0\t\"\\/x"].into_iter().map(Value::from).collect(),
        "value-bigint" => [123, -123, 1_i128 << 70].into_iter().map(BigInt::from).map(Value::from).collect(),
        "value-date" => {
            let times = [0.0, 1_757_214_689_123.0, -86_400_000.0].map(Date::from_ms);
            times.into_iter().chain([Date::INVALID]).map(Value::from).collect()
        }
        "value-bytes" => bytes(),
        "value-array" => arrays(),
        "value-object" => objects(),
        "value-url" => vec![Url::parse("https://example.com/p?q=1#f").expect("the URL is valid").into()],
        "value-headers" => {
            let mut headers = Headers::new();
            headers.append("x-one", "1").expect("the header is valid");
            headers.append("content-type", "text/plain").expect("the header is valid");
            vec![headers.into()]
        }
        "value-error" => {
            let with_props = ErrorValue::new("TypeError", "p").with_prop("code", "X").with_prop("n", BigInt::from(5));
            [ErrorValue::new("Error", "plain"), ErrorValue::new("RangeError", "far"), with_props]
                .into_iter()
                .map(Value::from)
                .collect()
        }
        "made-by-server" => return Some(made(m).await.map_err(Into::into).map(|made| json!(made))),
        _ => return None,
    };
    Some(pairs(m, values).await)
}

/// Returns, for each value, the server's description of it and the client's description of its echo.
async fn pairs(m: &InteropRef, values: Vec<Value>) -> Outcome {
    let mut pairs = Vec::new();
    for value in values {
        pairs.push([m.describe(value.clone()).await?, describe(&m.echo(value).await?)]);
    }
    Ok(json!(pairs))
}

async fn made(m: &InteropRef) -> Result<Vec<String>, CallError<ErrorValue>> {
    let kinds =
        ["undefined", "nan", "bigint", "date", "invalidDate", "bytes", "int16", "array", "object", "url", "error"];
    let mut made = Vec::new();
    for kind in kinds {
        made.push(describe(&m.make(kind).await?));
    }
    Ok(made)
}

fn bytes() -> Vec<Value> {
    let typed = |kind, data: &[u8]| Value::from(Bytes::with_kind(kind, data).expect("all elements are whole"));
    vec![
        typed(BytesKind::Uint8Array, &[0, 0x7f, 0x80, 0xff]),
        typed(BytesKind::Uint8Array, &[]),
        typed(BytesKind::ArrayBuffer, &[1, 2, 3]),
        typed(BytesKind::Int16Array, &[(-2_i16).to_le_bytes(), 258_i16.to_le_bytes()].concat()),
    ]
}

fn arrays() -> Vec<Value> {
    let array = Value::Array;
    vec![
        array(Vec::new()),
        array(vec![1.into(), array(vec![2.into(), array(vec![3.into()])])]),
        array(vec![array(vec![true.into()])]),
        array(vec!["date".into(), 5.into()]),
    ]
}

fn objects() -> Vec<Value> {
    let nested = Object::from([("a", Object::from([("b", Object::from([("c", Value::Null)]))]))]);
    let mixed = Object::from([("a", Value::Undefined), ("b", BigInt::from(1).into())]);
    vec![Object::new().into(), nested.into(), mixed.into()]
}
