//! Peers without the link: a client that does not offer it, and the three ways in which a server without it can
//! respond to a client that does.

use bowline::{Service, connect};
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::{WITHIN, node, started};

#[bowline::interface]
pub(crate) trait Adder {
    async fn add(&self, a: i64, b: i64) -> i64;
}

struct Plain;

impl Adder for Plain {
    async fn add(&self, a: i64, b: i64) -> i64 {
        a + b
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn official_client_and_server_fall_back_to_plain_sessions() {
    let Some(mut node) = node("fallback.mjs") else { return };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    node.arg(format!("ws://{}", listener.local_addr().unwrap()));
    tokio::spawn(Service::new(|_peer| AdderRef::new(Plain)).serve(listener));
    let (_servers, urls) = started(node).await;
    let cases = ["echoes the offered subprotocol", "selects nothing", "treats a frame as a bad message"];
    assert_eq!(urls.split(' ').count(), cases.len());
    for (url, case) in urls.split(' ').zip(cases) {
        // The second time, the client remembers that the server is plain.
        for _ in 0..2 {
            let session = timeout(WITHIN, connect(url)).await.expect(case).expect(case);
            assert!(!session.is_resumable(), "{case}");
            let adder: AdderRef = session.root();
            assert_eq!(timeout(WITHIN, adder.add(2, 3)).await.expect(case).expect(case), 5);
            session.close().await;
        }
    }
}
