//! This process as an owner of sessions: its name in the store, and its lease.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bowline_core::time::Time;
use bowline_transport::{after, deadline};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

use super::Keeper;
use crate::registry::{Registry, random};
use crate::store::{Lease, OwnerInfo, Place, SessionStore, StoreError};

/// How often an owner checks whether clients have requested its sessions from other processes.
const LOOK: Duration = Duration::from_millis(100);

/// How often an owner without sessions checks. It may own one whose client disconnected during the
/// recovery.
const IDLE_LOOK: Duration = Duration::from_millis(500);

/// The pause after the store did not respond.
const PAUSE: Duration = Duration::from_secs(1);

/// The pause between renewals of an owner that is in doubt.
const DOUBTED_PAUSE: Duration = Duration::from_millis(50);

/// An owner name in the store, and its lease.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) owner: String,
    lease: Lease,
    /// The instant from which the lease measures time.
    began: Instant,
    /// Whether the store may take this process for dead, so that the lease does not count until it
    /// is renewed.
    is_doubted: bool,
}

impl Process {
    fn now(&self) -> Time {
        Time(self.began.elapsed())
    }

    /// Returns whether the lease is valid by this process's own clock.
    pub(super) fn is_good(&self) -> bool {
        !self.is_doubted && self.lease.is_good(self.now())
    }

    /// Returns when the lease ends by this process's own clock.
    pub(super) fn stop_at(&self) -> Instant {
        after(self.began, self.lease.stop_at().0)
    }

    /// Returns until when this process may serve the sessions that it owns.
    fn serves_until(&self) -> Instant {
        if self.is_doubted { Instant::now() } else { self.stop_at() }
    }

    /// Returns when to renew the lease.
    fn renew_at(&self, lease: Duration) -> Instant {
        if self.is_doubted {
            deadline(DOUBTED_PAUSE)
        } else {
            after(self.began, self.lease.renew_at().0).max(deadline(lease / 20))
        }
    }
}

impl Keeper {
    /// Returns the owner name under which this process claims sessions, and opens an owner if there
    /// is none. Cancel-safe.
    pub(super) async fn owner(
        self: &Arc<Self>,
        store: &Arc<dyn SessionStore>,
        registry: &Arc<Registry>,
    ) -> Result<String, StoreError> {
        let mut process = self.process.lock().await;
        if let Some(process) = process.as_ref().filter(|process| process.is_good()) {
            return Ok(process.owner.clone());
        }
        if process.as_ref().is_some_and(|process| Instant::now() < process.stop_at()) {
            return Err(StoreError::Unavailable("it is not known whether this process still has its lease".to_owned()));
        }
        let opened = self.open_owner(store, Place::TakenOver).await?;
        let owner = opened.owner.clone();
        if let Some(before) = process.replace(opened) {
            registry.let_go_of(&before.owner);
        }
        self.start_renewing(registry, store, owner.clone());
        Ok(owner)
    }

    /// Opens an owner with a new name.
    pub(super) async fn open_owner(&self, store: &Arc<dyn SessionStore>, place: Place) -> Result<Process, StoreError> {
        let (owner, began) = (random::<16>(), Instant::now());
        store.open_owner(&owner, self.lease).await?;
        if self.info != OwnerInfo::default() {
            store.describe_owner(&owner, &self.info, place).await?;
        }
        Ok(Process { owner, lease: Lease::new(self.lease, Time::default()), began, is_doubted: false })
    }

    /// Starts the task that renews the lease of an owner until it is closed or lost, or the service
    /// is dropped.
    pub(super) fn start_renewing(
        self: &Arc<Self>,
        registry: &Arc<Registry>,
        store: &Arc<dyn SessionStore>,
        owner: String,
    ) {
        let dropped = registry.dropped();
        let fenced = Arc::<Notify>::default();
        let (keeper, sessions) = (Arc::downgrade(self), Arc::downgrade(registry));
        let watching = watch(keeper.clone(), sessions.clone(), Arc::clone(store), owner.clone(), Arc::clone(&fenced));
        let renewing = renew(keeper, sessions, Arc::clone(store), owner, fenced);
        tokio::spawn(async move {
            tokio::select! {
                () = renewing => {}
                () = watching => {}
                () = dropped => {}
            }
        });
    }

    /// Returns until when this process may serve the sessions that it owns.
    pub(super) async fn lease_until(&self) -> Option<Instant> {
        self.process.lock().await.as_ref().map(Process::serves_until)
    }

    /// Releases all sessions, because this process serves none anymore.
    pub(crate) async fn close(&self) {
        let process = self.process.lock().await.take();
        if let (Some(process), Some(store)) = (process, &self.store)
            && let Err(error) = store.close_owner(&process.owner).await
        {
            tracing::warn!(%error, "cannot release the lease on sessions; it ends by itself");
        }
    }
}

