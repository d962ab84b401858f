//! The outcomes of recorded calls, in the store that has their session.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bowline_core::error::ErrorCode;
use bowline_core::peer::{Begun, CallLog};
use bytes::Bytes;

use crate::store::{Fence, SessionStore, StoreError};

/// How long an outcome is kept: as long as clients go on asking.
const KEPT: Duration = Duration::from_secs(600);

/// Says that a call has begun, and of its end nothing.
const BEGUN: &[u8] = b"";

/// The log of one session.
pub(super) struct Outcomes {
    store: Arc<dyn SessionStore>,
    fence: Fence,
}

impl Outcomes {
    pub(super) fn new(store: &Arc<dyn SessionStore>, fence: &Fence) -> Self {
        Self { store: Arc::clone(store), fence: fence.clone() }
    }
}

#[async_trait]
impl CallLog for Outcomes {
    async fn begin(&self, call: i64) -> Result<Begun, ErrorCode> {
        // The end of a call is kept under a number of its own, since what is kept first stays.
        if let Some(outcome) = self.store.recorded(&self.fence, ended(call)).await.map_err(code)? {
            return String::from_utf8(outcome.into()).map(Begun::Ended).map_err(|_garbled| ErrorCode::StoreCorrupt);
        }
        if self.store.recorded(&self.fence, call).await.map_err(code)?.is_some() {
            return Ok(Begun::Before);
        }
        self.store.record(&self.fence, call, Bytes::from_static(BEGUN), KEPT).await.map_err(code)?;
        Ok(Begun::Now)
    }

    async fn end(&self, call: i64, outcome: &str) -> Result<(), ErrorCode> {
        self.store
            .record(&self.fence, ended(call), Bytes::copy_from_slice(outcome.as_bytes()), KEPT)
            .await
            .map_err(code)
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
