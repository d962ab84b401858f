//! Sessions that outlive this process, by the name under which it has them.

use std::sync::Arc;
use std::time::Duration;

use bowline_core::error::ErrorCode;
use bowline_core::link::Refused;
use bowline_core::session::ClosedBy;
use tokio::time::Instant;

use super::{Entry, Registry};

/// How long a client waits before it asks again for a session whose lease is yet to be renewed.
const LEASE_RETRY_MS: u64 = 100;

impl Registry {
    /// The sessions that outlive this process.
    pub(crate) fn kept(&self) -> Vec<Arc<Entry>> {
        let kept = self.sessions.iter().filter(|entry| entry.kept.is_some() && !entry.connection.is_closed());
        kept.map(|entry| Arc::clone(entry.value())).collect()
    }

    /// Whether there are sessions that outlive this process.
    pub(crate) fn has_kept(&self) -> bool {
        self.sessions.iter().any(|entry| entry.kept.is_some())
    }

    /// The sessions that this process has under a name.
    pub(crate) fn owned_by(&self, owner: &str) -> Vec<Arc<Entry>> {
        let is_owned = |entry: &Entry| {
            let fence = entry.kept.as_ref().and_then(|kept| kept.fence.as_ref());
            fence.is_some_and(|fence| fence.is_owned_by(owner))
        };
        self.sessions.iter().filter(|entry| is_owned(entry)).map(|entry| Arc::clone(entry.value())).collect()
    }

    /// The process may go on with what it has under a name.
    pub(crate) fn extend_leases(&self, owner: &str, until: Instant) {
        for entry in self.owned_by(owner) {
            entry.connection.extend_lease(until.saturating_duration_since(Instant::now()));
        }
    }

    /// Others may have what this process had under a name: it ends here, and is not kept.
    pub(crate) fn let_go_of(&self, owner: &str) {
        self.owned_by(owner).iter().for_each(|entry| self.let_go(entry));
    }

    /// Another process may have the session: it ends here, and is not kept.
    pub(crate) fn let_go(&self, entry: &Entry) {
        if let Some(kept) = &entry.kept {
            kept.retire();
        }
        self.remove(&entry.id);
        let message = "the lease on the session is over";
        entry.connection.end_with(ClosedBy::Transport, &ErrorCode::SessionElsewhere, message);
    }

    /// How long a session is kept in the store from when it is created there.
    pub(crate) fn session_lifetime(&self) -> Duration {
        Duration::from_secs(self.resumption.tokens.session_seconds)
    }
}

/// Refuses a resume while it is not known whether this process may go on with the session.
pub(super) fn lease_undecided() -> Refused {
    let message = "the lease on the session is over, and is yet to be renewed";
    let refused = Refused::new(ErrorCode::StoreUnavailable, message);
    Refused { retryable: true, retry_after_ms: Some(LEASE_RETRY_MS), ..refused }
}
