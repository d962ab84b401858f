//! Public futures that are dropped after each number of polls: the session goes on as before, and once everything is
//! over nothing of them is left, neither tasks nor objects nor sessions.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bowline::link::LinkEvent;
use bowline::store::{Clock, MemoryStore, SessionStore};
use bowline::{Func, Promise, Session, SessionBuilder, stream};
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep, timeout};

use crate::app::{Ledger, ShopRef};
use crate::network::Network;
use crate::process::{Process, SHOP};

/// No future here takes more polls.
const POLLS_MAX: usize = 400;

/// Nothing that is asked for takes longer.
const SOON: Duration = Duration::from_secs(20);

/// Longer than any session is kept for a client that does not come back.
const LONG: Duration = Duration::from_secs(400);

/// What is begun, and dropped.
#[derive(Clone, Copy, Debug)]
enum Operation {
    Call,
    Slow,
    Pipelined,
    TimeOut,
    Ask,
    Upload,
    Download,
    List,
    Save,
    Events,
    Closed,
}

impl Operation {
    const ALL: [Self; 11] = [
        Self::Call,
        Self::Slow,
        Self::Pipelined,
        Self::TimeOut,
        Self::Ask,
        Self::Upload,
        Self::Download,
        Self::List,
        Self::Save,
        Self::Events,
        Self::Closed,
    ];
}

/// Polls a future so often, and drops it. Returns whether it ended.
async fn poll_times<F: Future>(polls: usize, future: F) -> bool {
    let mut future = Box::pin(future);
    let mut left = polls;
    let ended = poll_fn(move |cx| {
        left -= 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(_) => Poll::Ready(true),
            Poll::Pending if left == 0 => Poll::Ready(false),
            Poll::Pending => Poll::Pending,
        }
    });
    ended.await
}

struct World {
    network: Network,
    ledger: Arc<Ledger>,
    store: Arc<dyn SessionStore>,
    process: Process,
    started: usize,
    calls: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let (network, ledger, began) = (Network::new(seed), Arc::default(), Instant::now());
        let clock = Clock::new(move || began.elapsed());
        let store: Arc<dyn SessionStore> = Arc::new(MemoryStore::with_clock(clock));
        let process = Process::start(0, &network, &ledger, Some(Arc::clone(&store)), false);
        network.route(SHOP, 0);
        Self { network, ledger, store, process, started: 1, calls: 0 }
    }

    fn connecting(&self) -> SessionBuilder {
        let network = self.network.clone();
        Session::builder(format!("ws://{SHOP}/rpc"))
            .dialer(move |host, _port| network.clone().dial(host))
            .save(|_saved| async {
                sleep(Duration::from_millis(5)).await;
                Ok(())
            })
            .bearer("client")
    }

    async fn connect(&self) -> (Session, ShopRef) {
        let session = timeout(SOON, self.connecting().connect()).await.unwrap().unwrap();
        let shop = session.root();
        (session, shop)
    }

    fn next(&mut self) -> u64 {
        self.calls += 1;
        self.calls
    }

    /// The session still answers.
    async fn assert_well(&mut self, shop: &ShopRef, after: impl std::fmt::Debug) {
        let call = self.next();
        let answered = timeout(SOON, shop.put(1, call).into_future()).await;
        let answered = answered.unwrap_or_else(|_elapsed| panic!("{after:?}: the session does not answer any more"));
        assert_eq!(answered.unwrap(), call);
        assert_eq!(self.ledger.effects(call), 1, "{after:?}");
    }

    async fn operate(operation: Operation, session: &Session, shop: &ShopRef, call: u64) {
        match operation {
            Operation::Call => drop(shop.slow(call, 0).await),
            Operation::Slow => drop(shop.slow(call, 40).await),
            Operation::Pipelined => drop(shop.shelf(1).lay(call).await),
            Operation::TimeOut => drop(Promise::timeout(shop.slow(call, 60_000), Duration::from_millis(40)).await),
            Operation::Ask => {
                let answer = Func::new(|number: u64| async move { number });
                drop(shop.ask(call, answer).await);
            }
            Operation::Upload => {
                let (mut writer, reader) = stream::channel(2);
                let uploading = shop.upload(call, reader);
                for number in 0..5 {
                    writer.write(number).await.unwrap();
                }
                writer.flush().await.unwrap();
                writer.close().await.unwrap();
                assert_eq!(uploading.await.unwrap(), Ok(5));
            }
            Operation::Download => {
                let mut reader = shop.download(5).await.unwrap();
                let mut came = 0;
                while let Some(number) = reader.next().await {
                    assert_eq!(number.unwrap(), came);
                    came += 1;
                }
                assert_eq!(came, 5);
            }
            Operation::List => drop(session.list().next_page().await.unwrap()),
            Operation::Save => session.save().await.unwrap(),
            Operation::Events => drop(timeout(Duration::from_millis(40), session.events().next()).await),
            Operation::Closed => drop(timeout(Duration::from_millis(40), session.closed()).await),
        }
    }

    /// Puts another process in the place of this one, which is drained.
    async fn replace(&mut self, dropped_after: usize) -> bool {
        let number = self.started;
        self.started += 1;
        let next = Process::start(number, &self.network, &self.ledger, Some(Arc::clone(&self.store)), false);
        self.network.route(SHOP, number);
        let old = std::mem::replace(&mut self.process, next);
        let ended = poll_times(dropped_after, old.service.drain(SOON)).await;
        let report = timeout(SOON, old.drain(SOON)).await.expect("a drain that was dropped goes on");
        assert_eq!(report.calls_cut, 0);
        ended
    }

    /// The process is killed, and another takes its place.
    fn kill(&mut self) {
        let number = self.started;
        self.started += 1;
        let next = Process::start(number, &self.network, &self.ledger, Some(Arc::clone(&self.store)), false);
        std::mem::replace(&mut self.process, next).kill();
        self.network.route(SHOP, number);
        self.network.cut();
    }

    /// What is left once every session has ended, and time enough has passed.
    async fn left(&self) -> (usize, usize, usize) {
        sleep(LONG).await;
        let tasks = Handle::current().metrics().num_alive_tasks();
        (tasks, self.process.life.objects(), self.process.service.parked_sessions())
    }
}

