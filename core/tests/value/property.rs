//! Properties of all values: what is written is read back equal, and arbitrary text never panics.

use bowline_core::value::{
    BigInt, Body, Bytes, BytesKind, Date, ErrorValue, Headers, Object, PLACEHOLDER, Payload, Request, Response, Url,
    Value, decode, decode_args, encode, encode_args, from_value, to_value,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::{cap, read};

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![any::<f64>(), any::<i32>().prop_map(f64::from), any::<u64>().prop_map(f64::from_bits)]
}

fn bytes() -> impl Strategy<Value = Bytes> {
    (vec(any::<[u8; 8]>(), 0..4), 0..3_usize).prop_map(|(data, kind)| {
        let kinds = [BytesKind::Uint8Array, BytesKind::Float64Array, BytesKind::DataView];
        Bytes::with_kind(kinds[kind], data.concat()).unwrap()
    })
}

fn headers() -> impl Strategy<Value = Headers> {
    vec(("[a-zA-Z-]{1,6}", "[ -~]{0,6}"), 0..4).prop_map(|pairs| Headers::try_from(pairs).unwrap())
}

fn url() -> impl Strategy<Value = Url> {
    "[a-z /?#%]{0,8}".prop_map(|path| Url::parse(&format!("https://ex.com/{path}")).unwrap())
}

/// Bodies are capabilities on the wire.
fn body(caps: bool) -> impl Strategy<Value = Body> {
    let body = prop_oneof![
        Just(Body::None),
        text().prop_map(Body::Text),
        vec(any::<u8>(), 0..8).prop_map(|data| Body::Bytes(Bytes::new(data))),
    ];
    body.prop_map(move |body| if caps { body } else { Body::None })
}

fn request(caps: bool) -> impl Strategy<Value = Request> {
    (url(), headers(), body(caps), text()).prop_map(|(url, headers, body, option)| Request {
        method: "POST".to_owned(),
        headers,
        body,
        options: Object::from([("cf", Value::from(vec![Value::from(option)]))]),
        ..Request::get(url)
    })
}

fn response(caps: bool) -> impl Strategy<Value = Response> {
    (200..204_u16, headers(), body(caps), "[a-z ]{0,5}").prop_map(|(status, headers, body, text)| Response {
        status,
        headers,
        body,
        status_text: text,
        options: Object::new(),
    })
}

/// Returns any text, and often one that resembles a capability or its spelling.
fn text() -> impl Strategy<Value = String> {
    let marker = prop::sample::select(
        &["@", "[\"@\"]", "[[\"@\"]]", "\\u0040", PLACEHOLDER, "\\u001a", "\u{1}", "\"", "\\"][..],
    );
    prop_oneof![any::<String>(), vec(marker, 1..3).prop_map(|markers| markers.concat())]
}

fn leaf(caps: bool) -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Undefined),
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        number().prop_map(Value::from),
        text().prop_map(Value::from),
        any::<i128>().prop_map(|n| BigInt::from(n).into()),
        number().prop_map(|ms| Date::from_ms(ms).into()),
        bytes().prop_map(Value::from),
        url().prop_map(Value::from),
        headers().prop_map(Value::from),
        request(caps).prop_map(Value::from),
        response(caps).prop_map(Value::from),
        any::<u32>().prop_map(move |id| if caps { cap(id).into() } else { id.into() }),
    ]
}

fn object(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Object> {
    vec((text(), value), 0..5).prop_map(|entries| entries.into_iter().collect())
}

fn value(caps: bool) -> impl Strategy<Value = Value> {
    leaf(caps).prop_recursive(5, 40, 5, move |inner| {
        prop_oneof![vec(inner.clone(), 0..5).prop_map(Value::from), object(inner).prop_map(Value::from),]
    })
}

fn error() -> impl Strategy<Value = ErrorValue> {
    (text(), text(), prop::option::of(text()), object(value(false))).prop_map(|(name, message, stack, mut props)| {
        for key in ["name", "message", "stack"] {
            props.remove(key);
        }
        ErrorValue { name, message, stack, props }
    })
}

proptest! {
    #[test]
    fn random_values_round_trip(value in value(true)) {
        let written = encode(&value).unwrap();
        prop_assert_eq!(written.text().matches(PLACEHOLDER).count(), written.refs().len());
        prop_assert_eq!(&decode::<Value>(written.clone()).unwrap(), &value);
        prop_assert_eq!(&to_value(&value).unwrap(), &value);
        prop_assert_eq!(&from_value::<Value>(&value).unwrap(), &value);
        let args = encode_args(&(&value, 1)).unwrap();
        prop_assert_eq!(decode_args::<(Value, u8)>(args).unwrap(), (value, 1));
    }

    #[test]
    fn random_errors_round_trip(error in error()) {
        let written = encode(&error).unwrap();
        prop_assert_eq!(decode::<ErrorValue>(written).unwrap(), error);
    }

    #[test]
    fn doubles_round_trip_exactly(bits in any::<u64>()) {
        let n = f64::from_bits(bits);
        let read: f64 = decode(encode(&n).unwrap()).unwrap();
        prop_assert!(read == n || (read.is_nan() && n.is_nan()));
    }

    #[test]
    fn strings_are_written_as_json(text in text()) {
        let written = encode(&text).unwrap().into_text();
        prop_assert_eq!(serde_json::from_str::<String>(&written).unwrap(), text);
    }

    #[test]
    fn text_assembled_from_fragments_never_panics(pieces in vec(piece(), 0..24)) {
        let text = pieces.concat();
        let _ = read::<Value>(&text);
        let _ = read::<Vec<Option<u8>>>(&text);
        if let Ok(payload) = Payload::new(text, vec![cap(1)]) {
            let _ = decode_args::<(u8, Option<Value>)>(payload);
        }
    }

    #[test]
    fn truncated_or_changed_text_never_panics(value in value(false), at in any::<prop::sample::Index>(), with in piece()) {
        let mut text = encode(&value).unwrap().into_text();
        let mut at = at.index(text.len() + 1);
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        let _ = read::<Value>(&text[..at]);
        text.insert_str(at, with);
        if let Ok(read_back) = read::<Value>(&text) {
            prop_assert_eq!(decode::<Value>(encode(&read_back).unwrap()).unwrap(), read_back);
        }
    }
}

fn piece() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "[",
        "]",
        "[[",
        "]]",
        "{",
        "}",
        ",",
        ":",
        "\"",
        "\\",
        "null",
        "true",
        "1",
        "-0.5e7",
        "\"a\"",
        "[\"@\"]",
        PLACEHOLDER,
        "[\"undefined\"]",
        "[\"date\",",
        "[\"error\",\"E\",\"m\"",
        "[\"bytes\",\"AQI\"",
        "\"Int8Array\"",
        "[\"request\",\"https://e.com\",{",
        "\"body\":",
        "\"headers\":",
        "[\"response\",",
        "[\"headers\",[",
        " ",
        "\u{e9}",
        "\\ud800",
    ])
}
