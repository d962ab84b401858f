//! A TCP proxy that fails on demand.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Forwards connections to a server, with faults on demand.
#[derive(Clone)]
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    server: Arc<Mutex<SocketAddr>>,
    /// The number of cuts. Connections end when it changes.
    cuts: watch::Sender<usize>,
    /// Whether new connections are closed at once.
    down: Arc<AtomicBool>,
    /// The number of blackouts. Connections go silent when it changes.
    black: watch::Sender<usize>,
    accepted: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
    /// While this is set, all traffic is held back. It is forwarded afterwards.
    held: watch::Sender<bool>,
    /// Whether the next piece from a client is cut in half, and its connection closed.
    halved: Arc<AtomicBool>,
    latency: Duration,
    /// What servers have sent, whether it was forwarded or not.
    heard: Arc<Mutex<Vec<u8>>>,
    /// The ends that have sent, in order, without repetitions.
    turns: Arc<Mutex<Vec<End>>>,
}

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Client,
    Server,
}

impl Proxy {
    /// Creates a proxy that delays all traffic, in each direction.
    pub(crate) async fn slow(server: SocketAddr, latency: Duration) -> Self {
        Self::carrying(server, latency).await
    }

    pub(crate) async fn to(server: SocketAddr) -> Self {
        Self::carrying(server, Duration::ZERO).await
    }

    async fn carrying(server: SocketAddr, latency: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Self {
            address: listener.local_addr().unwrap(),
            server: Arc::new(Mutex::new(server)),
            cuts: watch::Sender::new(0),
            down: Arc::default(),
            black: watch::Sender::new(0),
            accepted: Arc::default(),
            open: Arc::default(),
            held: watch::Sender::new(false),
            halved: Arc::default(),
            latency,
            heard: Arc::default(),
            turns: Arc::default(),
        };
        let accepting = proxy.clone();
        tokio::spawn(async move {
            loop {
                let (client, _peer) = listener.accept().await.unwrap();
                if !accepting.down.load(Ordering::SeqCst) {
                    accepting.accepted.fetch_add(1, Ordering::SeqCst);
                    let server = *accepting.server.lock().unwrap();
                    tokio::spawn(accepting.clone().carry(client, server));
                }
            }
        });
        proxy
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}", self.address)
    }

    /// Ends all connections, whatever is in flight on them.
    pub(crate) fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// If `down`, ends all connections and refuses new ones. Otherwise, accepts connections again.
    pub(crate) fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
        if down {
            self.cut();
        }
    }

    /// Ends all connections, and forwards new ones to another server.
    pub(crate) fn now_to(&self, server: SocketAddr) {
        *self.server.lock().unwrap() = server;
        self.cut();
    }

    /// Drops all traffic on existing connections without closing them.
    pub(crate) fn go_black(&self) {
        self.black.send_modify(|blackouts| *blackouts += 1);
    }

    /// If `held`, holds back all traffic on existing and new connections. Otherwise, forwards it.
    pub(crate) fn set_held(&self, held: bool) {
        self.held.send_replace(held);
    }

    /// Cuts the next connection on which a client sends something, in the middle of it.
    pub(crate) fn cut_within_the_next_piece(&self) {
        self.halved.store(true, Ordering::SeqCst);
    }

    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// Returns the number of open connections.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    /// Returns what servers have sent so far.
    pub(crate) fn heard(&self) -> String {
        String::from_utf8_lossy(&self.heard.lock().unwrap()).into_owned()
    }

    /// Returns the ends that have sent since the last call, in order, without repetitions.
    pub(crate) fn take_turns(&self) -> Vec<End> {
        std::mem::take(&mut *self.turns.lock().unwrap())
    }

    async fn carry(self, client: TcpStream, server: SocketAddr) {
        let open = Arc::clone(&self.open);
        open.fetch_add(1, Ordering::SeqCst);
        self.carry_on(client, server).await;
        open.fetch_sub(1, Ordering::SeqCst);
    }

    async fn carry_on(self, client: TcpStream, server: SocketAddr) {
        let mut cuts = self.cuts.subscribe();
        let mut black = self.black.subscribe();
        let Ok(server) = TcpStream::connect(server).await else { return };
        client.set_nodelay(true).unwrap();
        server.set_nodelay(true).unwrap();
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        let there = self.copy(End::Client, &mut from_client, &mut to_server);
        let back = self.copy(End::Server, &mut from_server, &mut to_client);
        tokio::select! {
            _ = there => return,
            _ = back => return,
            _ = cuts.changed() => return,
            _ = black.changed() => {}
        }
        // Both ends stay open until the next cut, and receive nothing.
        let mut nowhere = tokio::io::sink();
        tokio::select! {
            _ = self.copy(End::Server, &mut from_server, &mut nowhere) => drop(cuts.changed().await),
            _ = cuts.changed() => {}
        }
    }

    async fn copy(
        &self,
        of: End,
        from: &mut (impl AsyncReadExt + Unpin),
        to: &mut (impl AsyncWriteExt + Unpin),
    ) -> std::io::Result<()> {
        let mut held = self.held.subscribe();
        let mut buffer = vec![0; 16 << 10];
        loop {
            let read = from.read(&mut buffer).await?;
            if read == 0 {
                return Ok(());
            }
            self.note(of, &buffer[..read]);
            if of == End::Client && self.halved.swap(false, Ordering::SeqCst) {
                to.write_all(&buffer[..read / 2]).await?;
                return to.flush().await;
            }
            if self.latency > Duration::ZERO {
                tokio::time::sleep(self.latency).await;
            }
            // Cannot fail: the proxy owns the sender.
            drop(held.wait_for(|held| !held).await);
            to.write_all(&buffer[..read]).await?;
        }
    }

    fn note(&self, of: End, bytes: &[u8]) {
        let mut turns = self.turns.lock().unwrap();
        if turns.last() != Some(&of) {
            turns.push(of);
        }
        if of == End::Server {
            self.heard.lock().unwrap().extend_from_slice(bytes);
        }
    }
}
