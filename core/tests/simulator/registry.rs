//! The sessions of a server process: begun, given back, renewed and forgotten in the order in
//! which the registry of `bowline-server` does it.

use std::time::Duration;

use bowline_core::endpoint::{Attach, Attached, Endpoint};
use bowline_core::error::ErrorCode;
use bowline_core::limits::Limits;
use bowline_core::link::handshake::Opening;
use bowline_core::link::{Features, Frame, Mode, Refused, Resume, Resumed, Role, Secret, Ticket, Welcome};
use bowline_core::resume::{Claims, Jti, Owner, TokenError, resume_key};
use bowline_core::time::{Time, UnixTime};

use super::app::App;
use super::dice::Dice;
use super::server::Server;
use super::world::Flaw;

pub(crate) const AUDIENCE: &str = "simulated";
/// Tokens are renewed no more often. They live so long that none is forgotten before it ends.
const RENEWAL: Duration = Duration::from_millis(500);

const BORN: u64 = 1_700_000_000;

/// A session that can be resumed.
pub(crate) struct Entry {
    pub(crate) endpoint: Endpoint,
    pub(crate) app: App,
    pub(crate) owner: Owner,
    claims: Claims,
    /// The token that was handed out with the newest transport.
    pub(crate) handed: Jti,
    pub(crate) parked: Option<Time>,
    renewed: Time,
    welcomed: bool,
}

/// A session that is begun or goes on.
pub(crate) struct Begun {
    pub(crate) id: String,
    pub(crate) attached: Attached,
    pub(crate) epoch: u64,
    /// The number after which the server's messages follow.
    pub(crate) from: u64,
    pub(crate) answer: Frame,
}

pub(crate) fn unix(now: Time) -> UnixTime {
    UnixTime(BORN + now.0.as_secs())
}

fn refuse(error: TokenError) -> Refused {
    Refused::new(error.code(), error.to_string())
}

fn expired() -> Refused {
    Refused::new(ErrorCode::ResumeWindowExpired, "there is no such session any more")
}

impl Server {
    /// Answers the first text of a connection.
    pub(crate) fn open(&mut self, challenge: &str, now: Time, text: &str, dice: &mut Dice) -> Result<Begun, Refused> {
        match Opening::read(text)? {
            Opening::Hello(hello) => {
                let hello_id = hello.hello_id.expect("our clients name their hellos");
                match self.reopen(&hello_id, now) {
                    Some(begun) => Ok(begun),
                    None => self.begin(hello_id, now),
                }
            }
            Opening::Resume(resume) => self.resume(&resume, challenge, now, dice),
        }
    }

    fn begin(&mut self, hello_id: String, now: Time) -> Result<Begun, Refused> {
        let first = self.next_jti();
        let id = format!("s_{}", first.0);
        let entry = Entry {
            endpoint: Endpoint::linked(Limits::default(), true, Role::Server, self.rules.clone()),
            app: App::default(),
            owner: Owner::new(first.clone()),
            claims: Claims::new(&id, "ann", AUDIENCE, unix(now)),
            handed: first.clone(),
            parked: None,
            renewed: now,
            welcomed: false,
        };
        self.sessions.insert(id.clone(), entry);
        self.hellos.insert(hello_id, id.clone());
        self.welcome(id, first, now)
    }

    /// The session of a hello that has come before, if its welcome may have been lost.
    fn reopen(&mut self, hello_id: &str, now: Time) -> Option<Begun> {
        let id = self.hellos.get(hello_id)?.clone();
        let entry = self.sessions.get(&id)?;
        if entry.welcomed || entry.endpoint.has_heard_frame() {
            return None;
        }
        let next = self.next_jti();
        self.sessions.get_mut(&id)?.owner.advance(next.clone());
        self.welcome(id, next, now).ok()
    }

    fn welcome(&mut self, id: String, jti: Jti, now: Time) -> Result<Begun, Refused> {
        let attached = self.attach(&id, now, 0)?;
        let (epoch, resume_token, resume_key) = self.hand_out(&id, jti, now);
        let welcome = Welcome {
            session_id: id.clone(),
            protocol: 1,
            features: Vec::new(),
            runtime: Default::default(),
            principal: None,
            epoch,
            resume_token,
            resume_key,
            resume_window_sec: self.window.as_secs(),
            heartbeat_interval_sec: 1,
            last_event_seq: attached.processed,
            lease: None,
            limits: None,
        };
        Ok(Begun { id, attached, epoch, from: 0, answer: Frame::Welcome(welcome) })
    }

