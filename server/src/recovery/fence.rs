//! The fence of a session that this process owns, and how it is replaced if the store has lost it.
//!
//! A store may lose data: a Redis server is flushed or restarts without its data, or a clock that
//! jumps ends a lease early. The sessions are intact and have no other owner, so they continue. The
//! process opens a new owner and claims each session again, or creates it again if the store has
//! lost that, too. This never gives a session two owners:
//!
//! - Only a process whose lease is valid by its own clock does this. Of all processes that have
//!   owned a session, at most the last one is such a process: each counts its lease shorter than
//!   the store does, and the store granted it to one at a time.
//! - A session that another process owns, or that another live owner has created, is not claimed.
//!   It ends here.
//! - A session that another process has owned and released is recognized by a higher epoch, or by a
//!   checkpoint of a later lineage, because every recovery increments the lineage. It ends here,
//!   and its client can recover it.
//! - Each fence contains the random name of its owner. So a fence of another process never becomes
//!   valid again, although the epochs of a session that was created again start over. The epochs in
//!   tokens keep rising.
//!
//! The outcomes of recorded calls may be lost with the store. So before anything else is stored,
//! the outcomes of all calls that may have begun are declared forgotten: the outcome of such a call
//! is unknown unless the store still has it.
//!
//! A session that this process has released is not claimed again. An operation that was in progress
//! at that time fails.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use futures_util::StreamExt;
use tokio::time::{Instant, sleep};

use super::Keeper;
use super::checkpoint::AT_ONCE;
use crate::registry::Registry;
use crate::store::{Claim, Claimed, Fence, Place, SessionStore, StoreError};

/// The pause before sessions are claimed again that could not be claimed.
const PAUSE: Duration = Duration::from_millis(100);

/// The current fence of a session. It can be replaced.
#[derive(Debug)]
pub(crate) struct CurrentFence {
    fence: Mutex<Fence>,
    /// The number of recoveries up to this process.
    lineage: u64,
    /// Held while the session is claimed again or released.
    reclaiming: tokio::sync::Mutex<()>,
    /// Whether this process has released the session.
    is_given_back: AtomicBool,
    /// The highest recorded call that may have begun. A call is logged before it begins, so a later one has not
    /// run, whatever the store has lost.
    begun: AtomicI64,
    /// The highest call whose outcome the store may have lost, and that it does not report as
    /// forgotten yet.
    to_forget: Mutex<Option<i64>>,
}

impl CurrentFence {
    pub(crate) fn new(fence: Fence, lineage: u64) -> Arc<Self> {
        Arc::new(Self {
            fence: Mutex::new(fence),
            lineage,
            reclaiming: tokio::sync::Mutex::default(),
            is_given_back: AtomicBool::new(false),
            begun: AtomicI64::new(0),
            to_forget: Mutex::default(),
        })
    }

    /// Returns the fence with which the session is released. After this, it is not claimed again.
    pub(super) async fn give_back(&self) -> Fence {
        let _alone = self.reclaiming.lock().await;
        self.is_given_back.store(true, Ordering::SeqCst);
        self.get()
    }

    /// Declares the outcomes forgotten that the store may have lost.
    async fn forget(&self, store: &Arc<dyn SessionStore>, fence: &Fence) -> Result<(), StoreError> {
        let to_forget = *self.to_forget.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(call) = to_forget else { return Ok(()) };
        store.forget(fence, call).await?;
        let mut to_forget = self.to_forget.lock().unwrap_or_else(PoisonError::into_inner);
        to_forget.take_if(|higher| *higher <= call);
        Ok(())
    }

