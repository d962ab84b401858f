//! What happens in a history, and what must hold at its end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bowline::ErrorCode;
use bowline::link::LinkEvent;
use bowline::store::{Clock, MemoryStore, SessionStore};
use tokio::time::{Instant, sleep, timeout};

use crate::app::Ledger;
use crate::client::{Call, Client, End, What};
use crate::dice::Dice;
use crate::faulty::Fault;
use crate::network::Network;
use crate::process::{Process, SHOP};

/// Calls of each client.
const STEPS: usize = 40;

/// How long everything may take to come to rest once nothing fails any more.
const REST: Duration = Duration::from_secs(120);

/// How long a process that is replaced may take.
const DRAIN: Duration = Duration::from_secs(8);

/// What goes wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Nemesis {
    pub(crate) name: &'static str,
    keeps: bool,
    stalls: bool,
    kills: bool,
    drains: bool,
    store_fails: bool,
    store_forgets: bool,
    processes: usize,
}

impl Nemesis {
    pub(crate) const CUTS_ALONE: Self = Self {
        name: "cuts, sessions in memory alone",
        keeps: false,
        stalls: false,
        kills: false,
        drains: false,
        store_fails: false,
        store_forgets: false,
        processes: 1,
    };
    pub(crate) const CUTS: Self = Self { name: "cuts and stalls", keeps: true, stalls: true, ..Self::CUTS_ALONE };
    pub(crate) const KILLS: Self = Self { name: "kills", kills: true, ..Self::CUTS };
    pub(crate) const DRAINS: Self = Self { name: "drains", stalls: false, drains: true, ..Self::CUTS };
    pub(crate) const STORE: Self = Self { name: "a store that fails", store_fails: true, ..Self::CUTS };
    pub(crate) const FORGETTING: Self =
        Self { name: "a store that loses its data", store_forgets: true, ..Self::STORE };
    pub(crate) const REPLICAS: Self = Self { name: "two live processes", processes: 2, ..Self::CUTS };
    pub(crate) const EVERYTHING: Self =
        Self { name: "everything", drains: true, store_fails: true, processes: 2, ..Self::KILLS };

    /// Whether another process may take a session over.
    fn moves_sessions(&self) -> bool {
        self.kills || self.drains || self.processes > 1
    }
}

/// What was seen.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) answered: u64,
    pub(crate) resumed: u64,
    pub(crate) restored: u64,
    failed: BTreeMap<String, u64>,
    slowest: Duration,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        self.answered += other.answered;
        self.resumed += other.resumed;
        self.restored += other.restored;
        self.slowest = self.slowest.max(other.slowest);
        for (code, count) in &other.failed {
            *self.failed.entry(code.clone()).or_default() += count;
        }
    }
}

pub(crate) struct History {
    dice: Dice,
    nemesis: Nemesis,
    network: Network,
    ledger: Arc<Ledger>,
    store: Option<Arc<dyn SessionStore>>,
    new_store: Box<dyn Fn() -> Arc<dyn SessionStore>>,
    processes: Vec<Process>,
    started: usize,
    tally: Tally,
}

impl History {
    pub(crate) fn new(seed: u64, nemesis: Nemesis) -> Self {
        let mut dice = Dice(seed);
        let network = Network::new(dice.next());
        let began = Instant::now();
        let clock = Clock::new(move || began.elapsed());
        let new_store = move || Arc::new(MemoryStore::with_clock(clock.clone())) as Arc<dyn SessionStore>;
        let store = nemesis.keeps.then(&new_store);
        let (ledger, tally) = (Arc::default(), Tally::default());
        let new_store = Box::new(new_store);
        Self { dice, nemesis, network, ledger, store, new_store, processes: Vec::new(), started: 0, tally }
    }

