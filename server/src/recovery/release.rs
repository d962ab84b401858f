//! Releasing sessions that clients have requested from another process.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::registry::Registry;
use crate::store::{Claim, Wanted};

/// How long calls may continue in a session whose client has moved to another process.
const CALLS_END: Duration = Duration::from_millis(500);

/// How long a client has to reach the address that this process has advertised, before its session
/// is released.
const REDIRECTED: Duration = Duration::from_millis(1_500);

/// A session whose client connected less than this ago is not released while it is connected: the
/// request to the other process was made before.
const SETTLED: Duration = Duration::from_secs(2);

/// The reason that is sent to a connected client and logged.
const ELSEWHERE: &str = "the client has asked another process for the session";

impl Registry {
    /// Releases a session in a new task.
    pub(super) fn start_handing_over(self: &Arc<Self>, wanted: Wanted) {
        let registry = Arc::clone(self);
        tokio::spawn(async move { registry.hand_over(&wanted).await });
    }

    /// Releases a session that its client has requested from another process. If the client comes
    /// back to this process meanwhile, the session stays here.
    async fn hand_over(self: &Arc<Self>, Wanted { sid: session, token }: &Wanted) {
        let Some(entry) = self.entry(session) else { return self.release_unused(session).await };
        if entry.connection.is_closed() {
            return;
        }
        let Some(kept) = entry.kept.as_ref().filter(|kept| !kept.is_retired()) else { return };
        let (epoch, attached_at, counts) = {
            let mut held = entry.lock();
            if entry.connection.has_heard() {
                held.owner.confirm();
            }
            (held.owner.epoch(), held.attached_at, held.owner.check(token).is_ok())
        };
        if !counts {
            tracing::warn!(session, "replaced token presented to another process");
            // Stores the valid tokens, so that the other process can refuse the client by itself.
            return entry.connection.touch();
        }
        if !entry.connection.is_detached() && attached_at.elapsed() < SETTLED {
            // The client went elsewhere, and came back.
            return;
        }
        if self.keeper.as_ref().is_some_and(|keeper| keeper.info.address.is_some()) {
            // The client was redirected to this process, where it loses nothing.
            sleep(REDIRECTED).await;
        }
        let turn = self.recovering(session);
        let Ok(_alone) = turn.try_lock() else { return };
        if entry.lock().owner.epoch() != epoch || kept.is_retired() {
            return;
        }
        // The latest client that proves possession of the session gets it.
        entry.connection.supersede(ELSEWHERE);
        if timeout(CALLS_END, entry.connection.quiet()).await.is_err() {
            tracing::warn!(
                session,
                calls = entry.connection.calls_running(),
                "aborting running calls, because the session moves to another process"
            );
        }
        self.keep_in_time(&entry).await;
        // The session cannot be resumed while its entry is locked.
        let is_retired = {
            let held = entry.lock();
            held.owner.epoch() == epoch && kept.retire()
        };
        if is_retired {
            tracing::info!(session, "session released to another process that its client has requested it from");
            self.give_back(&entry, kept, ELSEWHERE).await;
        }
    }

    /// Releases a session that this process owns but does not have: its client disconnected during
    /// the recovery.
    async fn release_unused(&self, session: &str) {
        let turn = self.recovering(session);
        let Ok(_alone) = turn.try_lock() else { return };
        let Some(keeper) = self.keeper.as_ref().filter(|_| self.entry(session).is_none()) else { return };
        let owner = keeper.process.lock().await.as_ref().map(|process| process.owner.clone());
        let (Some(store), Some(owner)) = (&keeper.store, owner) else { return };
        // An owner gets the fence by claiming what it already owns.
        let released = match store.claim(session, &owner, 0).await {
            Ok(Claim::Claimed(claimed)) => store.release(&claimed.fence, keeper.bounds.unclaimed).await,
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = released {
            tracing::debug!(session, %error, "cannot release a session that was not recovered");
        }
    }
}
