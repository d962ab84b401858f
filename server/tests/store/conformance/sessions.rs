//! Ownership of sessions, and their checkpoints.

use std::sync::Arc;

use bowline_core::resume::Jti;
use bowline_server::store::{
    ADDRESS_BYTES_MAX, CHECKPOINTS_MAX, Checkpoint, Claim, EPOCH_MAX, Fence, Held, OwnerInfo, Place, Recorded,
    StoreError, TOKENS_MAX, Wanted,
};
use bytes::Bytes;
use futures_util::future::join_all;

use super::{Bench, DAY, LEASE, assert_fenced, at, checkpoint, claimed, leased, owned};

pub(crate) async fn session_is_created_once(bench: &impl Bench) {
    let (store, fence) = owned(bench).await;
    assert_eq!(fence, Fence { sid: "s".to_owned(), owner: "a".to_owned(), epoch: 1 });
    // The reply may have been lost, so the same operation succeeds again.
    assert_eq!(store.create("s", "a", DAY, None).await, Ok(fence.clone()));
    assert_eq!(store.create("s", "b", DAY, None).await, Err(StoreError::Taken));
    assert_eq!(store.create("t", "stranger", DAY, None).await, Err(StoreError::Fenced));
    assert_eq!(store.claim("s", "stranger", 0).await, Err(StoreError::Fenced));
    assert_eq!(store.claim("t", "a", 0).await, Ok(Claim::NotFound));
    assert_eq!(store.load(&fence, at(1, 1)).await, Err(StoreError::NotFound));
    store.checkpoint(&fence, checkpoint(at(1, 1), "one"), at(1, 1)).await.unwrap();
    assert_eq!(store.create("s", "a", DAY, None).await, Err(StoreError::Taken));
    // Another process sees the session.
    let other = bench.open().await;
    assert_eq!(other.load(&fence, at(1, 1)).await, Ok(Bytes::from("one")));
    assert_eq!(other.open_owner("a", DAY).await, Err(StoreError::Taken));
}

