//! Two hosts, a network and a clock. A host does what server and client do with the endpoint and
//! the tokens, in the same order; what is random there comes from the seed.

use std::collections::VecDeque;
use std::time::Duration;

use bowline_core::endpoint::Endpoint;
use bowline_core::limits::Limits;
use bowline_core::link::{Attachment, Frame, Joint, LinkRules, Resume, Resumed, Role, Secret};
use bowline_core::resume::{Claims, Jti, Key, KeyRing, Owner, TokenPolicy, prove, resume_key};
use bowline_core::session::{Closed, ClosedBy};
use bowline_core::time::{Time, UnixTime};

use super::app::{App, call, react};
use super::dice::Dice;

/// What is wrong with the hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    None,
    /// What an old transport brings is taken as if it came on the new one.
    NoFencing,
    /// The client counts what comes after a resume from where it is itself.
    NoDuplicateCheck,
    /// What was written is taken for confirmed.
    EarlyFree,
    /// The old token ends when the new one is sent.
    RotationOnSend,
}

const STEPS: usize = 260;
const AUDIENCE: &str = "simulated";
const NOW: UnixTime = UnixTime(1_000);

/// One transport. Texts arrive in order, or not at all from some point on.
struct Conn {
    challenge: String,
    to_server: VecDeque<String>,
    to_client: VecDeque<String>,
    /// Nothing new gets onto it.
    cut: bool,
    /// The server has seen the end.
    server_saw: bool,
    /// What the server uses it for, once it was opened.
    served: Option<Attachment>,
    /// The server has answered the opening.
    opened: bool,
}

enum ClientState {
    Offline,
    Dialing(usize),
    Online(usize, Attachment),
}

pub(crate) struct World {
    dice: Dice,
    flaw: Flaw,
    now: Time,
    conns: Vec<Conn>,
    keys: KeyRing,
    server: Endpoint,
    client: Endpoint,
    server_app: App,
    client_app: App,
    owner: Owner,
    claims: Claims,
    minted: u64,
    /// Every token in the order in which the client adopted it.
    adopted: Vec<Jti>,
    state: ClientState,
    ticket: Option<(Secret, Secret)>,
    welcomed: bool,
    failed: Option<String>,
}

impl World {
    /// Runs one history; how often the client changed its transport, or what was broken.
    pub(crate) fn run(seed: u64, flaw: Flaw) -> Result<usize, String> {
        let mut world = Self::new(seed, flaw);
        for _ in 0..STEPS {
            world.step();
            world.check()?;
        }
        world.quiet()?;
        Ok(world.adopted.len())
    }

    fn new(seed: u64, flaw: Flaw) -> Self {
        let mut dice = Dice(seed);
        let mut rules = LinkRules::default();
        rules.ack_messages = 1 + dice.below(8) as u64;
        let end = |role| Endpoint::linked(Limits::default(), true, role, rules.clone());
        let first = Jti("t0".to_owned());
        Self {
            flaw,
            now: Time::default(),
            conns: Vec::new(),
            keys: KeyRing::new(Key::new("k", &[7; 32]).unwrap()),
            server: end(Role::Server),
            client: end(Role::Client),
            server_app: App::default(),
            client_app: App::default(),
            owner: Owner::new(first.clone()),
            claims: Claims { jti: first, ..Claims::new("s_1", "ann", AUDIENCE, NOW) },
            minted: 0,
            adopted: Vec::new(),
            state: ClientState::Offline,
            ticket: None,
            welcomed: false,
            failed: None,
            dice,
        }
    }

    fn step(&mut self) {
        self.now = self.now + Duration::from_millis(self.dice.below(40) as u64);
        match self.dice.below(20) {
            0..=2 => call(&mut self.client, &mut self.client_app),
            3 => call(&mut self.server, &mut self.server_app),
            4..=6 => self.client_writes(),
            7..=9 => self.server_writes(),
            10..=15 => self.carry(),
            16 => self.client_dials(),
            17 if self.dice.one_in(2) => self.cut(),
            18 => self.timeouts(),
            _ => {
                react(&mut self.client, &mut self.client_app, &mut self.failed);
                react(&mut self.server, &mut self.server_app, &mut self.failed);
            }
        }
        react(&mut self.client, &mut self.client_app, &mut self.failed);
        react(&mut self.server, &mut self.server_app, &mut self.failed);
    }

    fn timeouts(&mut self) {
        if let ClientState::Online(_, at) = self.state
            && !self.client.handle_timeout(at, self.now)
        {
            self.client_loses();
        }
        for conn in 0..self.conns.len() {
            if let Some(at) = self.conns[conn].served
                && !self.server.handle_timeout(at, self.now)
            {
                self.server_sees_end(conn);
            }
        }
    }

