//! The log of recorded calls, in the store that has their session.

use std::sync::{Arc, Weak};

use async_trait::async_trait;
use bowline_core::error::ErrorCode;
use bowline_core::peer::{Begun, CallLog};
use bytes::Bytes;

use super::Keeper;
use super::fence::CurrentFence;
use crate::registry::Registry;
use crate::store::{Fence, Recorded, SessionStore, StoreError};

/// The record of a call that has begun. Its outcome is a record of its own.
const BEGUN: &[u8] = b"";

/// The log of one session.
pub(super) struct Outcomes {
    store: Arc<dyn SessionStore>,
    current: Arc<CurrentFence>,
    keeper: Weak<Keeper>,
    registry: Weak<Registry>,
}

impl Outcomes {
    pub(super) fn new(
        store: &Arc<dyn SessionStore>,
        current: &Arc<CurrentFence>,
        keeper: &Arc<Keeper>,
        registry: &Arc<Registry>,
    ) -> Self {
        let (keeper, registry) = (Arc::downgrade(keeper), Arc::downgrade(registry));
        Self { store: Arc::clone(store), current: Arc::clone(current), keeper, registry }
    }

    async fn recorded(&self, number: i64) -> Result<Recorded, ErrorCode> {
        let keeper = self.keeper.upgrade().ok_or(ErrorCode::StoreUnavailable)?;
        let recorded = |fence: Fence| async move { self.store.recorded(&fence, number).await };
        keeper.fenced(&self.registry, &self.current, recorded).await.map_err(code)
    }

    async fn record(&self, number: i64, outcome: Bytes) -> Result<(), ErrorCode> {
        let keeper = self.keeper.upgrade().ok_or(ErrorCode::StoreUnavailable)?;
        let record = |fence: Fence| {
            let outcome = outcome.clone();
            async move { self.store.record(&fence, number, outcome).await }
        };
        keeper.fenced(&self.registry, &self.current, record).await.map_err(code)
    }
}

#[async_trait]
impl CallLog for Outcomes {
    async fn begin(&self, call: i64) -> Result<Begun, ErrorCode> {
        // The outcome is stored under another number, because a record cannot be overwritten.
        match self.recorded(ended(call)).await? {
            Recorded::Kept(outcome) => {
                return String::from_utf8(outcome.into()).map(Begun::Ended).map_err(|_garbled| ErrorCode::StoreCorrupt);
            }
            // The call may have completed, so it must not run.
            Recorded::Forgotten => return Ok(Begun::Before),
            Recorded::Never => {}
        }
        if self.recorded(call).await? != Recorded::Never {
            return Ok(Begun::Before);
        }
        self.record(call, Bytes::from_static(BEGUN)).await?;
        self.current.note_begun(call);
        Ok(Begun::Now)
    }

    async fn end(&self, call: i64, outcome: &str) -> Result<(), ErrorCode> {
        self.record(ended(call), Bytes::copy_from_slice(outcome.as_bytes())).await
    }
}

/// Returns the number of a call's outcome. The numbers of calls are positive.
fn ended(call: i64) -> i64 {
    -call
}

