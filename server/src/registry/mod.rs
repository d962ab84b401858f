//! The sessions that can be resumed: which there are, which are parked, and whose they are.
//!
//! Invariant: a session's owner, its life and its newest transport change together, under the
//! lock of its entry. So epochs and transports agree, and of two resumes one comes second.

mod draining;
mod kept;
mod parked;
mod quota;
mod shedding;
mod throttle;
mod tokens;

use std::collections::VecDeque;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bowline_core::endpoint::{Attached, Endpoint};
use bowline_core::error::ErrorCode;
use bowline_core::limits::Limits;
use bowline_core::link::{
    Features, Hello, Joint, Mode, Refused, Resume, Resumed, Role, RuntimeIdentity, SharedLimits, Welcome, handshake,
};
use bowline_core::peer::{Connection, Options, Stub};
use bowline_core::resume::{Claims, Jti, Owner, TokenError};
use bowline_core::session::ClosedBy;
use dashmap::DashMap;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::address::AddressGroup;
use crate::auth::Principal;
use crate::authority::Authority;
use crate::restoration::{Keeper, Kept, elsewhere};
use crate::resumption::{OnReplay, Reauth, Resumption};
use crate::service::Successor;
use throttle::Throttle;
pub(crate) use tokens::{Candidate, Unopened, random, refuse, unix_ms, unix_now};

/// How long a hello that comes again gets the same session.
const HELLO_REPEATS: Duration = Duration::from_secs(60);

/// All sessions of a service that have a link.
#[derive(Debug)]
pub(crate) struct Registry {
    pub(crate) resumption: Resumption,
    /// What has sessions outlive this process.
    pub(crate) keeper: Option<Arc<Keeper>>,
    sessions: DashMap<String, Arc<Entry>>,
    /// Sessions that are being made again, one claimant after the other.
    restoring: DashMap<String, Weak<tokio::sync::Mutex<()>>>,
    /// Sessions by the hello they were opened with, while it may come again.
    hellos: DashMap<String, (Arc<Entry>, Instant)>,
    sweeps: AtomicBool,
    throttle: Throttle,
    /// Sessions that are opened, by address.
    hello_rates: Throttle,
    /// Whether a task watches the memory that all sessions hold.
    watches_memory: AtomicBool,
    /// Who serves the sessions when this process has stopped.
    successor: Mutex<Successor>,
    /// Closes when the service is dropped, which ends the tasks that watch it.
    lifetime: watch::Sender<()>,
}

impl Drop for Registry {
    /// Closes the sessions that wait for their clients: without the service, no client can resume one.
    fn drop(&mut self) {
        for (_, entry) in std::mem::take(&mut self.sessions) {
            let message = "the service was dropped";
            entry.connection.end_with(ClosedBy::Transport, &ErrorCode::ResumeWindowExpired, message);
        }
    }
}

/// A session that can be resumed.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) id: String,
    pub(crate) connection: Connection,
    /// Absent if the session ends with this process.
    pub(crate) kept: Option<Kept>,
    pub(crate) principal: Principal,
    /// By what the client has shown who it is.
    pub(crate) scheme: String,
    held: Mutex<Held>,
}

#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) owner: Owner,
    pub(crate) claims: Claims,
    pub(crate) authority: Authority,
    /// The address that the client has last come from.
    from: Option<AddressGroup>,
    /// What the tokens of checkpoints claim that are on their way to the client, oldest first; before
    /// them the newest that the client has said it has.
    placed: VecDeque<Claims>,
    life: Life,
    /// When it was given its newest transport.
    pub(crate) attached_at: Instant,
    /// The client has shown that it got the welcome.
    welcomed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    /// It has a transport.
    Live,
    /// It has none since then.
    Parked(Instant),
}

/// A session that is about to be opened.
pub(crate) struct NewSession {
    pub(crate) id: String,
    pub(crate) principal: Principal,
    pub(crate) scheme: String,
    pub(crate) from: Option<AddressGroup>,
    pub(crate) kept: Option<Kept>,
}

/// A session on its way to a transport.
pub(crate) struct Admitted {
    pub(crate) entry: Arc<Entry>,
    pub(crate) attached: Attached,
    pub(crate) epoch: u64,
}

impl Registry {
    pub(crate) fn new(resumption: Resumption, keeper: Option<Arc<Keeper>>) -> Arc<Self> {
        Arc::new(Self {
            hello_rates: Throttle::default(),
            watches_memory: AtomicBool::new(false),
            resumption,
            keeper,
            sessions: DashMap::new(),
            restoring: DashMap::new(),
            hellos: DashMap::new(),
            sweeps: AtomicBool::new(false),
            throttle: Throttle::default(),
            successor: Mutex::default(),
            lifetime: watch::Sender::new(()),
        })
    }

