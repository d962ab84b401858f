//! What happens, and what must hold.

use std::collections::{BTreeMap, VecDeque};

use serde_json::Value;

use super::client::Client;
use super::dice::Dice;
use super::rules::Rules;
use super::server::{Outside, Server};
use super::store::{Answer, Put, RELIES_MS, Store};
use super::tally::Tally;
use super::tickets::{Issuer, Mint};

pub(crate) struct World {
    pub(super) dice: Dice,
    pub(super) rules: Rules,
    pub(super) client: Client,
    /// `None` while no process has the session.
    pub(super) server: Option<Server>,
    pub(super) outside: Outside,
    /// A process that stands still, with what was on its way to it.
    asleep: Option<(Server, VecDeque<String>)>,
    pub(super) store: Store,
    pub(super) mint: Mint,
    pub(super) now_ms: u64,
    /// A claim in the store of a process that has not made the session again yet.
    pub(super) claimed: Option<u64>,
    to_server: VecDeque<String>,
    to_client: VecDeque<String>,
    pub(super) tally: Tally,
    pub(super) may_crash: bool,
}

pub(crate) const STEPS: usize = 160;

/// No history needs more to come to rest.
const REST: usize = 8_000;

impl World {
    pub(crate) fn new(seed: u64, rules: Rules) -> Self {
        let mut mint = Mint::new();
        let mut server = Server::new(Issuer::new(&mut mint));
        server.again_is_told = rules.again_is_told;
        server.rely_on_lease(1, if rules.leases_end { RELIES_MS } else { u64::MAX });
        let mut world = Self {
            dice: Dice(seed),
            rules,
            client: Client::new(),
            server: Some(server),
            outside: Outside::new(rules.outcomes_live_as_long_as_sessions),
            asleep: None,
            store: Store::new(rules.old_claims_are_fenced),
            mint,
            now_ms: 0,
            claimed: None,
            to_server: VecDeque::new(),
            to_client: VecDeque::new(),
            tally: Tally::default(),
            may_crash: true,
        };
        world.resume();
        world
    }

    pub(crate) fn play(self) -> Tally {
        self.play_with(|world, _| world.step())
    }

    /// The same history, but that the process dies in it once, before its step `at`.
    pub(crate) fn play_crashing_at(mut self, at: usize) -> Tally {
        self.may_crash = false;
        self.play_with(|world, step| {
            if step == at {
                world.may_crash = true;
                world.crash();
                world.may_crash = false;
            }
            world.step();
        })
    }

    fn play_with(mut self, step: impl Fn(&mut Self, usize)) -> Tally {
        for at in 0..STEPS {
            step(&mut self, at);
        }
        self.come_to_rest();
        self.assert_agreement();
        self.client.drop_all();
        self.come_to_rest();
        self.assert_nothing_left();
        for end in self.client.calls.values().flatten() {
            *self.tally.ends.entry(end.clone()).or_default() += 1;
        }
        self.tally.callbacks = self.client.heard.len() as u64;
        self.tally.interrupted = self.client.interrupted;
        self.tally.recorded = self.outside.recorded;
        self.tally
    }

    /// Half of a history.
    pub(super) fn play_some(&mut self) {
        (0..STEPS / 2).for_each(|_| self.step());
    }

    fn step(&mut self) {
        let what = self.dice.below(120);
        match what {
            // A client that was restarted has to resume its session first.
            0..28 | 94..96 | 112..114 if !self.client.is_there(self.rules.clients_wait_until_reconciled) => {
                self.resume()
            }
            0..22 => self.client.call(&mut self.dice),
            22..28 => self.client.drop_one(&mut self.dice),
            28..46 => self.carry_to_server(),
            46..64 => self.carry_to_client(),
            64..80 => self.finish_one(),
            80..86 => drop(self.checkpoint()),
            86..90 => self.cut(),
            90..93 => self.crash(),
            93..94 => self.forbid_one(),
            94..96 => self.client.save(&mut self.dice, self.rules.tokens_wait_until_saved),
            96 => self.restart_client(),
            97 => self.fall_asleep(),
            98 => self.wake(),
            99 => self.time_passes(),
            112..114 => self.client.stream(&mut self.dice),
            116..118 => self.drain(),
            118 => self.store_is_away(),
            _ => self.resume(),
        }
    }