fn code(error: StoreError) -> ErrorCode {
    tracing::warn!(%error, "cannot log a recorded call");
    match error {
        StoreError::Fenced => ErrorCode::SessionElsewhere,
        StoreError::Corrupt(_) => ErrorCode::StoreCorrupt,
        _ => ErrorCode::StoreUnavailable,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use super::*;
    use crate::recovery::Recovery;
    use crate::resumption::Resumption;
    use crate::store::{Claim, Clock, MemoryStore, OUTCOME_BYTES_MAX, RECORDED_BYTES_MAX};

    const DAY: Duration = Duration::from_secs(86_400);

    /// Returns the log of a session in a store with a manual clock, and its keeper.
    async fn log(now: &Arc<Mutex<Duration>>) -> (Outcomes, Arc<Keeper>) {
        let clock = Arc::clone(now);
        let clock = Clock::new(move || *clock.lock().unwrap());
        let store: Arc<dyn SessionStore> = Arc::new(MemoryStore::with_clock(clock));
        store.open_owner("a", DAY).await.unwrap();
        let fence = store.create("s", "a", DAY, None).await.unwrap();
        let keeper = Keeper::new(Recovery::in_shared_store(Arc::clone(&store)));
        let registry = Registry::new(Resumption::default(), Some(Arc::clone(&keeper)));
        (Outcomes::new(&store, &CurrentFence::new(fence, 0), &keeper, &registry), keeper)
    }

    #[tokio::test]
    async fn call_that_began_before_the_store_lost_the_session_is_not_run_again() {
        let (log, keeper, _registry) = owned_log().await;
        let store = Arc::clone(keeper.store.as_ref().unwrap());
        assert_eq!(log.begin(1).await, Ok(Begun::Now));
        store.delete(&log.current.get()).await.unwrap();
        assert_eq!(log.begin(1).await, Ok(Begun::Before));
        // The process that claims the session next sees the same.
        let fence = log.current.get();
        assert_eq!(store.recorded(&fence, 1).await, Ok(Recorded::Forgotten));
    }

    #[tokio::test]
    async fn call_that_begins_after_the_store_lost_the_session_runs() {
        let (log, keeper, _registry) = owned_log().await;
        let store = Arc::clone(keeper.store.as_ref().unwrap());
        assert_eq!(log.begin(1).await, Ok(Begun::Now));
        store.delete(&log.current.get()).await.unwrap();
        assert_eq!(log.begin(2).await, Ok(Begun::Now));
        assert_eq!(log.begin(1).await, Ok(Begun::Before));
    }

    #[tokio::test]
    async fn session_that_was_given_back_is_not_claimed_again_for_a_call() {
        let (log, keeper, _registry) = owned_log().await;
        let store = Arc::clone(keeper.store.as_ref().unwrap());
        let fence = log.current.give_back().await;
        store.release(&fence, DAY).await.unwrap();
        assert_eq!(log.begin(1).await, Err(ErrorCode::SessionElsewhere));
        store.open_owner("b", DAY).await.unwrap();
        let claim = store.claim("s", "b", 0).await.unwrap();
        assert!(matches!(claim, Claim::Claimed(_)), "{claim:?}");
    }

    /// Creates the log of a session whose process has a lease.
    async fn owned_log() -> (Outcomes, Arc<Keeper>, Arc<Registry>) {
        let store: Arc<dyn SessionStore> = Arc::new(MemoryStore::new());
        let keeper = Keeper::new(Recovery::in_shared_store(Arc::clone(&store)));
        let registry = Registry::new(Resumption::default(), Some(Arc::clone(&keeper)));
        let owner = keeper.owner(&store, &registry).await.unwrap();
        let fence = store.create("s", &owner, DAY, None).await.unwrap();
        let log = Outcomes::new(&store, &CurrentFence::new(fence, 0), &keeper, &registry);
        (log, keeper, registry)
    }

    #[tokio::test]
    async fn outcome_is_kept_as_long_as_its_session() {
        let now = Arc::default();
        let (log, _keeper) = log(&now).await;
        assert_eq!(log.begin(1).await, Ok(Begun::Now));
        log.end(1, "7").await.unwrap();
        assert_eq!(log.begin(2).await, Ok(Begun::Now));
        for passed in [700, 3_600, 80_000] {
            *now.lock().unwrap() = Duration::from_secs(passed);
            assert_eq!(log.begin(1).await, Ok(Begun::Ended("7".to_owned())));
            assert_eq!(log.begin(2).await, Ok(Begun::Before));
        }
    }

    #[tokio::test]
    async fn call_whose_outcome_was_forgotten_is_not_run() {
        let (log, _keeper) = log(&Arc::default()).await;
        let long = "x".repeat(OUTCOME_BYTES_MAX);
        let calls = 2 * (RECORDED_BYTES_MAX / OUTCOME_BYTES_MAX) as i64;
        for call in 2..=calls {
            assert_eq!(log.begin(call).await, Ok(Begun::Now));
            log.end(call, &long).await.unwrap();
        }
        assert_eq!(log.begin(calls).await, Ok(Begun::Ended(long)));
        // The first is a call that ended, the second one that may or may not have begun.
        assert_eq!(log.begin(2).await, Ok(Begun::Before));
        assert_eq!(log.begin(1).await, Ok(Begun::Before));
        assert_eq!(log.begin(calls + 1).await, Ok(Begun::Now));
    }
}
