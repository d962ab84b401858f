//! Quotas of clients, and how long a session is stored whose client does not return.

use std::sync::Arc;

use bowline_server::store::{Claim, Fence, Quota, Recorded, SESSION_BYTES_EACH, SessionStore, StoreError};
use bytes::Bytes;

use super::{Bench, DAY, LEASE, at, checkpoint};

const KIB: usize = 1 << 10;

/// Returns a quota of `kib` KiB in addition to what `sessions` sessions take.
fn quota(account: &str, sessions: usize, kib: usize) -> Quota {
    Quota { account: account.to_owned(), bytes: (sessions * SESSION_BYTES_EACH + kib * KIB) as u64 }
}

async fn store(bench: &impl Bench) -> Arc<dyn SessionStore> {
    let store = bench.open().await;
    store.open_owner("a", DAY).await.unwrap();
    store
}

async fn put(store: &Arc<dyn SessionStore>, fence: &Fence, number: u64, kib: usize) -> Result<(), StoreError> {
    store.checkpoint(fence, checkpoint(at(1, number), vec![7; kib * KIB]), at(1, number)).await
}

fn assert_full<T: std::fmt::Debug>(refused: Result<T, StoreError>, quota: &Quota) {
    match refused {
        Err(StoreError::TooMuch { what: "bytes stored for a client", size, max }) => {
            assert!(size > max && max == quota.bytes, "{size} and {max}");
        }
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn snapshots_of_a_client_share_its_quota(bench: &impl Bench) {
    let store = store(bench).await;
    let quota = quota("p:eve", 3, 100);
    let mut fences = Vec::new();
    for sid in ["one", "two", "three"] {
        fences.push(store.create(sid, "a", DAY, Some(&quota)).await.unwrap());
    }
    let other = store.create("other", "a", DAY, Some(&Quota { account: "p:ann".to_owned(), ..quota.clone() })).await;
    let unbounded = store.create("unbounded", "a", DAY, None).await.unwrap();
    put(&store, &fences[0], 1, 40).await.unwrap();
    put(&store, &fences[1], 1, 50).await.unwrap();
    assert_full(put(&store, &fences[2], 1, 20).await, &quota);
    // Nothing of the refused checkpoint was stored.
    assert_eq!(store.load(&fences[2], at(1, 1)).await, Err(StoreError::NotFound));
    // Other clients have quotas of their own.
    put(&store, &other.unwrap(), 1, 90).await.unwrap();
    put(&store, &unbounded, 1, 400).await.unwrap();
    // A checkpoint counts instead of the one that it replaces, so a smaller one makes room.
    put(&store, &fences[1], 2, 55).await.unwrap();
    put(&store, &fences[0], 2, 5).await.unwrap();
    put(&store, &fences[2], 1, 20).await.unwrap();
    assert_full(put(&store, &fences[0], 3, 30).await, &quota);
    assert_eq!(
        store.load(&fences[0], at(1, 2)).await,
        Ok(Bytes::from(vec![7; 5 * KIB])),
        "the refused checkpoint changed the stored one"
    );
}

pub(crate) async fn outcomes_and_sessions_count_towards_the_quota(bench: &impl Bench) {
    let store = store(bench).await;
    let quota = quota("a:192.0.2.1", 2, 100);
    let one = store.create("one", "a", DAY, Some(&quota)).await.unwrap();
    let two = store.create("two", "a", DAY, Some(&quota)).await.unwrap();
    store.record(&one, 1, Bytes::from(vec![b'x'; 60 * KIB])).await.unwrap();
    assert_full(store.record(&two, 1, Bytes::from(vec![b'x'; 60 * KIB])).await, &quota);
    assert_eq!(store.recorded(&two, 1).await, Ok(Recorded::Never));
    assert_full(put(&store, &two, 1, 60).await, &quota);
    store.record(&two, 2, Bytes::from(vec![b'x'; 38 * KIB])).await.unwrap();
    assert_full(store.create("three", "a", DAY, Some(&quota)).await, &quota);
    assert_eq!(store.claim("three", "a", 0).await, Ok(Claim::NotFound));
    // Deleting a session makes room.
    store.delete(&one).await.unwrap();
    let three = store.create("three", "a", DAY, Some(&quota)).await.unwrap();
    put(&store, &three, 1, 60).await.unwrap();
}

pub(crate) async fn expired_sessions_make_room(bench: &impl Bench) {
    let store = store(bench).await;
    let quota = quota("p:eve", 2, 100);
    let short = store.create("short", "a", LEASE, Some(&quota)).await.unwrap();
    put(&store, &short, 1, 90).await.unwrap();
    let long = store.create("long", "a", DAY, Some(&quota)).await.unwrap();
    assert_full(put(&store, &long, 1, 50).await, &quota);
    bench.pass(LEASE).await;
    put(&store, &long, 1, 50).await.unwrap();
    let next = store.create("short", "a", DAY, Some(&quota)).await.unwrap();
    assert_full(put(&store, &next, 1, 60).await, &quota);
    put(&store, &next, 1, 45).await.unwrap();
}

pub(crate) async fn unclaimed_session_ends_early(bench: &impl Bench) {
    let store = store(bench).await;
    let quota = quota("p:eve", 2, 100);
    for sid in ["claimed", "left"] {
        let fence = store.create(sid, "a", DAY, Some(&quota)).await.unwrap();
        put(&store, &fence, 1, 40).await.unwrap();
        store.record(&fence, 1, Bytes::from("done")).await.unwrap();
        store.release(&fence, LEASE).await.unwrap();
    }
    let claim = store.claim("claimed", "a", 0).await.unwrap();
    let Claim::Claimed(claimed) = claim else { panic!("{claim:?}") };
    bench.pass(LEASE).await;
    assert_eq!(store.claim("left", "a", 0).await, Ok(Claim::NotFound));
    // The claimed session has its full lifetime again.
    assert_eq!(store.load(&claimed.fence, at(1, 1)).await, Ok(Bytes::from(vec![7; 40 * KIB])));
    assert_eq!(store.recorded(&claimed.fence, 1).await, Ok(Recorded::Kept(Bytes::from("done"))));
    put(&store, &claimed.fence, 2, 95).await.unwrap();
    // A release never extends the lifetime of a session.
    let brief = store.create("brief", "a", LEASE, None).await.unwrap();
    store.release(&brief, DAY).await.unwrap();
    bench.pass(LEASE).await;
    assert_eq!(store.claim("brief", "a", 0).await, Ok(Claim::NotFound));
}
