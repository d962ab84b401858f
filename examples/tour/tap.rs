//! A WebSocket proxy that forwards every frame and records each message. It contains no Bowline code,
//! so what it shows is what any other peer would see.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::{Sink, SinkExt, Stream, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{accept_async, client_async};

/// How long an expected message may take to arrive.
const PATIENCE: Duration = Duration::from_secs(5);

/// The messages of one connection.
#[derive(Debug)]
pub(crate) struct Tap {
    log: Log,
    proxy: JoinHandle<Result<(), Error>>,
}

type Log = Arc<Mutex<Vec<String>>>;

impl Tap {
    /// Taps the next connection to `server`, which a client makes at the returned address.
    pub(crate) async fn on(server: SocketAddr) -> io::Result<(Self, SocketAddr)> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let log = Log::default();
        let proxy = tokio::spawn(carry(listener, server, log.clone()));
        Ok((Self { log, proxy }, address))
    }

    /// Waits until both sides have closed the connection.
    ///
    /// # Errors
    /// The connection ended in another way than by closing it.
    pub(crate) async fn closed(self) -> io::Result<()> {
        timeout(PATIENCE, self.proxy).await??.map_err(io::Error::other)
    }

    /// Returns the next `count` messages, once they have crossed, each after the name of its sender.
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
}

async fn carry(listener: TcpListener, server: SocketAddr, log: Log) -> Result<(), Error> {
    let (near, _) = listener.accept().await?;
    let far = TcpStream::connect(server).await?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let (to_client, from_client) = accept_async(near).await?.split();
    let (to_server, from_server) = client_async(format!("ws://{server}"), far).await?.0.split();
    let there = copy("client", from_client, to_server, &log);
    let back = copy("server", from_server, to_client, &log);
    tokio::try_join!(there, back)?;
    Ok(())
}

async fn copy<F, T>(side: &str, mut from: F, mut to: T, log: &Log) -> Result<(), Error>
where
    F: Stream<Item = Result<Message, Error>> + Unpin,
    T: Sink<Message, Error = Error> + Unpin,
{
    while let Some(message) = from.next().await {
        let message = message?;
        if let Message::Text(text) = &message {
            log.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{side}  {text}"));
        }
        match to.send(message).await {
            // That side began to close first, and the library has answered it.
            Err(Error::ConnectionClosed | Error::AlreadyClosed | Error::Protocol(ProtocolError::SendAfterClosing)) => {}
            sent => sent?,
        }
    }
    Ok(())
}
