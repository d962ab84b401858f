//! What the link costs. Ignored: numbers are for people, on a machine that does nothing else.
//!
//! `cargo test --release --test net cost -- --ignored --nocapture --test-threads 1`

use std::time::Instant;

use bowline_client::{Connect, Session, connect};

use crate::harness::{serve, service};

const CALLS: usize = 40_000;
const AT_ONCE: usize = 64;

async fn calls_per_second(session: &Session) -> f64 {
    let started = Instant::now();
    let callers: Vec<_> = (0..AT_ONCE)
        .map(|_| {
            let api = session.root_dyn();
            tokio::spawn(async move {
                for n in 0..CALLS / AT_ONCE {
                    api.call("add", (n, 1)).await.unwrap();
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    CALLS as f64 / started.elapsed().as_secs_f64()
}

#[tokio::test]
#[ignore = "a measurement"]
async fn cost_of_the_link_on_a_call() {
    let url = format!("ws://{}", serve(service()).await);
    let linked = connect(&url).await.unwrap();
    let plain = Connect::new(&url).plain().connect().await.unwrap();
    let mut shares = Vec::new();
    for _ in 0..15 {
        let (plain, linked) = (calls_per_second(&plain).await, calls_per_second(&linked).await);
        shares.push((linked / plain, plain, linked));
    }
    shares.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (share, plain, linked) = shares[shares.len() / 2];
    println!("plain {plain:.0} calls/s, with the link {linked:.0}, {:.1} % less", 100.0 * (1.0 - share));
}
