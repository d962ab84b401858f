//! What the link costs a call. Measured when asked, on a machine that does nothing else; a short run
//! shows that both ways carry such a load.
//!
//! `BOWLINE_CALLS=4000 BOWLINE_ROUNDS=301 cargo test --release --test net cost -- --nocapture`

use std::time::Instant;

use bowline_client::{Connect, Session, connect};

use crate::harness::{serve, service};

const AT_ONCE: usize = 64;

async fn calls_per_second(session: &Session, calls: usize) -> f64 {
    let started = Instant::now();
    let callers: Vec<_> = (0..AT_ONCE)
        .map(|_| {
            let api = session.root_dyn();
            tokio::spawn(async move {
                for n in 0..calls / AT_ONCE {
                    api.call("add", (n, 1)).await.unwrap();
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    calls as f64 / started.elapsed().as_secs_f64()
}

#[tokio::test]
async fn cost_of_the_link_on_a_call() {
    let url = format!("ws://{}", serve(service()).await);
    let linked = connect(&url).await.unwrap();
    let plain = Connect::new(&url).plain().connect().await.unwrap();
    let calls = number("BOWLINE_CALLS").unwrap_or(640);
    match std::env::var("BOWLINE_COST").as_deref() {
        // Under a tool that counts instructions, one of both alone.
        Ok("plain") => return println!("{:.0}", calls_per_second(&plain, calls).await),
        Ok("linked") => return println!("{:.0}", calls_per_second(&linked, calls).await),
        _ => {}
    }
    let mut shares = Vec::new();
    for _ in 0..number("BOWLINE_ROUNDS").unwrap_or(15) {
        let (plain, linked) = (calls_per_second(&plain, calls).await, calls_per_second(&linked, calls).await);
        shares.push((linked / plain, plain, linked));
    }
    shares.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (share, plain, linked) = shares[shares.len() / 2];
    println!("plain {plain:.0} calls/s, with the link {linked:.0}, {:.1} % less", 100.0 * (1.0 - share));
}

fn number(name: &str) -> Option<usize> {
    std::env::var(name).ok()?.parse().ok()
}