/// Renews the lease of an owner until it is closed or lost. If it is lost, its sessions end here,
/// because other processes may own them by now.
async fn renew(
    keeper: Weak<Keeper>,
    registry: Weak<Registry>,
    store: Arc<dyn SessionStore>,
    owner: String,
    fenced: Arc<Notify>,
) {
    loop {
        let Some((renew_at, stop_at, is_doubted)) = ({
            let Some(keeper) = keeper.upgrade() else { return };
            let process = keeper.process.lock().await;
            let process = process.as_ref().filter(|process| process.owner == owner);
            process.map(|process| (process.renew_at(keeper.lease), process.stop_at(), process.is_doubted))
        }) else {
            return;
        };
        tokio::select! {
            () = sleep_until(renew_at.min(stop_at)) => {}
            // The store reports that the lease has ended. Renewing it at once finds out whether
            // that is true.
            () = fenced.notified() => {}
            () = store.doubted(&owner), if !is_doubted => {
                let (Some(keeper), Some(registry)) = (keeper.upgrade(), registry.upgrade()) else { return };
                keeper.pause(&registry, &owner).await;
                continue;
            }
        }
        let (Some(keeper), Some(registry)) = (keeper.upgrade(), registry.upgrade()) else { return };
        let renewed = tokio::select! {
            biased;
            () = store.doubted(&owner), if !is_doubted => {
                keeper.pause(&registry, &owner).await;
                continue;
            }
            renewed = keeper.renew(&store, &registry, &owner, stop_at) => renewed,
        };
        match renewed {
            Ok(()) => {}
            Err(StoreError::Fenced) => return keeper.stop_serving(&store, &registry, &owner).await,
            Err(error) => tracing::warn!(%error, "cannot renew the lease on sessions"),
        }
    }
}

impl Keeper {
    /// Stops the sessions of an owner from handling messages until its lease is renewed, because
    /// the store may take this process for dead.
    async fn pause(&self, registry: &Registry, owner: &str) {
        registry.extend_leases(owner, Instant::now());
        if let Some(process) = self.process.lock().await.as_mut().filter(|process| process.owner == owner) {
            process.is_doubted = true;
        }
    }

    /// Renews the lease of an owner.
    ///
    /// # Errors
    /// Returns `Fenced` if it has ended.
    async fn renew(
        self: &Arc<Self>,
        store: &Arc<dyn SessionStore>,
        registry: &Arc<Registry>,
        owner: &str,
        stop_at: Instant,
    ) -> Result<(), StoreError> {
        if Instant::now() >= stop_at {
            return Err(StoreError::Fenced);
        }
        let asked_at = Instant::now();
        match store.renew_owner(owner, self.lease).await {
            Ok(()) => {}
            // The lease is valid by this process's clock, but the store does not know it.
            Err(StoreError::Fenced) if Instant::now() < stop_at => {
                self.living_owner(store, registry, owner).await?;
            }
            Err(error) => return Err(error),
        }
        let mut process = self.process.lock().await;
        if let Some(held) = process.as_mut().filter(|process| process.owner == owner) {
            held.lease.renewed(Time(asked_at.saturating_duration_since(held.began)));
            held.is_doubted = false;
            registry.extend_leases(owner, held.stop_at());
        }
        Ok(())
    }

    /// Ends the sessions of an owner whose lease has ended.
    async fn stop_serving(&self, store: &Arc<dyn SessionStore>, registry: &Registry, owner: &str) {
        if self.process.lock().await.take_if(|process| process.owner == owner).is_none() {
            return;
        }
        tracing::error!(
            owner,
            "the lease on sessions has ended; they are recovered by whichever process their clients reach"
        );
        registry.let_go_of(owner);
        if let Err(error) = store.close_owner(owner).await {
            tracing::debug!(%error, "cannot remove the owner from the store; it stays until it expires");
        }
    }
}

/// Releases sessions that clients have requested from other processes, until the lease is closed or
/// lost.
async fn watch(
    keeper: Weak<Keeper>,
    registry: Weak<Registry>,
    store: Arc<dyn SessionStore>,
    owner: String,
    fenced: Arc<Notify>,
) {
    let mut looked_at = Instant::now();
    loop {
        sleep(LOOK).await;
        let (Some(keeper), Some(registry)) = (keeper.upgrade(), registry.upgrade()) else { return };
        if keeper.process.lock().await.as_ref().is_none_or(|process| process.owner != owner) {
            return;
        }
        if !registry.has_kept() && looked_at.elapsed() < IDLE_LOOK {
            continue;
        }
        looked_at = Instant::now();
        match store.wanted(&owner).await {
            Ok(wanted) => wanted.into_iter().for_each(|wanted| registry.start_handing_over(wanted)),
            Err(StoreError::Fenced) => fenced.notify_one(),
            Err(error) => {
                tracing::debug!(%error, "cannot read from the store which sessions other processes have requested");
                drop((keeper, registry));
                sleep(PAUSE).await;
            }
        }
    }
}
