//! What every store does, as cases that are each a test of each store.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bowline_core::resume::Jti;
use bowline_server::store::{
    CHECKPOINTS_MAX, Checkpoint, Claim, Claimed, EPOCH_MAX, Fence, LABEL_BYTES_MAX, NAME_BYTES_MAX, OUTCOME_BYTES_MAX,
    Position, RECORDED_BYTES_EACH, RECORDED_BYTES_MAX, SNAPSHOT_BYTES_MAX, STURDY_MAX, SessionStore, StoreError,
    SturdyRecord, TOKENS_MAX,
};
use bytes::Bytes;
use futures_util::future::join_all;

/// A store under test, and what may be done to it from outside.
#[async_trait]
pub(crate) trait Bench: Sync {
    /// The store, as another process opens it.
    async fn open(&self) -> Arc<dyn SessionStore>;

    /// Lets time pass, by the store's clock.
    async fn pass(&self, time: Duration);

    /// Changes a bit of a snapshot that is kept, if that can be done.
    async fn spoil(&self, sid: &str, at: Position) -> bool;

    /// Gives an owner so many references.
    async fn fill(&self, owner: &str, references: usize);

    /// Whether sessions that are past their time go without `gc`.
    fn sweeps_itself(&self) -> bool;
}

/// Makes a test of each case, against the store that `$bench` makes.
macro_rules! store_conformance {
    ($bench:expr, $($case:ident,)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let Some(bench) = $bench.await else { return };
                crate::conformance::$case(&bench).await;
            }
        )*
    };
    ($bench:expr) => {
        /// T22.
        mod store_conformance {
            use super::*;

            store_conformance!(
                $bench,
                a_session_is_created_once,
                of_many_claims_one_succeeds,
                a_paused_owner_is_fenced,
                a_lease_lasts_as_long_as_it_is_renewed,
                a_lease_that_is_over_stays_over,
                an_owner_that_stops_leaves_its_sessions_to_others,
                an_owner_may_claim_what_is_its_own,
                epochs_rise_above_all_that_were_seen,
                checkpoints_are_ordered_and_trimmed,
                tokens_are_those_of_the_newest_checkpoint,
                a_snapshot_that_was_changed_is_corrupt,
                a_session_ends_with_its_time,
                a_deleted_session_leaves_nothing,
                recorded_calls_are_kept_for_their_time,
                recorded_calls_are_bounded,
                durable_references_are_listed_and_revoked,
                what_is_too_large_is_refused_by_name,
                no_update_is_lost_between_owners,
                cost_of_a_checkpoint,
            );
        }
    };
}

/// Short enough to wait for where time cannot be moved, long enough not to end by accident.
const LEASE: Duration = Duration::from_secs(2);
const DAY: Duration = Duration::from_secs(86_400);

pub(crate) fn at(lineage: u64, number: u64) -> Position {
    Position { lineage, number }
}

pub(crate) fn checkpoint(at: Position, bytes: impl Into<Bytes>) -> Checkpoint {
    Checkpoint { at, epoch: 1, tokens: vec![Jti(format!("token-{}", at.number))], bytes: bytes.into() }
}

/// A store with owner `a`, who has session `s`, and owner `b`, who has none.
async fn owned(bench: &impl Bench) -> (Arc<dyn SessionStore>, Fence) {
    leased(bench, DAY).await
}

/// As [`owned`], with a lease of `a` that ends.
async fn leased(bench: &impl Bench, lease: Duration) -> (Arc<dyn SessionStore>, Fence) {
    let store = bench.open().await;
    store.open_owner("a", lease).await.unwrap();
    store.open_owner("b", DAY).await.unwrap();
    let fence = store.create("s", "a", DAY).await.unwrap();
    (store, fence)
}

/// Claims session `s` for an owner, who gets it.
async fn claimed(store: &Arc<dyn SessionStore>, owner: &str) -> Claimed {
    match store.claim("s", owner, 0).await.unwrap() {
        Claim::Claimed(claimed) => claimed,
        other => panic!("{other:?}"),
    }
}

