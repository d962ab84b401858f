//! The exact wire text of values, as the official package writes it, in both directions.

use bowline_core::value::{
    BigInt, Body, Bytes, BytesKind, Date, ErrorValue, Headers, Object, PLACEHOLDER, Request, Response, Url, Value,
    decode, encode, encode_args,
};

use crate::read;

fn headers(pairs: &[(&str, &str)]) -> Headers {
    let mut headers = Headers::new();
    for (name, value) in pairs {
        headers.append(name, value).unwrap();
    }
    headers
}

fn table() -> Vec<(Value, &'static str)> {
    let url = Url::parse("https://ex.com/a b").unwrap();
    let error = ErrorValue::new("TypeError", "m");
    let mut with_stack = error.clone();
    with_stack.stack = Some("at x".to_owned());
    let mut put = Request::get(url.clone());
    put.method = "PUT".to_owned();
    put.headers = headers(&[("A", "b")]);
    put.body = Body::Bytes(Bytes::new([1, 2]));
    put.options = Object::from([("redirect", "manual")]);
    let not_found = Response {
        status: 404,
        status_text: "no".to_owned(),
        headers: headers(&[("a", "1")]),
        body: Body::Text("gone".to_owned()),
        options: Object::from([("cf", Value::from(vec![Value::from(1)]))]),
    };
    vec![
        (Value::Undefined, r#"["undefined"]"#),
        (Value::Null, "null"),
        (true.into(), "true"),
        (0.into(), "0"),
        (25.0.into(), "25"),
        ((-1.5e-7).into(), "-1.5e-7"),
        (1e21.into(), "1e+21"),
        (123_456_789_012_345_680_000.0.into(), "123456789012345680000"),
        (5e-324.into(), "5e-324"),
        (f64::MAX.into(), "1.7976931348623157e+308"),
        (f64::INFINITY.into(), r#"["inf"]"#),
        (f64::NEG_INFINITY.into(), r#"["-inf"]"#),
        (f64::NAN.into(), r#"["nan"]"#),
        ("".into(), r#""""#),
        (
            "\u{2028}\u{7f}\u{e9}\0\u{8}\u{c}\n\r\t\u{1f}\"\\/\u{1f600}".into(),
            "\"\u{2028}\u{7f}\u{e9}\\u0000\\b\\f\\n\\r\\t\\u001f\\\"\\\\/\u{1f600}\"",
        ),
        (BigInt::from(-12).into(), r#"["bigint","-12"]"#),
        (Date::from_ms(1_749_342_170_815.0).into(), r#"["date",1749342170815]"#),
        (Date::from_ms(-8.64e15).into(), r#"["date",-8640000000000000]"#),
        (Date::INVALID.into(), r#"["date",null]"#),
        (Bytes::new([1, 2]).into(), r#"["bytes","AQI"]"#),
        (Bytes::default().into(), r#"["bytes",""]"#),
        (Bytes::with_kind(BytesKind::Uint16Array, [1, 0, 2, 0]).unwrap().into(), r#"["bytes","AQACAA","Uint16Array"]"#),
        (Bytes::with_kind(BytesKind::ArrayBuffer, [0; 3]).unwrap().into(), r#"["bytes","AAAA","ArrayBuffer"]"#),
        (error.clone().into(), r#"["error","TypeError","m"]"#),
        (with_stack.clone().into(), r#"["error","TypeError","m","at x"]"#),
        (
            error.clone().with_prop("code", 7).with_prop("u", ()).into(),
            r#"["error","TypeError","m",null,{"code":7,"u":["undefined"]}]"#,
        ),
        (
            with_stack.with_prop("cause", ErrorValue::new("E", "b")).into(),
            r#"["error","TypeError","m","at x",{"cause":["error","E","b"]}]"#,
        ),
        (error.with_prop("errors", vec![Value::from(1)]).into(), r#"["error","TypeError","m",null,{"errors":[[1]]}]"#),
        (url.clone().into(), r#"["url","https://ex.com/a%20b"]"#),
        (headers(&[("B", "2"), ("a", "1"), ("b", "3")]).into(), r#"["headers",[["a","1"],["b","2, 3"]]]"#),
        (Headers::new().into(), r#"["headers",[]]"#),
        (Request::get(url).into(), r#"["request","https://ex.com/a%20b",{}]"#),
        (
            put.into(),
            r#"["request","https://ex.com/a%20b",{"method":"PUT","headers":[["a","b"]],"body":$,"duplex":"half","redirect":"manual"}]"#,
        ),
        (Response::default().into(), r#"["response",null,{}]"#),
        (not_found.into(), r#"["response",$,{"status":404,"statusText":"no","headers":[["a","1"]],"cf":[1]}]"#),
        (vec![].into(), "[[]]"),
        (vec![vec![].into(), Value::Undefined].into(), r#"[[[[]],["undefined"]]]"#),
        (Object::new().into(), "{}"),
        (Object::from([("b", Value::from(1)), ("a\"", vec![].into())]).into(), r#"{"b":1,"a\"":[[]]}"#),
    ]
}

#[test]
fn values_round_trip_exactly() {
    for (value, text) in table() {
        let written = encode(&value).unwrap();
        assert_eq!(
            (&*written.text().replace(PLACEHOLDER, "$"), written.refs().len()),
            (text, text.matches('$').count())
        );
        assert_eq!(decode::<Value>(written).unwrap(), value, "{text}");
    }
}

#[test]
fn other_spellings_are_read() {
    let bytes = Value::from(Bytes::new([0xff]));
    for (text, value) in [
        ("25.0", Value::from(25)),
        ("1e3", 1000.into()),
        ("1e400", f64::INFINITY.into()),
        (r#"["inf",1]"#, f64::INFINITY.into()),
        (r#"["date",1.7]"#, Date::from_ms(1.0).into()),
        (r#"["date",1e400]"#, Date::INVALID.into()),
        (r#"["date",9e15]"#, Date::INVALID.into()),
        (r#"["bigint","007"]"#, BigInt::from(7).into()),
        (r#"["bytes","/w=="]"#, bytes.clone()),
        (r#"["bytes","_-"]"#, bytes.clone()),
        (r#"["bytes","/w","Uint8Array"]"#, bytes),
        (r#""\ud800x""#, "\u{fffd}x".into()),
        (r#"["error","E","m",5,{"name":1,"a":2}]"#, ErrorValue::new("E", "m").with_prop("a", 2).into()),
        (r#"["error","E","m",null]"#, ErrorValue::new("E", "m").into()),
        (r#"["headers",[["B","2"],["a"," 1 "]]]"#, headers(&[("a", "1"), ("b", "2")]).into()),
        (r#" [ [ 1 , [ "undefined" ] ] ] "#, vec![Value::from(1), Value::Undefined].into()),
        (r#"["response","gone",{}]"#, Response { body: Body::Text("gone".to_owned()), ..Response::default() }.into()),
        (
            r#"["response",["bytes","AQI"],{}]"#,
            Response { body: Body::Bytes(Bytes::new([1, 2])), ..Response::default() }.into(),
        ),
        (r#"{"a":1,"b":2,"a":3}"#, Object::from([("a", 3), ("b", 2)]).into()),
    ] {
        assert_eq!(read::<Value>(text).unwrap(), value, "{text}");
    }
    let minus_zero = read::<f64>("-0").unwrap();
    assert!(minus_zero == 0.0 && minus_zero.is_sign_negative());
    assert_eq!(encode(&minus_zero).unwrap().text(), "0");
}

#[test]
fn argument_lists_are_tuples() {
    assert_eq!(encode_args(&()).unwrap().text(), "[]");
    assert_eq!(encode_args(&(1,)).unwrap().text(), "[1]");
    assert_eq!(encode_args(&(1, "a", [2])).unwrap().text(), r#"[1,"a",[[2]]]"#);
    assert_eq!(encode_args(&7).unwrap().text(), "[7]");
    assert_eq!(encode_args(&vec![1, 2]).unwrap().text(), "[[[1,2]]]");
    assert_eq!(encode_args(&Some((1, 2))).unwrap().text(), "[[[1,2]]]");
    assert_eq!(encode_args(&None::<u8>).unwrap().text(), "[null]");
    assert_eq!(encode_args(&((),)).unwrap().text(), r#"[["undefined"]]"#);
    assert_eq!(encode_args(&Date::from_ms(1.0)).unwrap().text(), r#"[["date",1]]"#);
}