    pub(super) fn is_connected(&self) -> bool {
        self.client.at.is_some()
    }

    pub(super) fn carry_to_server(&mut self) {
        self.write();
        if self.server.as_ref().is_some_and(|server| server.reads_no_more) {
            return;
        }
        if let (Some(server), Some(text)) = (&mut self.server, self.to_server.pop_front()) {
            if !server.hear(&text, self.now_ms, &mut self.outside) {
                if self.rules.late_leases_detach {
                    return self.cut();
                }
                server.reads_no_more = true;
            }
            self.assert_alone();
            self.leave_out_rules();
        }
    }

    pub(super) fn carry_to_client(&mut self) {
        self.write();
        if let Some(text) = self.to_client.pop_front() {
            self.client.hear(&text, &self.mint);
        }
    }

    /// Hands everything that both have to say to the network.
    fn write(&mut self) {
        if let Some(at) = self.client.at {
            self.to_server.extend(std::iter::from_fn(|| self.client.endpoint.poll_transmit(at)));
        }
        if let Some(server) = &mut self.server
            && let Some(at) = server.at
        {
            self.to_client.extend(std::iter::from_fn(|| server.endpoint.poll_transmit(at)));
        }
        if !self.rules.tokens_keep_their_place {
            let is_token = |text: &String| text.contains("session.token");
            let first = self.to_client.iter().position(is_token);
            let last = self.to_client.iter().rposition(is_token);
            first.zip(last).into_iter().for_each(|(first, last)| self.to_client.swap(first, last));
        }
    }

    pub(super) fn finish_one(&mut self) {
        if let Some(server) = &mut self.server {
            server.finish_one(&mut self.dice, &mut self.outside);
        }
        self.leave_out_rules();
    }

    fn forbid_one(&mut self) {
        if let Some(server) = &self.server {
            server.forbid_one(&mut self.dice, &mut self.outside);
        }
    }

    fn leave_out_rules(&mut self) {
        if let (Some(server), false) = (&mut self.server, self.rules.releases_are_withheld) {
            server.endpoint.session_mut().release_withheld(usize::MAX);
        }
    }

    /// The process stands still; to the client it is gone.
    fn fall_asleep(&mut self) {
        if self.may_crash && self.dice.one_in(2) && self.asleep.is_none() && self.client.at.is_some() {
            self.write();
            let on_its_way = std::mem::take(&mut self.to_server);
            self.asleep = self.server.take().map(|server| (server, on_its_way));
            self.cut();
        }
    }

    /// A process that was suspended continues what it was about to do.
    fn wake(&mut self) {
        let Some((mut server, on_its_way)) = self.asleep.take() else { return };
        server.is_overrun = server.epoch != self.store.epoch && !self.store.is_on_time();
        let carried_out = self.outside.effects.values().sum::<u32>();
        for text in on_its_way {
            server.hear(&text, self.now_ms, &mut self.outside);
        }
        if server.epoch == self.store.epoch {
            // No other process took over: its client finds it where it was.
            server.at = None;
            if self.server.is_none() {
                self.server = Some(server);
            }
            return;
        }
        self.tally.fenced += 1;
        let after = self.outside.effects.values().sum::<u32>();
        assert!(carried_out == after || !self.store.is_on_time(), "I4 a process whose lease is over carries calls out");
        let Some(checkpoint) = server.endpoint.checkpoint(Value::Null) else { return };
        let (number, bytes) = (checkpoint.number, checkpoint.bytes);
        let put = Put { number, bytes, transport: server.epoch, tokens: Vec::new() };
        let answer = self.store.put(server.epoch, put, &mut self.dice);
        assert_ne!(answer, Answer::Done, "I4 the store takes something from a process that has lost the session");
    }

