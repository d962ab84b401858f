//! What every store does, as cases that are each a test of each store.

/// Many owners, and the cost of one.
mod load;
/// What is stored for one client.
mod quotas;
/// What is not of sessions, and the bounds.
mod records;
/// Whose a session is.
mod sessions;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bowline_core::resume::Jti;
use bowline_server::store::{Checkpoint, Claim, Claimed, Fence, Position, SessionStore, StoreError};
use bytes::Bytes;

/// Every case, by its name.
pub(crate) mod cases {
    pub(crate) use super::load::*;
    pub(crate) use super::quotas::*;
    pub(crate) use super::records::*;
    pub(crate) use super::sessions::*;
}

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
                crate::conformance::cases::$case(&bench).await;
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
                session_that_is_wanted_is_told_to_its_owner,
                owner_says_where_it_is,
                instance_ends_the_owner_before,
                epochs_rise_above_all_that_were_seen,
                checkpoints_are_ordered_and_trimmed,
                tokens_are_those_of_the_newest_checkpoint,
                a_snapshot_that_was_changed_is_corrupt,
                a_session_ends_with_its_time,
                a_deleted_session_leaves_nothing,
                recorded_calls_are_kept_as_long_as_their_session,
                the_oldest_recorded_calls_are_forgotten_and_said_to_be,
                snapshots_of_a_client_share_its_quota,
                outcomes_and_sessions_count_towards_the_quota,
                sessions_past_their_time_make_room,
                a_session_that_nobody_claims_ends_early,
                durable_references_are_listed_and_revoked,
                what_is_too_large_is_refused_by_name,
                no_update_is_lost_between_owners,
                cost_of_a_checkpoint,
            );
        }
    };
}

/// Short enough to wait for where time cannot be moved, long enough not to end by accident.
pub(crate) const LEASE: Duration = Duration::from_secs(2);
pub(crate) const DAY: Duration = Duration::from_secs(86_400);

pub(crate) fn at(lineage: u64, number: u64) -> Position {
    Position { lineage, number }
}

pub(crate) fn checkpoint(at: Position, bytes: impl Into<Bytes>) -> Checkpoint {
    Checkpoint { at, epoch: 1, tokens: vec![Jti(format!("token-{}", at.number))], bytes: bytes.into() }
}

/// A store with owner `a`, who has session `s`, and owner `b`, who has none.
pub(crate) async fn owned(bench: &impl Bench) -> (Arc<dyn SessionStore>, Fence) {
    leased(bench, DAY).await
}

/// As [`owned`], with a lease of `a` that ends.
pub(crate) async fn leased(bench: &impl Bench, lease: Duration) -> (Arc<dyn SessionStore>, Fence) {
    let store = bench.open().await;
    store.open_owner("a", lease).await.unwrap();
    store.open_owner("b", DAY).await.unwrap();
    let fence = store.create("s", "a", DAY, None).await.unwrap();
    (store, fence)
}

/// Claims session `s` for an owner, who gets it.
pub(crate) async fn claimed(store: &Arc<dyn SessionStore>, owner: &str) -> Claimed {
    match store.claim("s", owner, 0).await.unwrap() {
        Claim::Claimed(claimed) => claimed,
        other => panic!("{other:?}"),
    }
}

/// Everything that takes a fence is refused.
pub(crate) async fn assert_fenced(store: &Arc<dyn SessionStore>, fence: &Fence) {
    let late = checkpoint(at(9, 9), "late");
    assert_eq!(store.checkpoint(fence, late, at(9, 9)).await, Err(StoreError::Fenced));
    assert_eq!(store.load(fence, at(1, 1)).await, Err(StoreError::Fenced));
    assert_eq!(store.record(fence, 1, Bytes::from("late")).await, Err(StoreError::Fenced));
    assert_eq!(store.recorded(fence, 1).await, Err(StoreError::Fenced));
    assert_eq!(store.release(fence, DAY).await, Err(StoreError::Fenced));
    assert_eq!(store.delete(fence).await, Err(StoreError::Fenced));
}
