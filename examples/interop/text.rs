//! Formats values as JavaScript's `String()` does, where the contract joins them with text.

use bowline::Value;

/// Formats a value.
pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::Undefined => "undefined".to_owned(),
        Value::Null => "null".to_owned(),
        Value::Bool(b) => b.to_string(),
        Value::Number(n) => number(*n),
        Value::String(text) => text.clone(),
        Value::BigInt(n) => n.to_string(),
        Value::Error(error) => error.to_string(),
        Value::Url(url) => url.to_string(),
        Value::Array(items) => items.iter().map(item).collect::<Vec<_>>().join(","),
        _ => "[object Object]".to_owned(),
    }
}

fn item(value: &Value) -> String {
    if value.is_nullish() { String::new() } else { text(value) }
}

/// Formats a number as JavaScript does, which is also how the wire writes it.
fn number(n: f64) -> String {
    if n.is_nan() {
        "NaN".to_owned()
    } else if n.is_infinite() {
        (if n > 0.0 { "Infinity" } else { "-Infinity" }).to_owned()
    } else {
        bowline::value::encode(&n).map(|payload| payload.into_text()).unwrap_or_default().into()
    }
}
