//! Sessions that outlive their process: what is stored of each, and how another process recovers
//! it. `owner` is this process as the store sees it, `checkpoint` stores sessions, `recover` recovers
//! them, and `sturdy` saves single references. docs/durable.md says what is restored and what is
//! not.

mod checkpoint;
mod fence;
mod outcomes;
mod owner;
mod pace;
mod recover;
mod release;
mod sturdy;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bowline_core::link::Features;
use bowline_core::peer::{Durability, RestoreCtx, Restorer, Restorers, SessionOptions};
use tokio::sync::Mutex;

use fence::CurrentFence;
use outcomes::Outcomes;
use owner::Process;
use pace::{Clients, Standing, StoredBounds};
pub(crate) use recover::{Claimant, Unopened, elsewhere};
pub(crate) use sturdy::Keeping;
pub use sturdy::{SavedRefs, SturdyError};

use crate::auth::Principal;
use crate::peer_info::Peer;
use crate::registry::Registry;
use crate::store::{Fence, Lease, OwnerInfo, SessionStore};

/// How sessions outlive the process that serves them. See
/// [`Service::recovery`](crate::Service::recovery).
///
/// ```
/// use std::time::Duration;
///
/// use bowline::store::MemoryStore;
/// use bowline::{Recovery, Stub};
/// use bowline::durable::Restorer;
///
/// # mod bowline {
/// #     pub use bowline_core::peer::Stub;
/// #     pub use bowline_server::{Recovery, store};
/// #     pub mod durable { pub use bowline_core::peer::Restorer; }
/// # }
/// # async fn load(id: u64) -> Result<Stub, std::io::Error> { panic!("no cart {id}") }
/// let carts = Restorer::new("cart", 1, |_ctx, id: u64| async move { Ok(load(id).await?) });
/// // `SqliteStore` and `RedisStore` are shared by several processes.
/// let recovery = Recovery::in_store(MemoryStore::new()).restorer(carts).lease(Duration::from_secs(5));
/// # drop(recovery);
///
/// // Without a store, sessions are in the tokens of their clients.
/// let recovery = Recovery::in_tokens_unfenced().idle(Duration::from_millis(100));
/// # drop(recovery);
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Recovery {
    store: Option<Arc<dyn SessionStore>>,
    restorers: Restorers,
    info: OwnerInfo,
    /// How long a session that has changed must be quiet before a checkpoint is taken. Default 250
    /// ms.
    pub idle: Duration,
    /// How long after a change a checkpoint is taken even if the session keeps changing. Default 1
    /// s.
    pub latest: Duration,
    /// How long other processes wait for this one after it has vanished. They wait less if there is
    /// proof that it has ended: a lock that the kernel releases with SQLite, or a successor with
    /// its [`instance`](Self::instance) name with Redis. This process stops serving its sessions if
    /// it could not renew the lease for eight tenths of this time. Default 10 s.
    pub lease: Duration,
    /// Bytes of the snapshot of a session. Beyond: the session is not stored, which is logged and
    /// counted. Default 8 MiB.
    pub snapshot_bytes: usize,
    /// Bytes of snapshots that are written per second for one session, over time. The larger a
    /// session, the longer the time between its checkpoints. Default 2 MiB.
    pub session_bytes_per_second: usize,
    /// Bytes of snapshots that are written per second, over time, for all sessions of one
    /// principal, or of the anonymous clients of one address. Beyond: checkpoints wait. Default 8
    /// MiB.
    pub client_bytes_per_second: usize,
    /// Bytes that a store keeps for all sessions of one principal, or of the anonymous clients of
    /// one address: snapshots, outcomes of recorded calls, and 4 KiB for each session. Beyond: its
    /// sessions are not stored. Sessions of anonymous clients with unknown addresses are not
    /// bounded together. Default 128 MiB.
    pub stored_bytes: u64,
    /// How long the store keeps a session that no process serves, for a client that does not come
    /// back. Default 1 h, or until the session is too old.
    pub unclaimed: Duration,
    /// How long a session may have changes that are not stored before that is logged and counted.
    /// Default 30 s.
    pub overdue: Duration,
}

impl Recovery {
    /// Stores sessions in a store. Of all processes that share it, one at a time owns a session.
    pub fn in_store(store: impl SessionStore) -> Self {
        Self::in_shared_store(Arc::new(store))
    }

    /// Stores sessions in a store that this process also uses for other purposes. Of all processes
    /// that share it, one at a time owns a session.
    pub fn in_shared_store(store: Arc<dyn SessionStore>) -> Self {
        Self::new(Some(store))
    }

    /// Stores sessions only in the tokens of their clients, as far as they fit
    /// ([`TokenPolicy::inline_bytes`](crate::TokenPolicy)).
    ///
    /// Without a store, two processes can recover the same session: the load balancer must not let
    /// a client reach two of them.
    ///
    /// Tokens cannot be revoked either. A client whose session was
    /// [evicted](crate::Service::evict), or that has closed it, can present its last token until
    /// that expires ([`TokenPolicy::token_lifetime`](crate::TokenPolicy)), and recovers the state in
    /// the token. The authenticator is asked each time, so revoked credentials recover no session.
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

