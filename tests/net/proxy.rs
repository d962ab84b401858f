//! A TCP proxy that can be told to fail.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Passes connections on to a server until it is told otherwise.
#[derive(Clone)]
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    /// Counts the cuts; connections end when it changes.
    cuts: watch::Sender<usize>,
    /// New connections are closed at once.
    down: Arc<AtomicBool>,
    /// Counts the blackouts; connections go silent when it changes.
    black: watch::Sender<usize>,
    accepted: Arc<AtomicUsize>,
}

impl Proxy {
    pub(crate) async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Self {
            address: listener.local_addr().unwrap(),
            cuts: watch::Sender::new(0),
            down: Arc::default(),
            black: watch::Sender::new(0),
            accepted: Arc::default(),
        };
        let accepting = proxy.clone();
        tokio::spawn(async move {
            loop {
                let (client, _peer) = listener.accept().await.unwrap();
                if !accepting.down.load(Ordering::SeqCst) {
                    accepting.accepted.fetch_add(1, Ordering::SeqCst);
                    tokio::spawn(accepting.clone().carry(client, server));
                }
            }
        });
        proxy
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}", self.address)
    }

    /// Ends every connection, whatever is under way on it.
    pub(crate) fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Ends every connection and lets no new one through, or lets them through again.
    pub(crate) fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
        if down {
            self.cut();
        }
    }

    /// Carries nothing any more on the connections there are, without a word to either end.
    pub(crate) fn go_black(&self) {
        self.black.send_modify(|blackouts| *blackouts += 1);
    }

    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    async fn carry(self, client: TcpStream, server: SocketAddr) {
        let mut cuts = self.cuts.subscribe();
        let mut black = self.black.subscribe();
        let Ok(server) = TcpStream::connect(server).await else { return };
        client.set_nodelay(true).unwrap();
        server.set_nodelay(true).unwrap();
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        let there = copy(&mut from_client, &mut to_server);
        let back = copy(&mut from_server, &mut to_client);
        tokio::select! {
            _ = there => {}
            _ = back => {}
            _ = cuts.changed() => {}
            _ = black.changed() => {
                // Both ends stay open until the next cut, and hear nothing.
                drop(cuts.changed().await);
            }
        }
    }
}

async fn copy(from: &mut (impl AsyncReadExt + Unpin), to: &mut (impl AsyncWriteExt + Unpin)) -> std::io::Result<()> {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        to.write_all(&buffer[..read]).await?;
    }
}
