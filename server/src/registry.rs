//! The sessions that can be resumed: which there are, which are parked, and whose they are.
//!
//! Invariant: a session's owner, its life and its newest transport change together, under the
//! lock of its entry. So epochs and transports agree, and of two resumes one comes second.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bowline_core::endpoint::{Attached, Endpoint};
use bowline_core::error::ErrorCode;
use bowline_core::link::{Hello, Identity, Joint, Mode, Refused, Resume, Resumed, Role, Secret, Welcome, handshake};
use bowline_core::peer::{Connection, Options, Stub};
use bowline_core::resume::{Claims, Jti, Kept as Where, Owner, TokenError, resume_key};
use bowline_core::session::ClosedBy;
use bowline_core::time::UnixTime;
use dashmap::DashMap;
use tokio::time::{Instant, sleep};

use crate::auth::Principal;
use crate::restoration::{Keeper, Kept};
use crate::resumption::Resumption;

/// How long a hello that comes again gets the same session.
const HELLO_REPEATS: Duration = Duration::from_secs(60);

/// How often is looked for what is over, unless the window is short.
const SWEEP: Duration = Duration::from_secs(30);
const SWEEP_MIN: Duration = Duration::from_millis(20);

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
}

/// A session that can be resumed.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) id: String,
    pub(crate) connection: Connection,
    /// Absent if the session ends with this process.
    pub(crate) kept: Option<Kept>,
    principal: Principal,
    held: Mutex<Held>,
}

