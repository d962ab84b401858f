//! Sessions without a transport when the service stops: their calls end first.

use std::sync::Arc;

use bowline_core::error::ErrorCode;
use bowline_core::session::ClosedBy;
use tokio::time::timeout_at;

use super::{Entry, Registry};
use crate::drain::{Deadlines, GOING_AWAY, Sessions, Ticket};

impl Registry {
    /// Ends every session that waits for its client, each once none of its calls runs.
    pub(crate) fn drain_parked(self: &Arc<Self>, sessions: &Sessions, deadlines: Deadlines) {
        for entry in self.of_whom(|entry| entry.parked_since().is_some()) {
            let (registry, ticket) = (Arc::clone(self), sessions.hold());
            tokio::spawn(async move { registry.drain_detached(&entry, &ticket, deadlines).await });
        }
    }

    /// Lets the calls of a session end that has no transport, then ends it, or lets go of it if
    /// another process can take it over.
    pub(crate) async fn drain_detached(self: &Arc<Self>, entry: &Entry, ticket: &Ticket, deadlines: Deadlines) {
        if timeout_at(deadlines.calls, entry.connection.quiet()).await.is_err() {
            ticket.cut(entry.connection.calls_running());
        }
        if entry.kept.is_some() && !entry.connection.is_closed() {
            // Out of time, the session goes on as it was kept before.
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