    pub(crate) async fn play(mut self) -> Tally {
        for _ in 0..self.nemesis.processes {
            self.start();
        }
        self.switch();
        let clients = 1 + self.dice.below(2) as u64;
        let mut working = tokio::task::JoinSet::new();
        for number in 1..=clients {
            let (network, seed) = (self.network.clone(), self.dice.next());
            working.spawn(async move {
                let mut client = Client::connect(number, seed, &network).await;
                client.work(STEPS).await;
                client
            });
        }
        let mut done = Vec::new();
        while done.len() < clients as usize {
            tokio::select! {
                client = working.join_next() => done.push(client.unwrap().unwrap()),
                () = sleep(Duration::from_millis(self.dice.below(2_500) as u64)) => self.fail().await,
            }
        }
        self.set_fault(Fault::None);
        let (mut ends, mut unended, mut notes) = (BTreeMap::new(), Vec::new(), Vec::new());
        for client in done {
            let calls = Arc::clone(&client.calls);
            let asked = Arc::clone(&client.asked);
            let events = Arc::clone(&client.events);
            match timeout(REST, client.rest()).await {
                Ok((noted, events)) => {
                    self.count(&events);
                    notes.push((noted, calls.lock().unwrap().clone()));
                }
                Err(_elapsed) => unended.push(events.lock().unwrap().clone()),
            }
            ends.extend(calls.lock().unwrap().clone());
            for (call, times) in asked.lock().unwrap().iter() {
                assert_eq!(*times, 1, "callback {call} is called once");
            }
        }
        let stuck: Vec<_> = ends.iter().filter(|(_, call)| call.end.is_none() && !call.is_dropped).collect();
        assert!(stuck.is_empty() && unended.is_empty(), "stuck: {stuck:?}, {unended:?}");
        for (&number, call) in &ends {
            self.assert_honest(number, call);
        }
        notes.iter().for_each(|(noted, calls)| self.assert_noted(*noted, calls));
        for client in 1..=clients {
            let order = self.ledger.order(client);
            assert!(order.is_sorted(), "calls of client {client} are carried out in order: {order:?}");
        }
        self.assert_nothing_left().await;
        self.tally
    }

    fn start(&mut self) {
        let (number, advertises) = (self.started, self.dice.one_in(2));
        self.started += 1;
        let process = Process::start(number, &self.network, &self.ledger, self.store.clone(), advertises);
        self.processes.push(process);
    }

    /// New connections lead to any of the processes.
    fn switch(&mut self) {
        let to = self.processes[self.dice.below(self.processes.len())].number;
        self.network.route(SHOP, to);
    }

    fn set_fault(&self, fault: Fault) {
        self.processes.iter().flat_map(|process| &process.store).for_each(|store| store.set_fault(fault));
    }

    /// Something goes wrong.
    async fn fail(&mut self) {
        let Nemesis { stalls, kills, drains, store_fails, .. } = self.nemesis;
        match self.dice.below(10) {
            0 if kills => self.replace(None).await,
            1 if drains => self.replace(Some(DRAIN)).await,
            2 if store_fails => {
                // A session that begins while the store is full ends with its process.
                let faults = [Fault::Refuse, Fault::LoseAnswer, Fault::Full];
                let fault = faults[self.dice.below(if self.nemesis.moves_sessions() { 2 } else { 3 })];
                self.set_fault(fault);
                // A lease that is about to be renewed lasts for another 5 s.
                sleep(Duration::from_millis(self.dice.below(4_000) as u64)).await;
                self.set_fault(Fault::None);
            }
            3 if store_fails => {
                let lag = Duration::from_millis(self.dice.below(700) as u64);
                self.processes.iter().flat_map(|process| &process.store).for_each(|store| store.set_lag(lag));
            }
            4 if self.nemesis.store_forgets => {
                let empty = (self.new_store)();
                self.processes.iter().flat_map(|process| &process.store).for_each(|store| store.replace(empty.clone()));
                self.store = Some(empty);
            }
            // A process that is in doubt cannot know whether the store has lost its data.
            5 if store_fails && !self.nemesis.store_forgets => {
                let doubt = |doubts| {
                    let stores = self.processes.iter().flat_map(|process| &process.store);
                    stores.for_each(|store| store.set_doubts(doubts));
                };
                doubt(true);
                sleep(Duration::from_millis(self.dice.below(3_000) as u64)).await;
                doubt(false);
            }
            4..6 if stalls => {
                let time = Duration::from_millis(self.dice.below(6_000) as u64);
                self.network.stall(time).await;
            }
            6 => {
                self.switch();
                self.network.cut();
            }
            7 => {
                // Twice in a row, before much was said in between.
                self.network.cut();
                sleep(Duration::from_millis(self.dice.below(800) as u64)).await;
                self.network.cut();
            }
            _ => self.network.cut(),
        }
    }

    /// A process ends, and another begins, before it or after.
    async fn replace(&mut self, within: Option<Duration>) {
        let old = self.processes.swap_remove(self.dice.below(self.processes.len()));
        let is_early = self.dice.one_in(2);
        if is_early {
            self.start();
            self.switch();
        }
        match within {
            Some(within) => {
                // A client that is not there may miss the token of the last checkpoint.
                sleep(Duration::from_secs(1)).await;
                let report = old.drain(within).await;
                assert_eq!(report.calls_cut, 0, "calls take less time than a drain");
            }
            None => old.kill(),
        }
        if !is_early {
            sleep(Duration::from_millis(self.dice.below(1_500) as u64)).await;
            self.start();
            self.switch();
        }
    }

