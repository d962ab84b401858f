//! The sessions of a service that can be resumed, with their owners, parking, and limits.
//!
//! Invariant: the owner of a session, its life, and its newest connection change together, under
//! the lock of its entry. So epochs and connections agree, and of two simultaneous resumes one
//! comes second.

mod draining;
mod durable;
mod parked;
mod quota;
mod shedding;
mod throttle;
mod tokens;

use std::collections::VecDeque;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bowline_core::endpoint::{Attach, Attached};
use bowline_core::error::ErrorCode;
use bowline_core::limits::Limits;
use bowline_core::link::{Features, Hello, Mode, Refused, Resume, Resumed, Role, SharedLimits, Welcome, handshake};
use bowline_core::peer::{Connection, SessionOptions, Stub};
use bowline_core::resume::{Claims, Jti, Owner, TokenError};
use bowline_core::session::ClosedBy;
use dashmap::DashMap;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::address::AddressGroup;
use crate::auth::Principal;
use crate::leases::Authority;
use crate::recovery::{Keeper, Kept, elsewhere};
use crate::resumption::{OnReplay, Reauth, Resumption};
use crate::service::Successor;
use throttle::Throttle;
pub(crate) use tokens::{Candidate, TokenRefusal, random, refuse, unix_ms, unix_now};

/// How long a repeated hello gets the same session.
const HELLO_REPEATS: Duration = Duration::from_secs(60);

/// All sessions of a service that have a link.
#[derive(Debug)]
pub(crate) struct Registry {
    pub(crate) resumption: Resumption,
    /// Stores sessions for other processes; `None` if sessions end with this process.
    pub(crate) keeper: Option<Arc<Keeper>>,
    sessions: DashMap<String, Arc<Entry>>,
    /// Locks of sessions that are being recovered, so that only one client at a time does so.
    recovering: DashMap<String, Weak<tokio::sync::Mutex<()>>>,
    /// Sessions by the `hello_id` that opened them, while the hello may be repeated.
    hellos: DashMap<String, (Arc<Entry>, Instant)>,
    sweeps: AtomicBool,
    throttle: Throttle,
    /// How many sessions were opened, by address.
    hello_rates: Throttle,
    /// Whether the task that watches the memory of all sessions has started.
    watches_memory: AtomicBool,
    /// Which process takes over the sessions after a drain.
    successor: Mutex<Successor>,
    /// Closed when the service is dropped, which ends the tasks that watch it.
    lifetime: watch::Sender<()>,
}

impl Drop for Registry {
    /// Ends all sessions: without the service, no client can resume one.
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
    /// `None` if the session ends with this process.
    pub(crate) kept: Option<Kept>,
    pub(crate) principal: Principal,
    /// The scheme of the client's credentials.
    pub(crate) scheme: String,
    held: Mutex<EntryState>,
}