    /// Token, proof, session, window, owner, numbers: each is looked at before the next.
    fn resume(&mut self, resume: &Resume, challenge: &str, now: Time, dice: &mut Dice) -> Result<Begun, Refused> {
        let (token, came) = (&resume.resume_token, resume.last_event_seq);
        let claims = self.keys.open(token.expose(), AUDIENCE, unix(now)).map_err(refuse)?;
        self.accepted.push(token.expose().to_owned());
        self.keys.check_proof(&claims, challenge, token, came, &resume.proof).map_err(refuse)?;
        let window = self.window;
        let entry = self.sessions.get_mut(&claims.sid).ok_or_else(expired)?;
        if entry.parked.is_some_and(|since| now.since(since) > window) {
            return Err(expired());
        }
        if entry.endpoint.has_heard() {
            entry.owner.confirm();
        }
        entry.owner.check(&claims.jti).map_err(refuse)?;
        if resume.first_retained_seq > entry.endpoint.processed() + 1 {
            return Err(Refused::new(ErrorCode::ResumeGap, "the client begins too late"));
        }
        // A server may begin earlier than it was asked to, with what it still has.
        let kept = came.saturating_add(1).saturating_sub(entry.endpoint.first_retained());
        let from = came - kept.min(dice.below(3) as u64);
        let attached = self.attach(&claims.sid, now, from)?;
        let next = self.next_jti();
        let entry = self.sessions.get_mut(&claims.sid).ok_or_else(expired)?;
        entry.owner.claim(&claims.jti, next.clone()).map_err(refuse)?;
        entry.welcomed = true;
        if self.flaw == Flaw::RotationOnSend {
            entry.owner.confirm();
        }
        let (epoch, resume_token, resume_key) = self.hand_out(&claims.sid, next, now);
        let resumed = Resumed {
            session_id: claims.sid.clone(),
            mode: Mode::Warm,
            epoch,
            resume_token,
            resume_key,
            last_event_seq: attached.processed,
            replayed_from: from,
            replayed: attached.resent > 0,
            replay_count: attached.resent,
            runtime: None,
            lease: None,
            features: None,
            left: None,
            ids: None,
        };
        Ok(Begun { id: claims.sid, attached, epoch, from, answer: Frame::Resumed(resumed) })
    }

    fn attach(&mut self, id: &str, now: Time, peer_processed: u64) -> Result<Attached, Refused> {
        let entry = self.sessions.get_mut(id).ok_or_else(expired)?;
        let attached =
            entry.endpoint.attach(now, Features::ALL, Attach::Resume { peer_processed, peer_sends_after: None })?;
        entry.parked = None;
        Ok(attached)
    }

    fn hand_out(&mut self, id: &str, jti: Jti, now: Time) -> (u64, Secret, Secret) {
        if let Some(entry) = self.sessions.get_mut(id) {
            entry.handed = jti.clone();
        }
        self.mint(id, jti, now)
    }

    /// A token of the present epoch, and the key that goes with it.
    fn mint(&mut self, id: &str, jti: Jti, now: Time) -> (u64, Secret, Secret) {
        let entry = self.sessions.get_mut(id).expect("tokens are minted of sessions that there are");
        entry.claims.ep = entry.owner.epoch();
        entry.claims.jti = jti;
        let token = self.keys.mint(&mut entry.claims, &self.policy, unix(now));
        self.minted.insert(token.expose().to_owned(), entry.claims.jti.clone());
        (entry.claims.ep, token, resume_key(&self.keys, &entry.claims))
    }

    /// Sends a client a newer token on the connection that it has.
    pub(crate) fn renew(&mut self, id: &str, now: Time) {
        let next = self.next_jti();
        let Some(entry) = self.sessions.get_mut(id).filter(|entry| !entry.endpoint.is_detached()) else { return };
        if now.since(entry.renewed) < RENEWAL {
            return;
        }
        entry.renewed = now;
        let next = entry.owner.renew(next);
        let (_epoch, resume_token, resume_key) = self.mint(id, next, now);
        if let Some(entry) = self.sessions.get_mut(id) {
            entry.endpoint.send_token(Ticket { resume_token, resume_key: Some(resume_key) }, None);
        }
    }

    /// Ends sessions whose client did not return, and forgets those that have ended.
    pub(crate) fn sweep(&mut self, now: Time) {
        let window = self.window;
        for entry in self.sessions.values_mut() {
            if entry.parked.is_some_and(|since| now.since(since) > window) {
                let code = ErrorCode::ResumeWindowExpired;
                entry.endpoint.end(bowline_core::session::ClosedBy::Transport, &code, "the client did not return");
                entry.app.react(&mut entry.endpoint);
            }
        }
        let is_over = |entry: &Entry| entry.endpoint.session().is_closed();
        let over: Vec<String> =
            self.sessions.iter().filter(|(_, entry)| is_over(entry)).map(|(id, _)| id.clone()).collect();
        self.over.extend(over.iter().filter_map(|id| self.sessions.remove(id)));
    }

    fn next_jti(&mut self) -> Jti {
        self.jtis += 1;
        Jti(format!("{}.{}", self.name, self.jtis))
    }
}