    // ---- the network

    /// Carries the next text of some connection, or tells somebody that one ended.
    fn carry(&mut self) {
        let busy: Vec<usize> = (0..self.conns.len())
            .filter(|&conn| {
                let conn = &self.conns[conn];
                !conn.to_server.is_empty() || !conn.to_client.is_empty() || (conn.cut && !conn.server_saw)
            })
            .collect();
        if busy.is_empty() {
            return;
        }
        let conn = busy[self.dice.below(busy.len())];
        for _ in 0..=self.dice.below(4) {
            if self.dice.one_in(2) {
                if let Some(text) = self.conns[conn].to_server.pop_front() {
                    self.server_hears(conn, &text);
                } else if self.conns[conn].cut && !self.conns[conn].server_saw {
                    self.server_sees_end(conn);
                }
            } else if let Some(text) = self.conns[conn].to_client.pop_front() {
                self.client_hears(conn, &text);
            }
        }
    }

    /// Breaks a connection: some of what is under way may still arrive at the server, and the
    /// client hears no more of it. Now and then the server does not notice for long.
    fn cut(&mut self) {
        let open: Vec<usize> = (0..self.conns.len()).filter(|&conn| !self.conns[conn].cut).collect();
        if open.is_empty() {
            return;
        }
        let conn = open[self.dice.below(open.len())];
        self.give_up(conn);
        if matches!(self.state, ClientState::Online(of, _) | ClientState::Dialing(of) if of == conn) {
            self.client_loses();
        }
    }

    fn give_up(&mut self, conn: usize) {
        let keep = self.dice.below(self.conns[conn].to_server.len() + 1);
        let conn = &mut self.conns[conn];
        conn.to_server.truncate(keep);
        conn.to_client.clear();
        conn.cut = true;
    }

    // ---- the client

    fn client_dials(&mut self) {
        match self.state {
            ClientState::Online(..) => return,
            // Out of patience; what was said on that dial may still arrive.
            ClientState::Dialing(conn) if self.dice.one_in(2) => self.give_up(conn),
            ClientState::Dialing(_) => return,
            ClientState::Offline => {}
        }
        let challenge = format!("challenge {}", self.conns.len());
        let hello = match &self.ticket {
            // The hello does not wait for the challenge.
            None => Some("hello".to_owned()),
            Some(_) => None,
        };
        self.conns.push(Conn {
            challenge: challenge.clone(),
            to_server: hello.into_iter().collect(),
            to_client: VecDeque::from([Frame::Challenge { challenge }.write()]),
            cut: false,
            server_saw: false,
            served: None,
            opened: false,
        });
        self.state = ClientState::Dialing(self.conns.len() - 1);
    }

    fn client_loses(&mut self) {
        if let ClientState::Online(conn, at) = self.state {
            self.give_up(conn);
            self.client.detach(at, self.now, gone());
        }
        self.state = ClientState::Offline;
    }

    fn client_writes(&mut self) {
        let ClientState::Online(conn, at) = self.state else { return };
        for _ in 0..=self.dice.below(6) {
            let Some(text) = self.client.poll_transmit(at) else { return };
            self.conns[conn].to_server.push_back(text);
        }
    }

    fn client_hears(&mut self, conn: usize, text: &str) {
        match self.state {
            ClientState::Online(of, at) if of == conn => {
                self.client.handle_text(at, self.now, text);
            }
            ClientState::Dialing(of) if of == conn => match Frame::read(text).unwrap().unwrap() {
                Frame::Challenge { challenge } => self.client_resumes(conn, &challenge),
                Frame::Resumed(resumed) => self.client_is_back(conn, resumed),
                Frame::Rejected(refused) => self.failed = Some(format!("client stranded: {refused:?}")),
                frame => self.failed = Some(format!("client gets {frame:?}")),
            },
            _ => {}
        }
    }

    fn client_resumes(&mut self, conn: usize, challenge: &str) {
        let Some((token, key)) = &self.ticket else { return };
        let came = self.client.processed();
        let resume = Resume {
            protocol: vec![1],
            features: Vec::new(),
            resume_token: token.clone(),
            last_event_seq: came,
            first_retained_seq: self.client.first_retained(),
            proof: prove(key, challenge, token, came),
        };
        self.conns[conn].to_server.push_back(Frame::Resume(resume).write());
    }

