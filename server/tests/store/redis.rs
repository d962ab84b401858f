//! The store in Redis, on a redis-server that each test starts for itself.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bowline_server::store::{Fence, Position, RedisStore, SessionStore, StoreError};
use bytes::Bytes;
use tokio::net::TcpListener;

use crate::conformance::{Bench, at, checkpoint};
use crate::scratch::Scratch;

/// A server on a free port with its own folder, which is stopped when this is dropped.
pub(crate) struct Server {
    child: Child,
    port: u16,
    scratch: Scratch,
}

impl Server {
    /// Starts a server. Returns `None` if redis-server is not installed and `BOWLINE_SKIP` contains `redis`.
    pub(crate) async fn start() -> Option<Self> {
        let skips = std::env::var("BOWLINE_SKIP").is_ok_and(|parts| parts.split(',').any(|part| part == "redis"));
        if skips && Command::new("redis-server").arg("--version").output().is_err() {
            return skipped();
        }
        let scratch = Scratch::new("redis");
        // Another process may take the port between the search for it and the start of the server.
        for _ in 0..10 {
            let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
            let mut server = Self { child: spawn(port, &scratch), port, scratch: Scratch::new("redis-none") };
            if server.is_up().await {
                server.scratch = scratch;
                return Some(server);
            }
        }
        panic!("redis-server did not start");
    }

    /// Waits until the server answers, or has exited.
    async fn is_up(&mut self) -> bool {
        let began = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            if let Ok(true) = self.answers().await {
                return true;
            }
            assert!(began.elapsed() < Duration::from_secs(20), "redis-server does not answer");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        false
    }

    /// Returns `true` if the process that answers is this server, and not that of another test on the same
    /// port.
    async fn answers(&self) -> redis::RedisResult<bool> {
        let mut connection = self.raw().await?;
        let info: String = redis::cmd("INFO").arg("server").query_async(&mut connection).await?;
        // Fails while the server loads its data.
        redis::cmd("DBSIZE").exec_async(&mut connection).await?;
        Ok(info.contains(&format!("process_id:{}\r", self.child.id())))
    }