/// Everything that takes a fence is refused.
async fn assert_fenced(store: &Arc<dyn SessionStore>, fence: &Fence) {
    let late = checkpoint(at(9, 9), "late");
    assert_eq!(store.checkpoint(fence, late, at(9, 9)).await, Err(StoreError::Fenced));
    assert_eq!(store.load(fence, at(1, 1)).await, Err(StoreError::Fenced));
    assert_eq!(store.record(fence, 1, Bytes::from("late"), DAY).await, Err(StoreError::Fenced));
    assert_eq!(store.recorded(fence, 1).await, Err(StoreError::Fenced));
    assert_eq!(store.release(fence).await, Err(StoreError::Fenced));
    assert_eq!(store.delete(fence).await, Err(StoreError::Fenced));
}

pub(crate) async fn a_session_is_created_once(bench: &impl Bench) {
    let (store, fence) = owned(bench).await;
    assert_eq!(fence, Fence { sid: "s".to_owned(), owner: "a".to_owned(), epoch: 1 });
    // The answer may have been lost.
    assert_eq!(store.create("s", "a", DAY).await, Ok(fence.clone()));
    assert_eq!(store.create("s", "b", DAY).await, Err(StoreError::Taken));
    assert_eq!(store.create("t", "nobody", DAY).await, Err(StoreError::Fenced));
    assert_eq!(store.claim("s", "nobody", 0).await, Err(StoreError::Fenced));
    assert_eq!(store.claim("t", "a", 0).await, Ok(Claim::NotFound));
    assert_eq!(store.load(&fence, at(1, 1)).await, Err(StoreError::NotFound));
    store.checkpoint(&fence, checkpoint(at(1, 1), "one"), at(1, 1)).await.unwrap();
    assert_eq!(store.create("s", "a", DAY).await, Err(StoreError::Taken));
    // Another process sees it.
    let other = bench.open().await;
    assert_eq!(other.load(&fence, at(1, 1)).await, Ok(Bytes::from("one")));
    assert_eq!(other.open_owner("a", DAY).await, Err(StoreError::Taken));
}

pub(crate) async fn of_many_claims_one_succeeds(bench: &impl Bench) {
    let (store, fence) = owned(bench).await;
    for round in 0..4 {
        if round == 0 {
            store.release(&fence).await.unwrap();
        } else {
            // The winner of the round before stops.
            let Claim::Held { .. } = store.claim("s", "b", 0).await.unwrap() else { panic!("it is held") };
            for n in 0..24 {
                store.close_owner(&format!("{}-{n}", round - 1)).await.unwrap();
            }
        }
        let claims = (0..24).map(|n| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let owner = format!("{round}-{n}");
                store.open_owner(&owner, DAY).await.unwrap();
                store.claim("s", &owner, 0).await.unwrap()
            })
        });
        let claims = join_all(claims.collect::<Vec<_>>()).await;
        let won: Vec<_> = claims.iter().filter(|claim| matches!(claim, Ok(Claim::Claimed(_)))).collect();
        assert_eq!(won.len(), 1, "{claims:?}");
        assert!(claims.iter().all(|claim| !matches!(claim, Ok(Claim::NotFound) | Err(_))), "{claims:?}");
    }
}

pub(crate) async fn a_paused_owner_is_fenced(bench: &impl Bench) {
    let (store, paused) = leased(bench, LEASE).await;
    store.checkpoint(&paused, checkpoint(at(1, 1), "by a"), at(1, 1)).await.unwrap();
    let Claim::Held { left } = store.claim("s", "b", 0).await.unwrap() else { panic!("a has it") };
    assert!(!left.is_zero() && left <= LEASE, "{left:?}");
    bench.pass(LEASE).await;
    let fence = claimed(&store, "b").await.fence;
    assert_eq!(fence, Fence { sid: "s".to_owned(), owner: "b".to_owned(), epoch: 2 });
    // It wakes, and knows of nothing.
    assert_fenced(&store, &paused).await;
    assert_eq!(store.renew_owner("a", LEASE).await, Err(StoreError::Fenced));
    assert_eq!(store.claim("s", "a", 9).await, Err(StoreError::Fenced));
    assert_eq!(store.create("t", "a", DAY).await, Err(StoreError::Fenced));
    // What it tried changed nothing.
    assert_eq!(store.load(&fence, at(1, 1)).await, Ok(Bytes::from("by a")));
    assert_eq!(store.recorded(&fence, 1).await, Ok(None));
    store.checkpoint(&fence, checkpoint(at(1, 2), "by b"), at(1, 1)).await.unwrap();
    let again = claimed(&store, "b").await;
    assert_eq!((again.checkpoints, again.tokens), (vec![at(1, 1), at(1, 2)], vec![Jti("token-2".to_owned())]));
}

