//! Sessions that a client has asked another process for: their owner lets go of them.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::registry::Registry;
use crate::store::{Claim, Wanted};

/// How long calls may run on in a session whose client has gone to another process.
const CALLS_END: Duration = Duration::from_millis(500);

/// How long a client has to reach the address that this process has said, before its session is let go of.
const REDIRECTED: Duration = Duration::from_millis(1_500);

/// A session whose client came less than this ago is not let go of while it has a connection: what was
/// asked elsewhere was asked before.
const SETTLED: Duration = Duration::from_secs(2);

/// What a client is told that has another connection to the session, and what the log says.
const ELSEWHERE: &str = "the client has asked another process for the session";

impl Registry {
    /// Lets go of a session in a task of its own.
    pub(super) fn start_handing_over(self: &Arc<Self>, wanted: Wanted) {
        let registry = Arc::clone(self);
        tokio::spawn(async move { registry.hand_over(&wanted).await });
    }

    /// Lets go of a session that its client has asked another process for. A client that comes back
    /// here meanwhile keeps it.
    async fn hand_over(self: &Arc<Self>, Wanted { sid: session, token }: &Wanted) {
        let Some(entry) = self.entry(session) else { return self.release_unused(session).await };
        if entry.connection.is_closed() {
            return;
        }
        let Some(kept) = entry.kept.as_ref().filter(|kept| !kept.is_retired()) else { return };
        let (epoch, attached_at, counts) = {
            let mut held = entry.lock();
            if entry.connection.link(|endpoint| endpoint.has_heard()) {
                held.owner.confirm();
            }
            (held.owner.epoch(), held.attached_at, held.owner.check(token).is_ok())
        };
        if !counts {
            tracing::warn!(session, "another process was asked for a session with a token that was replaced");
            // Once the store has the tokens that count, that process refuses the client by itself.
            return entry.connection.touch();
        }
        if !entry.connection.link(|endpoint| endpoint.is_detached()) && attached_at.elapsed() < SETTLED {
            // The client has been elsewhere, and is here again.
            return;
        }
        if self.keeper.as_ref().is_some_and(|keeper| keeper.info.address.is_some()) {
            // The client was told where this process is, where it loses nothing.
            sleep(REDIRECTED).await;
        }
        let turn = self.restoring(session);
        let Ok(_alone) = turn.try_lock() else { return };
        if entry.lock().owner.epoch() != epoch || kept.is_retired() {
            return;
        }
        // Of two who show that the session is theirs, the later one has it.
        entry.connection.supersede(ELSEWHERE);
        if timeout(CALLS_END, entry.connection.quiet()).await.is_err() {
            tracing::warn!(session, calls = entry.connection.calls_running(), "calls end with a session's move");
        }
        self.keep_in_time(&entry).await;
        // The session cannot be resumed while its entry is locked.
        let is_retired = {
            let held = entry.lock();
            held.owner.epoch() == epoch && kept.retire()
        };
        if is_retired {
            tracing::info!(session, "session released: its client has asked another process for it");
            self.give_back(&entry, kept, ELSEWHERE).await;
        }
    }

    /// Releases a session that belongs to this process, which does not have it: its client went away
    /// while it was restored.
    async fn release_unused(&self, session: &str) {
        let turn = self.restoring(session);
        let Ok(_alone) = turn.try_lock() else { return };
        let Some(keeper) = self.keeper.as_ref().filter(|_| self.entry(session).is_none()) else { return };
        let owner = keeper.process.lock().await.as_ref().map(|process| process.owner.clone());
        let (Some(store), Some(owner)) = (&keeper.store, owner) else { return };
        // To claim what it has already is how an owner gets the fence.
        let released = match store.claim(session, &owner, 0).await {
            Ok(Claim::Claimed(claimed)) => store.release(&claimed.fence, keeper.bounds.unclaimed).await,
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = released {
            tracing::debug!(session, %error, "a session without an owner was not released");
        }
    }
}
