//! Checks of `Origin` and `Host`: pages of other sites, and host names that are not the service's.

use std::net::SocketAddr;

use axum::Router;
use bowline_server::Service;
use tokio::net::TcpListener;

use crate::harness::{body, request, serve, service};

const ADD: &str = "[\"push\",[\"pipeline\",0,[\"add\"],[2,3]]]\n[\"pull\",1]";
const KEY: &str = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
/// The content type that `fetch` sends with a string, in browsers and in Node.js.
const FETCH: &str = "Content-Type: text/plain;charset=UTF-8\r\n";

/// Requests a WebSocket with additional header lines. The connection is closed after the response, because
/// no link is negotiated.
async fn upgrade(address: SocketAddr, headers: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let ask = format!("GET /rpc HTTP/1.1\r\n{headers}Connection: Upgrade\r\nUpgrade: websocket\r\n{KEY}\r\n");
    stream.write_all(ask.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(crate::harness::within(stream.read_u8()).await.unwrap());
    }
    String::from_utf8(head).unwrap()["HTTP/1.1 ".len()..][..3].to_owned()
}

async fn post(address: SocketAddr, headers: &str) -> String {
    let length = ADD.len();
    request(address, &format!("POST /rpc HTTP/1.1\r\n{headers}Content-Length: {length}\r\n\r\n{ADD}")).await
}

async fn status(address: SocketAddr, headers: &str) -> String {
    body(&post(address, headers).await).0.to_owned()
}

/// Returns a service without a configured host name.
async fn any_host(change: impl FnOnce(Service) -> Service) -> SocketAddr {
    serve(change(service().allow_any_host())).await
}

#[tokio::test]
async fn pages_of_other_origins_are_refused() {
    let address = any_host(|service| service).await;
    for origin in [
        "https://evil.example",
        "null",
        "",
        "http://app.example.evil.example",
        "http://app.example:8081",
        "https://app.example:8443",
        "http://user@app.example:8080",
        "http://app.example:8080@evil.example",
        "http://app.example.:8080",
        "http://app.example:8080, http://evil.example",
        "http://app.example:8080 null",
        "ftp://app.example:8080",
        "app.example:8080",
    ] {
        let headers = format!("Host: app.example:8080\r\nOrigin: {origin}\r\n");
        assert_eq!(upgrade(address, &headers).await, "403", "{origin:?}");
        assert_eq!(status(address, &format!("{headers}{FETCH}")).await, "403", "{origin:?}");
    }
    let twice = "Host: app.example\r\nOrigin: http://app.example\r\nOrigin: http://app.example\r\n";
    assert_eq!((upgrade(address, twice).await, status(address, twice).await), ("403".to_owned(), "403".to_owned()));
}