/// Runs `test` on a clock that stands still while there is something to do.
fn simulate<F: Future>(test: impl FnOnce(u64) -> F + Copy) {
    for seed in 0..2 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(test(seed));
    }
}

#[test]
fn session_works_after_each_future_was_dropped_at_any_poll() {
    simulate(async |seed| {
        let mut world = World::new(seed);
        let (session, shop) = world.connect().await;
        world.assert_well(&shop, "it is new").await;
        session.close().await;
        drop(shop);
        let before = world.left().await;
        let (session, shop) = world.connect().await;
        let fresh = session.stats();
        for operation in Operation::ALL {
            let mut polls = 1;
            loop {
                let call = world.next();
                let ended = poll_times(polls, World::operate(operation, &session, &shop, call)).await;
                world.assert_well(&shop, (operation, polls)).await;
                if ended {
                    break;
                }
                polls += 1;
                assert!(polls < POLLS_MAX, "{operation:?} does not end");
            }
        }
        // What was begun and dropped may run on for a while.
        sleep(Duration::from_secs(90)).await;
        assert_eq!(session.stats(), fresh, "references are left");
        session.close().await;
        drop(shop);
        assert_eq!(world.left().await, before, "tasks, objects and sessions");
    });
}

#[test]
fn connects_and_closes_that_are_dropped_leave_nothing() {
    simulate(async |seed| {
        let world = World::new(seed);
        let (session, shop) = world.connect().await;
        shop.put(1, 1).await.unwrap();
        session.close().await;
        drop(shop);
        let before = world.left().await;
        for polls in 1..POLLS_MAX {
            if poll_times(polls, world.connecting().connect()).await {
                break;
            }
            assert!(polls + 1 < POLLS_MAX, "connect does not end");
        }
        for polls in 1..POLLS_MAX {
            let (session, shop) = world.connect().await;
            shop.put(1, 1).await.unwrap();
            let ended = poll_times(polls, session.close()).await;
            timeout(SOON, session.closed()).await.expect("a session closes without being awaited");
            if ended {
                break;
            }
            assert!(polls + 1 < POLLS_MAX, "close does not end");
        }
        assert_eq!(world.left().await, before, "tasks, objects and sessions");
    });
}

#[test]
fn drains_that_are_dropped_can_be_asked_for_again() {
    simulate(async |seed| {
        let mut world = World::new(seed);
        let (session, shop) = world.connect().await;
        let shelf = shop.shelf(1).await.unwrap();
        for polls in 1..POLLS_MAX {
            let call = world.next();
            let running = shop.slow(call, 500);
            // It has begun.
            world.assert_well(&shop, polls).await;
            let ended = world.replace(polls).await;
            assert_eq!(timeout(SOON, running.into_future()).await.unwrap().unwrap(), call);
            world.assert_well(&shop, polls).await;
            let call = world.next();
            assert_eq!(timeout(SOON, shelf.lay(call).into_future()).await.unwrap().unwrap(), call);
            if ended {
                break;
            }
            assert!(polls + 1 < POLLS_MAX, "drain does not end");
        }
        session.close().await;
    });
}

#[test]
fn checkpoints_that_are_dropped_can_be_taken_again() {
    simulate(async |seed| {
        let mut world = World::new(seed);
        let (session, shop) = world.connect().await;
        let mut events = session.events();
        for polls in 1..POLLS_MAX {
            let call = world.next();
            assert_eq!(timeout(SOON, shop.note(call).into_future()).await.unwrap().unwrap(), call);
            let ended = poll_times(polls, world.process.service.checkpoint()).await;
            timeout(SOON, world.process.service.checkpoint()).await.expect("a checkpoint ends");
            world.kill();
            // A call that is made before the client has noticed may have been carried out.
            while !matches!(timeout(LONG, events.next()).await, Ok(Some(LinkEvent::Recovered { .. }))) {}
            let noted = timeout(LONG, shop.noted().into_future()).await.unwrap().unwrap();
            assert_eq!(noted, Some(call), "a checkpoint dropped after {polls} polls");
            if ended {
                break;
            }
            assert!(polls + 1 < POLLS_MAX, "a checkpoint does not end");
        }
        session.close().await;
    });
}
