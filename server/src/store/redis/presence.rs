//! Detects whether the process of an owner has ended. Each owner keeps one connection subscribed to
//! a channel of its own. The server closes that connection when the process ends, and the claim
//! script sees that the channel has no subscriber.
//!
//! A process whose connection was closed but that still runs retracts the mark that it has such a
//! connection, subscribes again, and sets the mark again. It has [`GRACE`] for that, counted from
//! when a claim first found the channel without a subscriber. Until it has succeeded, its owner is
//! in doubt, see [`SessionStore::doubted`](crate::store::SessionStore::doubted).

use std::time::Duration;

use bowline_transport::deadline;
use futures_util::StreamExt;
use redis::aio::{ConnectionLike, ConnectionManager, PubSubSink, PubSubStream};
use redis::{
    AsyncConnectionConfig, Client, ErrorKind, FromRedisValue, RedisError, RedisResult, Script, ServerErrorKind,
};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, sleep_until, timeout};

use super::WAIT;

/// How long a channel has no subscriber before the owner counts as dead.
pub(super) const GRACE: Duration = Duration::from_millis(500);

/// How long a process may try to retract its mark before its owner is in doubt. Much shorter than
/// [`GRACE`], so that the process stops before another one takes over.
const DOUBT: Duration = Duration::from_millis(150);

/// The timeout of one attempt to retract the mark, and the pause after it.
const ATTEMPT: Duration = Duration::from_millis(100);
const RETRY: Duration = Duration::from_millis(20);

/// How often the connection is used, so that no device on its way forgets it, and for how long the
/// server may leave that unanswered before the connection is replaced.
const PING: Duration = Duration::from_secs(1);
const SILENT: Duration = Duration::from_secs(4);

/// The longest pause before the process tries to subscribe again.
const SUBSCRIBE_AGAIN_MAX: Duration = Duration::from_secs(5);

/// What the server knows of the owner's process besides the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It is not known yet whether the server can see the process.
    Starting,
    /// The process is subscribed, and the mark says so.
    Subscribed,
    /// There is no mark, so the lease alone counts.
    Unmarked,
    /// There is a mark, but the connection was closed, and the server does not respond.
    Doubted,
}

/// The presence of one owner. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Presence {
    standing: watch::Receiver<Standing>,
    task: JoinHandle<()>,
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Presence {
    pub(super) fn begin(subscriber: Subscriber) -> Self {
        let (told, standing) = watch::channel(Standing::Starting);
        let task = tokio::spawn(async move { subscriber.run(&told).await });
        Self { standing, task }
    }

    /// Returns what completes as soon as it is known whether the server can see the process.
    pub(super) fn started(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut standing = self.standing.clone();
        async move { drop(standing.wait_for(|standing| *standing != Standing::Starting).await) }
    }

    /// Returns what completes when the owner is in doubt.
    pub(super) fn doubted(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut standing = self.standing.clone();
        async move {
            if standing.wait_for(|standing| *standing == Standing::Doubted).await.is_err() {
                // The owner was closed or has lost its lease.
                std::future::pending().await
            }
        }
    }

    pub(super) fn is_doubted(&self) -> bool {
        *self.standing.borrow() == Standing::Doubted
    }
}

/// Why the mark could not be changed.
enum Failure {
    /// The owner's lease has ended.
    Ended,
    /// The server does not permit what is needed.
    NotPermitted(RedisError),
    /// The server does not run, or has just started. A mark of an earlier run counts for nothing.
    Restarting,
    Other(RedisError),
}

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Self {
        match error.kind() {
            _ if error.code() == Some("FENCED") => Self::Ended,
            ErrorKind::Server(ServerErrorKind::BusyLoading) => Self::Restarting,
            ErrorKind::Server(ServerErrorKind::NoPerm) => Self::NotPermitted(error),
            _ if error.is_connection_refusal() => Self::Restarting,
            _ => Self::Other(error),
        }
    }
}

/// Why a connection is not relied on anymore.
enum Lost {
    /// It was closed. The server may have noticed that already.
    Closed,
    /// The server does not respond, which it also does while it is busy.
    Silent,
}

/// Keeps the connection of an owner, and its mark.
pub(super) struct Subscriber {
    pub(super) client: Client,
    pub(super) commands: ConnectionManager,
    pub(super) mark: Script,
    pub(super) unmark: Script,
    /// The keys of the lease, which is also the name of the channel, of the mark, and of the time
    /// when the channel was first found without a subscriber.
    pub(super) keys: [String; 3],
}

impl Subscriber {
    /// Keeps the process visible until the lease has ended or the server does not permit it.
    async fn run(self, standing: &watch::Sender<Standing>) {
        let mut pause = RETRY;
        loop {
            match self.stay_subscribed(standing).await {
                Ok(()) => pause = RETRY,
                Err(Failure::Ended) => {
                    standing.send_replace(Standing::Unmarked);
                    return;
                }
                Err(Failure::NotPermitted(error)) => {
                    tracing::info!(%error, "the Redis server does not show whether a process runs; leases have to end");
                    standing.send_replace(Standing::Unmarked);
                    return;
                }
                Err(Failure::Restarting | Failure::Other(_)) => {}
            }
            standing.send_replace(Standing::Unmarked);
            sleep(pause).await;
            pause = (2 * pause).min(SUBSCRIBE_AGAIN_MAX);
        }
    }

