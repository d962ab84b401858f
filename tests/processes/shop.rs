//! The application under test, and the process that serves it.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bowline::auth::{Key, KeyRing};
use bowline::error::Never;
use bowline::server::Successor;
use bowline::store::{RedisStore, SessionStore, SqliteStore};
use bowline::{Func, Reader, Recovery, Resumption, Service, Writer, stream};
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
    /// Writes its line before it waits for anything, so lines are in the order of the calls.
    async fn note(&self, id: u64) -> Result<u64, Never>;
    /// Writes its line when the stream has ended well.
    async fn upload(&self, id: u64, chunks: Reader<u64>) -> Result<Uploaded, Never>;
    #[rpc(idempotent)]
    async fn download(&self, chunks: u64) -> Reader<u64>;
}

/// What a stream brought.
#[derive(Debug, serde::Deserialize, serde::Serialize)]
pub(crate) struct Uploaded {
    pub(crate) chunks: u64,
    /// The code of the error that it ended with, or nothing.
    pub(crate) code: String,
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
        self.write_now(line);
        tokio::time::sleep(Duration::from_micros(rand::random_range(0..1_500))).await;
    }

    fn write_now(&self, line: &str) {
        (&self.0).write_all(line.as_bytes()).expect("the history can be written");
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
    async fn note(&self, id: u64) -> Result<u64, Never> {
        self.history.write_now(&format!("note {} {id}\n", self.name));
        tokio::time::sleep(Duration::from_micros(rand::random_range(0..1_500))).await;
        Ok(id)
    }
    async fn upload(&self, id: u64, mut reader: Reader<u64>) -> Result<Uploaded, Never> {
        let mut chunks = 0;
        while let Some(chunk) = reader.next().await {
            match chunk {
                Ok(chunk) => assert_eq!(chunk, chunks),
                Err(error) => {
                    let code = error.code().map_or_else(|| error.to_string(), |code| code.to_string());
                    return Ok(Uploaded { chunks, code });
                }
            }
            chunks += 1;
        }
        self.history.write_now(&format!("upload {} {id}\n", self.name));
        Ok(Uploaded { chunks, code: String::new() })
    }
    async fn download(&self, chunks: u64) -> Reader<u64> {
        let (writer, reader) = stream::channel(4);
        tokio::spawn(write_slowly(writer, chunks));
        reader
    }
}

/// Writes the numbers below `chunks`, with pauses, and closes the stream. Its reader may be gone; the call that the
/// stream belongs to says how it ended.
pub(crate) async fn write_slowly(mut writer: Writer<u64>, chunks: u64) {
    for chunk in 0..chunks {
        if writer.write(chunk).await.is_err() {
            return;
        }
        if chunk % 16 == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    drop(writer.close().await);
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
    let account = Stored::restorer(Arc::clone(&history), |_ctx, params, history| async move {
        Ok(AccountRef::durable(params.restore(history)))
    });
    let bell = Brass::restorer((), |_ctx, params, ()| async move { Ok(BellRef::durable(params.restore())) });
    let mut resumption = Resumption::default();
    resumption.keys = KeyRing::new(Key::new("test", &[7; 32]).unwrap()).into();
    let store = open(store).await;
    let mut recovery = Recovery::in_shared_store(store).restorer(account).restorer(bell);
    if std::env::var(TIMES).is_ok_and(|times| times == format!("{:?}", Times::Short)) {
        recovery.idle = Duration::from_millis(10);
        recovery.latest = Duration::from_millis(40);
        recovery.lease = LEASE;
    }
    if let Ok(instance) = std::env::var(INSTANCE) {
        recovery = recovery.instance(instance);
    }
    let service = Service::new(move |_peer| ShopRef::new(Front(Arc::clone(&history))));
    let service = service.resumption(resumption).recovery(recovery);
    let listener = loop {
        // The process before may take a moment to be gone.
        match TcpListener::bind(address).await {
            Ok(listener) => break listener,
            Err(_taken) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    };
    tokio::spawn(service.clone().serve(listener));
    drain_when_told(service).await;
}

/// Drains the service when a line on the standard input says how long that may take and who is next.
async fn drain_when_told(service: Service) {
    let (told, mut lines) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        std::io::stdin().lines().map_while(Result::ok).for_each(|line| drop(told.send(line)));
    });
    let Some(line) = lines.recv().await else { return std::future::pending().await };
    let (ms, url) = line.split_once(' ').unwrap();
    let began = Instant::now();
    let report = service.drain_to(Duration::from_millis(ms.parse().unwrap()), Successor::default().at(url)).await;
    println!("\n{DRAINED}{} {}", report.calls_cut, began.elapsed().as_millis());
    std::process::exit(0);
}