pub(crate) async fn one_of_many_concurrent_claims_succeeds(bench: &impl Bench) {
    let (store, fence) = owned(bench).await;
    for round in 0..4 {
        if round == 0 {
            store.release(&fence, DAY).await.unwrap();
        } else {
            // The winner of the previous round stops.
            let Claim::Held(_) = store.claim("s", "b", 0).await.unwrap() else { panic!("the session is free") };
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

pub(crate) async fn paused_owner_is_fenced(bench: &impl Bench) {
    let (store, paused) = leased(bench, LEASE).await;
    store.checkpoint(&paused, checkpoint(at(1, 1), "by a"), at(1, 1)).await.unwrap();
    let Claim::Held(Held { left, .. }) = store.claim("s", "b", 0).await.unwrap() else {
        panic!("owner `a` lost the session")
    };
    assert!(!left.is_zero() && left <= LEASE, "{left:?}");
    bench.pass(LEASE).await;
    let fence = claimed(&store, "b").await.fence;
    assert_eq!(fence, Fence { sid: "s".to_owned(), owner: "b".to_owned(), epoch: 2 });
    // The paused owner wakes and acts on its fence.
    assert_fenced(&store, &paused).await;
    assert_eq!(store.renew_owner("a", LEASE).await, Err(StoreError::Fenced));
    assert_eq!(store.claim("s", "a", 9).await, Err(StoreError::Fenced));
    assert_eq!(store.create("t", "a", DAY, None).await, Err(StoreError::Fenced));
    // Its attempts had no effect.
    assert_eq!(store.load(&fence, at(1, 1)).await, Ok(Bytes::from("by a")));
    assert_eq!(store.recorded(&fence, 1).await, Ok(Recorded::Never));
    store.checkpoint(&fence, checkpoint(at(1, 2), "by b"), at(1, 1)).await.unwrap();
    let again = claimed(&store, "b").await;
    assert_eq!((again.checkpoints, again.tokens), (vec![at(1, 1), at(1, 2)], vec![Jti("token-2".to_owned())]));
}

pub(crate) async fn owner_is_told_which_sessions_are_wanted(bench: &impl Bench) {
    let (store, fence) = owned(bench).await;
    let other = bench.open().await;
    let wanted = |token: &str| Wanted { sid: "s".to_owned(), token: Jti(token.to_owned()) };
    store.checkpoint(&fence, checkpoint(at(1, 1), "one"), at(1, 1)).await.unwrap();
    assert_eq!(store.wanted("stranger").await, Err(StoreError::Fenced));
    assert_eq!(store.wanted("a").await, Ok(Vec::new()));
    for _ in 0..2 {
        // The owner is told once, with the token that was presented last.
        for token in ["first", "last", "last"] {
            let Claim::Held(held) = other.claim("s", "b", 0).await.unwrap() else {
                panic!("owner `a` lost the session")
            };
            assert_eq!((held.known_epoch, held.tokens), (1, vec![Jti("token-1".to_owned())]));
            other.want(&wanted(token)).await.unwrap();
        }
        assert_eq!(store.wanted("b").await, Ok(Vec::new()));
        assert_eq!(store.wanted("a").await, Ok(vec![wanted("last")]));
        assert_eq!(store.wanted("a").await, Ok(Vec::new()));
    }
    // A request for a session that has no owner or does not exist reaches no owner.
    store.release(&fence, DAY).await.unwrap();
    other.want(&wanted("late")).await.unwrap();
    other.want(&Wanted { sid: "t".to_owned(), token: Jti("none".to_owned()) }).await.unwrap();
    assert_eq!(store.wanted("a").await, Ok(Vec::new()));
    claimed(&other, "b").await;
    assert_eq!(other.wanted("b").await, Ok(Vec::new()));
    store.want(&wanted("back")).await.unwrap();
    assert_eq!(other.wanted("b").await, Ok(vec![wanted("back")]));
    let bad = Wanted { sid: "s".to_owned(), token: Jti(String::new()) };
    assert_eq!(store.want(&bad).await, Err(StoreError::Name("the name of a token")));
}

pub(crate) async fn owner_publishes_its_address(bench: &impl Bench) {
    let (store, _fence) = owned(bench).await;
    let address_of = async || match store.claim("s", "b", 0).await.unwrap() {
        Claim::Held(Held { address, .. }) => address,
        other => panic!("{other:?}"),
    };
    assert_eq!(address_of().await, None);
    let mut info = OwnerInfo::default();
    info.address = Some("wss://one.example/rpc?shard=1".to_owned());
    store.describe_owner("a", &info, Place::TakenOver).await.unwrap();
    store.renew_owner("a", DAY).await.unwrap();
    assert_eq!(address_of().await, info.address);
    assert_eq!(store.describe_owner("stranger", &info, Place::TakenOver).await, Err(StoreError::Fenced));
    info.address = Some("w".repeat(ADDRESS_BYTES_MAX + 1));
    assert!(matches!(store.describe_owner("a", &info, Place::TakenOver).await, Err(StoreError::TooMuch { .. })));
}

pub(crate) async fn new_owner_of_an_instance_ends_the_previous_one(bench: &impl Bench) {
    let (store, fence) = owned(bench).await;
    store.open_owner("c", DAY).await.unwrap();
    store.create("t", "c", DAY, None).await.unwrap();
    let named = |name: &str| {
        let mut info = OwnerInfo::default();
        info.instance = Some(name.to_owned());
        info
    };
    store.describe_owner("a", &named("shop-0"), Place::TakenOver).await.unwrap();
    store.describe_owner("c", &named("shop-1"), Place::TakenOver).await.unwrap();
    assert!(matches!(store.claim("s", "b", 0).await, Ok(Claim::Held(_))));
    store.describe_owner("b", &named("shop-0"), Place::TakenOver).await.unwrap();
    // The reply may have been lost, so the same operation succeeds again.
    store.describe_owner("b", &named("shop-0"), Place::TakenOver).await.unwrap();
    assert_eq!(store.renew_owner("a", DAY).await, Err(StoreError::Fenced));
    assert_eq!(store.wanted("a").await, Err(StoreError::Fenced));
    assert_eq!(claimed(&store, "b").await.fence.epoch, 2);
    assert_fenced(&store, &fence).await;
    // An owner that continues under another name does not take the place from its current holder.
    store.open_owner("d", DAY).await.unwrap();
    assert_eq!(store.describe_owner("d", &named("shop-0"), Place::Kept).await, Err(StoreError::Taken));
    store.renew_owner("b", DAY).await.unwrap();
    store.describe_owner("d", &named("shop-2"), Place::Kept).await.unwrap();
    // Owners of other instances are not affected.
    store.renew_owner("c", DAY).await.unwrap();
    assert!(matches!(store.claim("t", "b", 0).await, Ok(Claim::Held(_))));
    assert_eq!(
        store.describe_owner("b", &named(""), Place::TakenOver).await,
        Err(StoreError::Name("the name of an instance"))
    );
}

pub(crate) async fn lease_lasts_as_long_as_it_is_renewed(bench: &impl Bench) {
    let (store, fence) = leased(bench, LEASE).await;
    for _ in 0..5 {
        bench.pass(LEASE / 4).await;
        store.renew_owner("a", LEASE).await.unwrap();
    }
    assert!(matches!(store.claim("s", "b", 0).await, Ok(Claim::Held(_))));
    store.checkpoint(&fence, checkpoint(at(1, 1), "one"), at(1, 1)).await.unwrap();
}

pub(crate) async fn ended_lease_cannot_be_renewed(bench: &impl Bench) {
    let (store, fence) = leased(bench, LEASE).await;
    assert_eq!(store.renew_owner("stranger", LEASE).await, Err(StoreError::Fenced));
    bench.pass(LEASE).await;
    assert_eq!(store.renew_owner("a", LEASE).await, Err(StoreError::Fenced));
    store.gc().await.unwrap();
    assert_eq!(store.renew_owner("a", LEASE).await, Err(StoreError::Fenced));
    // No other owner took the session meanwhile, so the process can claim it under another name.
    store.open_owner("a2", LEASE).await.unwrap();
    assert_eq!(claimed(&store, "a2").await.fence.epoch, 2);
    assert_fenced(&store, &fence).await;
}

pub(crate) async fn sessions_of_a_stopped_owner_can_be_claimed(bench: &impl Bench) {
    let (store, fence) = owned(bench).await;
    let other = store.create("t", "a", DAY, None).await.unwrap();
    store.release(&other, DAY).await.unwrap();
    assert_eq!(store.release(&other, DAY).await, Err(StoreError::Fenced));
    assert!(matches!(store.claim("t", "b", 0).await, Ok(Claim::Claimed(_))));
    assert!(matches!(store.claim("s", "b", 0).await, Ok(Claim::Held(_))));
    store.close_owner("a").await.unwrap();
    store.close_owner("a").await.unwrap();
    claimed(&store, "b").await;
    assert_fenced(&store, &fence).await;
}

pub(crate) async fn owner_may_claim_its_own_session(bench: &impl Bench) {
    let (store, fence) = owned(bench).await;
    // The reply to the first claim was lost, so the owner claims again.
    let lost = claimed(&store, "a").await.fence;
    let held = claimed(&store, "a").await.fence;
    assert_eq!((lost.epoch, held.epoch), (2, 3));
    assert_fenced(&store, &fence).await;
    assert_fenced(&store, &lost).await;
    store.checkpoint(&held, checkpoint(at(1, 1), "one"), at(1, 1)).await.unwrap();
}

pub(crate) async fn epochs_exceed_all_that_were_seen(bench: &impl Bench) {
    let (store, fence) = owned(bench).await;
    store.release(&fence, DAY).await.unwrap();
    let Ok(Claim::Claimed(seen)) = store.claim("s", "b", 41).await else { panic!("the session is not free") };
    // `known_epoch` is the epoch of the last checkpoint. Later tokens are unknown to the store.
    assert_eq!((seen.fence.epoch, seen.known_epoch), (42, 0));
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
    // 9 comes before 10, and the first position of a lineage after the last of the previous one.
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
    // The newest position may be stored again, because the reply may have been lost.
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

pub(crate) async fn claim_returns_tokens_of_the_newest_checkpoint(bench: &impl Bench) {
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

pub(crate) async fn modified_snapshot_is_corrupt(bench: &impl Bench) {
    let (store, fence) = owned(bench).await;
    for number in 1..3 {
        store.checkpoint(&fence, checkpoint(at(1, number), vec![0; 4_096]), at(1, 1)).await.unwrap();
    }
    if bench.spoil("s", at(1, 2)).await {
        let loaded = store.load(&fence, at(1, 2)).await;
        assert!(matches!(loaded, Err(StoreError::Corrupt(_))), "{loaded:?}");
    }
    // The previous checkpoint is intact.
    assert_eq!(store.load(&fence, at(1, 1)).await, Ok(Bytes::from(vec![0; 4_096])));
}

pub(crate) async fn session_ends_with_its_lifetime(bench: &impl Bench) {
    let (store, _) = owned(bench).await;
    let fence = store.create("short", "b", LEASE, None).await.unwrap();
    store.checkpoint(&fence, checkpoint(at(1, 1), "one"), at(1, 1)).await.unwrap();
    store.record(&fence, 1, Bytes::from("done")).await.unwrap();
    bench.pass(LEASE).await;
    assert_eq!(store.claim("short", "b", 0).await, Ok(Claim::NotFound));
    assert_fenced(&store, &fence).await;
    let swept = if bench.sweeps_itself() { 0 } else { 1 };
    assert_eq!(store.gc().await, Ok(swept));
    assert_eq!(store.gc().await, Ok(0));
    // The next session of the same id has none of its data.
    let next = store.create("short", "b", LEASE, None).await.unwrap();
    assert_eq!(store.load(&next, at(1, 1)).await, Err(StoreError::NotFound));
    assert_eq!(store.recorded(&next, 1).await, Ok(Recorded::Never));
    bench.pass(LEASE).await;
    store.create("short", "b", LEASE, None).await.unwrap();
    claimed(&store, "a").await;
}

pub(crate) async fn deleted_session_leaves_nothing(bench: &impl Bench) {
    let (store, fence) = owned(bench).await;
    store.checkpoint(&fence, checkpoint(at(1, 1), "one"), at(1, 1)).await.unwrap();
    store.record(&fence, -3, Bytes::from("done")).await.unwrap();
    store.delete(&fence).await.unwrap();
    assert_fenced(&store, &fence).await;
    assert_eq!(store.claim("s", "a", 0).await, Ok(Claim::NotFound));
    let next = store.create("s", "a", DAY, None).await.unwrap();
    assert_eq!(store.load(&next, at(1, 1)).await, Err(StoreError::NotFound));
    assert_eq!(store.recorded(&next, -3).await, Ok(Recorded::Never));
}