#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) owner: Owner,
    pub(crate) claims: Claims,
    life: Life,
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
            resumption,
            keeper,
            sessions: DashMap::new(),
            restoring: DashMap::new(),
            hellos: DashMap::new(),
            sweeps: AtomicBool::new(false),
        })
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
        let NewSession { id, principal, kept } = new;
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
        let claims = Claims::new(&id, &principal.id, &self.resumption.audience, unix_now());
        let first = Jti(random::<16>());
        let held = Held { owner: Owner::new(first.clone()), claims, life: Life::Live, welcomed: false };
        let entry = Arc::new(Entry { id: id.clone(), connection, kept, principal, held: Mutex::new(held) });
        let welcome = {
            let mut held = entry.lock();
            self.welcome(&entry, &mut held, hello, first)?
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
        if known || since.elapsed() > HELLO_REPEATS || entry.principal != *principal {
            return None;
        }
        let next = Jti(random::<16>());
        held.owner.advance(next.clone());
        let (welcome, attached) = self.welcome(&entry, &mut held, hello, next).ok()?;
        let epoch = welcome.epoch;
        drop(held);
        tracing::debug!(session = entry.id, epoch, "hello repeated");
        Some((Admitted { entry, attached, epoch }, welcome))
    }

    /// Begins the turn of a transport that has been promised the whole session.
    fn welcome(&self, entry: &Entry, held: &mut Held, hello: &Hello, jti: Jti) -> Result<(Welcome, Attached), Refused> {
        let mut features = handshake::common_features(&hello.features);
        if entry.kept.is_some() {
            features.push(handshake::features::DURABLE.to_owned());
        }
        let joint = Joint { peer_processed: 0, peer_sends_after: None, heartbeat: has_heartbeat(&features) };
        let attached = entry.connection.attach(joint)?;
        held.life = Life::Live;
        let (resume_token, resume_key) = self.mint(held, jti);
        let welcome = Welcome {
            session_id: entry.id.clone(),
            protocol: handshake::negotiate(&hello.protocol)?,
            features,
            runtime: Identity {
                kind: "bowline-rs".to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                instance: None,
            },
            principal: (!entry.principal.is_anonymous()).then(|| entry.principal.id.clone()),
            epoch: held.owner.epoch(),
            resume_token,
            resume_key,
            resume_window_sec: self.resumption.window.as_secs_f64().ceil() as u64,
            heartbeat_interval_sec: self.resumption.rules.heartbeat.as_secs(),
            last_event_seq: attached.processed,
        };
        Ok((welcome, attached))
    }

    /// Looks at the token that a client has come with, and at the proof that it is its own.
    pub(crate) fn open_token(&self, resume: &Resume, challenge: &str) -> Result<Claims, Refused> {
        let Resumption { keys, audience, .. } = &self.resumption;
        let token = &resume.resume_token;
        let claims = keys.open(token.expose(), audience, unix_now()).map_err(|error| refuse(None, &error))?;
        keys.check_proof(&claims, challenge, token, resume.last_event_seq, &resume.proof)
            .map_err(|error| refuse(Some(&claims.sid), &error))?;
        Ok(claims)
    }

    /// Whether the session of a token is here, as the token knows it.
    pub(crate) fn has(&self, claims: &Claims) -> bool {
        let lineage = |entry: &Entry| entry.connection.link(|endpoint| endpoint.lineage());
        self.entry(&claims.sid).is_some_and(|entry| claims.ln == lineage(&entry) && !entry.connection.is_closed())
    }

    /// Gives a session back. Window, owner, numbers: each is looked at before the next, and the
    /// transport before has had its turn when this returns.
    pub(crate) fn resume(&self, resume: &Resume, claims: &Claims) -> Result<(Admitted, Resumed), Refused> {
        let window = self.resumption.window;
        let refuse = |error: &TokenError| refuse(Some(&claims.sid), error);
        let gone = || Refused::new(ErrorCode::ResumeWindowExpired, "there is no such session any more");
        let entry = self.sessions.get(&claims.sid).map(|entry| Arc::clone(entry.value())).ok_or_else(gone)?;
        let mut held = entry.lock();
        if matches!(held.life, Life::Parked(since) if since.elapsed() > window) {
            return Err(gone());
        }
        let (heard, processed) = entry.connection.link(|endpoint| (endpoint.has_heard(), endpoint.processed()));
        if heard {
            held.owner.confirm();
        }
        held.owner.check(&claims.jti).map_err(|error| refuse(&error))?;
        if resume.first_retained_seq > processed + 1 {
            let message = format!("the client begins with {}, and {processed} arrived", resume.first_retained_seq);
            return Err(Refused::new(ErrorCode::ResumeGap, message));
        }
        let features = handshake::common_features(&resume.features);
        let peer_processed = resume.last_event_seq;
        let joint = Joint { peer_processed, peer_sends_after: None, heartbeat: has_heartbeat(&features) };
        entry.connection.link(|endpoint| endpoint.confirm_checkpoint(claims.ck));
        let attached = entry.connection.attach(joint)?;
        let next = Jti(random::<16>());
        let epoch = held.owner.claim(&claims.jti, next.clone()).map_err(|error| refuse(&error))?;
        held.life = Life::Live;
        held.welcomed = true;
        // The same state as before: what was kept since then has tokens of its own.
        held.claims = Claims { born: held.claims.born, ..claims.clone() };
        let (resume_token, resume_key) = self.mint(&mut held, next);
        let resumed = Resumed {
            session_id: entry.id.clone(),
            mode: Mode::Warm,
            epoch,
            resume_token,
            resume_key,
            last_event_seq: attached.processed,
            replayed_from: peer_processed,
            replayed: attached.resent > 0,
            replay_count: attached.resent,
            left: None,
        };
        drop(held);
        Ok((Admitted { entry, attached, epoch }, resumed))
    }

    /// A token of the present epoch, and the key that goes with it.
    fn mint(&self, held: &mut Held, jti: Jti) -> (Secret, Secret) {
        let Resumption { keys, tokens, .. } = &self.resumption;
        held.claims.ep = held.owner.epoch();
        held.claims.jti = jti;
        let token = match held.claims.snapshot.clone() {
            Some(snapshot) => {
                let nonce = rand::random::<[u8; 24]>();
                let minted =
                    keys.mint_checkpoint(&mut held.claims, &snapshot, Where::InStore, tokens, unix_now(), &nonce);
                minted.map_or_else(|_too_large| keys.mint(&mut held.claims, tokens, unix_now()), |minted| minted.token)
            }
            None => keys.mint(&mut held.claims, tokens, unix_now()),
        };
        (token, resume_key(keys, &held.claims))
    }

    /// As [`mint`](Self::mint), for a session that nobody else knows yet.
    pub(crate) fn mint_for(&self, entry: &Entry, jti: Jti) -> (Secret, Secret) {
        self.mint(&mut entry.lock(), jti)
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

    /// The sessions that outlive this process.
    pub(crate) fn kept(&self) -> Vec<Arc<Entry>> {
        let kept = self.sessions.iter().filter(|entry| entry.kept.is_some());
        kept.map(|entry| Arc::clone(entry.value())).collect()
    }

    /// The sessions that this process has under a name.
    fn owned_by(&self, owner: &str) -> Vec<Arc<Entry>> {
        let is_owned = |entry: &Entry| {
            let fence = entry.kept.as_ref().and_then(|kept| kept.fence.as_ref());
            fence.is_some_and(|fence| fence.owner == owner)
        };
        self.sessions.iter().filter(|entry| is_owned(entry)).map(|entry| Arc::clone(entry.value())).collect()
    }

    /// The process may go on with what it has under a name.
    pub(crate) fn extend_leases(&self, owner: &str, until: Instant) {
        for entry in self.owned_by(owner) {
            entry.connection.extend_lease(until.saturating_duration_since(Instant::now()));
        }
    }

    /// Others may have what this process had under a name: it ends here, and is not kept.
    pub(crate) fn let_go_of(&self, owner: &str) {
        for entry in self.owned_by(owner) {
            if let Some(kept) = &entry.kept {
                kept.retire();
            }
            self.remove(&entry.id);
            let message = "the lease on the session is over";
            entry.connection.end_with(ClosedBy::Transport, &ErrorCode::SessionElsewhere, message);
        }
    }

    /// Sends the client a newer token, because the one it has will end.
    pub(crate) fn renew(&self, admitted: &Admitted) {
        let entry = &admitted.entry;
        if entry.kept.is_some() {
            // Every token of a session that is kept is known where it is kept.
            return entry.connection.touch();
        }
        let mut held = entry.lock();
        if held.owner.epoch() == admitted.epoch {
            let next = Jti(random::<16>());
            held.owner.renew(next.clone());
            let (token, _same_key) = self.mint(&mut held, next);
            entry.connection.link(|endpoint| endpoint.send_token(token));
        }
    }

    /// The transport of this epoch is gone. What the session waits for, it goes on waiting for.
    pub(crate) fn park(&self, admitted: &Admitted) {
        let mut held = admitted.entry.lock();
        if held.owner.epoch() == admitted.epoch && !admitted.entry.connection.is_closed() {
            held.life = Life::Parked(Instant::now());
        }
    }

    /// The session is over.
    pub(crate) fn remove(&self, id: &str) {
        self.sessions.remove(id);
    }

    /// Sessions that wait for their client.
    pub(crate) fn parked(&self) -> usize {
        self.sessions.iter().filter(|entry| entry.parked_since().is_some()).count()
    }

    /// Ends every session that waits for its client.
    pub(crate) fn end_parked(self: &Arc<Self>, code: &ErrorCode, message: &str) {
        self.sweep_all(|_| true, code, message);
    }

    /// Ends those that nobody came back for, and forgets those that have ended.
    fn sweep(self: &Arc<Self>) {
        let window = self.resumption.window;
        let expired = &ErrorCode::ResumeWindowExpired;
        self.sweep_all(|since| since.elapsed() > window, expired, "the client did not come back in time");
        let mut parked: Vec<Instant> = self.sessions.iter().filter_map(|entry| entry.parked_since()).collect();
        if parked.len() > self.resumption.parked {
            parked.sort_unstable();
            let last = parked[parked.len() - self.resumption.parked - 1];
            self.sweep_all(|since| since <= last, expired, "too many sessions wait for their clients");
        }
        self.restoring.retain(|_, turn| turn.strong_count() > 0);
        self.hellos.retain(|_, (entry, since)| since.elapsed() <= HELLO_REPEATS && !entry.connection.is_closed());
    }

    fn sweep_all(self: &Arc<Self>, is_over: impl Fn(Instant) -> bool, code: &ErrorCode, message: &str) {
        let mut over = Vec::new();
        self.sessions.retain(|_, entry| {
            let stays = !entry.connection.is_closed() && !entry.parked_since().is_some_and(&is_over);
            if !stays {
                over.push(Arc::clone(entry));
            }
            stays
        });
        // Ended outside of the map: the user's objects are dropped here, who may do anything.
        for entry in over {
            if entry.kept.is_some() && !entry.connection.is_closed() {
                // It can still be had back from where it is kept.
                let registry = Arc::clone(self);
                let message = message.to_owned();
                tokio::spawn(async move { registry.retire(&entry, &message).await });
            } else if !entry.connection.is_closed() {
                tracing::debug!(session = entry.id, %code, message, "session lost");
                entry.connection.end_with(ClosedBy::Transport, code, message);
            }
        }
    }

    /// One task for all sessions, from the first session to the end of the service.
    fn start_sweeping(self: &Arc<Self>) {
        if self.sweeps.swap(true, Ordering::SeqCst) {
            return;
        }
        let pause = (self.resumption.window / 4).clamp(SWEEP_MIN, SWEEP);
        let registry: Weak<Self> = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                sleep(pause).await;
                let Some(registry) = registry.upgrade() else { return };
                registry.sweep();
            }
        });
    }
}