#[tokio::test]
async fn pages_of_the_services_own_host_are_served() {
    let address = any_host(|service| service).await;
    for (host, origin) in [
        ("app.example", "http://app.example"),
        ("app.example", "https://app.example"),
        ("app.example:443", "https://app.example"),
        ("APP.example:8080", "http://app.EXAMPLE:8080"),
        ("[2001:db8::1]:8080", "http://[2001:db8::1]:8080"),
        ("192.0.2.1", "https://192.0.2.1"),
    ] {
        let headers = format!("Host: {host}\r\nOrigin: {origin}\r\n");
        assert_eq!(upgrade(address, &headers).await, "101", "{origin} at {host}");
        let answer = post(address, &format!("{headers}{FETCH}")).await;
        assert_eq!(body(&answer), ("200", r#"["resolve",1,5]"#), "{origin} at {host}");
        assert!(!answer.contains("access-control"), "{answer}");
    }
}

#[tokio::test]
async fn programs_without_origin_are_served() {
    let address = serve(service()).await;
    let host = format!("Host: {address}\r\n");
    assert_eq!(upgrade(address, &host).await, "101");
    for kind in [FETCH, "", "Content-Type: application/json\r\n", "Sec-Fetch-Site: none\r\n"] {
        assert_eq!(status(address, &format!("{host}{kind}")).await, "200", "{kind}");
    }
}

#[tokio::test]
async fn forms_and_cross_site_requests_without_origin_are_refused() {
    let address = serve(service()).await;
    let host = format!("Host: {address}\r\n");
    for form in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"] {
        assert_eq!(status(address, &format!("{host}Content-Type: {form}\r\n")).await, "415", "{form}");
    }
    for site in ["cross-site", "same-site", "whatever"] {
        let headers = format!("{host}Sec-Fetch-Site: {site}\r\n");
        assert_eq!(status(address, &format!("{headers}{FETCH}")).await, "403", "{site}");
        assert_eq!(upgrade(address, &headers).await, "403", "{site}");
    }
}

#[tokio::test]
async fn listed_origins_may_use_the_service_and_read_answers() {
    let listed = ["https://app.example", "http://localhost:5173"];
    let address = any_host(|service| service.allow_origins(listed)).await;
    for origin in listed {
        let headers = format!("Host: rpc.example\r\nOrigin: {origin}\r\nSec-Fetch-Site: cross-site\r\n");
        assert_eq!(upgrade(address, &headers).await, "101");
        let answer = post(address, &format!("{headers}{FETCH}")).await;
        assert_eq!(body(&answer).0, "200");
        assert!(answer.contains(&format!("access-control-allow-origin: {origin}\r\n")), "{answer}");
        assert!(answer.contains("access-control-allow-credentials: true\r\n"), "{answer}");
        assert!(answer.contains("vary: origin\r\n"), "{answer}");
    }
    let own = post(address, "Host: rpc.example\r\nOrigin: https://rpc.example\r\n").await;
    assert!(body(&own).0 == "200" && !own.contains("access-control"), "{own}");
    assert!(own.contains("vary: origin\r\n"), "{own}");
    let other = post(address, "Host: rpc.example\r\nOrigin: https://app.example:444\r\n").await;
    assert!(body(&other).0 == "403" && !other.contains("access-control"), "{other}");
    // A listed origin can also read refusals of the application.
    let refused =
        request(address, "PUT /rpc HTTP/1.1\r\nHost: rpc.example\r\nOrigin: https://app.example\r\n\r\n").await;
    assert!(refused.contains("access-control-allow-origin: https://app.example\r\n"), "{refused}");
}

#[tokio::test]
async fn preflight_is_answered_only_for_listed_origins() {
    let address = any_host(|service| service.allow_origins(["https://app.example"])).await;
    let preflight = async |origin: &str| {
        let head = format!("OPTIONS /rpc HTTP/1.1\r\nHost: rpc.example\r\nOrigin: {origin}\r\n");
        let asks = "Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: authorization,x-trace\r\n";
        request(address, &format!("{head}{asks}\r\n")).await
    };
    let allowed = preflight("https://app.example").await;
    assert!(allowed.starts_with("HTTP/1.1 204"), "{allowed}");
    for line in [
        "access-control-allow-origin: https://app.example\r\n",
        "access-control-allow-credentials: true\r\n",
        "access-control-allow-methods: POST\r\n",
        "access-control-allow-headers: authorization,x-trace\r\n",
        "vary: origin\r\n",
    ] {
        assert!(allowed.contains(line), "{line} in {allowed}");
    }
    let refused = preflight("https://evil.example").await;
    assert!(refused.starts_with("HTTP/1.1 403") && !refused.contains("access-control"), "{refused}");
}

#[tokio::test]
async fn any_origin_is_served_if_allowed() {
    let address = any_host(Service::allow_any_origin).await;
    for headers in ["Origin: https://evil.example\r\n", "Origin: null\r\n", "Content-Type: text/plain\r\n"] {
        let headers = format!("Host: rpc.example\r\nSec-Fetch-Site: cross-site\r\n{headers}");
        assert_eq!(upgrade(address, &headers).await, "101");
        let answer = post(address, &headers).await;
        assert!(body(&answer).0 == "200" && answer.contains("access-control-allow-origin: *\r\n"), "{answer}");
        assert!(!answer.contains("allow-credentials"), "{answer}");
    }
}

#[tokio::test]
async fn loopback_listener_answers_only_loopback_hosts() {
    let address = serve(service()).await;
    for host in ["localhost", "localhost:9", "app.localhost", "127.0.0.1:8080", "127.1.2.3", "[::1]", "[::1]:8080"] {
        assert_eq!(status(address, &format!("Host: {host}\r\n")).await, "200", "{host}");
        assert_eq!(upgrade(address, &format!("Host: {host}\r\nOrigin: http://{host}\r\n")).await, "101", "{host}");
    }
    for host in ["rebound.evil.example", "localhost.evil.example", "192.168.0.1", "0.0.0.0", "[::]", "x"] {
        assert_eq!(status(address, &format!("Host: {host}\r\n")).await, "403", "{host}");
        assert_eq!(upgrade(address, &format!("Host: {host}\r\nOrigin: http://{host}\r\n")).await, "403", "{host}");
    }
    assert_eq!(status(address, "").await, "403", "no host");
    for malformed in ["Host: localhost\r\nHost: localhost\r\n", "Host: evil@localhost\r\n", "Host: localhost:x\r\n"] {
        assert_eq!(status(address, malformed).await, "400", "{malformed}");
    }
}

#[tokio::test]
async fn listed_hosts_are_answered_instead() {
    let address = serve(service().hosts(["app.example", "app.example.:8443"]).hosts(["10.0.0.1:8080"])).await;
    for host in ["app.example", "App.Example:8080", "app.example.:8443", "10.0.0.1:8080"] {
        assert_eq!(status(address, &format!("Host: {host}\r\n")).await, "200", "{host}");
    }
    for host in ["localhost", "www.app.example", "app.example.", "10.0.0.1", "10.0.0.1:80"] {
        assert_eq!(status(address, &format!("Host: {host}\r\n")).await, "403", "{host}");
    }
}

#[tokio::test]
async fn mounted_service_compares_origin_with_host() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = Router::new().route_service("/rpc", service()).nest_service("/deep", service());
    tokio::spawn(async { axum::serve(listener, app).await.unwrap() });
    let own = "Host: app.example\r\nOrigin: https://app.example\r\n";
    let other = "Host: app.example\r\nOrigin: https://evil.example\r\n";
    assert_eq!((upgrade(address, own).await, upgrade(address, other).await), ("101".to_owned(), "403".to_owned()));
    assert_eq!((status(address, own).await, status(address, other).await), ("200".to_owned(), "403".to_owned()));
}

#[test]
fn invalid_origin_or_host_is_refused_at_startup() {
    let panics = |setting: fn(&str), text: &'static str| std::panic::catch_unwind(|| setting(text)).is_err();
    let origin = |text: &str| drop(service().allow_origins([text]));
    for text in ["*", "null", "example.com", "https://example.com/", "https://example.com/app", "https://*.example.com"]
    {
        assert!(panics(origin, text), "{text}");
    }
    let host = |text: &str| drop(service().hosts([text]));
    for text in ["*", "", "https://example.com", "example.com/app", "*.example.com"] {
        assert!(panics(host, text), "{text}");
    }
}