    pub(crate) fn get(&self) -> Fence {
        self.fence.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn is_owned_by(&self, owner: &str) -> bool {
        self.fence.lock().unwrap_or_else(PoisonError::into_inner).owner == owner
    }

    /// Records that calls up to this one may have begun.
    pub(super) fn note_begun(&self, call: i64) {
        self.begun.fetch_max(call, Ordering::SeqCst);
    }

    /// Records that the store may have lost the outcomes of all calls that may have begun.
    fn lose_outcomes(&self) {
        let begun = self.begun.load(Ordering::SeqCst);
        let mut to_forget = self.to_forget.lock().unwrap_or_else(PoisonError::into_inner);
        *to_forget = (*to_forget).max((begun > 0).then_some(begun));
    }

    fn replace(&self, fence: Fence) {
        *self.fence.lock().unwrap_or_else(PoisonError::into_inner) = fence;
    }

    /// Returns whether no other process has owned the session since `before` was granted.
    fn is_untouched(&self, before: &Fence, claimed: &Claimed) -> bool {
        let next_epoch = before.epoch.max(claimed.known_epoch) + 1;
        let is_ours = claimed.checkpoints.last().is_none_or(|newest| newest.lineage <= self.lineage);
        claimed.fence.epoch == next_epoch && is_ours
    }
}

impl Keeper {
    /// Runs an operation that needs a fence. If the store refuses the fence, claims the session
    /// again first; see the module documentation.
    ///
    /// # Errors
    /// Returns the error of `operation`, or `Fenced` if another process owns the session.
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
        let done = self.attempt(current, &operation, &fence).await;
        if !matches!(done, Err(StoreError::Fenced)) {
            return done;
        }
        let Some(registry) = registry.upgrade() else { return done };
        let fence = self.reclaim(&registry, current, &fence).await?;
        self.attempt(current, &operation, &fence).await
    }

    async fn attempt<T, F>(
        &self,
        current: &CurrentFence,
        operation: &impl Fn(Fence) -> F,
        fence: &Fence,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        if let Some(store) = &self.store {
            current.forget(store, fence).await?;
        }
        operation(fence.clone()).await
    }

    /// Claims a session again whose fence the store has refused.
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
        if current.is_given_back.load(Ordering::SeqCst) {
            return Err(StoreError::Fenced);
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
            "the store had lost the session; it was claimed again"
        );
        current.lose_outcomes();
        current.replace(claimed.clone());
        if let Some(entry) = registry.entry(&fence.sid) {
            if let Some(until) = self.lease_until().await {
                entry.connection.extend_lease(until.saturating_duration_since(Instant::now()));
            }
            // Stored at once, because the store has no state of the session.
            entry.connection.touch();
        }
        Ok(claimed)
    }

    /// Returns the owner name under which this process has a lease, after the store has refused an
    /// operation of the owner `refused`. Opens a new owner if the store has lost that one.
    ///
    /// # Errors
    /// Returns `Fenced` if the lease has ended by this process's own clock.
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
            // Another process has taken over this instance and ended its lease, so the store has
            // lost nothing.
            Err(StoreError::Taken) => return Err(StoreError::Fenced),
            opened => opened?,
        };
        if let Err(error) = store.close_owner(refused).await {
            tracing::debug!(%error, "cannot remove the lost owner; it stays until it expires");
        }
        let owner = opened.owner.clone();
        *process = Some(opened);
        tracing::warn!(owner, refused, "the store had lost the lease of this process, claiming its sessions again");
        self.start_renewing(registry, store, owner.clone());
        let reclaiming = reclaim_all(Arc::downgrade(self), Arc::downgrade(registry), refused.to_owned(), stop_at);
        tokio::spawn(reclaiming);
        Ok(owner)
    }
}

/// Claims every session again that the process owns under an owner name that the store has lost,
/// until the lease ends by the process's own clock.
fn reclaim_all(
    keeper: Weak<Keeper>,
    registry: Weak<Registry>,
    owner: String,
    stop_at: Instant,
) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    // Boxed, because the future that it awaits spawns another one of this type.
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
                        Err(error) => tracing::debug!(session = entry.id, %error, "cannot claim the session yet"),
                    }
                }
            });
            futures_util::stream::iter(reclaiming).buffer_unordered(AT_ONCE).count().await;
            drop((keeper, registry));
            sleep(PAUSE).await;
        }
    })
}