    fn count(&mut self, events: &[LinkEvent]) {
        for event in events {
            match event {
                LinkEvent::Resumed { .. } => self.tally.resumed += 1,
                LinkEvent::Recovered { .. } => self.tally.restored += 1,
                LinkEvent::Lost { .. } => panic!("no session is lost here: {events:?}"),
                _ => {}
            }
        }
    }

    /// What a caller was told agrees with what was done.
    fn assert_honest(&mut self, number: u64, call: &Call) {
        let effects = self.ledger.effects(number);
        let Call { what, end, took, .. } = call;
        self.tally.slowest = self.tally.slowest.max(*took);
        assert!(effects <= 1 || *what == What::Again, "call {number} is carried out once: {effects}, {call:?}");
        match end {
            None => {}
            Some(End::Answered(value)) => {
                self.tally.answered += 1;
                assert!(*value == number || *what == What::Upload, "call {number} has its own answer: {call:?}");
                assert!(
                    effects > 0 || *what == What::Download,
                    "call {number} was answered, and carried out: {call:?}"
                );
            }
            Some(End::Failed(code, message)) => {
                let name = code.as_ref().map_or_else(|| message.clone(), ToString::to_string);
                *self.tally.failed.entry(format!("{what:?} {name}")).or_default() += 1;
                assert!(self.may_fail(*what, code.as_ref()), "call {number} fails without need: {call:?}");
                let is_unattempted = code == &Some(ErrorCode::CallNotAttempted);
                assert!(!is_unattempted || effects == 0, "call {number} was not attempted, and carried out: {call:?}");
            }
        }
    }

    /// A variable that was set stays set, unless a process ends or gives the session up without its client.
    fn assert_noted(&self, noted: Option<u64>, calls: &BTreeMap<u64, Call>) {
        if self.nemesis.kills || self.nemesis.processes > 1 {
            return;
        }
        let is_set = |&(number, call): &(&u64, &Call)| call.what == What::Note && self.ledger.effects(*number) > 0;
        let last = calls.iter().filter(is_set).map(|(number, _)| *number).next_back();
        assert_eq!(noted, last, "the variable of a session");
    }

    fn may_fail(&self, what: What, code: Option<&ErrorCode>) -> bool {
        use ErrorCode::{
            CallNotAttempted, CallOutcomeUnknown, CapabilityLost, NotFound, StoreUnavailable, StreamInterrupted,
        };
        let Some(code) = code else { return false };
        let Nemesis { kills, store_fails, .. } = self.nemesis;
        let moves = self.nemesis.moves_sessions();
        // A process that gives a session up to another stores it, but the client, which is not connected to it anymore,
        // has the token of an earlier checkpoint. What is younger ends as after a crash.
        let crashes = kills || self.nemesis.processes > 1;
        match what {
            What::Once if *code == StoreUnavailable => store_fails || kills,
            What::Saved if *code == StoreUnavailable => store_fails || kills,
            What::Saved if *code == NotFound => self.nemesis.store_forgets,
            What::Fleeting => moves && matches!(code, CallNotAttempted | CallOutcomeUnknown | CapabilityLost),
            What::Upload | What::Download => {
                moves && matches!(code, CallNotAttempted | CallOutcomeUnknown | StreamInterrupted)
            }
            // An object is lost that is younger than the checkpoint whose token the client has.
            What::Durable => {
                (kills || self.nemesis.processes > 1)
                    && matches!(code, CallNotAttempted | CallOutcomeUnknown | CapabilityLost)
            }
            _ => crashes && matches!(code, CallNotAttempted | CallOutcomeUnknown),
        }
    }

    /// Sessions that were closed leave nothing behind in processes that live.
    async fn assert_nothing_left(&self) {
        let is_empty = || {
            self.processes.iter().all(|process| process.life.objects() == 0 && process.service.parked_sessions() == 0)
        };
        for _ in 0..600 {
            if is_empty() {
                return;
            }
            sleep(Duration::from_millis(100)).await;
        }
        let left = self.processes.iter().map(|process| (process.life.objects(), process.service.parked_sessions()));
        panic!("objects and sessions are left: {:?}", left.collect::<Vec<_>>());
    }
}
