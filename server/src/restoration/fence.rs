//! The fence of a session that this process serves, and getting a new one when the store has lost it.
//!
//! A store may forget: a Redis server is flushed or restarts without its data, or a clock that jumps ends a lease
//! early. The sessions are intact and have no other owner, so they continue: the process opens another owner and claims
//! each session anew, or creates it if the store has forgotten that, too. Why no session gets two owners by this:
//!
//! - Only a process whose lease is good by its own clock does it. Of all processes that had a session, that is the
//!   last one at most: each counts its lease shorter than the store does, and the store gave it to one at a time.
//! - A session that another process holds, or another live owner has created, is not claimed; it ends here.
//! - A session that another process has held and given back shows it: by an epoch that has risen, or by a
//!   checkpoint of a later lineage, as every recovery counts one more. It ends here, and is free for its client.
//! - Each fence names its owner, and owners are drawn at random. So no fence of another process is good again,
//!   though the epochs of a session that was created anew start over; tokens keep those of its transports rising.
//!
//! What is lost with the store are outcomes of recorded calls. The client sends none of those calls again once the
//! session is stored anew, which happens at once: the checkpoint covers them.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use futures_util::StreamExt;
use tokio::time::{Instant, sleep};

use super::Keeper;
use super::checkpoint::AT_ONCE;
use crate::registry::Registry;
use crate::store::{Claim, Claimed, Fence, Place, SessionStore, StoreError};

/// How long to wait before sessions are claimed again that could not be.
const PAUSE: Duration = Duration::from_millis(100);

/// The fence of a session, which may be replaced.
#[derive(Debug)]
pub(crate) struct CurrentFence {
    fence: Mutex<Fence>,
    /// Counts the recoveries up to this process.
    lineage: u64,
    /// Held while the session is claimed anew.
    reclaiming: tokio::sync::Mutex<()>,
}

impl CurrentFence {
    pub(crate) fn new(fence: Fence, lineage: u64) -> Arc<Self> {
        Arc::new(Self { fence: Mutex::new(fence), lineage, reclaiming: tokio::sync::Mutex::default() })
    }

    pub(crate) fn get(&self) -> Fence {
        self.fence.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn is_owned_by(&self, owner: &str) -> bool {
        self.fence.lock().unwrap_or_else(PoisonError::into_inner).owner == owner
    }

    fn replace(&self, fence: Fence) {
        *self.fence.lock().unwrap_or_else(PoisonError::into_inner) = fence;
    }

    /// Returns whether no other process has had the session since `before` was given out.
    fn is_untouched(&self, before: &Fence, claimed: &Claimed) -> bool {
        let next_epoch = before.epoch.max(claimed.known_epoch) + 1;
        let is_ours = claimed.checkpoints.last().is_none_or(|newest| newest.lineage <= self.lineage);
        claimed.fence.epoch == next_epoch && is_ours
    }
}

impl Keeper {
    /// Does what takes a fence. If the store refuses it, the session is claimed anew first; see the module.
    ///
    /// # Errors
    /// As `operation`; `Fenced` if another process has the session.
    pub(super) async fn fenced<T, F>(
        self: &Arc<Self>,
        registry: &Weak<Registry>,
        current: &CurrentFence,
        operation: impl Fn(Fence) -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let fence = current.get();
        let done = operation(fence.clone()).await;
        if !matches!(done, Err(StoreError::Fenced)) {
            return done;
        }
        let Some(registry) = registry.upgrade() else { return done };
        let fence = self.reclaim(&registry, current, &fence).await?;
        operation(fence).await
    }

