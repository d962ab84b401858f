//! Limits on connections.

use bowline_server::HttpLimits;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::harness::{Socket, body, post, serve, service, within};

#[tokio::test]
async fn connections_of_one_address_are_bounded() {
    let mut http = HttpLimits::default();
    http.connections_per_address = 2;
    let address = serve(service().http_limits(http)).await;
    let first = Socket::open(address).await;
    let _second = Socket::open(address).await;
    let refused = post(address, "").await;
    assert_eq!(body(&refused), ("503", "too many connections from this address"));
    assert!(refused.contains("retry-after: 1\r\n"), "{refused}");
    drop(first);
    within(async { while !post(address, "").await.starts_with("HTTP/1.1 200") {} }).await;
}

#[tokio::test]
async fn connections_are_bounded() {
    let mut http = HttpLimits::default();
    http.connections = 1;
    let address = serve(service().http_limits(http)).await;
    let _idle = TcpStream::connect(address).await.unwrap();
    // The refusal is sent before any request, because the peer may not send one.
    let mut refused = String::new();
    within(TcpStream::connect(address).await.unwrap().read_to_string(&mut refused)).await.unwrap();
    assert_eq!(body(&refused), ("503", "too many connections"));
}
