//! Draining sessions without a connection: their calls complete first.

use std::sync::Arc;

use bowline_core::error::ErrorCode;
use bowline_core::session::ClosedBy;
use tokio::time::timeout_at;

use super::{Entry, Registry};
use crate::drain::{Deadlines, GOING_AWAY, Sessions, Ticket};

impl Registry {
    /// Drains every parked session.
    pub(crate) fn drain_parked(self: &Arc<Self>, sessions: &Sessions, deadlines: Deadlines) {
        for entry in self.of_whom(|entry| entry.parked_since().is_some()) {
            let (registry, ticket) = (Arc::clone(self), sessions.hold());
            tokio::spawn(async move { registry.drain_detached(&entry, &ticket, deadlines).await });
        }
    }

    /// Waits until the calls of a session without a connection have completed. Then stores the
    /// session for another process, or ends it if it is not durable.
    pub(crate) async fn drain_detached(self: &Arc<Self>, entry: &Entry, ticket: &Ticket, deadlines: Deadlines) {
        if timeout_at(deadlines.calls, entry.connection.quiet()).await.is_err() {
            ticket.cut(entry.connection.calls_running());
        }
        if entry.kept.is_some() && !entry.connection.is_closed() {
            // After the timeout, the previous checkpoint stands.
            drop(timeout_at(deadlines.all, self.retire(entry, GOING_AWAY.1)).await);
        } else {
            tracing::debug!(
                monotonic_counter.bowline_sessions_lost = 1_u64,
                session = entry.id,
                code = %ErrorCode::Draining,
                "session lost"
            );
            entry.connection.end_with(ClosedBy::Transport, &ErrorCode::Draining, GOING_AWAY.1);
            self.ended(entry);
        }
    }
}