    /// Sets the stable name of this instance, such as `shop-0`: a name that an orchestrator gives
    /// to one process at a time.
    ///
    /// Sessions of the previous process with this name can be taken over as soon as this one serves
    /// its first session, even if the lease of that process has not ended. Two processes that run
    /// with the same name end each other's leases.
    ///
    /// `SqliteStore` does not need this, because it detects the end of a process at once.
    /// `RedisStore` detects it half a second after another process asks for a session.
    #[must_use]
    pub fn instance(mut self, name: impl Into<String>) -> Self {
        self.info.instance = Some(name.into());
        self
    }

    /// Sets the URL (`ws:` or `wss:`) at which clients reach this process and no other. A client
    /// that a load balancer sends to another process is redirected to it and resumes its session
    /// here. By default, this process releases the session to the other one.
    #[must_use]
    pub fn advertise(mut self, url: impl Into<String>) -> Self {
        self.info.address = Some(url.into());
        self
    }

    /// Adds a restorer for one kind of objects. Objects without a restorer are lost with
    /// `RESTORER_UNKNOWN`.
    #[must_use]
    pub fn restorer(mut self, restorer: Restorer) -> Self {
        self.restorers = self.restorers.with(restorer);
        self
    }

    /// Replaces all restorers and their limits.
    #[must_use]
    pub fn restorers(mut self, restorers: Restorers) -> Self {
        self.restorers = restorers;
        self
    }
}

bowline_core::setters! {
    Recovery {
        idle: Duration,
        latest: Duration,
        lease: Duration,
        snapshot_bytes: usize,
        session_bytes_per_second: usize,
        client_bytes_per_second: usize,
        stored_bytes: u64,
        unclaimed: Duration,
        overdue: Duration,
    }
}

/// Returns the context in which objects of a session are restored.
fn ctx(sid: &str, audience: &str, peer: &Peer) -> RestoreCtx {
    let Principal { id, .. } = &peer.principal;
    RestoreCtx::new(sid, id.as_str(), audience).with_peer(peer.clone())
}

/// Stores and recovers the sessions of a service.
#[derive(Debug)]
pub(crate) struct Keeper {
    pub(crate) store: Option<Arc<dyn SessionStore>>,
    pub(crate) restorers: Arc<Restorers>,
    /// What this process tells others about itself.
    info: OwnerInfo,
    idle: Duration,
    latest: Duration,
    lease: Duration,
    process: Mutex<Option<Process>>,
    bounds: StoredBounds,
    clients: Clients,
}

/// The state of a durable session in this process.
#[derive(Debug)]
pub(crate) struct Kept {
    /// `None` if there is no store, and therefore no fence.
    pub(crate) fence: Option<Arc<CurrentFence>>,
    /// Held while a checkpoint is taken and stored, so that they do not overlap.
    pub(crate) keeping: Mutex<()>,
    /// Whether it was logged that the session is too large for a token.
    pub(crate) told_too_large: AtomicBool,
    /// The client that the session counts for, if it is known.
    account: Option<String>,
    /// How far the session is stored.
    standing: Standing,
    /// Whether this process has given up the session, which continues in another process.
    retired: AtomicBool,
}

impl Kept {
    /// Creates the state of a session that was recovered `lineage` times.
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

    /// Marks the session as given up. Returns `false` if it was before.
    pub(crate) fn retire(&self) -> bool {
        !self.retired.swap(true, Ordering::SeqCst)
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::SeqCst)
    }
}

impl Keeper {
    pub(crate) fn new(recovery: Recovery) -> Arc<Self> {
        let bounds = StoredBounds {
            snapshot_bytes: recovery.snapshot_bytes,
            session_bytes_per_second: recovery.session_bytes_per_second,
            client_bytes_per_second: recovery.client_bytes_per_second,
            stored_bytes: recovery.stored_bytes,
            unclaimed: recovery.unclaimed,
            overdue: recovery.overdue,
        };
        let Recovery { store, restorers, info, idle, latest, lease, .. } = recovery;
        let (process, clients) = (Mutex::default(), Clients::default());
        Arc::new(Self { store, restorers: Arc::new(restorers), info, idle, latest, lease, process, bounds, clients })
    }

    /// Returns whether a client supports recovery by another process.
    pub(crate) fn is_for(features: &[String]) -> bool {
        Features::of(features).durable
    }

    /// Returns the options of a durable session.
    pub(crate) fn options(
        self: &Arc<Self>,
        registry: &Arc<Registry>,
        options: &SessionOptions,
        sid: &str,
        peer: &Peer,
        kept: &Kept,
    ) -> SessionOptions {
        let ctx = ctx(sid, &registry.resumption.token_audience(), peer);
        let durability = Durability::new(ctx, Arc::clone(&self.restorers)).vars(peer.vars.clone());
        let durability = match (&self.store, &kept.fence) {
            (Some(store), Some(fence)) => durability.log(Outcomes::new(store, fence, self, registry)),
            _ => durability,
        };
        options.clone().durability(durability)
    }
}