pub(crate) async fn a_lease_lasts_as_long_as_it_is_renewed(bench: &impl Bench) {
    let (store, fence) = leased(bench, LEASE).await;
    for _ in 0..3 {
        bench.pass(LEASE / 2).await;
        store.renew_owner("a", LEASE).await.unwrap();
    }
    assert!(matches!(store.claim("s", "b", 0).await, Ok(Claim::Held { .. })));
    store.checkpoint(&fence, checkpoint(at(1, 1), "one"), at(1, 1)).await.unwrap();
}

pub(crate) async fn a_lease_that_is_over_stays_over(bench: &impl Bench) {
    let (store, fence) = leased(bench, LEASE).await;
    assert_eq!(store.renew_owner("nobody", LEASE).await, Err(StoreError::Fenced));
    bench.pass(LEASE).await;
    assert_eq!(store.renew_owner("a", LEASE).await, Err(StoreError::Fenced));
    store.gc().await.unwrap();
    assert_eq!(store.renew_owner("a", LEASE).await, Err(StoreError::Fenced));
    // Nobody took the session meanwhile: the process has it back by another name.
    store.open_owner("a2", LEASE).await.unwrap();
    assert_eq!(claimed(&store, "a2").await.fence.epoch, 2);
    assert_fenced(&store, &fence).await;
}

pub(crate) async fn an_owner_that_stops_leaves_its_sessions_to_others(bench: &impl Bench) {
    let (store, fence) = owned(bench).await;
    let other = store.create("t", "a", DAY).await.unwrap();
    store.release(&other).await.unwrap();
    assert_eq!(store.release(&other).await, Err(StoreError::Fenced));
    assert!(matches!(store.claim("t", "b", 0).await, Ok(Claim::Claimed(_))));
    assert!(matches!(store.claim("s", "b", 0).await, Ok(Claim::Held { .. })));
    store.close_owner("a").await.unwrap();
    store.close_owner("a").await.unwrap();
    claimed(&store, "b").await;
    assert_fenced(&store, &fence).await;
}

pub(crate) async fn an_owner_may_claim_what_is_its_own(bench: &impl Bench) {
    let (store, fence) = owned(bench).await;
    // The answer to a claim was lost: it is asked again.
    let lost = claimed(&store, "a").await.fence;
    let held = claimed(&store, "a").await.fence;
    assert_eq!((lost.epoch, held.epoch), (2, 3));
    assert_fenced(&store, &fence).await;
    assert_fenced(&store, &lost).await;
    store.checkpoint(&held, checkpoint(at(1, 1), "one"), at(1, 1)).await.unwrap();
}

pub(crate) async fn epochs_rise_above_all_that_were_seen(bench: &impl Bench) {
    let (store, fence) = owned(bench).await;
    store.release(&fence).await.unwrap();
    let Ok(Claim::Claimed(seen)) = store.claim("s", "b", 41).await else { panic!("it is free") };
    // The epoch of the last checkpoint says which tokens the store cannot know.
    assert_eq!((seen.fence.epoch, seen.known_epoch), (42, 1));
    let late = Checkpoint { epoch: 50, ..checkpoint(at(1, 1), "one") };
    store.checkpoint(&seen.fence, late, at(1, 1)).await.unwrap();
    let again = claimed(&store, "b").await;
    assert_eq!((again.fence.epoch, again.known_epoch), (51, 50));
}