    /// A process that carries something out is the owner, unless the store's clock says otherwise.
    fn assert_alone(&self) {
        let owns = self.server.as_ref().is_none_or(|server| server.epoch == self.store.epoch);
        assert!(owns || !self.store.is_on_time(), "I4 two processes have the session");
    }

    /// Owners renew their leases, most of the time.
    fn time_passes(&mut self) {
        self.now_ms += self.dice.below(4_000) as u64;
        if self.dice.one_in(12) {
            // A night without clients.
            self.now_ms += self.dice.below(900_000) as u64;
        }
        self.outside.log.time_is(self.now_ms);
        self.store.time_passes(&mut self.dice);
        if self.dice.one_in(4) {
            self.mint.rotate();
        }
        let Some(server) = &mut self.server else { return };
        if self.dice.one_in(5) {
            return;
        }
        if self.store.renew(server.epoch, self.now_ms) {
            server.rely_on_lease(server.epoch, self.now_ms + RELIES_MS);
            assert!(!server.reads_no_more, "I12 a transport is there on which nothing is read");
        } else {
            self.lose_session();
        }
    }

    /// Another process has it.
    pub(super) fn lose_session(&mut self) {
        self.server = None;
        self.cut();
    }

    pub(super) fn cut(&mut self) {
        self.client.at = None;
        if let Some(server) = &mut self.server {
            (server.at, server.reads_no_more) = (None, false);
        }
        self.to_server.clear();
        self.to_client.clear();
    }

    pub(super) fn crash(&mut self) {
        if !self.may_crash {
            return;
        }
        if let Some(server) = self.server.take() {
            self.tally.crashes += 1;
            if self.dice.one_in(2) {
                self.store.release(server.epoch);
            }
            self.cut();
        }
    }

    fn come_to_rest(&mut self) {
        self.wake();
        self.asleep = None;
        for _ in 0..REST {
            self.resume();
            self.write();
            if !self.to_server.is_empty() {
                self.carry_to_server();
            } else if !self.to_client.is_empty() {
                self.carry_to_client();
            } else if self.server.as_ref().is_some_and(Server::is_busy) {
                self.finish_one();
            } else if self.client.endpoint.unsaved().is_some() {
                self.client.save(&mut self.dice, true);
            } else if self
                .server
                .as_ref()
                .is_some_and(|server| server.endpoint.session().withheld_len() > 0 || server.storing.is_some())
            {
                self.checkpoint();
            } else if self.is_connected() {
                return;
            }
        }
        panic!("I12 no rest after {REST} steps");
    }

    /// Both sides know the same of each other.
    fn assert_agreement(&self) {
        assert_eq!(self.client.open_calls(), [0; 0], "I12 every call ends");
        let server = self.server.as_ref().expect("at rest there is a process");
        let [client, server] = [self.client.session(), server.endpoint.session()]
            .map(|session| serde_json::to_value(session.snapshot().expect("it is open")).expect("plain data"));
        for (side, holder, owner) in [("client", &client, &server), ("server", &server, &client)] {
            assert_eq!(mentions(&holder["i"]), mentions(&owner["x"]), "I9 what the {side} holds");
        }
        let (ours, theirs) = (&client["nid"], &server["nid"]);
        assert_eq!(ours["import"], theirs["answer"], "I8");
        assert_eq!(theirs["import"], ours["answer"], "I8");
    }

    fn assert_nothing_left(&mut self) {
        let server = self.server.as_ref().expect("at rest there is a process");
        assert_eq!(server.endpoint.session().stats().exports, 1, "I19 exports of the server");
        assert_eq!(self.client.session().stats().exports, 1, "I19 callbacks of the client");
        self.assert_agreement();
    }
}

/// How often each id of a table was mentioned, those left out that were given back.
fn mentions(table: &Value) -> BTreeMap<i64, i64> {
    let entries = table.as_array().expect("a table is a list");
    let counts = entries.iter().filter_map(|entry| Some((entry[0].as_i64()?, entry[1]["m"].as_i64()?)));
    counts.filter(|&(id, count)| id != 0 && count > 0).collect()
}