#[derive(Debug)]
pub(crate) struct EntryState {
    pub(crate) owner: Owner,
    pub(crate) claims: Claims,
    pub(crate) authority: Authority,
    /// The latest address of the client.
    from: Option<AddressGroup>,
    /// The claims of tokens that were sent with checkpoints, oldest first. The first is the newest
    /// that the client has acknowledged; the others are in transit.
    placed: VecDeque<Claims>,
    life: Life,
    /// When the newest connection was attached.
    pub(crate) attached_at: Instant,
    /// Whether the client has shown that it received the welcome.
    welcomed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    /// The session has a connection.
    Live,
    /// The session has had no connection since then.
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

/// A session that was attached to a new connection, which is not driven yet.
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
            recovering: DashMap::new(),
            hellos: DashMap::new(),
            sweeps: AtomicBool::new(false),
            throttle: Throttle::default(),
            successor: Mutex::default(),
            lifetime: watch::Sender::new(()),
        })
    }

    /// Returns a future that completes when the service was dropped. Cancel-safe.
    pub(crate) fn dropped(&self) -> impl Future<Output = ()> + use<> {
        let mut lifetime = self.lifetime.subscribe();
        async move { while lifetime.changed().await.is_ok() {} }
    }

    /// Opens a session. Refuses if there are as many as may be connected and parked together.
    pub(crate) fn open(
        self: &Arc<Self>,
        hello: &Hello,
        new: NewSession,
        root: Stub,
        options: SessionOptions,
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
            connection.keep_checkpoints();
        }
        connection.date_from(unix_ms());
        let claims = Claims::new(&id, &principal.id, &self.resumption.token_audience(), unix_now());
        let first = Jti(random::<16>());
        let owner = Owner::new(first);
        let authority = Authority::new(principal.lease);
        let held = Mutex::new(EntryState::attached(owner, claims, authority, from));
        let entry = Arc::new(Entry { id: id.clone(), connection, kept, principal, scheme, held });
        let welcome = {
            let mut held = entry.lock();
            self.welcome(&entry, &mut held, hello)?
        };
        self.sessions.insert(id, Arc::clone(&entry));
        // Sessions that end soon leave their entries behind until the next sweep, so the map is
        // bounded, too.
        if let Some(hello_id) = hello.hello_id.as_ref().filter(|_| self.hellos.len() < sessions_max) {
            self.hellos.insert(hello_id.clone(), (Arc::clone(&entry), Instant::now()));
        }
        self.start_sweeping();
        self.start_keeping(&entry);
        let epoch = welcome.0.epoch;
        Ok((Admitted { entry, attached: welcome.1, epoch }, welcome.0))
    }

    /// Returns the session of a repeated hello, whose welcome may have been lost.
    pub(crate) fn reopen(&self, hello: &Hello, principal: &Principal) -> Option<(Admitted, Welcome)> {
        let (entry, since) = self.hellos.get(hello.hello_id.as_ref()?)?.value().clone();
        let mut held = entry.lock();
        let known = held.welcomed || entry.connection.has_heard_frame();
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

    /// Attaches a new session to its connection, and mints its first token.
    fn welcome(&self, entry: &Entry, held: &mut EntryState, hello: &Hello) -> Result<(Welcome, Attached), Refused> {
        let features = entry.features(&hello.features);
        let attached = entry.connection.attach(features, Attach::New)?;
        (held.life, held.attached_at) = (Life::Live, Instant::now());
        let (resume_token, resume_key) = self.mint(held);
        self.mint_placed_anew(entry, held);
        let mut runtime = self.resumption.runtime.clone();
        runtime.trust_level = entry.principal.trust_level;
        let welcome = Welcome {
            session_id: entry.id.clone(),
            protocol: handshake::negotiate(&hello.protocol)?,
            features: features.names(),
            runtime,
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

    /// Returns whether this process has the session of a token, in the lineage that the token
    /// names.
    pub(crate) fn has(&self, claims: &Claims) -> bool {
        let is_open = |entry: &Entry| !entry.is_retired() && !entry.connection.is_closed();
        self.entry(&claims.sid).is_some_and(|entry| claims.ln == entry.connection.lineage() && is_open(&entry))
    }

    /// Returns the limits that are sent to a client.
    fn limits(&self, entry: &Entry) -> SharedLimits {
        let rules = &self.resumption.rules;
        let &Limits { message_bytes, running_calls, table_entries, .. } = entry.connection.limits();
        SharedLimits {
            message_bytes,
            running_calls,
            table_entries,
            retain_bytes: rules.retain_bytes,
            retain_messages: rules.retain_messages,
        }
    }

    /// Returns whether a client must authenticate again to resume the session, in addition to the
    /// token and its proof.
    pub(crate) fn asks_who(&self, claims: &Claims) -> bool {
        let due = |entry: Arc<Entry>| entry.principal.is_bound_to_connection || entry.lock().authority.is_over();
        self.resumption.reauth == Reauth::Always || self.entry(&claims.sid).is_none_or(due)
    }

    /// Resumes a session. Checks the window, the token's place among the tokens of the session, and
    /// the message numbers, in this order. When this returns, the previous connection is
    /// superseded. `renewed` is the principal that the client has just authenticated as.
    pub(crate) fn resume(
        &self,
        resume: &Resume,
        claims: &Claims,
        renewed: Option<&Principal>,
        from: Option<AddressGroup>,
    ) -> Result<(Admitted, Resumed), Refused> {
        let gone = || Refused::new(ErrorCode::ResumeWindowExpired, "the session no longer exists");
        let entry = self.entry(&claims.sid).ok_or_else(gone)?;
        let mut held = entry.lock();
        if entry.is_retired() {
            return Err(elsewhere(Duration::ZERO));
        }
        if matches!(held.life, Life::Parked(since) if since.elapsed() > self.resumption.window) {
            return Err(gone());
        }
        if entry.connection.is_lease_over() {
            return Err(durable::lease_undecided());
        }
        if entry.connection.has_heard() {
            held.owner.confirm();
        }
        if let Err(error) = held.owner.check(&claims.jti) {
            drop(held);
            return Err(self.replayed(&entry, &error));
        }
        let (restarted, processed) = (resume.restarted(), entry.connection.processed());
        if restarted.is_none() && resume.first_retained_seq > processed + 1 {
            let message = format!(
                "messages are missing: the client retransmits from {}, but only {processed} have arrived",
                resume.first_retained_seq
            );
            return Err(Refused::new(ErrorCode::ResumeGap, message));
        }
        let features = entry.features(&resume.features);
        entry.connection.confirm_checkpoint(claims.ck);
        let how = match restarted {
            Some(left) => {
                let no_ids = || Refused::new(ErrorCode::InvalidRequest, "a client that reattaches must send its `ids`");
                Attach::Reattach { ids: resume.ids.ok_or_else(no_ids)?, left }
            }
            None => Attach::Resume { peer_processed: resume.last_event_seq, peer_sends_after: None },
        };
        let attached = entry.connection.attach(features, how)?;
        let epoch = match held.owner.claim(&claims.jti, Jti(random::<16>())) {
            Ok(epoch) => epoch,
            Err(error) => {
                // Released before logging, because a log subscriber may take the lock.
                drop(held);
                return Err(refuse(Some(&claims.sid), &error));
            }
        };
        (held.life, held.attached_at, held.from) = (Life::Live, Instant::now(), from);
        held.welcomed = true;
        if let Some(principal) = renewed {
            held.authority = Authority::new(principal.lease);
        }
        // The token stands for the same state as before: later checkpoints have tokens of their
        // own.
        let principal = std::mem::take(&mut held.claims.principal);
        held.claims = Claims { born: held.claims.born, principal, ..claims.clone() };
        let mode = if restarted.is_some() { Mode::Reattach } else { Mode::Warm };
        let resumed = self.resumed(&entry, &mut held, &attached, mode, features);
        let resumed = Resumed { replayed_from: resume.last_event_seq, ..resumed };
        self.mint_placed_anew(&entry, &mut held);
        drop(held);
        Ok((Admitted { entry, attached, epoch }, resumed))
    }

    /// Handles a token that was replaced by a newer one.
    fn replayed(&self, entry: &Arc<Entry>, error: &TokenError) -> Refused {
        tracing::warn!(
            monotonic_counter.bowline_tokens_replayed = 1_u64,
            session = entry.id,
            "replaced resume token presented"
        );
        if self.resumption.on_replay == OnReplay::Revoke {
            self.evict(
                entry,
                &ErrorCode::ResumeTokenReplayed,
                "a replaced token of the session was presented, which may have been stolen",
            );
        }
        refuse(Some(&entry.id), error)
    }

    /// Ends a session for good: its tokens become invalid, and its stored state is deleted.
    pub(crate) fn evict(&self, entry: &Entry, code: &ErrorCode, reason: &str) {
        tracing::info!(
            monotonic_counter.bowline_sessions_evicted = 1_u64, session = entry.id, %code, reason, "session evicted"
        );
        entry.connection.end_with(ClosedBy::Local, code, reason);
        self.ended(entry);
    }

    /// Returns the sessions for which `fits` returns `true`.
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

    /// Returns the lock under which a session is recovered.
    pub(crate) fn recovering(&self, sid: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut turn = self.recovering.entry(sid.to_owned()).or_default();
        if let Some(turn) = turn.upgrade() {
            return turn;
        }
        let fresh = Arc::default();
        *turn = Arc::downgrade(&fresh);
        fresh
    }

    /// Adds a session that was recovered by this process.
    pub(crate) fn admit_recovered(self: &Arc<Self>, entry: &Arc<Entry>) {
        self.sessions.insert(entry.id.clone(), Arc::clone(entry));
        self.start_sweeping();
        self.start_keeping(entry);
    }

    /// Removes a session that has ended. A stored one is removed only after the store has deleted
    /// it, because it must not be recovered meanwhile.
    pub(crate) fn ended(&self, entry: &Entry) {
        if !entry.is_ending() {
            self.remove(&entry.id);
        }
    }

    /// Removes a session.
    pub(crate) fn remove(&self, id: &str) {
        self.sessions.remove(id);
    }
}

impl EntryState {
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
    /// Creates the entry of a session that was recovered.
    pub(crate) fn recovered(
        connection: Connection,
        (principal, scheme): (Principal, String),
        from: Option<AddressGroup>,
        owner: Owner,
        claims: Claims,
        kept: Kept,
    ) -> Self {
        let id = claims.sid.clone();
        let authority = Authority::new(principal.lease);
        let held = Mutex::new(EntryState { welcomed: true, ..EntryState::attached(owner, claims, authority, from) });
        Self { id, connection, kept: Some(kept), principal, scheme, held }
    }

    /// Returns the features that this side supports and that `offered` contains.
    pub(crate) fn features(&self, offered: &[String]) -> Features {
        let ours = Features::within(self.connection.limits());
        Features { durable: self.kept.is_some(), ..ours }.and(Features::of(offered))
    }

    /// Returns whether this process has given up the session, which continues in another process.
    pub(crate) fn is_retired(&self) -> bool {
        self.kept.as_ref().is_some_and(Kept::is_retired)
    }

    /// Returns whether the session has ended and its stored state is about to be deleted.
    pub(crate) fn is_ending(&self) -> bool {
        self.connection.is_closed() && self.kept.as_ref().is_some_and(|kept| !kept.is_retired())
    }

    /// Locks the state. Nothing that can panic runs while the lock is held, so poisoning is
    /// ignored.
    pub(crate) fn lock(&self) -> MutexGuard<'_, EntryState> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
