//! Recorded calls, saved references, and limits.

use bowline_core::resume::Jti;
use bowline_server::store::{
    Checkpoint, Claim, EPOCH_MAX, LABEL_BYTES_MAX, NAME_BYTES_MAX, OUTCOME_BYTES_MAX, RECORDED_BYTES_EACH,
    RECORDED_BYTES_MAX, Recorded, SNAPSHOT_BYTES_MAX, STURDY_MAX, StoreError, SturdyRecord, TOKENS_MAX,
};
use bytes::Bytes;

use super::{Bench, DAY, LEASE, at, checkpoint, claimed, owned};

fn kept(outcome: &[u8]) -> Result<Recorded, StoreError> {
    Ok(Recorded::Kept(Bytes::copy_from_slice(outcome)))
}

pub(crate) async fn recorded_outcomes_are_kept_as_long_as_their_session(bench: &impl Bench) {
    let (store, fence) = owned(bench).await;
    assert_eq!(store.recorded(&fence, 7).await, Ok(Recorded::Never));
    store.record(&fence, 7, Bytes::from_static(b"\x00first\xff")).await.unwrap();
    store.record(&fence, 7, Bytes::from("second")).await.unwrap();
    store.record(&fence, -7, Bytes::new()).await.unwrap();
    assert_eq!(store.recorded(&fence, 7).await, kept(b"\x00first\xff"));
    assert_eq!(store.recorded(&fence, -7).await, kept(b""));
    // They outlive their owner and are kept for as long as the session.
    store.release(&fence, DAY).await.unwrap();
    let fence = claimed(&store, "b").await.fence;
    bench.pass(LEASE).await;
    store.gc().await.unwrap();
    assert_eq!(store.recorded(&fence, 7).await, kept(b"\x00first\xff"));
    assert_eq!(store.recorded(&fence, -7).await, kept(b""));
    // No outcome was forgotten, so a lower number without an outcome was never recorded.
    assert_eq!(store.recorded(&fence, 6).await, Ok(Recorded::Never));
    assert_eq!(store.recorded(&fence, 0).await, Ok(Recorded::Never));
}

pub(crate) async fn outcomes_declared_forgotten_are_reported_as_such(bench: &impl Bench) {
    let (store, fence) = owned(bench).await;
    store.record(&fence, 3, Bytes::from("three")).await.unwrap();
    store.forget(&fence, 7).await.unwrap();
    // Forgetting a lower number has no effect.
    store.forget(&fence, 2).await.unwrap();
    assert_eq!(store.recorded(&fence, 3).await, kept(b"three"));
    for call in [1, -3, 7, -7] {
        assert_eq!(store.recorded(&fence, call).await, Ok(Recorded::Forgotten), "{call}");
    }
    assert_eq!(store.recorded(&fence, 8).await, Ok(Recorded::Never));
    store.release(&fence, DAY).await.unwrap();
    let next = claimed(&store, "b").await.fence;
    assert_eq!(store.recorded(&next, 7).await, Ok(Recorded::Forgotten));
    assert_eq!(store.forget(&fence, 9).await, Err(StoreError::Fenced));
    assert_eq!(store.recorded(&next, 8).await, Ok(Recorded::Never));
}

pub(crate) async fn oldest_recorded_outcomes_are_forgotten_and_reported_as_such(bench: &impl Bench) {
    let (store, fence) = owned(bench).await;
    let mib = Bytes::from(vec![b'x'; OUTCOME_BYTES_MAX]);
    let fit = (RECORDED_BYTES_MAX / (OUTCOME_BYTES_MAX + RECORDED_BYTES_EACH)) as i64;
    for call in 1..=fit {
        // The order of calls is that of the absolute values of their numbers.
        store.record(&fence, if call % 2 == 0 { call } else { -call }, mib.clone()).await.unwrap();
    }
    // Recording an outcome again does not count it twice.
    store.record(&fence, -1, mib.clone()).await.unwrap();
    assert_eq!(store.recorded(&fence, -1).await, kept(&mib));
    assert_eq!(store.recorded(&fence, 1).await, Ok(Recorded::Never));
    // This outcome fits exactly into the remaining room.
    let left = RECORDED_BYTES_MAX - fit as usize * (OUTCOME_BYTES_MAX + RECORDED_BYTES_EACH);
    store.record(&fence, fit + 1, Bytes::from(vec![b'y'; left - RECORDED_BYTES_EACH])).await.unwrap();
    assert_eq!(store.recorded(&fence, -1).await, kept(&mib));
    // Even an empty outcome takes room.
    store.record(&fence, fit + 2, Bytes::new()).await.unwrap();
    assert_eq!(store.recorded(&fence, -1).await, Ok(Recorded::Forgotten));
    // There is always room for another outcome of maximum size.
    for call in fit + 3..=fit + 6 {
        store.record(&fence, call, mib.clone()).await.unwrap();
        assert_eq!(store.recorded(&fence, call).await, kept(&mib));
        assert_eq!(store.recorded(&fence, -call).await, Ok(Recorded::Never));
        assert_eq!(store.recorded(&fence, call + 1).await, Ok(Recorded::Never));
    }
    for call in [0, 1, -1, 2, -2] {
        assert_eq!(store.recorded(&fence, call).await, Ok(Recorded::Forgotten), "{call}");
    }
    // The outcome of a forgotten call may be recorded late, and the next owner sees the same.
    store.record(&fence, 1, Bytes::from("late")).await.unwrap();
    assert_eq!(store.recorded(&fence, 1).await, kept(b"late"));
    store.release(&fence, DAY).await.unwrap();
    let fence = claimed(&store, "b").await.fence;
    assert_eq!(store.recorded(&fence, -1).await, Ok(Recorded::Forgotten));
    assert_eq!(store.recorded(&fence, fit + 6).await, kept(&mib));
}