    /// Returns a future that completes when the service has been dropped. Cancel-safe.
    pub(crate) fn dropped(&self) -> impl Future<Output = ()> + use<> {
        let mut lifetime = self.lifetime.subscribe();
        async move { while lifetime.changed().await.is_ok() {} }
    }

    /// Opens a session, unless there are as many as may have connections and may be parked.
    pub(crate) fn open(
        self: &Arc<Self>,
        hello: &Hello,
        new: NewSession,
        root: Stub,
        options: Options,
        connections: usize,
    ) -> Result<(Admitted, Welcome), Refused> {
        let NewSession { id, principal, scheme, from, kept } = new;
        let sessions_max = self.resumption.parked.saturating_add(connections);
        if self.sessions.len() >= sessions_max {
            self.sweep();
            if self.sessions.len() >= sessions_max {
                let refused = Refused::new(ErrorCode::RateLimited, "too many sessions");
                return Err(Refused { retryable: true, ..refused });
            }
        }
        let connection = Connection::linked(Some(root), options, Role::Server, self.resumption.rules.clone());
        if kept.is_some() {
            connection.link(Endpoint::keep_checkpoints);
        }
        connection.date_from(unix_ms());
        let claims = Claims::new(&id, &principal.id, &self.resumption.token_audience(), unix_now());
        let first = Jti(random::<16>());
        let owner = Owner::new(first);
        let authority = Authority::new(principal.lease);
        let held = Mutex::new(Held::attached(owner, claims, authority, from));
        let entry = Arc::new(Entry { id: id.clone(), connection, kept, principal, scheme, held });
        let welcome = {
            let mut held = entry.lock();
            self.welcome(&entry, &mut held, hello)?
        };
        self.sessions.insert(id, Arc::clone(&entry));
        // Sessions that end at once leave theirs behind until the next sweep.
        if let Some(hello_id) = hello.hello_id.as_ref().filter(|_| self.hellos.len() < sessions_max) {
            self.hellos.insert(hello_id.clone(), (Arc::clone(&entry), Instant::now()));
        }
        self.start_sweeping();
        self.start_keeping(&entry);
        let epoch = welcome.0.epoch;
        Ok((Admitted { entry, attached: welcome.1, epoch }, welcome.0))
    }

    /// The session of a hello that has come before, if its welcome may have been lost.
    pub(crate) fn reopen(&self, hello: &Hello, principal: &Principal) -> Option<(Admitted, Welcome)> {
        let (entry, since) = self.hellos.get(hello.hello_id.as_ref()?)?.value().clone();
        let mut held = entry.lock();
        let known = held.welcomed || entry.connection.link(|endpoint| endpoint.has_heard_frame());
        if known || since.elapsed() > HELLO_REPEATS || entry.principal.id != principal.id {
            return None;
        }
        held.owner.advance(Jti(random::<16>()));
        let (welcome, attached) = self.welcome(&entry, &mut held, hello).ok()?;
        let epoch = welcome.epoch;
        drop(held);
        tracing::debug!(session = entry.id, epoch, "hello repeated");
        Some((Admitted { entry, attached, epoch }, welcome))
    }

    /// Begins the turn of a transport that has been promised the whole session.
    fn welcome(&self, entry: &Entry, held: &mut Held, hello: &Hello) -> Result<(Welcome, Attached), Refused> {
        let features = entry.features(&hello.features);
        let joint = Joint { peer_processed: 0, peer_sends_after: None, features };
        let attached = entry.connection.attach(joint)?;
        (held.life, held.attached_at) = (Life::Live, Instant::now());
        let (resume_token, resume_key) = self.mint(held);
        self.mint_placed_anew(entry, held);
        let welcome = Welcome {
            session_id: entry.id.clone(),
            protocol: handshake::negotiate(&hello.protocol)?,
            features: features.names(),
            runtime: RuntimeIdentity { trust_level: entry.principal.trust_level, ..self.resumption.runtime.clone() },
            principal: (!entry.principal.is_anonymous()).then(|| entry.principal.id.clone()),
            epoch: held.owner.epoch(),
            resume_token,
            resume_key,
            resume_window_sec: self.resumption.window.as_secs_f64().ceil() as u64,
            heartbeat_interval_sec: self.resumption.rules.heartbeat.as_secs(),
            lease: held.authority.lease(),
            limits: Some(self.limits(entry)),
            last_event_seq: attached.processed,
        };
        Ok((welcome, attached))
    }

