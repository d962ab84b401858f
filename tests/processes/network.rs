//! A TCP proxy between clients and servers, which can stand still, break connections and switch servers.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Passes each connection on to the server that is set when it comes.
pub(crate) struct Network {
    pub(crate) address: SocketAddr,
    target: watch::Sender<SocketAddr>,
    /// Nothing is passed on while it is set.
    is_still: watch::Sender<bool>,
    /// Counts the cuts; connections end when it changes.
    cuts: watch::Sender<usize>,
}

impl Network {
    pub(crate) async fn to(first: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (target, is_still, cuts) = (watch::Sender::new(first), watch::Sender::new(false), watch::Sender::new(0));
        let (targets, stills, cutting) = (target.subscribe(), is_still.subscribe(), cuts.subscribe());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let target = *targets.borrow();
                let (still, mut cuts) = (stills.clone(), cutting.clone());
                cuts.mark_unchanged();
                tokio::spawn(async move { carry(client, target, still, cuts).await });
            }
        });
        Self { address, target, is_still, cuts }
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}", self.address)
    }

    /// Ends every connection; new ones go to `target`.
    pub(crate) fn now_to(&self, target: SocketAddr) {
        self.retarget(target);
        self.cut();
    }

    /// New connections go to `target`; those that are open stay.
    pub(crate) fn retarget(&self, target: SocketAddr) {
        self.target.send_replace(target);
    }

    /// Ends every connection, every other one by a reset.
    pub(crate) fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Holds back everything on all connections, or passes it on again.
    pub(crate) fn set_still(&self, is_still: bool) {
        self.is_still.send_replace(is_still);
    }
}

async fn carry(client: TcpStream, target: SocketAddr, still: watch::Receiver<bool>, mut cuts: watch::Receiver<usize>) {
    let Ok(server) = TcpStream::connect(target).await else { return };
    for end in [&client, &server] {
        end.set_nodelay(true).unwrap();
        if rand::random() {
            end.set_zero_linger().unwrap();
        }
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        _ = copy(from_client, to_server, still.clone()) => {}
        _ = copy(from_server, to_client, still) => {}
        _ = cuts.changed() => {}
    }
}

/// Ends when either side of the connection does.
async fn copy(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut still: watch::Receiver<bool>,
) -> std::io::Result<()> {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        // It fails when the network is gone, which ends the connection.
        still.wait_for(|still| !still).await.map_err(std::io::Error::other)?;
        to.write_all(&buffer[..read]).await?;
    }
}
