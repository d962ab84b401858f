//! Sessions that outlive this process: what is kept of each where another can find it, and who
//! makes it again. `owner` is this process in the eyes of a store, `checkpoint` keeps sessions,
//! `cold` has them back; `sturdy` keeps single references. docs/durable.md says what is restored and what is not.

mod checkpoint;
mod cold;
mod fence;
mod handover;
mod outcomes;
mod owner;
mod pace;
mod sturdy;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bowline_core::link::Features;
use bowline_core::peer::{Durability, Options, RestoreCtx, Restorer, Restorers};
use tokio::sync::Mutex;

pub(crate) use cold::{Claimant, Unopened, elsewhere};
use fence::CurrentFence;
use outcomes::Outcomes;
use owner::Process;
use pace::{Bounds, Clients, Standing};
pub(crate) use sturdy::Keeping;
pub use sturdy::{SavedRefs, SturdyError};

use crate::auth::Principal;
use crate::peer_info::Peer;
use crate::registry::Registry;
use crate::store::{Fence, Lease, OwnerInfo, SessionStore};

/// How sessions outlive the process that serves them; see [`Service::restoration`](crate::Service::restoration).
#[derive(Debug)]
#[non_exhaustive]
pub struct Restoration {
    store: Option<Arc<dyn SessionStore>>,
    restorers: Restorers,
    info: OwnerInfo,
    /// A session that has changed is kept once nothing has happened in it for so long. Default 250 ms.
    pub idle: Duration,
    /// It is kept after so long even if it goes on changing. Default 1 s.
    pub latest: Duration,
    /// How long other processes wait for this one when it has vanished and nothing shows that it has
    /// ended: a lock that the kernel releases on SQLite, a successor of its [`instance`](Self::instance)
    /// on Redis. This process stops serving sessions when it could not renew its lease for eight tenths
    /// of that. Default 10 s.
    pub lease: Duration,
    /// Bytes of a session's snapshot. Beyond: the session is not stored, which is logged and counted. Default 8 MiB.
    pub snapshot_bytes: usize,
    /// Bytes of snapshots that are written of one session in a second, over time: the larger a session, the
    /// longer the time between its checkpoints. Default 2 MiB.
    pub session_bytes_per_second: usize,
    /// Bytes of snapshots that are written in a second, over time, of all sessions of one principal, or of the
    /// anonymous clients of one address. Beyond: checkpoints wait. Default 8 MiB.
    pub client_bytes_per_second: usize,
    /// Bytes that a store keeps for all sessions of one principal, or of the anonymous clients of one address:
    /// snapshots, outcomes of recorded calls, and 4 KiB for each session. Beyond: its sessions are not stored.
    /// What is stored for anonymous clients of unknown address is not bounded together. Default 128 MiB.
    pub stored_bytes: u64,
    /// How long a session is kept in the store for a client that does not come back, once no process serves it.
    /// Default 1 h, or until the session is too old.
    pub unclaimed: Duration,
    /// How long a session may have changes that are not stored before that is logged and counted. Default 30 s.
    pub overdue: Duration,
}

impl Restoration {
    /// Keeps sessions in a store. Of all processes that share it, one at a time has a session.
    pub fn in_store(store: impl SessionStore) -> Self {
        Self::in_shared_store(Arc::new(store))
    }

    /// As [`in_store`](Self::in_store), for a store that this process uses elsewhere, too.
    pub fn in_shared_store(store: Arc<dyn SessionStore>) -> Self {
        Self::new(Some(store))
    }

    /// Keeps sessions in the tokens of their clients and nowhere else, as far as they fit
    /// ([`TokenPolicy::inline_bytes`](crate::TokenPolicy)).
    ///
    /// Without a store nothing stops two processes from recovering the same session: the load balancer
    /// must not let a client reach two of them. Nor can a token be revoked: a
    /// client whose session was [evicted](crate::Service::evict), or that has closed it, can present
    /// the last token that it was sent until that expires
    /// ([`TokenPolicy::token_seconds`](crate::TokenPolicy)), and gets back what the token holds. The
    /// authenticator is asked each time, so that credentials that were revoked open no session.
    pub fn in_tokens_unfenced() -> Self {
        Self::new(None)
    }

    fn new(store: Option<Arc<dyn SessionStore>>) -> Self {
        Self {
            store,
            restorers: Restorers::new(),
            info: OwnerInfo::default(),
            idle: Duration::from_millis(250),
            latest: Duration::from_secs(1),
            lease: Lease::LENGTH,
            snapshot_bytes: 8 << 20,
            session_bytes_per_second: 2 << 20,
            client_bytes_per_second: 8 << 20,
            stored_bytes: 128 << 20,
            unclaimed: Duration::from_secs(3_600),
            overdue: Duration::from_secs(30),
        }
    }

