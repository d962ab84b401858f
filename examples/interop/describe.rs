//! Describes any decoded value as one line of text, which is the same in every implementation.

use bowline::error::ErrorValue;
use bowline::value::Blob;
use bowline::value::{Headers, Object, from_value};
use bowline::{Reader, Value, Writer};
use futures_util::FutureExt;

/// The error classes of JavaScript. It treats an error of any other class as an `Error`.
const CLASSES: [&str; 8] =
    ["Error", "EvalError", "RangeError", "ReferenceError", "SyntaxError", "TypeError", "URIError", "AggregateError"];

/// Describes a value by the grammar of the contract.
pub(crate) fn describe(value: &Value) -> String {
    match value {
        Value::Undefined => "undefined".to_owned(),
        Value::Null => "null".to_owned(),
        Value::Bool(b) => b.to_string(),
        Value::Number(n) => format!("f64:{}", number(*n)),
        Value::String(text) => format!("str:{}", quoted(text)),
        Value::BigInt(n) => format!("big:{n}"),
        Value::Date(date) => date.ms().map_or_else(|| "date:invalid".to_owned(), |ms| format!("date:{ms:.0}")),
        Value::Bytes(bytes) => format!("bytes:{}:{}", bytes.kind().as_str(), hex(bytes)),
        Value::Error(error) => describe_error(error),
        Value::Url(url) => format!("url:{url}"),
        Value::Headers(headers) => format!("headers:{}", describe_headers(headers)),
        Value::Request(request) => format!("request:{}:{}", request.method, request.url),
        Value::Response(response) => format!("response:{}", response.status),
        Value::Blob(blob) => format!("blob:{}:{}", blob.mime(), size(blob)),
        Value::Array(items) => format!("[{}]", joined(items.iter().map(describe))),
        Value::Object(object) => describe_object(object),
        _ => capability(value).to_owned(),
    }
}

/// Returns the size of a blob whose bytes have arrived, and a question mark otherwise.
fn size(blob: &Blob) -> String {
    match blob.bytes().now_or_never() {
        Some(Ok(bytes)) => bytes.len().to_string(),
        _ => "?".to_owned(),
    }
}

fn capability(value: &Value) -> &'static str {
    if from_value::<Reader<Value>>(value).is_ok() {
        "readable"
    } else if from_value::<Writer<Value>>(value).is_ok() {
        "writable"
    } else {
        "cap"
    }
}

/// Returns the class of the error in JavaScript.
pub(crate) fn class(error: &ErrorValue) -> &str {
    CLASSES.into_iter().find(|class| *class == error.name).unwrap_or("Error")
}

/// Formats bytes as lowercase hexadecimal digits.
pub(crate) fn hex(data: &[u8]) -> String {
    data.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn number(n: f64) -> String {
    if n.is_nan() {
        "nan".to_owned()
    } else if n.is_infinite() {
        (if n > 0.0 { "inf" } else { "-inf" }).to_owned()
    } else {
        hex(&n.to_be_bytes())
    }
}

fn quoted(text: &str) -> String {
    format!("{}:{text}", text.len())
}

fn describe_error(error: &ErrorValue) -> String {
    let props = if error.props.is_empty() { String::new() } else { describe_object(&error.props) };
    format!("err:{}:{}{props}", class(error), quoted(&error.message))
}

fn describe_headers(headers: &Headers) -> String {
    let headers: Vec<_> = headers.iter().map(|(name, value)| format!("{name}={}", quoted(value))).collect();
    headers.join(";")
}

/// Sorts keys by UTF-16 code units, as JavaScript does. Outside of the basic multilingual plane this
/// differs from the order of `str`.
fn describe_object(object: &Object) -> String {
    let mut entries: Vec<_> = object.iter().collect();
    entries.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
    format!("{{{}}}", joined(entries.into_iter().map(|(key, value)| format!("{key}={}", describe(value)))))
}

fn joined(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(",")
}
