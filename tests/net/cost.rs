//! What the link costs a call. The default run is short and only checks that both kinds of session carry
//! the load. To measure on an idle machine:
//!
//! `BOWLINE_CALLS=4000 BOWLINE_ROUNDS=301 cargo test --release --test net cost -- --nocapture`

use std::sync::Arc;
use std::time::Instant;

use bowline::Recovery;
use bowline::store::{MemoryStore, SessionStore};
use bowline_client::{Session, connect};

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
    let plain = Session::builder(&url).plain().connect().await.unwrap();
    let calls = number("BOWLINE_CALLS").unwrap_or(640);
    match std::env::var("BOWLINE_COST").as_deref() {
        // To count instructions with a tool, measure only one of the two.
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

/// What a store costs a call, compared with the same session without a store. Includes Redis if
/// `BOWLINE_REDIS` is set to the URL of a server.
///
/// `BOWLINE_CALLS=20000 BOWLINE_ROUNDS=21 cargo test --release --all-features --test net cost -- --nocapture`
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn cost_of_checkpoints_on_a_call() {
    let folder = std::env::temp_dir().join(format!("bowline-cost-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let mut stores: Vec<(&str, Arc<dyn SessionStore>)> = vec![("memory", Arc::new(MemoryStore::new()))];
    #[cfg(feature = "sqlite")]
    stores.push(("sqlite", Arc::new(bowline::store::SqliteStore::open(folder.join("sessions")).unwrap())));
    #[cfg(feature = "redis")]
    if let Ok(url) = std::env::var("BOWLINE_REDIS") {
        stores.push(("redis", Arc::new(bowline::store::RedisStore::connect(&url).await.unwrap())));
    }
    let calls = number("BOWLINE_CALLS").unwrap_or(640);
    let plain = connect(format!("ws://{}", serve(service()).await)).await.unwrap();
    for (name, store) in stores {
        let recovery = Recovery::in_shared_store(store);
        let kept = connect(format!("ws://{}", serve(service().recovery(recovery)).await)).await.unwrap();
        let mut shares = Vec::new();
        for _ in 0..number("BOWLINE_ROUNDS").unwrap_or(5) {
            shares.push(calls_per_second(&kept, calls).await / calls_per_second(&plain, calls).await);
        }
        shares.sort_by(f64::total_cmp);
        println!("stored in {name}: {:.1} % fewer calls per second", 100.0 * (1.0 - shares[shares.len() / 2]));
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

fn number(name: &str) -> Option<usize> {
    std::env::var(name).ok()?.parse().ok()
}
