//! Writes of a SQLite store that share a transaction.

use std::time::{Duration, Instant};

use bowline_server::store::{Claim, SessionStore, StoreError};
use rusqlite::Connection;

use crate::sqlite::{DAY, Sqlite};

/// Returns how many transactions the write-ahead log contains: the last frame of each has the size of the database.
fn commits(bench: &Sqlite) -> usize {
    let log = std::fs::read(bench.scratch.path("sessions.db-wal")).unwrap();
    let page = u32::from_be_bytes(log[8..12].try_into().unwrap()) as usize;
    log[32..].chunks(24 + page).filter(|frame| frame[4..8] != [0; 4]).count()
}

/// Holds the file, so that writes have to wait.
fn hold(bench: &Sqlite) -> Connection {
    let connection = Connection::open(bench.path()).unwrap();
    connection.execute_batch("BEGIN IMMEDIATE").unwrap();
    connection
}

/// As after the end of another process, when all its clients come back at once.
#[tokio::test(flavor = "multi_thread")]
async fn writes_that_wait_share_transactions() {
    let bench = Sqlite::new();
    let store = bench.store();
    store.open_owner("a", DAY).await.unwrap();
    store.create("taken", "a", DAY, None).await.unwrap();
    store.claim("taken", "a", 0).await.unwrap();
    let before = commits(&bench);
    let held = hold(&bench);
    let mut creating = tokio::task::JoinSet::new();
    for n in 0..200 {
        let (store, sid) = (store.clone(), if n % 10 == 0 { "taken".to_owned() } else { format!("s{n}") });
        creating.spawn(async move { (n, store.create(&sid, "a", DAY, None).await) });
    }
    // One whose future was dropped is not executed.
    let given_up = tokio::time::timeout(Duration::from_millis(300), store.create("given-up", "a", DAY, None)).await;
    assert!(given_up.is_err());
    drop(held);
    while let Some(created) = creating.join_next().await {
        let (n, created) = created.unwrap();
        // A refused one leaves the others as they are.
        let expected = if n % 10 == 0 { created == Err(StoreError::Taken) } else { created.is_ok() };
        assert!(expected, "{created:?}");
    }
    assert!(commits(&bench) - before <= 10, "{} transactions", commits(&bench) - before);
    for n in (0..200).filter(|n| n % 10 != 0) {
        assert!(matches!(store.claim(&format!("s{n}"), "a", 0).await, Ok(Claim::Claimed(_))), "{n}");
    }
    assert_eq!(store.claim("given-up", "a", 0).await, Ok(Claim::NotFound));
}

/// If the file cannot be written, every write that waits is told so.
#[tokio::test(flavor = "multi_thread")]
async fn writes_that_share_a_transaction_fail_together() {
    let bench = Sqlite::new();
    let store = bench.store();
    store.open_owner("a", DAY).await.unwrap();
    let held = hold(&bench);
    let creating = (0..100).map(|n| {
        let store = store.clone();
        async move { store.create(&format!("s{n}"), "a", DAY, None).await }
    });
    let began = Instant::now();
    for created in futures_util::future::join_all(creating).await {
        assert!(matches!(created, Err(StoreError::Unavailable(_))), "{created:?}");
    }
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    drop(held);
    assert_eq!(store.claim("s1", "a", 0).await, Ok(Claim::NotFound));
    assert!(store.create("s1", "a", DAY, None).await.is_ok());
}
