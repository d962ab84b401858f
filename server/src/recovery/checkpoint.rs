//! Checkpoints: when a session has changed and is quiet, or has not been stored for a while, its
//! state is written to the store and the token of that state is sent to the client.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bowline_core::endpoint::Checkpoint;
use bowline_core::error::ErrorCode;
use bowline_core::resume::{Jti, Kept as Where, TokenError, resume_key};
use bowline_core::session::ClosedBy;
use bowline_transport::deadline;
use futures_util::StreamExt;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::pace::wait_for_turn;
use crate::registry::{Candidate, Entry, Registry, random, unix_now};
use crate::store::{self, Fence, Position, StoreError};

/// The pause after a failed write.
const PAUSE: Duration = Duration::from_secs(1);

/// The shortest pause between two urgent checkpoints of a session. Large sessions wait longer for
/// their turn.
const URGENT_PAUSE: Duration = Duration::from_millis(20);

/// How many sessions are stored at the same time when all of them are.
pub(super) const AT_ONCE: usize = 64;

/// How often a process that gives up a session checks whether the client has acknowledged its last
/// checkpoint.
const LOOK: Duration = Duration::from_millis(5);

/// The longest pause before a process that gives up a session retries a failed checkpoint. The
/// pause starts at [`LOOK`] and doubles, because each attempt writes the whole snapshot.
const RETRY_MAX: Duration = Duration::from_millis(320);

/// A checkpoint that is being stored. If this is dropped before it was stored, the endpoint forgets
/// that the checkpoint was taken, so that it can be taken again.
struct Storing<'a> {
    entry: &'a Entry,
    is_stored: bool,
}

impl Drop for Storing<'_> {
    fn drop(&mut self) {
        if !self.is_stored {
            self.entry.connection.checkpoint_failed();
        }
    }
}

/// Stores a session whenever it has changed, until it ends or is given up.
async fn keep(registry: Weak<Registry>, entry: Arc<Entry>) {
    if let Some(keeper) = registry.upgrade().and_then(|registry| registry.keeper.clone())
        && entry.kept.as_ref().is_some_and(|kept| kept.fence.is_some())
        && let Some(until) = keeper.lease_until().await
    {
        entry.connection.extend_lease(until.saturating_duration_since(Instant::now()));
    }
    // When the next urgent checkpoint may be taken.
    let mut urgent_at = Instant::now();
    loop {
        tokio::select! {
            () = entry.connection.changed() => {}
            _ = entry.connection.closed() => return forget(registry, &entry).await,
        }
        entry.kept.iter().for_each(|kept| kept.standing.mark_stale());
        let Some((idle, latest)) = registry.upgrade().and_then(|registry| {
            let keeper = registry.keeper.as_ref()?;
            Some((keeper.idle, keeper.latest))
        }) else {
            return;
        };
        let latest = deadline(latest);
        tokio::select! {
            () = until_quiet(&entry, idle, latest) => {}
            () = async {
                entry.connection.urgent().await;
                sleep_until(urgent_at.min(latest)).await;
            } => {}
        }
        if !wait_for_turn(&registry, &entry).await {
            return forget(registry, &entry).await;
        }
        let Some(registry) = registry.upgrade() else { return };
        let is_urgent = entry.connection.is_checkpoint_urgent();
        if let Err(error) = registry.checkpoint(&entry).await {
            tracing::warn!(session = entry.id, %error, "cannot store the session, trying again");
            entry.connection.touch();
            sleep(PAUSE).await;
        }
        if is_urgent {
            urgent_at = Instant::now() + URGENT_PAUSE;
        }
    }
}

/// Waits until nothing has happened in a session for `idle`, but at most until `latest`.
async fn until_quiet(entry: &Entry, idle: Duration, latest: Instant) {
    loop {
        sleep(idle.min(latest.saturating_duration_since(Instant::now()))).await;
        let is_quiet = tokio::select! {
            biased;
            () = entry.connection.changed() => false,
            () = std::future::ready(()) => true,
        };
        if is_quiet || Instant::now() >= latest {
            return;
        }
    }
}