    /// Whether the session of a token is here, as the token knows it.
    pub(crate) fn has(&self, claims: &Claims) -> bool {
        let lineage = |entry: &Entry| entry.connection.link(|endpoint| endpoint.lineage());
        let is_open = |entry: &Entry| !entry.is_retired() && !entry.connection.is_closed();
        self.entry(&claims.sid).is_some_and(|entry| claims.ln == lineage(&entry) && is_open(&entry))
    }

    /// What a client is told of the bounds of its session.
    fn limits(&self, entry: &Entry) -> SharedLimits {
        let rules = &self.resumption.rules;
        let Limits { message_bytes, running_calls, table_entries, .. } =
            entry.connection.link(|endpoint| endpoint.session.limits().clone());
        SharedLimits {
            message_bytes,
            running_calls,
            table_entries,
            retain_bytes: rules.retain_bytes,
            retain_messages: rules.retain_messages,
        }
    }

    /// Whether token and key are not enough to have this session back.
    pub(crate) fn asks_who(&self, claims: &Claims) -> bool {
        let due = |entry: Arc<Entry>| entry.principal.is_of_connection || entry.lock().authority.is_over();
        self.resumption.reauth == Reauth::Always || self.entry(&claims.sid).is_none_or(due)
    }

    /// Gives a session back. Window, owner, numbers: each is looked at before the next, and the
    /// transport before has had its turn when this returns. `renewed` is who the client has just
    /// shown to be.
    pub(crate) fn resume(
        &self,
        resume: &Resume,
        claims: &Claims,
        renewed: Option<&Principal>,
        from: Option<AddressGroup>,
    ) -> Result<(Admitted, Resumed), Refused> {
        let gone = || Refused::new(ErrorCode::ResumeWindowExpired, "there is no such session any more");
        let entry = self.entry(&claims.sid).ok_or_else(gone)?;
        let mut held = entry.lock();
        if entry.is_retired() {
            return Err(elsewhere(Duration::ZERO));
        }
        if matches!(held.life, Life::Parked(since) if since.elapsed() > self.resumption.window) {
            return Err(gone());
        }
        if entry.connection.is_lease_over() {
            return Err(kept::lease_undecided());
        }
        let (heard, processed) = entry.connection.link(|endpoint| (endpoint.has_heard(), endpoint.processed()));
        if heard {
            held.owner.confirm();
        }
        if let Err(error) = held.owner.check(&claims.jti) {
            drop(held);
            return Err(self.replayed(&entry, &error));
        }
        let restarted = resume.restarted();
        if restarted.is_none() && resume.first_retained_seq > processed + 1 {
            let message = format!("the client begins with {}, and {processed} arrived", resume.first_retained_seq);
            return Err(Refused::new(ErrorCode::ResumeGap, message));
        }
        let features = entry.features(&resume.features);
        entry.connection.link(|endpoint| endpoint.confirm_checkpoint(claims.ck));
        let (attached, left) = match restarted {
            Some(left) => {
                let no_ids = || Refused::new(ErrorCode::InvalidRequest, "`ids` has to say how far the client was");
                let ids = resume.ids.ok_or_else(no_ids)?;
                let (attached, left) = entry.connection.attach_restarted(features, left, ids)?;
                (attached, Some(left))
            }
            None => {
                let joint = Joint { peer_processed: resume.last_event_seq, peer_sends_after: None, features };
                (entry.connection.attach(joint)?, None)
            }
        };
        let epoch = match held.owner.claim(&claims.jti, Jti(random::<16>())) {
            Ok(epoch) => epoch,
            Err(error) => {
                // A log subscriber may take the lock.
                drop(held);
                return Err(refuse(Some(&claims.sid), &error));
            }
        };
        (held.life, held.attached_at, held.from) = (Life::Live, Instant::now(), from);
        held.welcomed = true;
        if let Some(principal) = renewed {
            held.authority = Authority::new(principal.lease);
        }
        // The same state as before: what was kept since then has tokens of its own.
        let principal = std::mem::take(&mut held.claims.principal);
        held.claims = Claims { born: held.claims.born, principal, ..claims.clone() };
        let (resume_token, resume_key) = self.mint(&mut held);
        self.mint_placed_anew(&entry, &mut held);
        let resumed = Resumed {
            session_id: entry.id.clone(),
            mode: if left.is_some() { Mode::Reattach } else { Mode::Warm },
            epoch,
            resume_token,
            resume_key,
            last_event_seq: attached.processed,
            replayed_from: resume.last_event_seq,
            replayed: attached.resent > 0,
            replay_count: attached.resent,
            runtime: Some(self.resumption.runtime.clone()),
            lease: held.authority.lease(),
            features: left.as_ref().map(|_| features.names()),
            ids: left.as_ref().map(|_| entry.connection.link(|endpoint| endpoint.session.ids())),
            left,
        };
        drop(held);
        Ok((Admitted { entry, attached, epoch }, resumed))
    }

