//! Plain sessions, with peers that behave, and with peers that violate only Cap'n Web's rules.

use std::time::Duration;

use bowline_core::peer::Stub;
use bowline_server::{HttpLimits, KeepAlive, Refusal, Service, TransportKind};
use futures_util::{SinkExt, StreamExt};
use http::StatusCode;
use tokio::io::AsyncReadExt;
use tokio_tungstenite::tungstenite::Message;

use crate::harness::{Api, Socket, body, post, raw_socket, serve, service, within};

#[tokio::test]
async fn a_call_is_answered() {
    let mut peer = Socket::open(serve(service()).await).await;
    peer.send(r#"["push",["pipeline",0,["add"],[2,3]]]"#).await;
    peer.send(r#"["pull",1]"#).await;
    assert_eq!(peer.next().await, r#"["resolve",1,5]"#);
    peer.send(r#"["release",1,1]"#).await;
}

#[tokio::test]
async fn text_that_is_not_a_message_aborts_and_closes_with_3000() {
    let mut peer = Socket::open(serve(service()).await).await;
    peer.send("{").await;
    let abort = peer.next().await;
    assert!(abort.starts_with(r#"["abort",["error","SyntaxError","#), "{abort}");
    let close = peer.next().await;
    assert!(close.starts_with("close 3000 "), "{close}");
}

#[tokio::test]
async fn a_binary_frame_aborts_and_closes_with_3000() {
    let mut peer = Socket::open(serve(service()).await).await;
    peer.0.send(Message::binary(b"[]".as_slice())).await.unwrap();
    let abort = peer.next().await;
    assert_eq!(abort, r#"["abort",["error","TypeError","Received unexpected message type from WebSocket."]]"#);
    assert_eq!(peer.next().await, "close 3000 Received unexpected message type from WebSocket.");
}

#[tokio::test]
async fn close_is_answered_and_the_connection_ends() {
    let mut peer = Socket::open(serve(service()).await).await;
    peer.0.close(None).await.unwrap();
    assert_eq!(peer.next().await, "end");
    assert!(within(peer.0.next()).await.is_none());
}

fn keep_alive(ping_after_ms: u64, pong_within_ms: u64) -> HttpLimits {
    let (ping_after, pong_within) = (Duration::from_millis(ping_after_ms), Duration::from_millis(pong_within_ms));
    HttpLimits::default().keep_alive(KeepAlive::default().ping_after(ping_after).pong_within(pong_within))
}

#[tokio::test]
async fn silent_peer_that_answers_pings_stays_connected() {
    let mut peer = Socket::open(serve(service().http_limits(keep_alive(30, 200))).await).await;
    let pings = async {
        let mut pings = 0;
        while let Some(Ok(Message::Ping(_))) = peer.0.next().await {
            pings += 1;
            peer.0.flush().await.unwrap();
        }
        pings
    };
    assert!(tokio::time::timeout(Duration::from_millis(600), pings).await.is_err(), "the server closed the connection");
    peer.send(r#"["push",["pipeline",0,["add"],[2,3]]]"#).await;
    peer.send(r#"["pull",1]"#).await;
    assert_eq!(peer.next().await, r#"["resolve",1,5]"#);
}

#[tokio::test]
async fn peer_that_answers_no_ping_is_disconnected() {
    let mut peer = raw_socket(serve(service().http_limits(keep_alive(30, 100))).await).await;
    let mut rest = Vec::new();
    within(peer.read_to_end(&mut rest)).await.unwrap();
    assert!(rest.starts_with(&[0x89, 0]), "{rest:?}");
}

#[tokio::test]
async fn service_may_refuse_a_root_object() {
    let service = Service::try_new(|peer| async move {
        if peer.headers.contains_key("authorization") || peer.transport == TransportKind::WebSocket {
            return Ok(Stub::new(Api));
        }
        Err(Refusal::new(StatusCode::UNAUTHORIZED, format!("who is {}?", peer.address.unwrap().ip())))
    });
    let address = serve(service).await;
    assert_eq!(body(&post(address, "").await), ("401", "who is 127.0.0.1?"));
    Socket::open(address).await;
}

#[tokio::test]
async fn root_object_that_takes_too_long_gets_504() {
    let mut http = HttpLimits::default();
    http.handshake = Duration::from_millis(50);
    let service = Service::try_new(|_peer| std::future::pending::<Result<Stub, Refusal>>()).http_limits(http);
    assert_eq!(body(&post(serve(service).await, "").await), ("504", "the session was not opened within 50ms"));
}
