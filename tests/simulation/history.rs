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
        processes: 1,
    };
    pub(crate) const CUTS: Self = Self { name: "cuts and stalls", keeps: true, stalls: true, ..Self::CUTS_ALONE };
    pub(crate) const KILLS: Self = Self { name: "kills", kills: true, ..Self::CUTS };
    pub(crate) const DRAINS: Self = Self { name: "drains", stalls: false, drains: true, ..Self::CUTS };
    pub(crate) const STORE: Self = Self { name: "a store that fails", store_fails: true, ..Self::CUTS };
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
        let store = nemesis.keeps.then(|| Arc::new(MemoryStore::with_clock(clock)) as Arc<dyn SessionStore>);
        let (ledger, tally) = (Arc::default(), Tally::default());
        Self { dice, nemesis, network, ledger, store, processes: Vec::new(), started: 0, tally }
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
        let (mut ends, mut unended) = (BTreeMap::new(), Vec::new());
        for client in done {
            let calls = Arc::clone(&client.calls);
            let asked = Arc::clone(&client.asked);
            let events = Arc::clone(&client.events);
            match timeout(REST, client.rest()).await {
                Ok((_, events)) => self.count(&events),
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
                let fault = [Fault::Refuse, Fault::LoseAnswer][self.dice.below(2)];
                self.set_fault(fault);
                sleep(Duration::from_millis(self.dice.below(5_000) as u64)).await;
                self.set_fault(Fault::None);
            }
            3 if store_fails => {
                let lag = Duration::from_millis(self.dice.below(700) as u64);
                self.processes.iter().flat_map(|process| &process.store).for_each(|store| store.set_lag(lag));
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

    fn may_fail(&self, what: What, code: Option<&ErrorCode>) -> bool {
        use ErrorCode::{CallNotAttempted, CallOutcomeUnknown, CapabilityLost, StoreUnavailable, StreamInterrupted};
        let Some(code) = code else { return false };
        let Nemesis { kills, store_fails, .. } = self.nemesis;
        let moves = self.nemesis.moves_sessions();
        match what {
            What::Once if *code == StoreUnavailable => store_fails || kills,
            What::Fleeting => moves && matches!(code, CallNotAttempted | CallOutcomeUnknown | CapabilityLost),
            What::Upload | What::Download => {
                moves && matches!(code, CallNotAttempted | CallOutcomeUnknown | StreamInterrupted)
            }
            What::Durable => kills && matches!(code, CallNotAttempted | CallOutcomeUnknown | CapabilityLost),
            _ => kills && matches!(code, CallNotAttempted | CallOutcomeUnknown),
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