/// Deletes a session that has ended from the store.
async fn forget(registry: Weak<Registry>, entry: &Entry) {
    let Some(registry) = registry.upgrade() else { return };
    let Some(kept) = entry.kept.as_ref().filter(|kept| !kept.is_retired()) else { return };
    // A client that tries to recover the session meanwhile waits, and then finds it deleted.
    let turn = registry.recovering(&entry.id);
    let _alone = turn.lock().await;
    if let (Some(store), Some(current)) =
        (registry.keeper.as_ref().and_then(|keeper| keeper.store.as_ref()), &kept.fence)
        && let Err(error) = store.delete(&current.give_back().await).await
    {
        tracing::debug!(session = entry.id, %error, "cannot delete an ended session, which stays until it expires");
    }
    registry.remove(&entry.id);
}

impl Registry {
    /// Starts the task that stores a session, if it is durable.
    pub(crate) fn start_keeping(self: &Arc<Self>, entry: &Arc<Entry>) {
        if entry.kept.is_some() {
            tokio::spawn(keep(Arc::downgrade(self), Arc::clone(entry)));
        }
    }

    /// Stores a session now. Returns `false` if nothing has changed, or if the client has not
    /// acknowledged the tokens of earlier checkpoints.
    ///
    /// If the future is dropped, the session continues as before; the store may or may not have the
    /// checkpoint.
    ///
    /// # Errors
    /// Returns the error of the store. The session continues without a checkpoint, unless the error
    /// is [`StoreError::Fenced`]: then another process owns the session, and it ends here.
    pub(crate) async fn checkpoint(self: &Arc<Self>, entry: &Entry) -> Result<bool, StoreError> {
        let Some(kept) = entry.kept.as_ref().filter(|kept| !kept.is_retired()) else { return Ok(false) };
        let _turn = kept.keeping.lock().await;
        let vars = entry.connection.vars().filter(|vars| !vars.names().is_empty());
        let beside = vars.and_then(|vars| serde_json::to_value(vars.stored()).ok()).unwrap_or_default();
        let taken = entry.connection.checkpoint(beside).await;
        let Some(taken) = taken else { return Ok(false) };
        let mut storing = Storing { entry, is_stored: false };
        if self.keeper.as_ref().is_some_and(|keeper| !keeper.admits(&entry.id, kept, taken.bytes.len())) {
            return Ok(false);
        }
        let at = Position { lineage: taken.lineage, number: taken.number };
        let (candidate, checkpoint, keep_from) = match self.mint_checkpoint(entry, taken) {
            Ok(minted) => minted,
            Err(error) => {
                if !kept.told_too_large.swap(true, Ordering::SeqCst) {
                    tracing::warn!(
                        session = entry.id,
                        code = %error.code(),
                        %error,
                        "cannot store the session: its snapshot does not fit into a token"
                    );
                }
                return Ok(false);
            }
        };
        if let Err(error) = self.put(kept, checkpoint, keep_from).await {
            if error == StoreError::Fenced {
                kept.retire();
                let message = "another process owns the session";
                entry.connection.end_with(ClosedBy::Transport, &ErrorCode::SessionElsewhere, message);
            }
            return Err(error);
        }
        storing.is_stored = true;
        self.place(entry, candidate);
        kept.standing.mark_stored(&entry.id);
        tracing::trace!(session = entry.id, checkpoint = at.number, "session stored");
        Ok(true)
    }

    /// Mints the token of a checkpoint, which is not valid before it is placed. Also returns what
    /// is written to the store, and the oldest checkpoint that the store must keep.
    fn mint_checkpoint(
        &self,
        entry: &Entry,
        taken: Checkpoint,
    ) -> Result<(Candidate, store::Checkpoint, Position), TokenError> {
        let stored = self.keeper.as_ref().is_some_and(|keeper| keeper.store.is_some());
        let place = if stored { Where::InStore } else { Where::InTokenAlone };
        let mut held = entry.lock();
        held.confirm(&entry.connection);
        let mut claims = held.claims.clone();
        (claims.ep, claims.jti, claims.snapshot) = (held.owner.epoch(), Jti(random::<16>()), None);
        (claims.ln, claims.ck) = (taken.lineage, taken.number);
        let nonce = rand::random::<[u8; 24]>();
        let (keys, policy) = (self.resumption.keys.ring(), &self.resumption.tokens);
        let minted = keys.mint_checkpoint(&mut claims, &taken.bytes, place, policy, unix_now(), &nonce)?;
        let mut checkpoint = store::Checkpoint {
            at: Position { lineage: taken.lineage, number: taken.number },
            epoch: held.owner.epoch(),
            tokens: held.owner.tokens_with(&claims.jti),
            bytes: bytes::Bytes::new(),
        };
        if minted.holds_snapshot {
            claims.snapshot = Some(taken.bytes);
        } else {
            checkpoint.bytes = taken.bytes.into();
        }
        let resume_key = resume_key(&keys, &claims);
        Ok((Candidate { claims, token: minted.token, resume_key }, checkpoint, held.oldest()))
    }