pub(crate) async fn checkpoints_are_ordered_and_trimmed(bench: &impl Bench) {
    let (store, fence) = owned(bench).await;
    let put = async |position, keep_from| {
        let bytes = format!("{position:?}");
        store.checkpoint(&fence, checkpoint(position, bytes), keep_from).await
    };
    // 9 is before 10, and the first of a lineage after the last of the one before.
    for (position, keep_from) in
        [(at(1, 8), at(1, 8)), (at(1, 9), at(1, 8)), (at(1, 10), at(1, 9)), (at(2, 1), at(1, 9))]
    {
        put(position, keep_from).await.unwrap();
    }
    for (position, is_there) in [(at(1, 8), false), (at(1, 9), true), (at(1, 10), true), (at(2, 1), true)] {
        let expected = if is_there { Ok(Bytes::from(format!("{position:?}"))) } else { Err(StoreError::NotFound) };
        assert_eq!(store.load(&fence, position).await, expected);
    }
    assert_eq!(put(at(1, 11), at(1, 9)).await, Err(StoreError::OutOfOrder));
    // The newest once more: its answer may have been lost.
    store.checkpoint(&fence, checkpoint(at(2, 1), "again"), at(1, 10)).await.unwrap();
    assert_eq!(store.load(&fence, at(2, 1)).await, Ok(Bytes::from("again")));
    assert_eq!(claimed(&store, "a").await.checkpoints, [at(1, 10), at(2, 1)]);
    let fence = claimed(&store, "a").await.fence;
    let put = async |number, keep_from| store.checkpoint(&fence, checkpoint(at(3, number), "x"), keep_from).await;
    for number in 0..CHECKPOINTS_MAX as u64 {
        put(number, at(3, 0)).await.unwrap();
    }
    let refused = put(99, at(3, 0)).await;
    assert!(matches!(refused, Err(StoreError::TooMuch { what: "checkpoints of a session", .. })), "{refused:?}");
    put(99, at(3, 1)).await.unwrap();
    put(EPOCH_MAX, at(3, EPOCH_MAX)).await.unwrap();
    assert_eq!(claimed(&store, "a").await.checkpoints, [at(3, EPOCH_MAX)]);
}

pub(crate) async fn tokens_are_those_of_the_newest_checkpoint(bench: &impl Bench) {
    let (store, fence) = owned(bench).await;
    assert_eq!(claimed(&store, "a").await.tokens, []);
    let fence = Fence { epoch: 2, ..fence };
    let tokens: Vec<_> = (0..TOKENS_MAX).map(|n| Jti(format!("t{n}"))).collect();
    let many = Checkpoint { tokens: tokens.clone(), ..checkpoint(at(1, 1), "one") };
    store.checkpoint(&fence, many, at(1, 1)).await.unwrap();
    assert_eq!(claimed(&store, "a").await.tokens, tokens);
    let fence = Fence { epoch: 3, ..fence };
    let none = Checkpoint { tokens: Vec::new(), ..checkpoint(at(1, 2), "two") };
    store.checkpoint(&fence, none, at(1, 1)).await.unwrap();
    assert_eq!(claimed(&store, "a").await.tokens, []);
}

pub(crate) async fn a_snapshot_that_was_changed_is_corrupt(bench: &impl Bench) {
    let (store, fence) = owned(bench).await;
    for number in 1..3 {
        store.checkpoint(&fence, checkpoint(at(1, number), vec![0; 4_096]), at(1, 1)).await.unwrap();
    }
    if bench.spoil("s", at(1, 2)).await {
        let loaded = store.load(&fence, at(1, 2)).await;
        assert!(matches!(loaded, Err(StoreError::Corrupt(_))), "{loaded:?}");
    }
    // The one before is as good as ever.
    assert_eq!(store.load(&fence, at(1, 1)).await, Ok(Bytes::from(vec![0; 4_096])));
}

pub(crate) async fn a_session_ends_with_its_time(bench: &impl Bench) {
    let (store, _) = owned(bench).await;
    let fence = store.create("short", "b", LEASE).await.unwrap();
    store.checkpoint(&fence, checkpoint(at(1, 1), "one"), at(1, 1)).await.unwrap();
    store.record(&fence, 1, Bytes::from("done"), DAY).await.unwrap();
    bench.pass(LEASE).await;
    assert_eq!(store.claim("short", "b", 0).await, Ok(Claim::NotFound));
    assert_fenced(&store, &fence).await;
    let swept = if bench.sweeps_itself() { 0 } else { 1 };
    assert_eq!(store.gc().await, Ok(swept));
    assert_eq!(store.gc().await, Ok(0));
    // Nothing of it is in the next of its name.
    let next = store.create("short", "b", LEASE).await.unwrap();
    assert_eq!(store.load(&next, at(1, 1)).await, Err(StoreError::NotFound));
    assert_eq!(store.recorded(&next, 1).await, Ok(None));
    bench.pass(LEASE).await;
    store.create("short", "b", LEASE).await.unwrap();
    claimed(&store, "a").await;
}

