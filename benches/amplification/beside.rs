//! The latency of another client's calls while a server is busy with a hostile one.
//!
//! The server has a runtime of its own, and so has each client. The calls are started on a fixed schedule, so that a
//! stall delays as many of them as would have been made during it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bowline::__private::TypedCalls;
use bowline::error::Never;
use bowline::{Limits, Stub, Value};
use bowline_core::peer::{Connection, Receiving, Sending, TransportEnd};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::MissedTickBehavior;

/// The time between two calls.
const PERIOD: Duration = Duration::from_millis(1);

/// The most time that the messages before the repeated one may take.
const SETUP_MAX: Duration = Duration::from_secs(30);

/// The number of messages in flight between a client and the server.
const IN_FLIGHT: usize = 8;

/// The runtime of the server.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Threads {
    /// A current-thread runtime.
    One,
    /// A multi-thread runtime with two workers, as `#[tokio::main]` has on two cores.
    Two,
}

/// What the server is busy with.
#[derive(Clone, Debug)]
pub(crate) enum Load {
    /// A task that yields each millisecond. Its latency is that of a fair share of a loaded machine.
    Fair,
    /// A client that repeats a message.
    Hostile { before: Vec<String>, message: String, limits: Limits, repeats_all: bool },
}

/// The latencies of the calls.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Latency {
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    pub(crate) max: Duration,
    /// The number of messages of the hostile client that were sent.
    pub(crate) messages: usize,
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        write!(f, "{:>7.1} {:>7.1} {:>7.1} {:>8}", ms(self.p50), ms(self.p99), ms(self.max), self.messages)
    }
}