    async fn put(
        self: &Arc<Self>,
        kept: &super::Kept,
        checkpoint: store::Checkpoint,
        keep_from: Position,
    ) -> Result<(), StoreError> {
        let Some(keeper) = &self.keeper else { return Ok(()) };
        let (Some(store), Some(current)) = (&keeper.store, &kept.fence) else { return Ok(()) };
        let put = |fence: Fence| {
            let checkpoint = checkpoint.clone();
            async move { store.checkpoint(&fence, checkpoint, keep_from).await }
        };
        keeper.fenced(&Arc::downgrade(self), current, put).await
    }

    /// Gives up a session so that any process can take it over: stores it, releases it in the
    /// store, and ends it here without notifying the client. If the client is connected, it has the
    /// token of the last state by then.
    pub(crate) async fn retire(self: &Arc<Self>, entry: &Entry, why: &str) {
        let Some(kept) = &entry.kept else { return };
        self.keep_in_time(entry).await;
        if kept.retire() {
            self.give_back(entry, kept, why).await;
        }
    }

    /// Stores a session for the last time, within a timeout.
    pub(super) async fn keep_in_time(self: &Arc<Self>, entry: &Entry) {
        if timeout(PAUSE, self.keep_last(entry)).await.is_err() {
            tracing::debug!(
                session = entry.id,
                "cannot store the last state of the session in time; the previous checkpoint stands"
            );
        }
    }

    /// Releases a retired session in the store, and ends it here without notifying the client.
    pub(super) async fn give_back(&self, entry: &Entry, kept: &super::Kept, why: &str) {
        if let Some(keeper) = &self.keeper {
            keeper.give_back(kept).await;
        }
        self.remove(&entry.id);
        entry.connection.end_with(ClosedBy::Transport, &ErrorCode::Draining, why);
    }

    /// Stores every session, and waits until each connected client has acknowledged that, at most
    /// one second for each.
    pub(crate) async fn checkpoint_all(self: &Arc<Self>) {
        let keeping = self.kept().into_iter().map(|entry| async move {
            if timeout(PAUSE, self.keep_last(&entry)).await.is_err() {
                tracing::debug!(session = entry.id, "the session was not stored in time");
            }
        });
        futures_util::stream::iter(keeping).buffer_unordered(AT_ONCE).count().await;
    }

    /// Stores a session, and waits until its client has acknowledged that.
    async fn keep_last(self: &Arc<Self>, entry: &Entry) {
        let mut failures = 0;
        loop {
            let pause = match self.checkpoint(entry).await {
                Ok(true) | Err(StoreError::Fenced) => break,
                Ok(false) => LOOK,
                Err(_) => {
                    failures += 1;
                    (LOOK * 2_u32.saturating_pow(failures)).min(RETRY_MAX)
                }
            };
            let is_too_large = entry.kept.as_ref().is_some_and(|kept| kept.standing.is_too_large());
            if is_too_large || entry.connection.is_detached() {
                return;
            }
            sleep(pause).await;
        }
        let (lineage, taken) = (entry.connection.lineage(), entry.connection.newest_checkpoint());
        tracing::trace!(session = entry.id, lineage, taken, "session stored for the last time");
        while entry.connection.confirmed_checkpoint() < taken && !entry.connection.is_detached() {
            sleep(LOOK).await;
        }
    }
}