pub(crate) async fn a_deleted_session_leaves_nothing(bench: &impl Bench) {
    let (store, fence) = owned(bench).await;
    store.checkpoint(&fence, checkpoint(at(1, 1), "one"), at(1, 1)).await.unwrap();
    store.record(&fence, -3, Bytes::from("done"), DAY).await.unwrap();
    store.delete(&fence).await.unwrap();
    assert_fenced(&store, &fence).await;
    assert_eq!(store.claim("s", "a", 0).await, Ok(Claim::NotFound));
    let next = store.create("s", "a", DAY).await.unwrap();
    assert_eq!(store.load(&next, at(1, 1)).await, Err(StoreError::NotFound));
    assert_eq!(store.recorded(&next, -3).await, Ok(None));
}

pub(crate) async fn recorded_calls_are_kept_for_their_time(bench: &impl Bench) {
    let (store, fence) = owned(bench).await;
    assert_eq!(store.recorded(&fence, 7).await, Ok(None));
    store.record(&fence, 7, Bytes::from_static(b"\x00first\xff"), DAY).await.unwrap();
    store.record(&fence, 7, Bytes::from("second"), DAY).await.unwrap();
    store.record(&fence, -7, Bytes::new(), LEASE).await.unwrap();
    assert_eq!(store.recorded(&fence, 7).await, Ok(Some(Bytes::from_static(b"\x00first\xff"))));
    assert_eq!(store.recorded(&fence, -7).await, Ok(Some(Bytes::new())));
    // They outlive their owner.
    store.release(&fence).await.unwrap();
    let fence = claimed(&store, "b").await.fence;
    assert_eq!(store.recorded(&fence, 7).await, Ok(Some(Bytes::from_static(b"\x00first\xff"))));
    bench.pass(LEASE).await;
    assert_eq!(store.recorded(&fence, -7).await, Ok(None));
    store.record(&fence, -7, Bytes::from("again"), DAY).await.unwrap();
    assert_eq!(store.recorded(&fence, -7).await, Ok(Some(Bytes::from("again"))));
    store.gc().await.unwrap();
    assert_eq!(store.recorded(&fence, 7).await, Ok(Some(Bytes::from_static(b"\x00first\xff"))));
}

pub(crate) async fn recorded_calls_are_bounded(bench: &impl Bench) {
    let (store, fence) = owned(bench).await;
    let mib = Bytes::from(vec![b'x'; OUTCOME_BYTES_MAX]);
    let fit = RECORDED_BYTES_MAX / (OUTCOME_BYTES_MAX + RECORDED_BYTES_EACH);
    for call in 0..fit as i64 {
        store.record(&fence, call, mib.clone(), LEASE).await.unwrap();
    }
    // One that is there is not counted twice.
    store.record(&fence, 0, mib.clone(), LEASE).await.unwrap();
    // Even an empty one takes room.
    let left = RECORDED_BYTES_MAX - fit * (OUTCOME_BYTES_MAX + RECORDED_BYTES_EACH);
    let last = Bytes::from(vec![b'x'; left - RECORDED_BYTES_EACH]);
    store.record(&fence, -1, last, LEASE).await.unwrap();
    let refused = store.record(&fence, -2, Bytes::new(), LEASE).await;
    let too_much = StoreError::TooMuch {
        what: "bytes of a session's recorded calls",
        size: (RECORDED_BYTES_MAX + RECORDED_BYTES_EACH) as u64,
        max: RECORDED_BYTES_MAX as u64,
    };
    assert_eq!(refused, Err(too_much));
    assert_eq!(store.recorded(&fence, -2).await, Ok(None));
    // What is past its time makes room.
    bench.pass(LEASE).await;
    for call in 0..fit as i64 {
        store.record(&fence, call, mib.clone(), DAY).await.unwrap();
    }
    store.record(&fence, -2, mib, DAY).await.unwrap_err();
}

