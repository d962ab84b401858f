//! Many owners at once, and the cost of one.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use bowline_server::store::{Claim, SessionStore, StoreError};
use bytes::Bytes;
use futures_util::future::join_all;

use super::{Bench, DAY, at, checkpoint, claimed, owned};

/// Owners that take the session from each other, and each time add one to what its newest
/// checkpoint says. Those who are paused in between must not undo what others did.
pub(crate) async fn no_update_is_lost_between_owners(bench: &impl Bench) {
    let (store, fence) = owned(bench).await;
    store.checkpoint(&fence, checkpoint(at(1, 0), "0"), at(1, 0)).await.unwrap();
    store.release(&fence, DAY).await.unwrap();
    let owners = join_all((0..6).map(|n| {
        let bench_store = bench.open();
        async move { adds(bench_store.await, n).await }
    }));
    let added: Vec<BTreeSet<u64>> = owners.await;
    let all: BTreeSet<u64> = added.iter().flatten().copied().collect();
    assert_eq!(all.len(), added.iter().map(BTreeSet::len).sum::<usize>(), "a number was added twice");
    let last = claimed(&store, "b").await;
    let newest = *last.checkpoints.last().unwrap();
    assert_eq!(newest.number as usize, all.len());
    assert_eq!(store.load(&last.fence, newest).await, Ok(Bytes::from(newest.number.to_string())));
}

/// What one owner has added. Every third time it acts on its fence after it has let go of it, as
/// one that was paused does.
async fn adds(store: Arc<dyn SessionStore>, n: usize) -> BTreeSet<u64> {
    let owner = format!("adder-{n}");
    store.open_owner(&owner, DAY).await.unwrap();
    let mut added = BTreeSet::new();
    let mut turns = 0;
    while turns < 12 {
        let Claim::Claimed(claimed) = store.claim("s", &owner, 0).await.unwrap() else {
            tokio::task::yield_now().await;
            continue;
        };
        turns += 1;
        let newest = *claimed.checkpoints.last().unwrap();
        let value: u64 =
            String::from_utf8(store.load(&claimed.fence, newest).await.unwrap().to_vec()).unwrap().parse().unwrap();
        let next = checkpoint(at(1, value + 1), (value + 1).to_string());
        if turns % 3 == 0 {
            store.release(&claimed.fence, DAY).await.unwrap();
            assert_eq!(store.checkpoint(&claimed.fence, next, newest).await, Err(StoreError::Fenced));
        } else {
            store.checkpoint(&claimed.fence, next, newest).await.unwrap();
            added.insert(value + 1);
            store.release(&claimed.fence, DAY).await.unwrap();
        }
    }
    added
}

/// Measured when asked, on a machine that does nothing else; a short run shows that it goes on and
/// that what is trimmed goes.
///
/// `BOWLINE_PUTS=5000 cargo test --release -p bowline-server --all-features --test store cost_of -- --nocapture --test-threads 1`
#[expect(clippy::disallowed_macros, reason = "the figures are what it is for")]
pub(crate) async fn cost_of_a_checkpoint(bench: &impl Bench) {
    let (store, fence) = owned(bench).await;
    let puts = std::env::var("BOWLINE_PUTS").ok().and_then(|puts| puts.parse().ok()).unwrap_or(50);
    let bytes = Bytes::from(vec![7; 4_096]);
    let mut took = Vec::new();
    for number in 1..=puts {
        let began = Instant::now();
        store.checkpoint(&fence, checkpoint(at(1, number), bytes.clone()), at(1, number)).await.unwrap();
        took.push(began.elapsed());
    }
    took.sort();
    let percentile = |n| took[(took.len() - 1) * n / 100];
    println!("{store:?}: 4 KiB put, half within {:?}, 99 % within {:?}", percentile(50), percentile(99));
    assert_eq!(claimed(&store, "a").await.checkpoints, [at(1, puts)]);
}
