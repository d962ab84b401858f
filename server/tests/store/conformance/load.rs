//! Many concurrent owners, and the cost of a checkpoint.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use bowline_server::store::{Claim, SessionStore, StoreError};
use bytes::Bytes;
use futures_util::future::join_all;

use super::{Bench, DAY, at, checkpoint, claimed, owned};

/// Owners take the session from each other and increment the number in its newest checkpoint. An owner that
/// is paused meanwhile must not overwrite what others have stored.
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
    assert_eq!(all.len(), added.iter().map(BTreeSet::len).sum::<usize>(), "an update was lost");
    let last = claimed(&store, "b").await;
    let newest = *last.checkpoints.last().unwrap();
    assert_eq!(newest.number as usize, all.len());
    assert_eq!(store.load(&last.fence, newest).await, Ok(Bytes::from(newest.number.to_string())));
}

/// Returns the numbers that one owner has added. Every third time it uses its fence after it has released the
/// session, as an owner that was paused would.
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

/// Checks in a short run that old checkpoints are trimmed. To measure the cost of a checkpoint on an idle
/// machine:
///
/// `BOWLINE_PUTS=5000 cargo test --release -p bowline-server --all-features --test store cost_of -- --nocapture --test-threads 1`
#[expect(clippy::disallowed_macros, reason = "the test prints its measurements")]
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
    println!("{store:?}: checkpoint of 4 KiB, median {:?}, 99th percentile {:?}", percentile(50), percentile(99));
    assert_eq!(claimed(&store, "a").await.checkpoints, [at(1, puts)]);
}