    /// Gives this process the stable name of its place, `shop-0` for instance: the name that an
    /// orchestrator gives to one process at a time. Sessions of the process that had the name before
    /// can be taken over as soon as this one serves its first session, whether or not the lease of that
    /// process is over. Two processes that run with one name end each other's leases.
    ///
    /// With `SqliteStore` there is no need for it: the store sees by itself that a process has ended.
    #[must_use]
    pub fn instance(mut self, name: impl Into<String>) -> Self {
        self.info.instance = Some(name.into());
        self
    }

    /// Says where clients reach this process and no other, as a `ws:` or `wss:` URL. A client that a
    /// load balancer sends to another process is redirected here, where its session goes on as if the
    /// connection had been lost. Without, this process gives the session to the other one.
    #[must_use]
    pub fn advertise(mut self, url: impl Into<String>) -> Self {
        self.info.address = Some(url.into());
        self
    }

    /// Adds who makes objects of one kind again. Objects of kinds that nobody makes are lost with
    /// `RESTORER_UNKNOWN`.
    #[must_use]
    pub fn restorer(mut self, restorer: Restorer) -> Self {
        self.restorers = self.restorers.with(restorer);
        self
    }

    /// Replaces all restorers, with bounds of one's own.
    #[must_use]
    pub fn restorers(mut self, restorers: Restorers) -> Self {
        self.restorers = restorers;
        self
    }
}

/// For whom objects of a session are made.
fn ctx(sid: &str, audience: &str, peer: &Peer) -> RestoreCtx {
    let Principal { id, .. } = &peer.principal;
    RestoreCtx::new(sid, id.as_str(), audience).with_peer(peer.clone())
}

/// What keeps the sessions of a service.
#[derive(Debug)]
pub(crate) struct Keeper {
    pub(crate) store: Option<Arc<dyn SessionStore>>,
    pub(crate) restorers: Arc<Restorers>,
    /// What other processes are told of this one.
    info: OwnerInfo,
    idle: Duration,
    latest: Duration,
    lease: Duration,
    process: Mutex<Option<Process>>,
    bounds: Bounds,
    clients: Clients,
}

/// What is known of a session that is kept.
#[derive(Debug)]
pub(crate) struct Kept {
    /// Absent where nothing is fenced.
    pub(crate) fence: Option<Arc<CurrentFence>>,
    /// Held while a checkpoint is taken and stored: one after the other.
    pub(crate) keeping: Mutex<()>,
    /// It was said once that the session is too large to be kept.
    pub(crate) told_too_large: AtomicBool,
    /// The client that the session counts for, unless it is unknown.
    account: Option<String>,
    /// How the session stands with the store.
    standing: Standing,
    /// This process has let go of the session, which goes on elsewhere.
    retired: AtomicBool,
}

impl Kept {
    /// Creates what is known of a session that was recovered `lineage` times.
    pub(crate) fn new(fence: Option<Fence>, lineage: u64, account: Option<String>) -> Self {
        let fence = fence.map(|fence| CurrentFence::new(fence, lineage));
        Self {
            fence,
            keeping: Mutex::default(),
            told_too_large: AtomicBool::new(false),
            account,
            standing: Standing::default(),
            retired: AtomicBool::new(false),
        }
    }

    /// Says that the session goes on elsewhere; false if that was known.
    pub(crate) fn retire(&self) -> bool {
        !self.retired.swap(true, Ordering::SeqCst)
    }

    /// Returns the fence, unless nothing is fenced.
    pub(crate) fn fence(&self) -> Option<Fence> {
        self.fence.as_ref().map(|fence| fence.get())
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::SeqCst)
    }
}

impl Keeper {
    pub(crate) fn new(restoration: Restoration) -> Arc<Self> {
        let bounds = Bounds {
            snapshot_bytes: restoration.snapshot_bytes,
            session_bytes_per_second: restoration.session_bytes_per_second,
            client_bytes_per_second: restoration.client_bytes_per_second,
            stored_bytes: restoration.stored_bytes,
            unclaimed: restoration.unclaimed,
            overdue: restoration.overdue,
        };
        let Restoration { store, restorers, info, idle, latest, lease, .. } = restoration;
        let (process, clients) = (Mutex::default(), Clients::default());
        Arc::new(Self { store, restorers: Arc::new(restorers), info, idle, latest, lease, process, bounds, clients })
    }

    /// Whether a client can have its session back from another process.
    pub(crate) fn is_for(features: &[String]) -> bool {
        Features::of(features).durable
    }

    /// What a session that is kept is started with.
    pub(crate) fn options(
        self: &Arc<Self>,
        registry: &Arc<Registry>,
        options: &Options,
        sid: &str,
        peer: &Peer,
        kept: &Kept,
    ) -> Options {
        let ctx = ctx(sid, &registry.resumption.token_audience(), peer);
        let durability = Durability::new(ctx, Arc::clone(&self.restorers)).vars(peer.vars.clone());
        let durability = match (&self.store, &kept.fence) {
            (Some(store), Some(fence)) => durability.log(Outcomes::new(store, fence, self, registry)),
            _ => durability,
        };
        options.clone().durability(durability)
    }
}
