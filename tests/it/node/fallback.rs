//! Peers without the link: a client that does not offer it, and the ways in which a server without it can respond to a
//! client that does.

use bowline::{Service, connect};
use futures_util::future::join_all;
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::{WITHIN, node, started};

#[bowline::interface]
pub(crate) trait Adder {
    async fn add(&self, a: i64, b: i64) -> i64;
    /// Returns the number of connections that the server has accepted.
    async fn dials(&self) -> u32;
    /// Returns the number of frames of the link that the server has received.
    async fn frames(&self) -> u32;
}

struct Plain;

impl Adder for Plain {
    async fn add(&self, a: i64, b: i64) -> i64 {
        a + b
    }

    async fn dials(&self) -> u32 {
        0
    }

    async fn frames(&self) -> u32 {
        0
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn official_client_and_server_fall_back_to_plain_sessions() {
    let Some(mut node) = node("fallback.mjs") else { return };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    node.arg(format!("ws://{}", listener.local_addr().unwrap()));
    tokio::spawn(Service::new(|_peer| AdderRef::new(Plain)).serve(listener));
    let (_servers, urls) = started(node).await;
    // How each server responds, and how many connections the first session takes.
    let cases = [
        ("selects the first", 1),
        ("selects none", 2),
        ("answers with the list", 2),
        ("selects the last, and sends no challenge", 2),
        ("selects what was not offered", 2),
    ];
    assert_eq!(urls.split(' ').count(), cases.len());
    let cases = urls.split(' ').zip(cases).map(async |(url, (case, dials))| {
        // The second session takes one: the client remembers the servers at which an offer costs a connection.
        for dials in [dials, dials + 1] {
            let session = timeout(WITHIN, connect(url)).await.expect(case).expect(case);
            assert!(!session.is_resumable(), "{case}");
            let adder: AdderRef = session.root();
            assert_eq!(timeout(WITHIN, adder.add(2, 3)).await.expect(case).expect(case), 5);
            assert_eq!(adder.dials().await.expect(case), dials, "{case}");
            assert_eq!(adder.frames().await.expect(case), 0, "{case}");
            session.close().await;
        }
    });
    join_all(cases).await;
}