    pub(crate) async fn raw(&self) -> redis::RedisResult<redis::aio::MultiplexedConnection> {
        // By default an answer may take half a second, and the machine may be busy.
        let config = redis::AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(20)));
        redis::Client::open(self.url())?.get_multiplexed_async_connection_with_config(&config).await
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    pub(crate) async fn store(&self) -> RedisStore {
        RedisStore::connect(&self.url()).await.unwrap()
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) async fn start_again(&mut self) {
        self.child = spawn(self.port, &self.scratch);
        assert!(self.is_up().await);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail if the server has already exited.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[expect(clippy::disallowed_macros, reason = "a skipped test is reported to the person who runs it")]
fn skipped() -> Option<Server> {
    eprintln!("skipped: redis-server is not installed, and BOWLINE_SKIP contains redis");
    None
}

fn spawn(port: u16, scratch: &Scratch) -> Child {
    Command::new("redis-server")
        .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--dir"])
        .arg(scratch.path(""))
        .args(["--save", "", "--appendonly", "yes", "--appendfsync", "always"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server is installed; install it or add redis to BOWLINE_SKIP")
}

#[async_trait]
impl Bench for Server {
    async fn open(&self) -> Arc<dyn SessionStore> {
        Arc::new(self.store().await)
    }

    /// Waits for real time to pass, because the clock of the server cannot be changed.
    async fn pass(&self, time: Duration) {
        let mut connection = self.raw().await.unwrap();
        let mut now = async || -> Duration {
            let (seconds, micros): (u64, u64) = redis::cmd("TIME").query_async(&mut connection).await.unwrap();
            Duration::new(seconds, micros as u32 * 1_000)
        };
        let until = now().await + time + Duration::from_millis(1);
        while now().await <= until {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn spoil(&self, sid: &str, at: Position) -> bool {
        let mut connection = self.raw().await.unwrap();
        let (key, field) = (format!("bowline:c:{sid}"), format!("{:020}{:020}", at.lineage, at.number));
        let mut kept: Vec<u8> = redis::cmd("HGET").arg(&key).arg(&field).query_async(&mut connection).await.unwrap();
        *kept.last_mut().unwrap() ^= 1;
        redis::cmd("HSET").arg(&key).arg(&field).arg(kept).exec_async(&mut connection).await.unwrap();
        true
    }

    async fn fill(&self, owner: &str, references: usize) {
        let fill = "for n = 1, ARGV[2] do
            redis.call('HSET', 'bowline:t:fill-' .. n, 'owner', ARGV[1], 'label', '', 'recipe', '')
            redis.call('ZADD', 'bowline:u:' .. ARGV[1], 0, 'fill-' .. n)
        end";
        let mut connection = self.raw().await.unwrap();
        redis::cmd("EVAL").arg(fill).arg(0).arg(owner).arg(references).exec_async(&mut connection).await.unwrap();
    }

    fn sweeps_itself(&self) -> bool {
        true
    }
}

store_conformance!(Server::start());

pub(crate) const DAY: Duration = Duration::from_secs(86_400);

/// The timeout of docs/store.md, plus a margin for a busy machine.
const IN_TIME: Duration = Duration::from_secs(10);

/// The server is killed and restarted. Confirmed writes are still there, and the store reconnects by itself.
#[tokio::test]
async fn store_reconnects_to_a_restarted_server() {
    let Some(mut server) = Server::start().await else { return };
    let store = server.store().await;
    store.open_owner("a", DAY).await.unwrap();
    let fence = store.create("s", "a", DAY, None).await.unwrap();
    store.checkpoint(&fence, checkpoint(at(1, 1), "one"), at(1, 1)).await.unwrap();
    for _ in 0..2 {
        server.kill();
        let asked = Instant::now();
        let refused = store.load(&fence, at(1, 1)).await;
        assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
        assert!(asked.elapsed() < IN_TIME, "{:?}", asked.elapsed());
        server.start_again().await;
        let began = Instant::now();
        let loaded = loop {
            match store.load(&fence, at(1, 1)).await {
                Err(StoreError::Unavailable(_)) if began.elapsed() < Duration::from_secs(20) => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                other => break other,
            }
        };
        assert_eq!(loaded, Ok(Bytes::from("one")));
    }
}

/// The server accepts connections but never answers.
#[tokio::test]
async fn operation_on_an_unresponsive_server_times_out() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", silent.local_addr().unwrap());
    let asked = Instant::now();
    let refused = RedisStore::connect(&url).await.unwrap_err();
    assert!(matches!(refused, StoreError::Unavailable(_)), "{refused:?}");
    assert!(asked.elapsed() < IN_TIME, "{:?}", asked.elapsed());
    let unreachable = RedisStore::connect("redis://127.0.0.1:1").await.unwrap_err();
    assert!(matches!(unreachable, StoreError::Unavailable(_)), "{unreachable:?}");
    let no_address = RedisStore::connect("no address").await.unwrap_err();
    assert!(matches!(no_address, StoreError::Unavailable(_)), "{no_address:?}");
}

#[tokio::test]
async fn other_layouts_are_refused_and_other_prefixes_ignored() {
    let Some(server) = Server::start().await else { return };
    let store = server.store().await;
    store.open_owner("a", DAY).await.unwrap();
    let other = RedisStore::connect_with_prefix(&server.url(), "other:").await.unwrap();
    assert_eq!(other.renew_owner("a", DAY).await, Err(StoreError::Fenced));
    let mut connection = server.raw().await.unwrap();
    redis::cmd("SET").arg("other:layout").arg(2).exec_async(&mut connection).await.unwrap();
    let refused = RedisStore::connect_with_prefix(&server.url(), "other:").await.unwrap_err();
    assert_eq!(refused, StoreError::Layout { found: 2, known: 1 });
    assert!(!format!("{store:?}").contains("127.0.0.1"), "the address may contain a password and must not be printed");
}

/// Invalid data in the server causes an error and not a panic.
#[tokio::test]
async fn unreadable_data_is_corrupt() {
    let Some(server) = Server::start().await else { return };
    let store = server.store().await;
    store.open_owner("a", DAY).await.unwrap();
    let fence = store.create("s", "a", DAY, None).await.unwrap();
    let mut connection = server.raw().await.unwrap();
    redis::cmd("HSET").arg("bowline:c:s").arg("no place").arg("x").exec_async(&mut connection).await.unwrap();
    let refused = store.claim("s", "a", 0).await;
    assert!(matches!(refused, Err(StoreError::Corrupt(_))), "{refused:?}");
    let fence = Fence { epoch: 2, ..fence };
    let short = format!("{:040}", 0);
    redis::cmd("HSET").arg("bowline:c:s").arg(short).arg("x").exec_async(&mut connection).await.unwrap();
    let refused = store.load(&fence, at(0, 0)).await;
    assert!(matches!(refused, Err(StoreError::Corrupt(_))), "{refused:?}");
}

/// A replica has the sessions but accepts no writes, so operations on it fail.
#[tokio::test]
async fn replica_is_unavailable() {
    let Some(primary) = Server::start().await else { return };
    let replica = Server::start().await.expect("the replica starts");
    primary.store().await.open_owner("a", DAY).await.unwrap();
    let store = replica.store().await;
    let mut connection = replica.raw().await.unwrap();
    let follow = redis::cmd("REPLICAOF").arg("127.0.0.1").arg(primary.port).exec_async(&mut connection).await;
    follow.unwrap();
    let refused = store.open_owner("b", DAY).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
}
