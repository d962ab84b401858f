//! The outcomes of recorded calls, in the store that has their session.

use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bowline_core::error::ErrorCode;
use bowline_core::peer::{Begun, CallLog};
use bytes::Bytes;

use super::Keeper;
use super::fence::CurrentFence;
use crate::registry::Registry;
use crate::store::{Fence, SessionStore, StoreError};

/// How long an outcome is kept: as long as clients go on asking.
const KEPT: Duration = Duration::from_secs(600);

/// Says that a call has begun, and of its end nothing.
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

    async fn recorded(&self, number: i64) -> Result<Option<Bytes>, ErrorCode> {
        let keeper = self.keeper.upgrade().ok_or(ErrorCode::StoreUnavailable)?;
        let recorded = |fence: Fence| async move { self.store.recorded(&fence, number).await };
        keeper.fenced(&self.registry, &self.current, recorded).await.map_err(code)
    }

    async fn record(&self, number: i64, outcome: Bytes) -> Result<(), ErrorCode> {
        let keeper = self.keeper.upgrade().ok_or(ErrorCode::StoreUnavailable)?;
        let record = |fence: Fence| {
            let outcome = outcome.clone();
            async move { self.store.record(&fence, number, outcome, KEPT).await }
        };
        keeper.fenced(&self.registry, &self.current, record).await.map_err(code)
    }
}

#[async_trait]
impl CallLog for Outcomes {
    async fn begin(&self, call: i64) -> Result<Begun, ErrorCode> {
        // The end of a call is kept under a number of its own, since what is kept first stays.
        if let Some(outcome) = self.recorded(ended(call)).await? {
            return String::from_utf8(outcome.into()).map(Begun::Ended).map_err(|_garbled| ErrorCode::StoreCorrupt);
        }
        if self.recorded(call).await?.is_some() {
            return Ok(Begun::Before);
        }
        self.record(call, Bytes::from_static(BEGUN)).await?;
        Ok(Begun::Now)
    }

    async fn end(&self, call: i64, outcome: &str) -> Result<(), ErrorCode> {
        self.record(ended(call), Bytes::copy_from_slice(outcome.as_bytes())).await
    }
}

/// Numbers of calls are positive.
fn ended(call: i64) -> i64 {
    -call
}

fn code(error: StoreError) -> ErrorCode {
    tracing::warn!(%error, "the outcome of a call is not kept");
    match error {
        StoreError::Fenced => ErrorCode::SessionElsewhere,
        StoreError::Corrupt(_) => ErrorCode::StoreCorrupt,
        _ => ErrorCode::StoreUnavailable,
    }
}