pub(crate) async fn saved_references_are_listed_and_revoked(bench: &impl Bench) {
    let store = bench.open().await;
    let record = |owner: &str, label: &str| SturdyRecord {
        owner: owner.to_owned(),
        label: label.to_owned(),
        recipe: Bytes::from_static(b"\x00{}\xff"),
    };
    assert_eq!(store.sturdy("one").await, Ok(None));
    for n in 0..25 {
        store.save(&format!("ann-{n:02}"), record("ann ⌘", &format!("label {n}"))).await.unwrap();
        store.save(&format!("bob-{n:02}"), record("bob", "his")).await.unwrap();
    }
    // The reply may have been lost, so the same operation succeeds again.
    store.save("ann-00", record("ann ⌘", "label 0")).await.unwrap();
    assert_eq!(store.save("ann-00", record("bob", "label 0")).await, Err(StoreError::Taken));
    assert_eq!(store.sturdy("ann-03").await, Ok(Some(record("ann ⌘", "label 3"))));
    let mut seen = Vec::new();
    loop {
        let after = seen.last().map_or("", |(id, _): &(String, String)| id.as_str());
        let page = store.list_sturdy("ann ⌘", after, 10).await.unwrap();
        assert!(page.len() <= 10);
        if page.is_empty() {
            break;
        }
        seen.extend(page.into_iter().map(|entry| (entry.id, entry.label)));
    }
    let expected: Vec<_> = (0..25).map(|n| (format!("ann-{n:02}"), format!("label {n}"))).collect();
    assert_eq!(seen, expected);
    assert_eq!(store.list_sturdy("ann", "", 10).await, Ok(Vec::new()));
    // Only its owner can revoke a reference, any number of times.
    assert_eq!(store.revoke("bob", "ann-03").await, Ok(false));
    assert_eq!(store.revoke("ann ⌘", "ann-03").await, Ok(true));
    assert_eq!(store.revoke("ann ⌘", "ann-03").await, Ok(false));
    assert_eq!(store.sturdy("ann-03").await, Ok(None));
    let page = store.list_sturdy("ann ⌘", "ann-02", 1).await.unwrap();
    assert_eq!(page[0].id, "ann-04");
    // Saved references do not expire.
    bench.pass(LEASE).await;
    store.gc().await.unwrap();
    assert_eq!(store.sturdy("ann-04").await, Ok(Some(record("ann ⌘", "label 4"))));
}

pub(crate) async fn values_beyond_a_limit_are_refused_by_name(bench: &impl Bench) {
    let (store, fence) = owned(bench).await;
    let long = "x".repeat(NAME_BYTES_MAX + 1);
    let record =
        |label: &str| SturdyRecord { owner: "ann".to_owned(), label: label.to_owned(), recipe: Bytes::from("{}") };
    let put = async |checkpoint| store.checkpoint(&fence, checkpoint, at(1, 1)).await;
    let one = || checkpoint(at(1, 1), "one");
    let too_much = [
        store.open_owner(&long, DAY).await,
        store.create(&long, "a", DAY, None).await.map(drop),
        store.claim("s", "a", EPOCH_MAX + 1).await.map(drop),
        store.save(&long, record("fine")).await,
        store.save("fine", record(&"x".repeat(LABEL_BYTES_MAX + 1))).await,
        store.record(&fence, 1, Bytes::from(vec![0; OUTCOME_BYTES_MAX + 1])).await,
        store.record(&fence, i64::MIN, Bytes::new()).await,
        put(Checkpoint { bytes: Bytes::from(vec![0; SNAPSHOT_BYTES_MAX + 1]), ..one() }).await,
        put(Checkpoint { at: at(EPOCH_MAX + 1, 0), ..one() }).await,
        put(Checkpoint { epoch: u64::MAX, ..one() }).await,
        put(Checkpoint { tokens: vec![Jti("x".to_owned()); TOKENS_MAX + 1], ..one() }).await,
    ];
    for refused in too_much {
        assert!(matches!(refused, Err(StoreError::TooMuch { .. })), "{refused:?}");
    }
    let misnamed = [
        store.open_owner("", DAY).await,
        store.create("a b", "a", DAY, None).await.map(drop),
        store.save("ümlaut", record("fine")).await,
        put(Checkpoint { tokens: vec![Jti("a b".to_owned())], ..one() }).await,
    ];
    for refused in misnamed {
        assert!(matches!(refused, Err(StoreError::Name(_))), "{refused:?}");
    }
    let far = store.claim("s", "a", EPOCH_MAX).await;
    assert!(matches!(far, Err(StoreError::TooMuch { what: "epoch", .. })), "{far:?}");
    // An invalid name finds nothing.
    assert_eq!(store.claim("a b", "a", 0).await, Ok(Claim::NotFound));
    assert_eq!(store.sturdy("").await, Ok(None));
    assert_eq!(store.list_sturdy("ann", "", usize::MAX).await, Ok(Vec::new()));
    bench.fill("ann", STURDY_MAX - 1).await;
    store.save("last", record("fine")).await.unwrap();
    let refused = store.save("one-more", record("fine")).await;
    assert!(matches!(refused, Err(StoreError::TooMuch { what: "references of an owner", .. })), "{refused:?}");
    // A large snapshot within the limit is stored.
    let large = Bytes::from(vec![7; 8 << 20]);
    store.checkpoint(&fence, checkpoint(at(1, 1), large.clone()), at(1, 1)).await.unwrap();
    assert_eq!(store.load(&fence, at(1, 1)).await, Ok(large));
}
