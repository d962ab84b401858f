//! A canonical description of a value, exact to the bit, and identical to that of describe.mjs.

use bowline_core::value::{BytesKind, Date, ErrorKind, ErrorValue, Headers, Value};

/// Names that JavaScript objects inherit.
const BLOCKED: &str = "constructor __defineGetter__ __defineSetter__ hasOwnProperty __lookupGetter__ \
    __lookupSetter__ isPrototypeOf propertyIsEnumerable toString valueOf __proto__ toLocaleString toJSON";

/// Describes `value` as it is after each of these `differences` (ids of allowed.md).
pub(super) fn describe(value: &Value, differences: &[&str]) -> String {
    Describer { differences }.value(value)
}

struct Describer<'a> {
    differences: &'a [&'a str],
}

impl Describer<'_> {
    fn has(&self, difference: &str) -> bool {
        self.differences.contains(&difference)
    }

    fn value(&self, value: &Value) -> String {
        match value {
            Value::Undefined => "undefined".to_owned(),
            Value::Null => "null".to_owned(),
            Value::Bool(b) => b.to_string(),
            Value::Number(n) if n.is_nan() => "n:nan".to_owned(),
            Value::Number(n) if *n == 0.0 && self.has("minus-zero") => "n:0000000000000000".to_owned(),
            Value::Number(n) => format!("n:{:016x}", n.to_bits()),
            Value::String(text) => quoted(text),
            Value::BigInt(n) => format!("big:{n}"),
            Value::Date(date) => format!("date:{}", ms(*date)),
            Value::Bytes(bytes) => hex(bytes.kind(), bytes),
            Value::Error(error) => self.error(error),
            Value::Url(url) => format!("url:{}", quoted(url.as_str())),
            Value::Headers(headers) => format!("headers:{}", pairs(headers)),
            Value::Request(request) => {
                format!("request:{}:{}:{}", request.method, quoted(request.url.as_str()), pairs(&request.headers))
            }
            Value::Response(response) => {
                let (status, text) = (response.status, quoted(&response.status_text));
                format!("response:{status}:{text}:{}", pairs(&response.headers))
            }
            Value::Array(items) => {
                let items: Vec<_> = items.iter().map(|item| self.value(item)).collect();
                format!("[{}]", items.join(","))
            }
            Value::Object(object) => {
                let mut entries: Vec<_> = object.iter().collect();
                self.order(&mut entries);
                self.entries(entries)
            }
            other => format!("unknown:{}", other.kind()),
        }
    }

    fn error(&self, error: &ErrorValue) -> String {
        let known = error.name.parse::<ErrorKind>().is_ok();
        let name = if known || !self.has("error-class") { &error.name } else { "Error" };
        let stack = error.stack.as_deref().filter(|_| !self.has("error-stack"));
        let none = Value::Array(Vec::new());
        let mut props: Vec<(&str, &Value)> = error.props.iter().collect();
        if self.has("error-field") {
            props.retain(|(name, _)| !["name", "message", "stack"].contains(name));
        }
        if name == "AggregateError" && error.props.get("errors").is_none() && self.has("aggregate-errors") {
            props.push(("errors", &none));
        }
        self.order(&mut props);
        if self.has("error-property-order") {
            props.sort_by_key(|(name, _)| name.encode_utf16().collect::<Vec<_>>());
        }
        let stack = stack.map(|stack| format!("{stack}:")).unwrap_or_default();
        format!("error:{}:{}:{stack}{}", quoted(name), quoted(&error.message), self.entries(props))
    }

    fn order(&self, entries: &mut [(&str, &Value)]) {
        if self.has("integer-names-first") {
            entries.sort_by_key(|(name, _)| array_index(name).map_or(u64::MAX, u64::from));
        }
    }

    fn entries(&self, mut entries: Vec<(&str, &Value)>) -> String {
        if self.has("blocked-name") {
            entries.retain(|(name, _)| !BLOCKED.split(' ').any(|blocked| blocked == *name));
        }
        let entries: Vec<_> =
            entries.iter().map(|(name, value)| format!("{}={}", quoted(name), self.value(value))).collect();
        format!("{{{}}}", entries.join(","))
    }
}

/// Returns the array index if a property's name is one in canonical form.
fn array_index(name: &str) -> Option<u32> {
    let index = name.parse::<u32>().ok()?;
    (index < u32::MAX && index.to_string() == name).then_some(index)
}

fn ms(date: Date) -> String {
    date.ms().map_or_else(|| "invalid".to_owned(), |ms| format!("{ms}"))
}

fn hex(kind: BytesKind, data: &[u8]) -> String {
    let digits: String = data.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("bytes:{}:{digits}", kind.as_str())
}

fn pairs(headers: &Headers) -> String {
    let pairs: Vec<_> = headers.iter().map(|(name, value)| format!("{}={}", quoted(name), quoted(value))).collect();
    format!("[{}]", pairs.join(","))
}

/// Formats text as `JSON.stringify` does.
fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("text can be serialized")
}