    /// Subscribes, sets the mark, and keeps the connection until it is lost and the mark is
    /// retracted.
    async fn stay_subscribed(&self, standing: &watch::Sender<Standing>) -> Result<(), Failure> {
        let subscribed = timeout(WAIT, self.subscribe()).await;
        let connection = subscribed.map_err(|_elapsed| Failure::Restarting)??;
        match timeout(WAIT, self.command(&self.mark)).await {
            Ok(Ok(true)) => {
                standing.send_replace(Standing::Subscribed);
                self.keep(connection, standing).await
            }
            Ok(Ok(false)) => Ok(()),
            Ok(Err(failure @ (Failure::Ended | Failure::NotPermitted(_)))) => Err(failure),
            // The mark may have been set.
            Ok(Err(_)) | Err(_) => self.retract(standing).await,
        }
    }

    async fn subscribe(&self) -> Result<(PubSubSink, PubSubStream), Failure> {
        let (mut sink, stream) = self.client.get_async_pubsub().await?.split();
        sink.subscribe(&self.keys[0]).await?;
        Ok((sink, stream))
    }

    async fn command<T: FromRedisValue>(&self, script: &Script) -> Result<T, Failure> {
        Ok(self.execute(script, &mut self.commands.clone()).await?)
    }

    async fn execute<T: FromRedisValue>(&self, script: &Script, on: &mut impl ConnectionLike) -> RedisResult<T> {
        let [lease, mark, missed] = &self.keys;
        script.key(lease).key(mark).key(missed).invoke_async(on).await
    }

    /// Keeps the connection until it is lost and the mark is retracted.
    async fn keep(
        &self,
        mut connection: (PubSubSink, PubSubStream),
        standing: &watch::Sender<Standing>,
    ) -> Result<(), Failure> {
        loop {
            if let Lost::Closed = watch_connection(&mut connection).await {
                tracing::debug!("the Redis server has closed the connection that shows that this process runs");
                return self.retract(standing).await;
            }
            // The connection is kept until the server knows that it does not count.
            let unmarked = tokio::select! {
                unmarked = timeout(WAIT, self.command::<()>(&self.unmark)) => unmarked,
                _ = connection.1.next() => return self.retract(standing).await,
            };
            match unmarked {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(Failure::Ended)) => return Err(Failure::Ended),
                Ok(Err(_)) | Err(_) => sleep(RETRY).await,
            }
        }
    }

    /// Retracts the mark of a connection that was closed.
    async fn retract(&self, standing: &watch::Sender<Standing>) -> Result<(), Failure> {
        let mut doubted_at = deadline(DOUBT);
        loop {
            let attempt = self.unmark();
            tokio::pin!(attempt);
            let unmarked = tokio::select! {
                unmarked = &mut attempt => unmarked,
                () = sleep_until(doubted_at) => {
                    if standing.send_replace(Standing::Doubted) != Standing::Doubted {
                        tracing::warn!("the Redis server may take this process for dead; its sessions pause");
                    }
                    attempt.await
                }
            };
            match unmarked {
                Ok(()) => return Ok(()),
                Err(Failure::Ended) => return Err(Failure::Ended),
                Err(Failure::Restarting) => {
                    standing.send_replace(Standing::Unmarked);
                    doubted_at = deadline(DOUBT);
                }
                Err(Failure::NotPermitted(error) | Failure::Other(error)) => {
                    tracing::debug!(%error, "cannot retract the mark that this process is subscribed");
                }
            }
            sleep(RETRY).await;
        }
    }

    /// Retracts the mark over a new connection, whose errors say whether the server runs, or else
    /// over the one that is there.
    async fn unmark(&self) -> Result<(), Failure> {
        let config =
            AsyncConnectionConfig::new().set_connection_timeout(Some(ATTEMPT)).set_response_timeout(Some(ATTEMPT));
        let failure = match self.client.get_multiplexed_async_connection_with_config(&config).await {
            Ok(mut connection) => {
                match self.execute::<()>(&self.unmark, &mut connection).await.map_err(Failure::from) {
                    Ok(()) => return Ok(()),
                    Err(failure) => failure,
                }
            }
            Err(error) => error.into(),
        };
        if !matches!(failure, Failure::Other(_)) {
            return Err(failure);
        }
        match timeout(ATTEMPT, self.command::<()>(&self.unmark)).await {
            Ok(unmarked) => unmarked,
            Err(_elapsed) => Err(failure),
        }
    }
}

/// Uses the connection until it is lost.
async fn watch_connection((sink, stream): &mut (PubSubSink, PubSubStream)) -> Lost {
    loop {
        let pinging = async {
            sleep(PING).await;
            timeout(SILENT, sink.ping::<redis::Value>()).await
        };
        tokio::select! {
            biased;
            message = stream.next() => if message.is_none() { return Lost::Closed },
            answer = pinging => match answer {
                Ok(Ok(_)) => {}
                Ok(Err(_)) => return Lost::Closed,
                Err(_elapsed) => return Lost::Silent,
            },
        }
    }
}
