//! The application under test, and the process that serves it.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bowline::store::{RedisStore, SessionStore, SqliteStore};
use bowline::{Func, Key, KeyRing, Never, Restoration, Restorer, Resumption, Service};
use tokio::net::TcpListener;

/// How long other processes wait for one that has vanished.
pub(crate) const LEASE: Duration = Duration::from_millis(400);

#[bowline::interface]
pub(crate) trait Shop {
    #[rpc(idempotent)]
    async fn account(&self, name: String) -> AccountRef;
    #[rpc(idempotent)]
    async fn bell(&self, heard: Func<u64, ()>) -> BellRef;
}

/// Each call writes a line to the history, and takes a moment before and after.
#[bowline::interface]
pub(crate) trait Account {
    async fn book(&self, id: u64) -> Result<u64, Never>;
    #[rpc(idempotent)]
    async fn put(&self, id: u64) -> Result<u64, Never>;
    #[rpc(recorded)]
    async fn once(&self, id: u64) -> Result<u64, Never>;
}

/// Tells its client of every call.
#[bowline::interface]
pub(crate) trait Bell {
    async fn ring(&self, id: u64) -> Result<u64, Never>;
}

/// What has been carried out, a line for each: it outlives every process.
#[derive(Debug)]
struct History(File);

impl History {
    async fn write(&self, line: &str) {
        tokio::time::sleep(Duration::from_micros(rand::random_range(0..1_500))).await;
        (&self.0).write_all(line.as_bytes()).expect("the history can be written");
        tokio::time::sleep(Duration::from_micros(rand::random_range(0..1_500))).await;
    }
}

struct Front(Arc<History>);

#[bowline::durable(restorer = "account", version = 1)]
struct Stored {
    name: String,
    #[durable(skip)]
    history: Arc<History>,
}

#[bowline::durable(restorer = "bell", version = 1)]
struct Brass {
    heard: Func<u64, ()>,
}

impl Shop for Front {
    async fn account(&self, name: String) -> AccountRef {
        AccountRef::durable(Stored { name, history: Arc::clone(&self.0) })
    }
    async fn bell(&self, heard: Func<u64, ()>) -> BellRef {
        BellRef::durable(Brass { heard })
    }
}

impl Account for Stored {
    async fn book(&self, id: u64) -> Result<u64, Never> {
        self.history.write(&format!("book {} {id}\n", self.name)).await;
        Ok(id)
    }
    async fn put(&self, id: u64) -> Result<u64, Never> {
        self.history.write(&format!("put {} {id}\n", self.name)).await;
        Ok(id)
    }
    async fn once(&self, id: u64) -> Result<u64, Never> {
        self.history.write(&format!("once {} {id}\n", self.name)).await;
        Ok(id)
    }
}

impl Bell for Brass {
    async fn ring(&self, id: u64) -> Result<u64, Never> {
        // Its client may be away; what it hears then, it hears when it is back.
        self.heard.call(id).await.ok();
        Ok(id)
    }
}

const ADDRESS: &str = "BOWLINE_TEST_ADDRESS";
const STORE: &str = "BOWLINE_TEST_STORE";
const HISTORY: &str = "BOWLINE_TEST_HISTORY";
const TIMES: &str = "BOWLINE_TEST_TIMES";
const INSTANCE: &str = "BOWLINE_TEST_INSTANCE";

/// When a server stores its sessions, and for how long others wait for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Times {
    /// Often, and not long.
    Short,
    /// As they are unless an application sets them.
    Default,
}

/// No test: the process that a test starts.
#[test]
fn server_process() {
    let Ok(address) = std::env::var(ADDRESS) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(serve(&address, &std::env::var(STORE).unwrap(), &std::env::var(HISTORY).unwrap()));
}

async fn serve(address: &str, store: &str, history: &str) {
    let history = Arc::new(History(OpenOptions::new().create(true).append(true).open(history).unwrap()));
    let books = Arc::clone(&history);
    let account = Restorer::of::<Stored, _, _, _>(move |_ctx, params: StoredParams| {
        let history = Arc::clone(&books);
        async move { Ok(AccountRef::durable(params.restore(history))) }
    });
    let bell =
        Restorer::of::<Brass, _, _, _>(
            |_ctx, params: BrassParams| async move { Ok(BellRef::durable(params.restore())) },
        );
    let mut resumption = Resumption::default();
    resumption.keys = KeyRing::new(Key::new("test", &[7; 32]).unwrap()).into();
    let store = open(store).await;
    let mut restoration = Restoration::in_shared_store(store).restorer(account).restorer(bell);
    if std::env::var(TIMES).is_ok_and(|times| times == format!("{:?}", Times::Short)) {
        restoration.idle = Duration::from_millis(10);
        restoration.latest = Duration::from_millis(40);
        restoration.lease = LEASE;
    }
    if let Ok(instance) = std::env::var(INSTANCE) {
        restoration = restoration.instance(instance);
    }
    let service = Service::new(move |_peer| ShopRef::new(Front(Arc::clone(&history))));
    let service = service.resumption(resumption).restoration(restoration);
    let listener = loop {
        // The process before may take a moment to be gone.
        match TcpListener::bind(address).await {
            Ok(listener) => break listener,
            Err(_taken) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    };
    service.serve(listener).await;
}

async fn open(store: &str) -> Arc<dyn SessionStore> {
    match store.strip_prefix("sqlite:") {
        Some(path) => Arc::new(SqliteStore::open(path).unwrap()),
        None => Arc::new(RedisStore::connect(store).await.unwrap()),
    }
}

/// A server in a process of its own, which ends with the test.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Starts one, and returns when it listens.
    pub(crate) fn start(address: SocketAddr, store: &str, history: &Path) -> Self {
        Self::start_with(address, store, history, Times::Short, None)
    }

    /// Starts one with these times, as this instance.
    pub(crate) fn start_with(
        address: SocketAddr,
        store: &str,
        history: &Path,
        times: Times,
        instance: Option<&str>,
    ) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "shop::server_process", "--nocapture"])
            .env(ADDRESS, address.to_string())
            .env(STORE, store)
            .env(HISTORY, history)
            .env(TIMES, format!("{times:?}"))
            .envs(instance.map(|instance| (INSTANCE, instance)))
            .stdout(Stdio::null());
        let child = command.spawn().unwrap();
        let server = Self { child, address };
        let began = Instant::now();
        while std::net::TcpStream::connect(address).is_err() {
            assert!(began.elapsed() < Duration::from_secs(20), "no server listens");
            std::thread::sleep(Duration::from_millis(2));
        }
        server
    }

    /// SIGKILL: it gets to do nothing more.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGSTOP and SIGCONT: it stands still, and knows nothing of it.
    pub(crate) fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail when it is gone, as it should be.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A port that is free now.
pub(crate) fn free_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