pub(crate) async fn durable_references_are_listed_and_revoked(bench: &impl Bench) {
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
    // The answer may have been lost.
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
    // Only whose it is may revoke it, as often as they like.
    assert_eq!(store.revoke("bob", "ann-03").await, Ok(false));
    assert_eq!(store.revoke("ann ⌘", "ann-03").await, Ok(true));
    assert_eq!(store.revoke("ann ⌘", "ann-03").await, Ok(false));
    assert_eq!(store.sturdy("ann-03").await, Ok(None));
    let page = store.list_sturdy("ann ⌘", "ann-02", 1).await.unwrap();
    assert_eq!(page[0].id, "ann-04");
    // They do not end with time.
    bench.pass(LEASE).await;
    store.gc().await.unwrap();
    assert_eq!(store.sturdy("ann-04").await, Ok(Some(record("ann ⌘", "label 4"))));
}

pub(crate) async fn what_is_too_large_is_refused_by_name(bench: &impl Bench) {
    let (store, fence) = owned(bench).await;
    let long = "x".repeat(NAME_BYTES_MAX + 1);
    let record =
        |label: &str| SturdyRecord { owner: "ann".to_owned(), label: label.to_owned(), recipe: Bytes::from("{}") };
    let put = async |checkpoint| store.checkpoint(&fence, checkpoint, at(1, 1)).await;
    let one = || checkpoint(at(1, 1), "one");
    let too_much = [
        store.open_owner(&long, DAY).await,
        store.create(&long, "a", DAY).await.map(drop),
        store.claim("s", "a", EPOCH_MAX + 1).await.map(drop),
        store.save(&long, record("fine")).await,
        store.save("fine", record(&"x".repeat(LABEL_BYTES_MAX + 1))).await,
        store.record(&fence, 1, Bytes::from(vec![0; OUTCOME_BYTES_MAX + 1]), DAY).await,
        store.record(&fence, i64::MIN, Bytes::new(), DAY).await,
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
        store.create("a b", "a", DAY).await.map(drop),
        store.save("ümlaut", record("fine")).await,
        put(Checkpoint { tokens: vec![Jti("a b".to_owned())], ..one() }).await,
    ];
    for refused in misnamed {
        assert!(matches!(refused, Err(StoreError::Name(_))), "{refused:?}");
    }
    let far = store.claim("s", "a", EPOCH_MAX).await;
    assert!(matches!(far, Err(StoreError::TooMuch { what: "epoch", .. })), "{far:?}");
    // A name that is none names nothing.
    assert_eq!(store.claim("a b", "a", 0).await, Ok(Claim::NotFound));
    assert_eq!(store.sturdy("").await, Ok(None));
    assert_eq!(store.list_sturdy("ann", "", usize::MAX).await, Ok(Vec::new()));
    bench.fill("ann", STURDY_MAX - 1).await;
    store.save("last", record("fine")).await.unwrap();
    let refused = store.save("one-more", record("fine")).await;
    assert!(matches!(refused, Err(StoreError::TooMuch { what: "references of an owner", .. })), "{refused:?}");
    // What is large and may be is kept.
    let large = Bytes::from(vec![7; 8 << 20]);
    store.checkpoint(&fence, checkpoint(at(1, 1), large.clone()), at(1, 1)).await.unwrap();
    assert_eq!(store.load(&fence, at(1, 1)).await, Ok(large));
}

/// Owners that take the session from each other, and each time add one to what its newest
/// checkpoint says. Those who are paused in between must not undo what others did.
pub(crate) async fn no_update_is_lost_between_owners(bench: &impl Bench) {
    let (store, fence) = owned(bench).await;
    store.checkpoint(&fence, checkpoint(at(1, 0), "0"), at(1, 0)).await.unwrap();
    store.release(&fence).await.unwrap();
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
            store.release(&claimed.fence).await.unwrap();
            assert_eq!(store.checkpoint(&claimed.fence, next, newest).await, Err(StoreError::Fenced));
        } else {
            store.checkpoint(&claimed.fence, next, newest).await.unwrap();
            added.insert(value + 1);
            store.release(&claimed.fence).await.unwrap();
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