    /// Claims a session anew whose fence the store has refused.
    async fn reclaim(
        self: &Arc<Self>,
        registry: &Arc<Registry>,
        current: &CurrentFence,
        refused: &Fence,
    ) -> Result<Fence, StoreError> {
        let store = self.store.as_ref().ok_or(StoreError::Fenced)?;
        let _alone = current.reclaiming.lock().await;
        let fence = current.get();
        if fence != *refused {
            return Ok(fence);
        }
        let owner = self.living_owner(store, registry, &fence.owner).await?;
        let claimed = match store.claim(&fence.sid, &owner, 0).await? {
            Claim::Claimed(claimed) if current.is_untouched(&fence, &claimed) => claimed.fence,
            Claim::Claimed(claimed) => {
                store.release(&claimed.fence, self.bounds.unclaimed).await?;
                return Err(StoreError::Fenced);
            }
            Claim::Held(_) => return Err(StoreError::Fenced),
            Claim::NotFound => {
                let entry = registry.entry(&fence.sid);
                let account = entry.as_ref().and_then(|entry| entry.kept.as_ref()?.account.as_ref());
                let quota = self.quota(account);
                match store.create(&fence.sid, &owner, registry.session_lifetime(), quota.as_ref()).await {
                    Err(StoreError::Taken) => return Err(StoreError::Fenced),
                    created => created?,
                }
            }
        };
        tracing::warn!(
            monotonic_counter.bowline_sessions_reclaimed = 1_u64,
            session = fence.sid,
            "the store had lost the session, and has it again"
        );
        current.replace(claimed.clone());
        if let Some(entry) = registry.entry(&fence.sid) {
            if let Some(until) = self.may_go_on_until().await {
                entry.connection.extend_lease(until.saturating_duration_since(Instant::now()));
            }
            // Stored at once: nothing else in the store says how far the session is.
            entry.connection.touch();
        }
        Ok(claimed)
    }

    /// Returns the name under which this process has a lease, after the store has refused something done by
    /// `refused`; opens another owner if the store has lost that one.
    ///
    /// # Errors
    /// `Fenced` if the lease is over by this process's own clock.
    pub(super) async fn living_owner(
        self: &Arc<Self>,
        store: &Arc<dyn SessionStore>,
        registry: &Arc<Registry>,
        refused: &str,
    ) -> Result<String, StoreError> {
        let mut process = self.process.lock().await;
        let held = process.as_ref().filter(|process| process.is_good()).ok_or(StoreError::Fenced)?;
        if held.owner != refused {
            return Ok(held.owner.clone());
        }
        match store.renew_owner(refused, self.lease).await {
            Err(StoreError::Fenced) => {}
            renewed => return renewed.map(|()| refused.to_owned()),
        }
        let stop_at = held.stop_at();
        let opened = match self.open_owner(store, Place::Kept).await {
            // Another process has this one's place: it has ended the lease, and the store has lost nothing.
            Err(StoreError::Taken) => return Err(StoreError::Fenced),
            opened => opened?,
        };
        if let Err(error) = store.close_owner(refused).await {
            tracing::debug!(%error, "what is left of an owner stays until it is swept");
        }
        let owner = opened.owner.clone();
        *process = Some(opened);
        tracing::warn!(owner, refused, "the store had lost the lease on sessions; they are claimed anew");
        self.start_renewing(registry, store, owner.clone());
        let reclaiming = reclaim_all(Arc::downgrade(self), Arc::downgrade(registry), refused.to_owned(), stop_at);
        tokio::spawn(reclaiming);
        Ok(owner)
    }
}

/// Claims every session anew that the process has by an owner that the store has lost, until the lease of that
/// owner is over by the process's own clock.
fn reclaim_all(
    keeper: Weak<Keeper>,
    registry: Weak<Registry>,
    owner: String,
    stop_at: Instant,
) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    // Boxed, as the future that it awaits spawns another one of it.
    Box::pin(async move {
        loop {
            let (Some(keeper), Some(registry)) = (keeper.upgrade(), registry.upgrade()) else { return };
            let left = registry.owned_by(&owner);
            if left.is_empty() {
                return;
            }
            if Instant::now() >= stop_at {
                return registry.let_go_of(&owner);
            }
            let reclaiming = left.into_iter().map(|entry| {
                let (keeper, registry) = (&keeper, &registry);
                async move {
                    let Some(current) = entry.kept.as_ref().and_then(|kept| kept.fence.clone()) else { return };
                    match keeper.reclaim(registry, &current, &current.get()).await {
                        Ok(_) => {}
                        Err(StoreError::Fenced) => registry.let_go(&entry),
                        Err(error) => tracing::debug!(session = entry.id, %error, "the session is not claimed yet"),
                    }
                }
            });
            futures_util::stream::iter(reclaiming).buffer_unordered(AT_ONCE).count().await;
            drop((keeper, registry));
            sleep(PAUSE).await;
        }
    })
}
