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

/// An owner name in the store, and its lease.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) owner: String,
    lease: Lease,
    /// The instant from which the lease measures time.
    began: Instant,
}

impl Process {
    fn now(&self) -> Time {
        Time(self.began.elapsed())
    }

    /// Returns whether the lease is valid by this process's own clock.
    pub(super) fn is_good(&self) -> bool {
        self.lease.is_good(self.now())
    }

    pub(super) fn stop_at(&self) -> Instant {
        after(self.began, self.lease.stop_at().0)
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
        let opened = self.open_owner(store, Place::TakenOver).await?;
        let owner = opened.owner.clone();
        *process = Some(opened);
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
        Ok(Process { owner, lease: Lease::new(self.lease, Time::default()), began })
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
    pub(super) async fn may_go_on_until(&self) -> Option<Instant> {
        self.process.lock().await.as_ref().map(Process::stop_at)
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
        let Some((renew_at, stop_at, began)) = ({
            let Some(keeper) = keeper.upgrade() else { return };
            let process = keeper.process.lock().await;
            process.as_ref().filter(|process| process.owner == owner).map(|process| {
                let renew_at = after(process.began, process.lease.renew_at().0).max(deadline(keeper.lease / 20));
                (renew_at, process.stop_at(), process.began)
            })
        }) else {
            return;
        };
        tokio::select! {
            () = sleep_until(renew_at.min(stop_at)) => {}
            // The store reports that the lease has ended. Renewing it at once finds out whether
            // that is true.
            () = fenced.notified() => {}
        }
        let Some(keeper) = keeper.upgrade() else { return };
        let asked_at = Time(began.elapsed());
        let renewed = if Instant::now() >= stop_at {
            Err(StoreError::Fenced)
        } else {
            store.renew_owner(&owner, keeper.lease).await
        };
        let renewed = match renewed {
            // The lease is valid by this process's clock, but the store does not know it.
            Err(StoreError::Fenced) if Instant::now() < stop_at => {
                let Some(registry) = registry.upgrade() else { return };
                keeper.living_owner(&store, &registry, &owner).await.map(drop)
            }
            renewed => renewed,
        };
        let mut process = keeper.process.lock().await;
        let Some(held) = process.as_mut().filter(|process| process.owner == owner) else { return };
        match renewed {
            Ok(()) => {
                held.lease.renewed(asked_at);
                let until = held.stop_at();
                if let Some(registry) = registry.upgrade() {
                    registry.extend_leases(&owner, until);
                }
            }
            Err(StoreError::Fenced) => {
                *process = None;
                drop(process);
                tracing::error!(
                    owner,
                    "the lease on sessions has ended; they are recovered by whichever process their clients reach"
                );
                if let Some(registry) = registry.upgrade() {
                    registry.let_go_of(&owner);
                }
                if let Err(error) = store.close_owner(&owner).await {
                    tracing::debug!(%error, "cannot remove the owner from the store; it stays until it expires");
                }
                return;
            }
            Err(error) => tracing::warn!(%error, "cannot renew the lease on sessions"),
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
