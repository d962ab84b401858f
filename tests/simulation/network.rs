//! A network in memory: byte streams between clients and hosts that are delayed, stall and are cut, in the middle of
//! frames, too.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex, split};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::dice::Dice;

/// Bytes that are on their way at a time.
const PIECE: usize = 4 << 10;

/// What one connection does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    Open,
    /// Nothing arrives, and neither side hears of it.
    Stalled,
    Cut,
}

type Accept = Arc<dyn Fn(DuplexStream) + Send + Sync>;

struct Connection {
    /// The process that it leads to.
    process: usize,
    flow: Weak<watch::Sender<Flow>>,
}

struct State {
    dice: Dice,
    /// Which process a host name leads to.
    routes: BTreeMap<String, usize>,
    processes: BTreeMap<usize, Accept>,
    connections: Vec<Connection>,
    /// The longest delay of a piece.
    slowest_ms: usize,
}

#[derive(Clone)]
pub(crate) struct Network(Arc<Mutex<State>>);

impl Network {
    pub(crate) fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let slowest_ms = [0, 3, 60][dice.below(3)];
        Self(Arc::new(Mutex::new(State {
            dice,
            routes: BTreeMap::new(),
            processes: BTreeMap::new(),
            connections: Vec::new(),
            slowest_ms,
        })))
    }

    /// Has a process reached, which gets the server's ends of connections.
    pub(crate) fn attach(&self, process: usize, accept: impl Fn(DuplexStream) + Send + Sync + 'static) {
        self.0.lock().unwrap().processes.insert(process, Arc::new(accept));
    }

    /// Leads a host name to a process from now on.
    pub(crate) fn route(&self, host: &str, process: usize) {
        self.0.lock().unwrap().routes.insert(host.to_owned(), process);
    }

    /// Takes a process off the network: its connections are cut, and no new ones are made.
    pub(crate) fn detach(&self, process: usize) {
        self.0.lock().unwrap().processes.remove(&process);
        self.set_flow(Flow::Cut, |connection| connection.process == process);
    }

    /// Cuts all connections.
    pub(crate) fn cut(&self) {
        self.set_flow(Flow::Cut, |_| true);
    }

    /// Lets nothing through on the connections that are there, for a while; then some are cut.
    pub(crate) async fn stall(&self, time: Duration) {
        self.set_flow(Flow::Stalled, |_| true);
        sleep(time).await;
        let is_cut = self.0.lock().unwrap().dice.one_in(2);
        self.set_flow(if is_cut { Flow::Cut } else { Flow::Open }, |_| true);
    }

    fn set_flow(&self, to: Flow, of: impl Fn(&Connection) -> bool) {
        let mut state = self.0.lock().unwrap();
        state.connections.retain(|connection| {
            let Some(flow) = connection.flow.upgrade() else { return false };
            if of(connection) {
                flow.send_if_modified(|flow| {
                    let changes = *flow != Flow::Cut && *flow != to;
                    if changes {
                        *flow = to;
                    }
                    changes
                });
            }
            true
        });
    }

    /// Connects to a host, as a client's connector.
    pub(crate) async fn dial(self, host: String) -> io::Result<DuplexStream> {
        let delay = {
            let mut state = self.0.lock().unwrap();
            let slowest_ms = state.slowest_ms + 1;
            Duration::from_millis(state.dice.below(slowest_ms) as u64)
        };
        sleep(delay).await;
        let mut state = self.0.lock().unwrap();
        let found = state.routes.get(&host).and_then(|process| Some((*process, state.processes.get(process)?.clone())));
        let (process, accept) = found.ok_or(io::ErrorKind::ConnectionRefused)?;
        // Small buffers push back as those of slow sockets do.
        let buffer = [256, 4 << 10, 64 << 10][state.dice.below(3)];
        let ((client, near), (far, server)) = (duplex(buffer), duplex(buffer));
        let flow = Arc::new(watch::Sender::new(Flow::Open));
        let ((near_read, near_write), (far_read, far_write)) = (split(near), split(far));
        for (from, to) in [(near_read, far_write), (far_read, near_write)] {
            let pump = Pump { dice: Dice(state.dice.next()), slowest_ms: state.slowest_ms, flow: flow.subscribe() };
            let flow = Arc::clone(&flow);
            tokio::spawn(async move {
                pump.run(from, to).await;
                drop(flow);
            });
        }
        state.connections.push(Connection { process, flow: Arc::downgrade(&flow) });
        drop(state);
        accept(server);
        Ok(client)
    }
}

/// Carries bytes in one direction.
struct Pump {
    dice: Dice,
    slowest_ms: usize,
    flow: watch::Receiver<Flow>,
}

impl Pump {
    async fn run(mut self, mut from: ReadHalf<DuplexStream>, mut to: WriteHalf<DuplexStream>) {
        let mut flow = self.flow.clone();
        tokio::select! {
            _ = flow.wait_for(|flow| *flow == Flow::Cut) => {}
            () = self.carry(&mut from, &mut to) => {}
        }
    }

    async fn carry(&mut self, from: &mut ReadHalf<DuplexStream>, to: &mut WriteHalf<DuplexStream>) {
        let mut piece = vec![0; PIECE];
        loop {
            let most = 1 + self.dice.below(PIECE);
            let read = from.read(&mut piece[..most]).await.unwrap_or(0);
            if self.slowest_ms > 0 {
                sleep(Duration::from_millis(self.dice.below(self.slowest_ms) as u64)).await;
            }
            if self.flow.wait_for(|flow| *flow == Flow::Open).await.is_err() {
                return;
            }
            if read == 0 {
                // The other direction goes on.
                drop(to.shutdown().await);
                return;
            }
            if to.write_all(&piece[..read]).await.is_err() {
                return;
            }
        }
    }
}