    fn client_is_back(&mut self, conn: usize, resumed: Resumed) {
        let claims = self.keys.open(resumed.resume_token.expose(), AUDIENCE, NOW).unwrap();
        self.adopted.push(claims.jti);
        self.ticket = Some((resumed.resume_token, resumed.resume_key));
        let peer_sends_after = if self.flaw == Flaw::NoDuplicateCheck { None } else { Some(resumed.replayed_from) };
        let joint = Joint { peer_processed: resumed.last_event_seq, peer_sends_after, heartbeat: true };
        match self.client.attach(self.now, joint) {
            Ok(attached) => self.state = ClientState::Online(conn, attached.attachment),
            Err(refused) => self.failed = Some(format!("client cannot go on: {refused:?}")),
        }
    }

    // ---- the server

    fn server_sees_end(&mut self, conn: usize) {
        let saw = &mut self.conns[conn];
        saw.server_saw = true;
        saw.cut = true;
        saw.to_server.clear();
        if let Some(at) = saw.served.take() {
            self.server.detach(at, self.now, gone());
        }
    }

    fn server_writes(&mut self) {
        let Some(conn) = (0..self.conns.len()).rev().find(|&conn| self.conns[conn].served.is_some()) else { return };
        let at = self.conns[conn].served.unwrap();
        for _ in 0..=self.dice.below(6) {
            let Some(text) = self.server.poll_transmit(at) else { return };
            if self.flaw == Flaw::EarlyFree && !Frame::is_frame(&text) {
                let written = Frame::Ack { last_processed_seq: self.server.first_retained() };
                self.server.handle_text(at, self.now, &written.write());
            }
            if !self.conns[conn].cut {
                self.conns[conn].to_client.push_back(text);
            }
        }
    }

    fn server_hears(&mut self, conn: usize, text: &str) {
        if !self.conns[conn].opened {
            self.conns[conn].opened = true;
            let answer = if text == "hello" { self.server_welcomes(conn) } else { self.server_resumes(conn, text) };
            if !self.conns[conn].cut {
                self.conns[conn].to_client.push_back(answer.write());
            }
            return;
        }
        let Some(at) = self.conns[conn].served else { return };
        let newest = (0..self.conns.len()).filter_map(|conn| self.conns[conn].served).max().unwrap();
        let before = self.server.processed();
        let at = if self.flaw == Flaw::NoFencing { newest } else { at };
        self.server.handle_text(at, self.now, text);
        if at != newest && self.server.processed() != before {
            self.failed = Some("I4: an old transport has changed the session".to_owned());
        }
    }

    /// A hello, perhaps one whose answer was lost. It is answered as a resume from nothing.
    fn server_welcomes(&mut self, conn: usize) -> Frame {
        if self.server.has_heard_frame() {
            let message = "said hello before";
            return Frame::Rejected(bowline_core::link::Refused::new(
                bowline_core::error::ErrorCode::InvalidRequest,
                message,
            ));
        }
        let next = self.next_jti();
        if self.welcomed {
            self.owner.advance(next.clone());
        } else {
            self.owner = Owner::new(next.clone());
        }
        self.welcomed = true;
        self.go_on(conn, next, 0)
    }

    fn server_resumes(&mut self, conn: usize, text: &str) -> Frame {
        let Ok(Some(Frame::Resume(resume))) = Frame::read(text) else { unreachable!("the client says nothing else") };
        let rejected = |code, message: String| Frame::Rejected(bowline_core::link::Refused::new(code, message));
        let claims = self.keys.open(resume.resume_token.expose(), AUDIENCE, NOW).unwrap();
        let challenge = &self.conns[conn].challenge;
        let came = resume.last_event_seq;
        self.keys.check_proof(&claims, challenge, &resume.resume_token, came, &resume.proof).unwrap();
        if self.server.has_heard() {
            self.owner.confirm();
        }
        if let Err(error) = self.owner.check(&claims.jti) {
            return rejected(error.code(), error.to_string());
        }
        // A server may begin earlier than it was asked to, with what it still has.
        let kept = (came + 1).saturating_sub(self.server.first_retained());
        let from = came - kept.min(self.dice.below(3) as u64);
        let next = self.next_jti();
        self.owner.claim(&claims.jti, next.clone()).unwrap();
        self.go_on(conn, next, from)
    }

