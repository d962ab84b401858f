//! A service mounted in axum and in bare hyper.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tower_service::Service as _;

use crate::harness::{Socket, body, post, request, service};

async fn serves_both(address: SocketAddr) {
    let calls = "[\"push\",[\"pipeline\",0,[\"add\"],[2,3]]]\n[\"pull\",1]";
    assert_eq!(body(&post(address, calls).await), ("200", r#"["resolve",1,5]"#));
    let mut peer = Socket::open(address).await;
    for line in calls.lines() {
        peer.send(line).await;
    }
    assert_eq!(peer.next().await, r#"["resolve",1,5]"#);
}

#[tokio::test]
async fn in_an_axum_router() {
    let rpc = service();
    let app = Router::new().route("/healthz", get(async || "ok")).route_service("/rpc", rpc.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async { axum::serve(listener, app).await.unwrap() });
    serves_both(address).await;
    let healthy = request(address, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(body(&healthy), ("200", "ok"));
    let mut peer = Socket::open(address).await;
    let (close, _report) = tokio::join!(peer.next(), rpc.drain(Duration::from_secs(8)));
    assert_eq!(close, "close 1001 server is draining");
    assert_eq!(body(&post(address, "").await), ("503", "server is draining"));
}

#[tokio::test]
async fn in_bare_hyper() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _peer) = listener.accept().await.unwrap();
            let respond = service_fn(|request| service().call(request));
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), respond)
                .with_upgrades();
            tokio::spawn(connection);
        }
    });
    serves_both(address).await;
}
