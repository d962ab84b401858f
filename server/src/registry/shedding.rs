//! Ends sessions when all of them together hold too many bytes: detached ones first, the largest
//! first.

use std::cmp::Reverse;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bowline_core::error::ErrorCode;
use bowline_core::peer::{MemoryBudget, MemoryShare};
use bowline_core::session::ClosedBy;
use tokio::time::sleep;

use super::{Entry, Registry};

/// How long closed sessions have to release their memory before more are closed.
const SETTLE: Duration = Duration::from_millis(20);

impl Registry {
    /// Starts the task that keeps the sessions of the service within a budget, unless it has
    /// started.
    pub(crate) fn watch_memory(self: &Arc<Self>, budget: &MemoryBudget) {
        if self.watches_memory.load(Ordering::Relaxed) || self.watches_memory.swap(true, Ordering::SeqCst) {
            return;
        }
        let dropped = self.dropped();
        let watching = watch(Arc::downgrade(self), budget.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = watching => {}
                () = dropped => {}
            }
        });
    }

    /// Closes sessions until the rest is within the budget.
    fn shed(&self, budget: &MemoryBudget) {
        let mut over = budget.held_bytes().saturating_sub(budget.bytes_max());
        let mut shares = budget.shares();
        shares.sort_unstable_by_key(|share| (!share.is_detached, Reverse(share.bytes)));
        let entries = self.of_whom(|_| true);
        for share in shares {
            if over == 0 {
                return;
            }
            over = over.saturating_sub(share.bytes);
            self.close_share(&share, &entries, budget.bytes_max());
        }
    }

    fn close_share(&self, share: &MemoryShare, entries: &[Arc<Entry>], bytes_max: usize) {
        let entry = entries.iter().find(|entry| entry.connection.is_same(&share.connection));
        tracing::warn!(
            monotonic_counter.bowline_sessions_shed = 1_u64,
            session = entry.map(|entry| entry.id.as_str()),
            bytes = share.bytes,
            is_detached = share.is_detached,
            bytes_max,
            "session closed: all sessions together exceed HttpLimits::total_held_bytes"
        );
        let code = &ErrorCode::BufferOverflow;
        let message = format!("limit: bytes held by all sessions of the service (at most {bytes_max})");
        match entry {
            Some(entry) => self.evict(entry, code, &message),
            None => share.connection.end_with(ClosedBy::Local, code, &message),
        }
    }
}

async fn watch(registry: Weak<Registry>, budget: MemoryBudget) {
    loop {
        budget.exceeded().await;
        let Some(registry) = registry.upgrade() else { return };
        registry.shed(&budget);
        drop(registry);
        sleep(SETTLE).await;
    }
}
