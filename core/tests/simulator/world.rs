//! Hosts, a network, a clock, and the seed that decides what happens next.

use std::collections::BTreeMap;
use std::time::Duration;

use bowline_core::link::LinkRules;
use bowline_core::time::Time;

use super::client::{Client, State};
use super::dice::Dice;
use super::invariants as must;
use super::ledger::Ledger;
use super::network::{Arrival, Network, Way};
use super::server::{Around, Served, Server};

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

/// What a history held.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Connections that carried a session.
    pub(crate) turns: u64,
    /// Texts that arrived on one whose turn was over.
    pub(crate) late: u64,
    /// Sessions that ended while their client was there.
    pub(crate) lost: u64,
    /// Attackers, each of whom was refused.
    pub(crate) refused: u64,
    /// Sessions without a link.
    pub(crate) plain: u64,
}

impl Seen {
    pub(crate) fn add(&mut self, other: &Self) {
        let Self { turns, late, lost, refused, plain } = other;
        self.turns += turns;
        self.late += late;
        self.lost += lost;
        self.refused += refused;
        self.plain += plain;
    }
}

const STEPS: usize = 400;
const SERVERS: usize = 2;

pub(crate) struct World {
    pub(crate) dice: Dice,
    pub(crate) now: Time,
    pub(crate) network: Network,
    pub(crate) ledgers: BTreeMap<String, Ledger>,
    pub(crate) clients: Vec<Client>,
    pub(crate) servers: Vec<Server>,
    /// Windows are short and buffers small, so that sessions may end by that.
    is_rough: bool,
    pub(crate) seen: Seen,
}

/// Everything of a world that is around a host.
macro_rules! around {
    ($world:expr) => {
        &mut Around {
            now: $world.now,
            dice: &mut $world.dice,
            network: &mut $world.network,
            ledgers: &mut $world.ledgers,
        }
    };
}

impl World {
    /// Runs one history; what it held, or what was broken.
    pub(crate) fn run(seed: u64, flaw: Flaw) -> Result<Seen, String> {
        let mut world = Self::new(seed, flaw);
        for _ in 0..STEPS {
            world.step()?;
        }
        world.come_to_rest()?;
        world.end()?;
        let mut seen = world.seen;
        seen.late = world.servers.iter().map(|server| server.late).sum();
        for client in &world.clients {
            seen.turns += client.turns;
            seen.lost += u64::from(client.lost.is_some());
            seen.plain += u64::from(!client.is_linked);
        }
        Ok(seen)
    }

    fn new(seed: u64, flaw: Flaw) -> Self {
        let mut dice = Dice(seed);
        let is_rough = dice.one_in(4);
        let mut rules = LinkRules::default();
        rules.ack_messages = 1 + dice.below(16) as u64;
        rules.ack_after = Duration::from_millis(1 << dice.below(9));
        (rules.heartbeat, rules.dead_after) = (Duration::from_secs(1), Duration::from_secs(2));
        let mut window = Duration::from_secs(300);
        if is_rough {
            window = Duration::from_secs(2);
            (rules.retain_bytes, rules.retain_messages) = (400 + dice.below(2_000), 8 + dice.below(60));
        }
        let clients = 1 + dice.below(2) + usize::from(dice.one_in(4));
        let servers = (0..SERVERS).map(|index| Server::new(index, flaw, rules.clone(), window)).collect();
        let client = |index| {
            let is_linked = index == 0 || !dice.one_in(5);
            Client::new(index, dice.below(SERVERS), is_linked, flaw, rules.clone())
        };
        let clients = (0..clients).map(client).collect();
        let (network, ledgers) = (Network::default(), BTreeMap::new());
        Self { now: Time::default(), network, ledgers, clients, servers, is_rough, seen: Seen::default(), dice }
    }

    fn step(&mut self) -> Result<(), String> {
        let pause = if self.dice.one_in(200) { 3_000 } else { 8 };
        self.now = self.now + Duration::from_millis(self.dice.below(pause) as u64);
        let client = self.dice.below(self.clients.len());
        match self.dice.below(44) {
            0..=5 => self.client_acts(client),
            6..=8 => self.server_acts(client),
            9..=12 => self.client_writes(client)?,
            13..=15 => self.server_writes()?,
            16..=30 => (0..=self.dice.below(3)).try_for_each(|_| self.carry())?,
            31..=37 => self.tick(client)?,
            38 => self.cut(),
            39 => self.give_up(client),
            40 => self.pause(client),
            41 => self.renew(client),
            42 => self.attack(client)?,
            _ if self.is_rough && self.dice.one_in(20) => self.crash(client),
            _ => self.tick(client)?,
        }
        self.check()
    }

