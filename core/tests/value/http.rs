//! Conversion of requests, responses, and headers to and from the types of the `http` crate.

use ::http::{HeaderMap, HeaderValue};
use bowline_core::value::{Body, Headers, Request, Response, Url};

#[test]
fn headers_round_trip() {
    let mut headers = Headers::new();
    for (name, value) in [("Set-Cookie", "a=1"), ("set-cookie", "b=2"), ("x", "Grüße"), ("accept", ""), ("x", "2")] {
        headers.append(name, value).unwrap();
    }
    let map = HeaderMap::try_from(&headers).unwrap();
    assert_eq!(map.get_all("set-cookie").iter().collect::<Vec<_>>(), ["a=1", "b=2"]);
    assert_eq!(map["x"].as_bytes(), b"Gr\xfc\xdfe, 2");
    assert_eq!(Headers::try_from(&map).unwrap(), headers);
    // Repeated headers are joined, as in `fetch`.
    let mut map = HeaderMap::new();
    map.append("accept", HeaderValue::from_static("a"));
    map.append("accept", HeaderValue::from_static("b"));
    assert_eq!(Headers::try_from(&map).unwrap().value("accept"), Some("a, b"));
    let mut control = Headers::new();
    control.append("x", "\u{1}").unwrap();
    assert!(HeaderMap::try_from(&control).unwrap_err().to_string().contains("\"x\""));
}

#[test]
fn requests_round_trip() {
    let mut request = Request::get(Url::parse("https://host/a?b=c").unwrap());
    request.method = "PUT".to_owned();
    request.body = Body::Text("text".to_owned());
    request.headers.append("accept", "*/*").unwrap();
    let sent = http::Request::try_from(request.clone()).unwrap();
    assert_eq!((sent.method().as_str(), sent.uri().to_string().as_str()), ("PUT", "https://host/a?b=c"));
    assert_eq!(Request::try_from(sent).unwrap(), request);
    // A fragment is not sent to servers.
    let with_fragment = Request::get(Url::parse("https://host/a#b").unwrap());
    assert_eq!(http::Request::try_from(with_fragment).unwrap().uri().path(), "/a");
    let refused = |request: http::Request<Body>| Request::try_from(request).unwrap_err().to_string();
    assert!(refused(http::Request::get("/a").body(Body::None).unwrap()).contains("absolute"));
    assert!(
        refused(http::Request::get("https://h/").body(Body::Text("x".to_owned())).unwrap())
            .contains("cannot have a body")
    );
    assert!(refused(http::Request::trace("https://h/").body(Body::None).unwrap()).contains("method"));
}

#[test]
fn responses_round_trip() {
    let response = Response { status: 404, body: Body::Text("no".to_owned()), ..Response::default() };
    let sent = http::Response::try_from(response.clone()).unwrap();
    assert_eq!(sent.status(), http::StatusCode::NOT_FOUND);
    assert_eq!(Response::try_from(sent).unwrap(), response);
    let informational = http::Response::builder().status(101).body(Body::None).unwrap();
    assert!(Response::try_from(informational).unwrap_err().to_string().contains("200 to 599"));
    let odd = http::Response::builder().status(599).body(Body::None).unwrap();
    assert_eq!(Response::try_from(odd).unwrap().status, 599);
}