    /// Somebody has come with a token that was replaced.
    fn replayed(&self, entry: &Arc<Entry>, error: &TokenError) -> Refused {
        tracing::warn!(
            monotonic_counter.bowline_tokens_replayed = 1_u64,
            session = entry.id,
            "a replaced token was used"
        );
        if self.resumption.on_replay == OnReplay::Revoke {
            self.evict(entry, &ErrorCode::ResumeTokenReplayed, "a token of the session was used by somebody else");
        }
        refuse(Some(&entry.id), error)
    }

    /// Ends a session for good: its tokens are worth nothing any more, and what was kept of it goes.
    pub(crate) fn evict(&self, entry: &Entry, code: &ErrorCode, reason: &str) {
        tracing::info!(
            monotonic_counter.bowline_sessions_evicted = 1_u64, session = entry.id, %code, reason, "session evicted"
        );
        entry.connection.end_with(ClosedBy::Us, code, reason);
        self.ended(entry);
    }

    /// The sessions of those who fit.
    pub(crate) fn of_whom(&self, fits: impl Fn(&Entry) -> bool) -> Vec<Arc<Entry>> {
        self.sessions.iter().filter(|entry| fits(entry)).map(|entry| Arc::clone(entry.value())).collect()
    }

    pub(crate) fn set_successor(&self, successor: Successor) {
        *self.successor.lock().unwrap_or_else(PoisonError::into_inner) = successor;
    }

    pub(crate) fn successor(&self) -> Successor {
        self.successor.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn entry(&self, sid: &str) -> Option<Arc<Entry>> {
        self.sessions.get(sid).map(|entry| Arc::clone(entry.value()))
    }

    /// Whose turn it is to make a session again.
    pub(crate) fn restoring(&self, sid: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut turn = self.restoring.entry(sid.to_owned()).or_default();
        if let Some(turn) = turn.upgrade() {
            return turn;
        }
        let fresh = Arc::default();
        *turn = Arc::downgrade(&fresh);
        fresh
    }

    /// A session that was made again is one of this process's.
    pub(crate) fn admit_restored(self: &Arc<Self>, entry: &Arc<Entry>) {
        self.sessions.insert(entry.id.clone(), Arc::clone(entry));
        self.start_sweeping();
        self.start_keeping(entry);
    }

    /// The session is over for good. One that is kept stays known as such until it is kept no more:
    /// until then it must not be made again.
    pub(crate) fn ended(&self, entry: &Entry) {
        if !entry.is_ending() {
            self.remove(&entry.id);
        }
    }

    /// The session is not here any more.
    pub(crate) fn remove(&self, id: &str) {
        self.sessions.remove(id);
    }
}

impl Held {
    /// Creates the state of a session whose first connection is attached now.
    fn attached(owner: Owner, claims: Claims, authority: Authority, from: Option<AddressGroup>) -> Self {
        Self {
            owner,
            claims,
            authority,
            from,
            placed: VecDeque::new(),
            life: Life::Live,
            attached_at: Instant::now(),
            welcomed: false,
        }
    }
}

impl Entry {
    /// A session that was made again, with its client.
    pub(crate) fn restored(
        connection: Connection,
        (principal, scheme): (Principal, String),
        from: Option<AddressGroup>,
        owner: Owner,
        claims: Claims,
        kept: Kept,
    ) -> Self {
        let id = claims.sid.clone();
        let authority = Authority::new(principal.lease);
        let held = Mutex::new(Held { welcomed: true, ..Held::attached(owner, claims, authority, from) });
        Self { id, connection, kept: Some(kept), principal, scheme, held }
    }

    /// What this side and a client that names these features can do.
    pub(crate) fn features(&self, theirs: &[String]) -> Features {
        let ours = self.connection.link(|endpoint| Features::within(endpoint.session.limits()));
        Features { durable: self.kept.is_some(), ..ours }.and(Features::of(theirs))
    }

    /// This process has let go of it, and it goes on elsewhere.
    pub(crate) fn is_retired(&self) -> bool {
        self.kept.as_ref().is_some_and(Kept::is_retired)
    }

    /// It is over, and will not be kept any more.
    pub(crate) fn is_ending(&self) -> bool {
        self.connection.is_closed() && self.kept.as_ref().is_some_and(|kept| !kept.is_retired())
    }

    /// Nothing that can panic runs while the lock is held.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