    /// Every invariant that holds at any time.
    fn check(&mut self) -> Result<(), String> {
        for client in &self.clients {
            must::of_a_session(client, &mut self.servers[client.server], self.is_rough)?;
        }
        for server in &mut self.servers {
            for entry in std::mem::take(&mut server.over) {
                must::i19_a_session_that_is_over_holds_nothing(&entry)?;
            }
        }
        Ok(())
    }

    fn client_acts(&mut self, client: usize) {
        let client = &mut self.clients[client];
        // As in the peer layer: while too much waits, a client refuses what is new.
        if client.is_alive() && client.paused <= self.now && !client.endpoint.is_overfull() {
            client.app.act(&mut client.endpoint, &mut self.dice);
            client.app.react(&mut client.endpoint);
        }
    }

    fn server_acts(&mut self, client: usize) {
        let client = &self.clients[client];
        let server = &mut self.servers[client.server];
        if server.paused > self.now {
            return;
        }
        let entry = client.session.as_ref().and_then(|id| server.sessions.get_mut(id));
        if let Some(entry) = entry {
            entry.app.act(&mut entry.endpoint, &mut self.dice);
            entry.app.react(&mut entry.endpoint);
            entry.endpoint.bound_retained();
            entry.app.react(&mut entry.endpoint);
        }
    }

    fn client_writes(&mut self, client: usize) -> Result<(), String> {
        let texts = 1 + self.dice.below(6);
        let client = &mut self.clients[client];
        if client.paused > self.now { Ok(()) } else { client.write(texts, around!(self)) }
    }

    fn server_writes(&mut self) -> Result<(), String> {
        let server = &mut self.servers[self.dice.below(SERVERS)];
        if server.paused > self.now || server.served.is_empty() {
            return Ok(());
        }
        let at = self.dice.below(server.served.len());
        let connection = *server.served.keys().nth(at).expect("an index below the length");
        let texts = 1 + self.dice.below(6);
        server.write(connection, texts, around!(self))
    }

    /// Lets something arrive, on one of the newer connections more often than not.
    fn carry(&mut self) -> Result<(), String> {
        if self.network.connections.is_empty() {
            return Ok(());
        }
        let connections = self.network.connections.len();
        let busy = |at: &usize| [Way::ToServer, Way::ToClient].iter().any(|&way| self.network.is_busy(*at, way));
        let busy: Vec<usize> = (0..connections).filter(busy).collect();
        if busy.is_empty() {
            return Ok(());
        }
        let at = busy[self.dice.below(busy.len())];
        let way = if self.dice.one_in(2) { Way::ToServer } else { Way::ToClient };
        self.deliver(at, way, false)
    }

    fn deliver(&mut self, at: usize, way: Way, healthy: bool) -> Result<(), String> {
        let (client, server) = (self.network.connections[at].client, self.network.connections[at].server);
        let paused = if way == Way::ToServer { self.servers[server].paused } else { self.clients[client].paused };
        if paused > self.now {
            return Ok(());
        }
        let dice = if healthy { None } else { Some(&mut self.dice) };
        for arrival in self.network.read(at, way, self.now, dice) {
            let (client, server) = (&mut self.clients[client], &mut self.servers[server]);
            match (arrival, way) {
                (Arrival::Text(text), Way::ToServer) => server.hear(at, &text, around!(self))?,
                (Arrival::Text(text), Way::ToClient) => client.hear(at, &text, around!(self))?,
                (Arrival::End, Way::ToServer) => server.hears_end(at, self.now),
                (Arrival::End, Way::ToClient) => client.hears_end(at, around!(self)),
            }
        }
        Ok(())
    }

    fn tick(&mut self, client: usize) -> Result<(), String> {
        for server in &mut self.servers {
            if server.paused <= self.now {
                server.tick(around!(self));
            }
        }
        let client = &mut self.clients[client];
        let dials = if client.is_linked && self.dice.one_in(6) { 2 } else { 1 };
        if client.paused <= self.now && client.tick(around!(self)) {
            let is_linked = client.is_linked;
            let server = client.server;
            for connection in client.dial(dials, around!(self)) {
                self.servers[server].accept(connection, is_linked, around!(self));
            }
        }
        Ok(())
    }