impl Entry {
    /// A session that was made again, with its client.
    pub(crate) fn restored(
        connection: Connection,
        principal: Principal,
        owner: Owner,
        claims: Claims,
        kept: Kept,
    ) -> Self {
        let id = claims.sid.clone();
        let held = Held { owner, claims, life: Life::Live, welcomed: true };
        Self { id, connection, kept: Some(kept), principal, held: Mutex::new(held) }
    }

    /// Nothing that can panic runs while the lock is held.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn parked_since(&self) -> Option<Instant> {
        let mut held = self.lock();
        // Whoever drove it was dropped without a word.
        if held.life == Life::Live && self.connection.link(|endpoint| endpoint.is_detached()) {
            held.life = Life::Parked(Instant::now());
        }
        match held.life {
            Life::Parked(since) => Some(since),
            Life::Live => None,
        }
    }
}

/// The log says what was wrong; the presenter is told what it may know.
pub(crate) fn refuse(session: Option<&str>, error: &TokenError) -> Refused {
    let code = error.code();
    tracing::warn!(session, %code, %error, "resume refused");
    let message = match code {
        ErrorCode::ResumeTokenInvalid => "the token is not valid here".to_owned(),
        _ => error.to_string(),
    };
    Refused::new(code, message)
}

pub(crate) fn has_heartbeat(features: &[String]) -> bool {
    features.iter().any(|feature| feature == handshake::features::HEARTBEAT)
}

/// Random bytes as base64url.
pub(crate) fn random<const N: usize>() -> String
where
    rand::distr::StandardUniform: rand::distr::Distribution<[u8; N]>,
{
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; N]>())
}

#[expect(clippy::disallowed_methods, reason = "tokens are dated, because other processes read them")]
pub(crate) fn unix_now() -> UnixTime {
    UnixTime(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())
}
