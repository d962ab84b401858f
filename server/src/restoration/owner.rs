//! This process as an owner of sessions: its name, its lease, and the end of both.

use std::sync::{Arc, Weak};

use bowline_core::time::Time;
use bowline_transport::{after, deadline};
use tokio::time::{Instant, sleep_until};

use super::Keeper;
use crate::registry::{Registry, random};
use crate::store::{Lease, SessionStore, StoreError};

/// A name in a store, for as long as the lease on it lasts.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) owner: String,
    lease: Lease,
    /// From where the lease counts the time.
    began: Instant,
}

impl Process {
    fn now(&self) -> Time {
        Time(self.began.elapsed())
    }

    /// Returns whether the lease is good by this process's own clock.
    pub(super) fn is_good(&self) -> bool {
        self.lease.is_good(self.now())
    }

    pub(super) fn stop_at(&self) -> Instant {
        after(self.began, self.lease.stop_at().0)
    }
}

impl Keeper {
    /// The name under which this process takes sessions. Cancel-safe.
    pub(super) async fn owner(
        self: &Arc<Self>,
        store: &Arc<dyn SessionStore>,
        registry: &Arc<Registry>,
    ) -> Result<String, StoreError> {
        let mut process = self.process.lock().await;
        if let Some(process) = process.as_ref().filter(|process| process.is_good()) {
            return Ok(process.owner.clone());
        }
        let opened = self.open_owner(store).await?;
        let owner = opened.owner.clone();
        *process = Some(opened);
        self.start_renewing(registry, store, owner.clone());
        Ok(owner)
    }

    /// Opens an owner by a new name.
    pub(super) async fn open_owner(&self, store: &Arc<dyn SessionStore>) -> Result<Process, StoreError> {
        let (owner, began) = (random::<16>(), Instant::now());
        store.open_owner(&owner, self.lease).await?;
        Ok(Process { owner, lease: Lease::new(self.lease, Time::default()), began })
    }

    /// Renews the lease of an owner until it is given up or lost, or the service is dropped.
    pub(super) fn start_renewing(
        self: &Arc<Self>,
        registry: &Arc<Registry>,
        store: &Arc<dyn SessionStore>,
        owner: String,
    ) {
        let dropped = registry.dropped();
        let renewing = renew(Arc::downgrade(self), Arc::downgrade(registry), Arc::clone(store), owner);
        tokio::spawn(async move {
            tokio::select! {
                () = renewing => {}
                () = dropped => {}
            }
        });
    }

    /// How long this process may go on with what it owns.
    pub(super) async fn may_go_on_until(&self) -> Option<Instant> {
        self.process.lock().await.as_ref().map(Process::stop_at)
    }

    /// Gives every session back: this process will serve none any more.
    pub(crate) async fn close(&self) {
        let process = self.process.lock().await.take();
        if let (Some(process), Some(store)) = (process, &self.store)
            && let Err(error) = store.close_owner(&process.owner).await
        {
            tracing::warn!(%error, "the lease on sessions ends by itself");
        }
    }
}

/// Renews a lease until it is given up or lost. When it is lost, so are the sessions: others may
/// have them by now.
async fn renew(keeper: Weak<Keeper>, registry: Weak<Registry>, store: Arc<dyn SessionStore>, owner: String) {
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
        sleep_until(renew_at.min(stop_at)).await;
        let Some(keeper) = keeper.upgrade() else { return };
        let asked_at = Time(began.elapsed());
        let renewed = if Instant::now() >= stop_at {
            Err(StoreError::Fenced)
        } else {
            store.renew_owner(&owner, keeper.lease).await
        };
        let renewed = match renewed {
            // The lease is good by our clock, and the store does not know of it.
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
                    "the lease on sessions is over; they go on elsewhere, or here when they are asked for"
                );
                if let Some(registry) = registry.upgrade() {
                    registry.let_go_of(&owner);
                }
                return;
            }
            Err(error) => tracing::warn!(%error, "the lease on sessions was not renewed"),
        }
    }
}