    fn cut(&mut self) {
        let open: Vec<usize> = (0..self.network.connections.len()).filter(|&at| self.network.is_open(at)).collect();
        if !open.is_empty() {
            self.network.cut(open[self.dice.below(open.len())], &mut self.dice);
        }
    }

    /// A client thinks that its connection is gone. What it has said there still arrives, late.
    fn give_up(&mut self, client: usize) {
        let client = &mut self.clients[client];
        if let State::Online(connection, _) = client.state
            && client.is_linked
            && client.paused <= self.now
        {
            let until = self.now + Duration::from_millis(self.dice.below(600) as u64);
            self.network.stall(connection, Way::ToServer, until);
            client.detach(around!(self));
        }
    }

    /// A host stands still for a while, and with it its clock.
    fn pause(&mut self, client: usize) {
        let until = self.now + Duration::from_millis(self.dice.below(400) as u64);
        if self.dice.one_in(2) {
            self.clients[client].paused = until;
        } else {
            self.servers[self.clients[client].server].paused = until;
        }
    }

    fn renew(&mut self, client: usize) {
        let client = &self.clients[client];
        if let Some(id) = &client.session {
            self.servers[client.server].renew(id, self.now);
        }
    }

    /// A client process ends without a word.
    fn crash(&mut self, client: usize) {
        let client = &mut self.clients[client];
        let connections = match &client.state {
            State::Dialing(dialled, _) => dialled.clone(),
            State::Online(connection, _) => vec![*connection],
            _ => Vec::new(),
        };
        connections.into_iter().for_each(|at| self.network.vanish(at, Way::ToClient));
        client.state = State::Crashed;
    }

    /// Heals the network, lets everything that was begun end, and waits until nothing happens:
    /// then nothing may be missing.
    fn come_to_rest(&mut self) -> Result<(), String> {
        let (quiet, latest) = (self.now + Duration::from_secs(8), self.now + Duration::from_secs(24));
        // What has piled up behind a small buffer needs an ack for each of its fillings.
        while self.now < quiet || (self.now < latest && self.at_rest().is_err()) {
            self.now = self.now + Duration::from_millis(50);
            for client in 0..self.clients.len() {
                self.tick(client)?;
                let Client { app, endpoint, .. } = &mut self.clients[client];
                app.finish(endpoint);
                app.react(endpoint);
                self.clients[client].write(usize::MAX, around!(self))?;
            }
            for server in 0..SERVERS {
                let of = &mut self.servers[server];
                for entry in of.sessions.values_mut() {
                    entry.app.finish(&mut entry.endpoint);
                    entry.app.react(&mut entry.endpoint);
                }
                for served in of.served.values_mut() {
                    if let Served::Plain { endpoint, app } = served {
                        app.finish(endpoint);
                        app.react(endpoint);
                    }
                }
                let served: Vec<usize> = of.served.keys().copied().collect();
                for connection in served {
                    self.servers[server].write(connection, usize::MAX, around!(self))?;
                }
            }
            for at in 0..self.network.connections.len() {
                self.deliver(at, Way::ToServer, true)?;
                self.deliver(at, Way::ToClient, true)?;
            }
            self.check()?;
        }
        self.at_rest()
    }

    fn at_rest(&self) -> Result<(), String> {
        for client in &self.clients {
            if matches!(client.state, State::Crashed) {
                continue;
            }
            must::i12_every_wait_has_ended(client)?;
            let Some(id) = client.session.as_ref().filter(|_| client.is_alive()) else { continue };
            let entry = self.servers[client.server].sessions.get(id).ok_or("I14: the server has lost a session")?;
            must::i3_nothing_is_missing(&self.ledgers[id])?;
            must::i3_no_call_is_missing(client, entry)?;
            must::i8_both_ends_have_come_equally_far(&client.endpoint, &entry.endpoint)?;
            must::i9_nothing_is_held(&client.endpoint)?;
            must::i9_nothing_is_held(&entry.endpoint)?;
        }
        Ok(())
    }

    /// Every client goes without a word; when the window is over, nothing is left of them.
    fn end(&mut self) -> Result<(), String> {
        (0..self.clients.len()).for_each(|client| self.crash(client));
        for _ in 0..4 {
            self.now = self.now + self.servers[0].window + Duration::from_secs(11);
            for server in &mut self.servers {
                server.tick(around!(self));
            }
            for at in 0..self.network.connections.len() {
                self.deliver(at, Way::ToServer, true)?;
            }
            self.check()?;
        }
        self.servers.iter().try_for_each(must::i19_nothing_is_left_after_the_window)
    }
}
