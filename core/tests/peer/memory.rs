//! The memory that sessions hold together.

use std::sync::Arc;
use std::time::Duration;

use bowline_core::peer::testing::pair_with;
use bowline_core::peer::{MemoryBudget, SessionOptions, Stub};

use crate::fixture::{Api, Seen};

const TEXT: usize = 100_000;

async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(10), future).await.expect("the call takes too long")
}

#[tokio::test]
async fn memory_budget_counts_its_sessions_until_they_end() {
    let budget = MemoryBudget::new(TEXT);
    let options = SessionOptions::new().memory(budget.clone());
    let pairs: Vec<_> =
        (0..2).map(|_| pair_with(None, Some(Stub::new(Api(Arc::new(Seen::default())))), options.clone())).collect();
    assert_eq!((budget.held_bytes(), budget.shares().len()), (0, 0));
    let mut echoed = Vec::new();
    for pair in &pairs {
        let echo = pair.left.root_dyn().call("echo", ("x".repeat(TEXT),));
        // The result is not awaited, so the callee keeps it for the caller.
        within(pair.left.root_dyn().call("add", (1, 2)).into_future()).await.unwrap();
        echoed.push(echo);
    }
    within(budget.exceeded()).await;
    let held = budget.held_bytes();
    assert!(held >= 2 * TEXT, "{held}");
    let shares = budget.shares();
    let largest = shares.iter().filter(|share| share.bytes >= TEXT).count();
    assert_eq!(largest, 2, "{shares:?}");
    assert!(shares.iter().all(|share| !share.is_detached));
    assert!(shares.iter().any(|share| share.connection.is_same(&pairs[0].right)));
    drop((shares, echoed));
    within(async {
        while budget.held_bytes() >= TEXT {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    for pair in &pairs {
        pair.left.close();
        within(pair.right.closed()).await;
    }
    drop(pairs);
    within(async {
        while budget.held_bytes() > 0 || !budget.shares().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}