    fn go_on(&mut self, conn: usize, jti: Jti, from: u64) -> Frame {
        let joint = Joint { peer_processed: from, peer_sends_after: None, heartbeat: true };
        let attached = match self.server.attach(self.now, joint) {
            Ok(attached) => attached,
            Err(refused) => {
                self.failed = Some(format!("server cannot go on: {refused:?}"));
                return Frame::Rejected(refused);
            }
        };
        self.conns[conn].served = Some(attached.attachment);
        if self.flaw == Flaw::RotationOnSend {
            self.owner.confirm();
        }
        self.claims.ep = self.owner.epoch();
        self.claims.jti = jti;
        let resume_token = self.keys.mint(&mut self.claims, &TokenPolicy::default(), NOW);
        Frame::Resumed(Resumed {
            session_id: "s_1".to_owned(),
            mode: "warm".to_owned(),
            epoch: self.owner.epoch(),
            resume_token,
            resume_key: resume_key(&self.keys, &self.claims),
            last_event_seq: attached.processed,
            replayed_from: from,
            replayed: attached.resent > 0,
            replay_count: attached.resent,
        })
    }

    fn next_jti(&mut self) -> Jti {
        self.minted += 1;
        Jti(format!("t{}", self.minted))
    }

    // ---- what must hold

    fn check(&mut self) -> Result<(), String> {
        if let Some(failed) = self.failed.take() {
            return Err(failed);
        }
        for endpoint in [&mut self.server, &mut self.client] {
            if let Some(closed) = endpoint.session.closed() {
                return Err(format!("a session ended: {closed:?}"));
            }
            let (bytes, messages) = endpoint.retained();
            if bytes > 4 << 20 || messages > 4_096 {
                return Err(format!("I6: {messages} messages of {bytes} bytes are kept"));
            }
        }
        let Some(held) = self.adopted.last() else { return Ok(()) };
        self.owner.check(held).map_err(|error| format!("I14: the client is stranded with {held:?}: {error}"))?;
        if self.server.has_heard() && *held == self.claims.jti {
            let mut owner = self.owner.clone();
            owner.confirm();
            let older = self.adopted.iter().rev().skip(1);
            if let Some(old) = older.clone().find(|old| owner.check(old).is_ok()) {
                return Err(format!("I14: {old:?} counts although the client was heard with {held:?}"));
            }
        }
        Ok(())
    }

    /// Heals the network and lets everything come to rest: then nothing may be missing.
    fn quiet(&mut self) -> Result<(), String> {
        for _ in 0..400 {
            if matches!(self.state, ClientState::Offline) {
                self.client_dials();
            }
            self.now = self.now + Duration::from_millis(5);
            self.client_writes();
            self.server_writes();
            for conn in 0..self.conns.len() {
                while let Some(text) = self.conns[conn].to_server.pop_front() {
                    self.server_hears(conn, &text);
                }
                if self.conns[conn].cut && !self.conns[conn].server_saw {
                    self.server_sees_end(conn);
                }
                while let Some(text) = self.conns[conn].to_client.pop_front() {
                    self.client_hears(conn, &text);
                }
            }
            // A late dial may have taken the session over; the server has closed the one before.
            if let ClientState::Online(conn, _) = self.state
                && !self.conns[conn].served.is_some_and(|at| self.server.is_attached(at))
            {
                self.client_loses();
            }
            react(&mut self.client, &mut self.client_app, &mut self.failed);
            react(&mut self.server, &mut self.server_app, &mut self.failed);
            self.timeouts();
            self.check()?;
        }
        self.at_rest()
    }

    fn at_rest(&self) -> Result<(), String> {
        for (name, calls, other) in
            [("client", &self.client_app, &self.server_app), ("server", &self.server_app, &self.client_app)]
        {
            if other.delivered != calls.called {
                return Err(format!("I3: {name} made {} calls, {} arrived", calls.called, other.delivered));
            }
            if calls.answered != calls.called || !calls.waiting.is_empty() {
                return Err(format!("I12: {name} made {} calls, {} were answered", calls.called, calls.answered));
            }
        }
        for (name, endpoint) in [("client", &self.client), ("server", &self.server)] {
            let stats = endpoint.session.stats();
            if (stats.imports, stats.exports) != (1, 1) {
                return Err(format!("I9: {name} is left with {stats:?}"));
            }
            if endpoint.retained() != (0, 0) {
                return Err(format!("I5: {name} still keeps {:?}", endpoint.retained()));
            }
        }
        if self.client.first_retained() != self.server.processed() + 1
            || self.server.first_retained() != self.client.processed() + 1
        {
            return Err("I8: the sides count differently".to_owned());
        }
        Ok(())
    }
}

fn gone() -> Closed {
    Closed { by: ClosedBy::Transport, name: "Error".to_owned(), message: "cut".to_owned() }
}
