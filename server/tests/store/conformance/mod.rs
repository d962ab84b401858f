//! The conformance suite: cases that every store has to pass, each of which becomes a test of each store.

/// Many concurrent owners.
mod load;
/// Quotas of clients.
mod quotas;
/// Recorded calls, saved references, and limits.
mod records;
/// Ownership of sessions, and checkpoints.
mod sessions;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bowline_core::resume::Jti;
use bowline_server::store::{Checkpoint, Claim, Claimed, Fence, Position, SessionStore, StoreError};
use bytes::Bytes;

/// All cases by name.
pub(crate) mod cases {
    pub(crate) use super::load::*;
    pub(crate) use super::quotas::*;
    pub(crate) use super::records::*;
    pub(crate) use super::sessions::*;
}

/// A store under test, and what tests can do to it from outside.
#[async_trait]
pub(crate) trait Bench: Sync {
    /// Opens the store as another process does.
    async fn open(&self) -> Arc<dyn SessionStore>;

    /// Lets time pass on the store's clock.
    async fn pass(&self, time: Duration);

    /// Flips a bit of a stored snapshot. Returns `false` if the store does not allow that.
    async fn spoil(&self, sid: &str, at: Position) -> bool;

    /// Saves the given number of references for an owner.
    async fn fill(&self, owner: &str, references: usize);

    /// Returns `true` if the store removes expired sessions without `gc`.
    fn sweeps_itself(&self) -> bool;
}

/// Generates a test of each case, against the store that `$bench` creates.
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
        mod store_conformance {
            use super::*;

            store_conformance!(
                $bench,
                session_is_created_once,
                one_of_many_concurrent_claims_succeeds,
                paused_owner_is_fenced,
                lease_lasts_as_long_as_it_is_renewed,
                ended_lease_cannot_be_renewed,
                sessions_of_a_stopped_owner_can_be_claimed,
                owner_may_claim_its_own_session,
                owner_is_told_which_sessions_are_wanted,
                owner_publishes_its_address,
                new_owner_of_an_instance_ends_the_previous_one,
                epochs_exceed_all_that_were_seen,
                checkpoints_are_ordered_and_trimmed,
                claim_returns_tokens_of_the_newest_checkpoint,
                modified_snapshot_is_corrupt,
                session_ends_with_its_lifetime,
                deleted_session_leaves_nothing,
                recorded_outcomes_are_kept_as_long_as_their_session,
                oldest_recorded_outcomes_are_forgotten_and_reported_as_such,
                outcomes_declared_forgotten_are_reported_as_such,
                snapshots_of_a_client_share_its_quota,
                outcomes_and_sessions_count_towards_the_quota,
                expired_sessions_make_room,
                unclaimed_session_ends_early,
                saved_references_are_listed_and_revoked,
                values_beyond_a_limit_are_refused_by_name,
                no_update_is_lost_between_owners,
                cost_of_a_checkpoint,
            );
        }
    };
}

/// Short enough to wait for on a real clock, and long enough not to end by accident.
pub(crate) const LEASE: Duration = Duration::from_secs(2);
pub(crate) const DAY: Duration = Duration::from_secs(86_400);

pub(crate) fn at(lineage: u64, number: u64) -> Position {
    Position { lineage, number }
}

pub(crate) fn checkpoint(at: Position, bytes: impl Into<Bytes>) -> Checkpoint {
    Checkpoint { at, epoch: 1, tokens: vec![Jti(format!("token-{}", at.number))], bytes: bytes.into() }
}

/// Returns a store with owner `a`, which owns session `s`, and owner `b`, which owns none.
pub(crate) async fn owned(bench: &impl Bench) -> (Arc<dyn SessionStore>, Fence) {
    leased(bench, DAY).await
}

/// Returns a store with owner `a`, which owns session `s` for the time of `lease`, and owner `b`, which owns
/// none.
pub(crate) async fn leased(bench: &impl Bench, lease: Duration) -> (Arc<dyn SessionStore>, Fence) {
    let store = bench.open().await;
    store.open_owner("a", lease).await.unwrap();
    store.open_owner("b", DAY).await.unwrap();
    let fence = store.create("s", "a", DAY, None).await.unwrap();
    (store, fence)
}

/// Claims session `s` for an owner. Panics if the claim fails.
pub(crate) async fn claimed(store: &Arc<dyn SessionStore>, owner: &str) -> Claimed {
    match store.claim("s", owner, 0).await.unwrap() {
        Claim::Claimed(claimed) => claimed,
        other => panic!("{other:?}"),
    }
}

/// Asserts that every operation that takes a fence refuses this one.
pub(crate) async fn assert_fenced(store: &Arc<dyn SessionStore>, fence: &Fence) {
    let late = checkpoint(at(9, 9), "late");
    assert_eq!(store.checkpoint(fence, late, at(9, 9)).await, Err(StoreError::Fenced));
    assert_eq!(store.load(fence, at(1, 1)).await, Err(StoreError::Fenced));
    assert_eq!(store.record(fence, 1, Bytes::from("late")).await, Err(StoreError::Fenced));
    assert_eq!(store.recorded(fence, 1).await, Err(StoreError::Fenced));
    assert_eq!(store.release(fence, DAY).await, Err(StoreError::Fenced));
    assert_eq!(store.delete(fence).await, Err(StoreError::Fenced));
}
