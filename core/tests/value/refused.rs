//! Refused values, and the messages of their errors.

use std::collections::BTreeMap;

use bowline_core::value::{BigInt, Body, Date, EncodeError, Object, Request, Response, Url, Value, encode};

use crate::{error, read};

#[test]
fn invalid_expressions_are_refused() {
    for text in [
        "",
        " ",
        "nul",
        "[",
        "[[",
        "[[1]",
        "[[1,]]",
        "[[1 2]]",
        "[]",
        "[1]",
        "[[1],2]",
        "[null]",
        r#"["x"]"#,
        r#"["undefined""#,
        r#"{"a"}"#,
        r#"{"a":}"#,
        r#"{"a":1,}"#,
        r#"{a:1}"#,
        "1 2",
        r#"["date"]"#,
        r#"["date","x"]"#,
        r#"["bigint",1]"#,
        r#"["bigint",""]"#,
        r#"["bytes"]"#,
        r#"["bytes",1]"#,
        r#"["bytes","A!"]"#,
        r#"["bytes","AQI","Nope"]"#,
        r#"["bytes","AQI",5]"#,
        r#"["bytes","AQID","Int16Array"]"#,
        r#"["error","E"]"#,
        r#"["error",1,"m"]"#,
        r#"["error","E","m",null,null]"#,
        r#"["error","E","m",null,[[]]]"#,
        r#"["url","nope"]"#,
        r#"["headers",{}]"#,
        r#"["headers",[["a"]]]"#,
        r#"["headers",[["a b","c"]]]"#,
        r#"["headers",[["B","2",3]]]"#,
        r#"["request","https://e.com"]"#,
        r#"["request","https://e.com",{"body":"x"}]"#,
        r#"["request","/x",{}]"#,
        r#"["request","https://e.com",{"headers":{}}]"#,
        r#"["response",1,{}]"#,
        r#"["response",null,{"status":99}]"#,
        r#"["response",null]"#,
        "\"\u{1}\"",
        "01",
        "+1",
        "NaN",
        "[[\"a\"",
        r#"["readable",1]"#,
        r#"["export",-1]"#,
    ] {
        assert!(read::<Value>(text).is_err(), "{text}");
    }
}

#[test]
fn integers_beyond_javascript_precision_are_refused() {
    let limit = 1_u64 << 53;
    assert_eq!(encode(&limit).unwrap().text(), "9007199254740992");
    assert_eq!(
        encode(&(limit + 1)).unwrap_err().to_string(),
        "the u64 9007199254740993 is beyond 2^53 and would lose digits as a JavaScript number; \
         mark the field with #[serde(with = \"bowline::bigint\")]"
    );
    assert!(encode(&i64::MIN).is_err());
    assert!(encode(&i128::MAX).is_err());
    assert_eq!(encode(&-5_i128).unwrap().text(), "-5");
}

