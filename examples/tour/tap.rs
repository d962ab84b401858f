//! A tap on the line: a WebSocket proxy that passes every frame on and keeps a copy of each
//! message. It knows nothing of Bowline, so what it shows is what any other peer would see.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::{Sink, SinkExt, Stream, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{accept_async, client_async};

/// How long a message that must come may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What crossed one connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tap {
    log: Arc<Mutex<Vec<String>>>,
}

impl Tap {
    /// Taps the next connection to `server`: who connects to the address returned gets there.
    pub(crate) async fn on(server: SocketAddr) -> io::Result<(Self, SocketAddr)> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let tap = Self::default();
        let carrier = tap.clone();
        tokio::spawn(async move {
            if let Err(error) = carrier.carry(listener, server).await {
                eprintln!("the tap broke: {error}");
            }
        });
        Ok((tap, address))
    }

    /// The next `count` messages, once they have crossed, each after the name of who sent it.
    pub(crate) async fn take(&self, count: usize) -> Vec<String> {
        let enough = async {
            while self.log.lock().unwrap_or_else(PoisonError::into_inner).len() < count {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        // What is missing shows when the caller compares.
        drop(timeout(PATIENCE, enough).await);
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let there = count.min(log.len());
        log.drain(..there).collect()
    }

    async fn carry(self, listener: TcpListener, server: SocketAddr) -> Result<(), Error> {
        let (near, _) = listener.accept().await?;
        let far = TcpStream::connect(server).await?;
        near.set_nodelay(true)?;
        far.set_nodelay(true)?;
        let (to_client, from_client) = accept_async(near).await?.split();
        let (to_server, from_server) = client_async(format!("ws://{server}"), far).await?.0.split();
        tokio::select! {
            ended = self.copy("client", from_client, to_server) => ended,
            ended = self.copy("server", from_server, to_client) => ended,
        }
    }

    async fn copy<F, T>(&self, side: &str, mut from: F, mut to: T) -> Result<(), Error>
    where
        F: Stream<Item = Result<Message, Error>> + Unpin,
        T: Sink<Message, Error = Error> + Unpin,
    {
        while let Some(message) = from.next().await {
            let message = message?;
            if let Message::Text(text) = &message {
                self.log.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{side}  {text}"));
            }
            to.send(message).await?;
        }
        Ok(())
    }
}