/// Measures the latency of calls for `time`, while the server is busy with `load`.
pub(crate) fn measure(load: &Load, threads: Threads, time: Duration) -> Latency {
    let server = match threads {
        Threads::One => Builder::new_current_thread().enable_all().build(),
        Threads::Two => Builder::new_multi_thread().worker_threads(2).enable_all().build(),
    }
    .expect("a runtime");
    let (neighbor, driver) = wire();
    let (_served, driver) = {
        let _guard = server.enter();
        Connection::start(driver, Some(service()), Limits::default())
    };
    server.spawn(driver);
    let (is_over, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let (ready, is_ready) = oneshot::channel();
    let busy =
        busy_with(load.clone(), &server, Attack { is_over: is_over.clone(), sent: sent.clone(), ready: Some(ready) });
    let (stop, stopped) = oneshot::channel::<()>();
    let served = thread::spawn(move || server.block_on(stopped));
    let mut times = client_runtime().block_on(async {
        drop(tokio::time::timeout(SETUP_MAX, is_ready).await);
        sent.store(0, Ordering::Relaxed);
        calls(neighbor, time).await
    });
    let messages = sent.load(Ordering::Relaxed);
    is_over.store(true, Ordering::Relaxed);
    drop(busy.map(thread::JoinHandle::join));
    drop(stop);
    drop(served.join());
    times.sort_unstable();
    let part = |percent: usize| times.get(times.len() * percent / 100).copied().unwrap_or_default();
    Latency { p50: part(50), p99: part(99), max: times.last().copied().unwrap_or_default(), messages }
}

fn client_runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn service() -> Stub {
    Stub::function(|_| async { Ok::<_, Value>(Value::Undefined) })
}

/// Calls the server once each `PERIOD` for `time`. Returns the latencies.
async fn calls(end: (ToPeer, FromPeer), time: Duration) -> Vec<Duration> {
    let (client, driver) = Connection::start(end, None, Limits::default());
    tokio::spawn(driver);
    let stub = client.root_dyn();
    drop(stub.call_typed::<(), Never>("f", &()).await);
    let (times, mut measured) = mpsc::unbounded_channel();
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let until = Instant::now() + time;
    while Instant::now() < until {
        let began = ticks.tick().await.into_std();
        let (stub, times) = (stub.clone(), times.clone());
        tokio::spawn(async move {
            drop(stub.call_typed::<(), Never>("f", &()).await);
            // The receiver waits for all of them.
            let _ = times.send(began.elapsed());
        });
    }
    drop(times);
    let mut all = Vec::new();
    while let Some(time) = measured.recv().await {
        all.push(time);
    }
    all
}

/// The progress of what keeps the server busy.
struct Attack {
    is_over: Arc<AtomicBool>,
    sent: Arc<AtomicUsize>,
    /// Completes when the messages before the repeated one have been handled.
    ready: Option<oneshot::Sender<()>>,
}

fn busy_with(load: Load, server: &Runtime, attack: Attack) -> Option<thread::JoinHandle<()>> {
    let Load::Hostile { before, message, limits, repeats_all } = load else {
        server.spawn(fair_task(attack.is_over));
        return None;
    };
    let server = server.handle().clone();
    Some(thread::spawn(move || {
        client_runtime().block_on(async {
            let mut attack = attack;
            // A session that the server aborts is replaced.
            while !attack.is_over.load(Ordering::Relaxed) {
                let (end, driver) = wire();
                let _guard = server.enter();
                let (session, driver) = Connection::start(driver, Some(service()), limits.clone());
                server.spawn(async move {
                    let _session = session;
                    driver.await
                });
                drop(repeat(end, &before, &message, repeats_all, &mut attack).await);
            }
        });
    }))
}

async fn fair_task(is_over: Arc<AtomicBool>) {
    while !is_over.load(Ordering::Relaxed) {
        let began = Instant::now();
        while began.elapsed() < PERIOD {
            std::hint::spin_loop();
        }
        tokio::task::yield_now().await;
    }
}

/// Sends `before` once, and then `message` as fast as the server takes it; with `repeats_all`, both.
async fn repeat(
    (mut to, mut from): (ToPeer, FromPeer),
    before: &[String],
    message: &str,
    repeats_all: bool,
    attack: &mut Attack,
) -> Result<(), TransportEnd> {
    let is_push = |text: &str| text.starts_with("[\"push\"");
    let setup = if repeats_all { &[][..] } else { before };
    for text in setup {
        to.feed(text.clone()).await?;
    }
    let mut id = setup.iter().filter(|text| is_push(text)).count() + 1;
    to.feed("[\"push\",7]".to_owned()).await?;
    to.feed(format!("[\"pull\",{id}]")).await?;
    let mark = format!("[\"resolve\",{id},7]");
    let (seen, mut handled) = watch::channel(false);
    let replies = tokio::spawn(async move {
        while let Ok(text) = from.receive().await {
            if text == mark {
                seen.send_replace(true);
            }
        }
    });
    handled.wait_for(|seen| *seen).await.map_err(|_| TransportEnd::Ended)?;
    attack.ready = None;
    while !attack.is_over.load(Ordering::Relaxed) {
        let mut pushed = Vec::new();
        if repeats_all {
            for text in before {
                id += usize::from(is_push(text));
                pushed.push(id);
                to.feed(text.clone()).await?;
            }
            to.feed(message.replace("\"pipeline\",1,", &format!("\"pipeline\",{id},"))).await?;
        } else {
            to.feed(message.to_owned()).await?;
        }
        if is_push(message) {
            id += 1;
            pushed.push(id);
            to.feed(format!("[\"pull\",{id}]")).await?;
        }
        for id in pushed {
            to.feed(format!("[\"release\",{id},1]")).await?;
        }
        attack.sent.fetch_add(1, Ordering::Relaxed);
    }
    drop(to);
    replies.await.map_err(|_| TransportEnd::Ended)
}

/// Creates both ends of a bounded in-memory transport.
fn wire() -> ((ToPeer, FromPeer), (ToPeer, FromPeer)) {
    let (to_right, from_left) = mpsc::channel(IN_FLIGHT);
    let (to_left, from_right) = mpsc::channel(IN_FLIGHT);
    ((ToPeer(to_right), FromPeer(from_right)), (ToPeer(to_left), FromPeer(from_left)))
}

struct ToPeer(mpsc::Sender<String>);

impl Sending for ToPeer {
    async fn feed(&mut self, text: String) -> Result<(), TransportEnd> {
        self.0.send(text).await.map_err(|_| TransportEnd::Ended)
    }

    async fn flush(&mut self) -> Result<(), TransportEnd> {
        Ok(())
    }

    async fn close(&mut self, _: u16, _: &str) {}
}

struct FromPeer(mpsc::Receiver<String>);

impl Receiving for FromPeer {
    type Text = String;

    async fn receive(&mut self) -> Result<String, TransportEnd> {
        self.0.recv().await.ok_or(TransportEnd::Ended)
    }

    fn try_receive(&mut self) -> Option<Result<String, TransportEnd>> {
        match self.0.try_recv() {
            Ok(text) => Some(Ok(text)),
            Err(mpsc::error::TryRecvError::Empty) => None,
            Err(mpsc::error::TryRecvError::Disconnected) => Some(Err(TransportEnd::Ended)),
        }
    }
}