#[test]
fn non_string_keys_are_refused() {
    assert_eq!(encode(&BTreeMap::from([((1, 2), 3)])), Err(EncodeError::Key("a tuple")));
    assert_eq!(error::<BTreeMap<u8, u8>>(r#"{"x":1}"#), "invalid value: string \"x\", expected u8");
}

#[test]
fn mismatched_special_values_are_refused() {
    assert_eq!(error::<Date>("5"), "expected a date, found a number");
    assert_eq!(error::<BigInt>(r#""5""#), "expected a bigint, found a string");
    assert_eq!(error::<Url>(r#""https://e.com""#), "expected a URL, found a string");
    assert_eq!(error::<String>(r#"["date",5]"#), "expected a string, found a date");
    assert_eq!(error::<Vec<u8>>(r#"["bytes","AQI"]"#), "expected a sequence, found bytes");
    assert_eq!(error::<(u8, u8)>("[[1,2,3]]"), "the array has more elements than expected");
}

#[test]
fn requests_and_responses_refused_by_fetch_are_refused() {
    let mut request = Request::get(Url::parse("https://e.com").unwrap());
    request.body = Body::Text("x".to_owned());
    assert!(encode(&request).is_err());
    request.method = "POST".to_owned();
    assert!(encode(&request).is_ok());
    request.url = Url::parse("https://me:pw@e.com").unwrap();
    assert!(encode(&request).is_err());
    for status in [0, 101, 199, 600] {
        let response = Response { status, ..Response::default() };
        assert!(encode(&response).is_err(), "{status}");
    }
}

#[test]
fn invalid_request_options_are_refused() {
    let get = || Request::get(Url::parse("https://e.com").unwrap());
    let with = |request: Request, name: &str, value: Value| {
        let mut request = request;
        request.options.insert(name, value);
        request
    };
    let post = || Request { method: "POST".to_owned(), ..get() };
    let sent = |body| Request { body, ..post() };
    for (name, value) in [
        ("cache", "default"),
        ("redirect", "manual"),
        ("mode", "no-cors"),
        ("credentials", "omit"),
        ("referrerPolicy", ""),
        ("referrer", ""),
        ("referrer", "https://e.com/a"),
        ("integrity", "sha256-x"),
        ("encodeResponseBody", "manual"),
    ] {
        assert!(encode(&with(get(), name, value.into())).is_ok(), "{name}: {value}");
    }
    for (name, value) in [
        ("cache", Value::from("sometimes")),
        ("cache", "only-if-cached".into()),
        ("redirect", true.into()),
        ("mode", "navigate".into()),
        ("credentials", "".into()),
        ("referrer", "/a".into()),
        ("referrer", Value::Null),
        ("integrity", 5.into()),
        ("keepalive", 1.into()),
        ("signal", Value::Null),
        ("window", 5.into()),
        ("cf", "x".into()),
        ("priority", "high".into()),
    ] {
        assert!(encode(&with(get(), name, value.clone())).is_err(), "{name}: {value:?}");
    }
    // A body that is written as a stream must satisfy the rules for streams.
    assert!(encode(&sent(Body::Text("x".to_owned()))).is_ok());
    for (name, value) in [("keepalive", Value::from(true)), ("mode", "no-cors".into())] {
        assert!(encode(&with(post(), name, value.clone())).is_ok(), "{name}");
        assert!(encode(&with(sent(Body::Text("x".to_owned())), name, value)).is_err(), "{name}");
    }
    for method in ["", "a b", "track", "CONNECT"] {
        assert!(encode(&Request { method: method.to_owned(), ..get() }).is_err(), "{method}");
    }
}

#[test]
fn invalid_bodies_and_response_options_are_refused() {
    for status in [204, 205, 304] {
        assert!(encode(&Response { status, ..Response::default() }).is_ok());
        assert!(encode(&Response { status, body: Body::Text(String::new()), ..Response::default() }).is_err());
    }
    for (status_text, allowed) in
        [("a\tb", true), ("\u{e9}", true), ("a\nb", false), ("\u{100}", false), ("\u{7f}", false)]
    {
        let response = Response { status_text: status_text.to_owned(), ..Response::default() };
        assert_eq!(encode(&response).is_ok(), allowed, "{status_text:?}");
    }
    for (name, value, allowed) in [
        ("cf", Value::Object(Object::new()), true),
        ("encodeBody", "manual".into(), true),
        ("encodeBody", "sometimes".into(), false),
        ("webSocket", Value::Null, false),
        ("url", "https://e.com".into(), false),
    ] {
        let mut response = Response::default();
        response.options.insert(name, value);
        assert_eq!(encode(&response).is_ok(), allowed, "{name}");
    }
    // A capability that is not a stream of bytes.
    let response = Response { body: Body::Stream(crate::cap(1)), ..Response::default() };
    assert!(encode(&response).unwrap_err().to_string().contains("must be a stream of bytes"));
}
