//! Durable sessions: those that this process owns in a store, and the end of its lease on them.

use std::sync::Arc;
use std::time::Duration;

use bowline_core::error::ErrorCode;
use bowline_core::link::Refused;
use bowline_core::session::ClosedBy;
use tokio::time::Instant;

use super::{Entry, Registry};

/// How long a client waits before it tries again to resume a session whose lease must be renewed
/// first.
const LEASE_RETRY_MS: u64 = 100;

impl Registry {
    /// Returns the open sessions that outlive this process.
    pub(crate) fn kept(&self) -> Vec<Arc<Entry>> {
        let kept = self.sessions.iter().filter(|entry| entry.kept.is_some() && !entry.connection.is_closed());
        kept.map(|entry| Arc::clone(entry.value())).collect()
    }

    /// Returns whether there are sessions that outlive this process.
    pub(crate) fn has_kept(&self) -> bool {
        self.sessions.iter().any(|entry| entry.kept.is_some())
    }

    /// Returns the sessions that this process owns under an owner name.
    pub(crate) fn owned_by(&self, owner: &str) -> Vec<Arc<Entry>> {
        let is_owned = |entry: &Entry| {
            let fence = entry.kept.as_ref().and_then(|kept| kept.fence.as_ref());
            fence.is_some_and(|fence| fence.is_owned_by(owner))
        };
        self.sessions.iter().filter(|entry| is_owned(entry)).map(|entry| Arc::clone(entry.value())).collect()
    }

    /// Extends the lease of the sessions that this process owns under an owner name.
    pub(crate) fn extend_leases(&self, owner: &str, until: Instant) {
        for entry in self.owned_by(owner) {
            entry.connection.extend_lease(until.saturating_duration_since(Instant::now()));
        }
    }

    /// Ends the sessions that this process owned under an owner name, without storing them: other
    /// processes may own them by now.
    pub(crate) fn let_go_of(&self, owner: &str) {
        self.owned_by(owner).iter().for_each(|entry| self.let_go(entry));
    }

    /// Ends a session without storing it: another process may own it by now.
    pub(crate) fn let_go(&self, entry: &Entry) {
        if let Some(kept) = &entry.kept {
            kept.retire();
        }
        self.remove(&entry.id);
        let message = "the lease of this process on the session has ended";
        entry.connection.end_with(ClosedBy::Transport, &ErrorCode::SessionElsewhere, message);
    }

    /// Returns how long the store keeps a session after it was created.
    pub(crate) fn session_lifetime(&self) -> Duration {
        self.resumption.tokens.session_lifetime
    }
}

/// Refuses a resume until it is known whether this process still owns the session.
pub(super) fn lease_undecided() -> Refused {
    let message = "the lease on the session must be renewed first";
    let refused = Refused::new(ErrorCode::StoreUnavailable, message);
    Refused { retryable: true, retry_after_ms: Some(LEASE_RETRY_MS), ..refused }
}