/// What a process says when it is drained, before the calls that were cut and the milliseconds that it took.
const DRAINED: &str = "drained ";

async fn open(store: &str) -> Arc<dyn SessionStore> {
    match store.strip_prefix("sqlite:") {
        Some(path) => Arc::new(SqliteStore::open(path).unwrap()),
        None => Arc::new(RedisStore::connect(store).await.unwrap()),
    }
}

/// The clock of the processes that are started with it: the system's and an offset that a file says, where
/// libfaketime is installed. Without it they have the system's.
pub(crate) struct Clock(Option<(PathBuf, PathBuf)>);

impl Clock {
    pub(crate) fn new(folder: &Path) -> Self {
        let library = ["x86_64-linux-gnu", "aarch64-linux-gnu"]
            .map(|target| Path::new("/usr/lib").join(target).join("faketime/libfaketimeMT.so.1"))
            .into_iter()
            .find(|path| path.exists());
        if library.is_none() {
            println!("libfaketime is not installed, so clocks do not jump");
        }
        let clock = Self(library.map(|library| (library, folder.join("clock"))));
        clock.set("+0");
        clock
    }

    /// Sets the time of day, of processes that run and of those that start.
    pub(crate) fn set(&self, offset: &str) {
        if let Some((_, file)) = &self.0 {
            let beside = file.with_extension("new");
            std::fs::write(&beside, offset).unwrap();
            std::fs::rename(beside, file).unwrap();
        }
    }

    fn variables(&self) -> Vec<(&'static str, OsString)> {
        let Some((library, file)) = &self.0 else { return Vec::new() };
        vec![
            ("LD_PRELOAD", library.into()),
            ("FAKETIME_TIMESTAMP_FILE", file.into()),
            ("FAKETIME_NO_CACHE", "1".into()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
        ]
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
        Self::launch(address, store, history, times, instance.map(|instance| (INSTANCE, instance.into())))
    }

    /// Starts one with the times that it has by default, and a clock that a file sets.
    pub(crate) fn start_by_clock(address: SocketAddr, store: &str, history: &Path, clock: &Clock) -> Self {
        Self::launch(address, store, history, Times::Default, clock.variables())
    }

    fn launch(
        address: SocketAddr,
        store: &str,
        history: &Path,
        times: Times,
        variables: impl IntoIterator<Item = (&'static str, OsString)>,
    ) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "shop::server_process", "--nocapture"])
            .env(ADDRESS, address.to_string())
            .env(STORE, store)
            .env(HISTORY, history)
            .env(TIMES, format!("{times:?}"))
            .envs(variables)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let child = command.spawn().unwrap();
        let server = Self { child, address };
        let began = Instant::now();
        while std::net::TcpStream::connect(address).is_err() {
            assert!(began.elapsed() < Duration::from_secs(20), "no server listens");
            std::thread::sleep(Duration::from_millis(2));
        }
        server
    }

    /// Has the process drain its sessions to the one at `next`, and waits for its end. Returns how many calls were
    /// cut, and how long it took.
    pub(crate) fn drain(mut self, within: Duration, next: SocketAddr) -> (usize, Duration) {
        let line = format!("{} ws://{next}\n", within.as_millis());
        self.child.stdin.take().unwrap().write_all(line.as_bytes()).unwrap();
        let said = BufReader::new(self.child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let report = said.filter_map(|line| Some(line.strip_prefix(DRAINED)?.to_owned())).next();
        self.child.wait().unwrap();
        let report = report.expect("it says what the drain came to");
        let (calls_cut, ms) = report.split_once(' ').unwrap();
        (calls_cut.parse().unwrap(), Duration::from_millis(ms.parse().unwrap()))
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
