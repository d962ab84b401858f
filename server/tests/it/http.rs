//! HTTP batches, and requests that are answered without a session.

use std::time::Duration;

use bowline_server::HttpLimits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{body, post, request, serve, service, within};

const ADD: &str = "[\"push\",[\"pipeline\",0,[\"add\"],[2,3]]]\n[\"pull\",1]";

#[tokio::test]
async fn a_batch_is_answered() {
    let answer = post(serve(service()).await, ADD).await;
    assert_eq!(body(&answer), ("200", r#"["resolve",1,5]"#));
    assert!(answer.contains("content-type: text/plain;charset=UTF-8\r\n"), "{answer}");
    assert!(!answer.contains("access-control"), "{answer}");
}

#[tokio::test]
async fn batch_waits_for_slow_calls() {
    let calls = "[\"push\",[\"pipeline\",0,[\"nap\"],[80]]]\n[\"pull\",1]\n\
                 [\"push\",[\"pipeline\",0,[\"add\"],[2,3]]]\n[\"pull\",2]\n[\"push\",[\"pipeline\",0,[\"hang\"],[]]]";
    let answer = post(serve(service()).await, calls).await;
    assert_eq!(body(&answer), ("200", "[\"resolve\",2,5]\n[\"resolve\",1,\"rested\"]"));
}

#[tokio::test]
async fn all_line_endings_are_accepted() {
    let address = serve(service()).await;
    assert_eq!(body(&post(address, &format!("{ADD}\n")).await), ("200", r#"["resolve",1,5]"#));
    assert_eq!(body(&post(address, &ADD.replace('\n', "\r\n")).await), ("200", r#"["resolve",1,5]"#));
    assert_eq!(body(&post(address, "").await), ("200", ""));
}

#[tokio::test]
async fn a_session_error_is_the_last_line() {
    let address = serve(service()).await;
    let answer = post(address, &format!("{ADD}\n[\"nonsense\"]\n{ADD}")).await;
    let (status, text) = body(&answer);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!((status, lines.len()), ("200", 2), "{text}");
    assert_eq!(lines[0], r#"["resolve",1,5]"#);
    assert!(lines[1].starts_with(r#"["abort",["error","#), "{text}");
}

#[tokio::test]
async fn request_that_is_not_a_batch_gets_405() {
    let address = serve(service()).await;
    for method in ["GET", "PUT", "OPTIONS"] {
        let answer = request(address, &format!("{method} /rpc HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
        assert_eq!(body(&answer), ("405", "This endpoint only accepts POST or WebSocket requests."));
        assert!(answer.contains("allow: POST\r\n"), "{answer}");
    }
}

#[tokio::test]
async fn large_batch_gets_413() {
    let mut http = HttpLimits::default();
    http.batch_bytes = 100;
    let address = serve(service().http_limits(http)).await;
    let too_large = "x".repeat(101);
    assert_eq!(body(&post(address, &too_large).await), ("413", "the batch exceeds the limit of 100 bytes"));
    let chunked = format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n65\r\n{too_large}\r\n0\r\n\r\n"
    );
    assert_eq!(body(&request(address, &chunked).await), ("413", "the batch exceeds the limit of 100 bytes"));
    assert_eq!(body(&post(address, ADD).await).0, "200");
}

#[tokio::test]
async fn response_413_reaches_a_peer_that_reads_after_sending_everything() {
    let address = serve(service()).await;
    assert_eq!(
        body(&post(address, &"x".repeat(20 << 20)).await),
        ("413", "the batch exceeds the limit of 8388608 bytes")
    );
}

#[tokio::test]
async fn batch_of_too_many_messages_gets_429() {
    let mut http = HttpLimits::default();
    http.batch_messages = 2;
    let address = serve(service().http_limits(http)).await;
    assert_eq!(body(&post(address, ADD).await).0, "200");
    assert_eq!(
        body(&post(address, &format!("{ADD}\n[]")).await),
        ("429", "a batch of 3 messages exceeds the limit of 2 messages")
    );
}

#[tokio::test]
async fn hanging_batch_gets_504() {
    let mut http = HttpLimits::default();
    http.batch_time = Duration::from_millis(100);
    let address = serve(service().http_limits(http)).await;
    let hang = "[\"push\",[\"pipeline\",0,[\"hang\"],[]]]\n[\"pull\",1]";
    assert_eq!(
        body(&post(address, hang).await),
        ("504", "the batch exceeded the limit of 100ms: calls were still running")
    );
    let mut slow = TcpStream::connect(address).await.unwrap();
    slow.write_all(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n[").await.unwrap();
    let mut answer = [0; 12];
    within(slow.read_exact(&mut answer)).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 408");
}

#[tokio::test]
async fn batch_with_too_long_evaluation_gets_504() {
    let mut http = HttpLimits::default();
    http.batch_time = Duration::from_millis(20);
    let address = serve(service().http_limits(http)).await;
    // Each lookup decodes the value, which is too small for an index.
    let value = format!("[\"push\",{{\"a\":\"{}\",\"z\":7}}]", "x".repeat(12_000));
    let look_ups = format!("[\"push\",[[{}]]]", vec![r#"["pipeline",1,["z"]]"#; 1_300].join(","));
    let lines = [value, look_ups.clone(), look_ups.clone(), look_ups, "[\"pull\",4]".to_owned()].join("\n");
    assert_eq!(
        body(&post(address, &lines).await),
        ("504", "the batch exceeded the limit of 20ms: calls were still running")
    );
}

#[tokio::test]
async fn reply_beyond_the_limit_ends_with_an_abort() {
    let mut http = HttpLimits::default();
    http.batch_answer_bytes = 100;
    let address = serve(service().http_limits(http)).await;
    let answer =
        post(address, &format!("{ADD}\n[\"push\",[\"pipeline\",0,[\"repeat\"],[\"x\",100]]]\n[\"pull\",2]")).await;
    let abort = r#"["abort",["error","RangeError","the batch response exceeds the limit of 100 bytes"]]"#;
    assert_eq!(body(&answer), ("200", format!("[\"resolve\",1,5]\n{abort}").as_str()));
}

#[tokio::test]
async fn scripts_of_an_allowed_origin_may_read() {
    let address = serve(service().allow_any_origin()).await;
    let allowed = "access-control-allow-origin: *\r\n";
    assert!(post(address, ADD).await.contains(allowed));
    let preflight = request(address, "OPTIONS / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert!(preflight.starts_with("HTTP/1.1 204") && preflight.contains(allowed), "{preflight}");
}

#[tokio::test]
async fn a_malformed_handshake_is_refused() {
    let address = serve(service()).await;
    let ask = |version: &str, key: &str, connection: &str| {
        let head = "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n";
        format!(
            "{head}Connection: {connection}\r\nSec-WebSocket-Version: {version}\r\nSec-WebSocket-Key: {key}\r\n\r\n"
        )
    };
    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
    let answer = request(address, &ask("12", KEY, "upgrade")).await;
    assert_eq!(body(&answer).0, "426");
    assert!(answer.contains("sec-websocket-version: 13\r\n"), "{answer}");
    assert_eq!(body(&request(address, &ask("13", "short", "upgrade")).await).0, "400");
    assert_eq!(body(&request(address, &ask("13", KEY, "keep-alive")).await).0, "400");
}

#[tokio::test]
async fn too_long_or_too_many_headers_get_431() {
    let address = serve(service()).await;
    let long = format!("POST / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "y".repeat(17 << 10));
    assert_eq!(body(&request(address, &long).await).0, "431");
    let many = format!("POST / HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "X: y\r\n".repeat(64));
    assert_eq!(body(&request(address, &many).await).0, "431");
}

#[tokio::test]
async fn connection_without_a_complete_request_header_is_closed() {
    let mut http = HttpLimits::default();
    http.handshake = Duration::from_millis(100);
    let mut slow = TcpStream::connect(serve(service().http_limits(http)).await).await.unwrap();
    slow.write_all(b"POST / HT").await.unwrap();
    let mut rest = Vec::new();
    within(slow.read_to_end(&mut rest)).await.unwrap();
}
