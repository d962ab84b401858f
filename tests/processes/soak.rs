//! Clients that connect, call and vanish in every way over a network that is cut all the time, with a service in
//! the same process: tasks, objects and memory return to where they began. Seconds, or `BOWLINE_MINUTES`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bowline::error::Never;
use bowline::store::MemoryStore;
use bowline::{Reader, Recovery, Resumption, Service, connect, stream};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::faults::span;
use crate::network::Network;

const CLIENTS: usize = 12;

/// Memory that may stay allocated after the first third of a run.
const SLACK_KIB: usize = 24 << 10;

#[bowline::interface]
trait Bench {
    async fn part(&self) -> PartRef;
    async fn count(&self, chunks: u64) -> Reader<u64>;
}

#[bowline::interface]
trait Part {
    async fn turn(&self, n: u64) -> Result<u64, Never>;
    /// Does not return by itself.
    async fn hang(&self) -> Result<u64, Never>;
}

/// Counts itself while it lives.
struct Live(Arc<AtomicUsize>);

impl Live {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(count))
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Bench for Live {
    async fn part(&self) -> PartRef {
        PartRef::new(Self::new(&self.0))
    }

    async fn count(&self, chunks: u64) -> Reader<u64> {
        let (mut writer, reader) = stream::channel(2);
        tokio::spawn(async move {
            for chunk in 0..chunks {
                if writer.write(chunk).await.is_err() {
                    return;
                }
            }
            // Its reader may be gone.
            drop(writer.close().await);
        });
        reader
    }
}

impl Part for Live {
    async fn turn(&self, n: u64) -> Result<u64, Never> {
        tokio::time::sleep(Duration::from_micros(rand::random_range(0..2_000))).await;
        Ok(n)
    }

    async fn hang(&self) -> Result<u64, Never> {
        std::future::pending().await
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

fn tasks(runtime: &Runtime) -> usize {
    runtime.metrics().num_alive_tasks()
}

fn resident_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// One client after the other, each used for a moment.
async fn client(url: String, until: Instant, calls: Arc<AtomicUsize>) {
    while Instant::now() < until {
        let restore_timeout = if rand::random_range(0..4) == 0 {
            Duration::from_micros(rand::random_range(0..20_000))
        } else {
            Duration::from_secs(20)
        };
        // Canceled at a random point, or cut.
        let Ok(Ok(session)) = tokio::time::timeout(restore_timeout, connect(url.clone())).await else { continue };
        let using = use_for_a_moment(session.root(), &calls);
        drop(tokio::time::timeout(Duration::from_millis(rand::random_range(1..1_000)), using).await);
        if rand::random() {
            session.close().await;
        }
    }
}

async fn use_for_a_moment(bench: BenchRef, calls: &AtomicUsize) {
    loop {
        let Ok(part) = bench.part().await else { return };
        drop(part.hang());
        drop(part.turn(0));
        for n in 0..rand::random_range(0..8) {
            if !matches!(part.turn(n).await, Ok(answer) if answer == n) {
                return;
            }
            calls.fetch_add(1, Ordering::SeqCst);
        }
        let Ok(mut reader) = bench.count(rand::random_range(0..40)).await else { return };
        for _ in 0..rand::random_range(0..40) {
            if !matches!(reader.next().await, Some(Ok(_))) {
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_objects_and_memory_return_to_where_they_began() {
    let (servers, clients) = (runtime(), runtime());
    let objects = Arc::<AtomicUsize>::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let network = Network::to(listener.local_addr().unwrap()).await;
    let counted = Arc::clone(&objects);
    let mut resumption = Resumption::default();
    // A session whose client has vanished over a cut connection is dropped after that.
    (resumption.window, resumption.unused_window) = (Duration::from_secs(2), Duration::from_secs(2));
    let service = Service::new(move |_peer| BenchRef::new(Live::new(&counted)));
    let service = service.resumption(resumption).recovery(Recovery::in_store(MemoryStore::new()));
    let listener = listener.into_std().unwrap();
    servers.spawn(async move { service.serve(TcpListener::from_std(listener).unwrap()).await });
    let calls = Arc::<AtomicUsize>::default();
    // What runs as long as the service does runs once it has had a session.
    clients.spawn(client(network.url(), Instant::now() + Duration::from_millis(300), Arc::clone(&calls)));
    let rest = async |tasks_of: (usize, usize)| {
        let began = Instant::now();
        while tasks(&servers) > tasks_of.0 || tasks(&clients) > tasks_of.1 || objects.load(Ordering::SeqCst) > 0 {
            let left = (tasks(&servers), tasks(&clients), objects.load(Ordering::SeqCst));
            assert!(began.elapsed() < Duration::from_secs(30), "{left:?} of {tasks_of:?} are left");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::sleep(Duration::from_millis(300)).await;
    rest((usize::MAX, 0)).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let before = (tasks(&servers), tasks(&clients));
    let (began, mut warm_kib, mut cuts) = (Instant::now(), None, 0);
    for _ in 0..CLIENTS {
        clients.spawn(client(network.url(), began + span(), Arc::clone(&calls)));
    }
    while began.elapsed() < span() {
        tokio::time::sleep(Duration::from_millis(rand::random_range(300..1_100))).await;
        network.cut();
        cuts += 1;
        if warm_kib.is_none() && began.elapsed() > span() / 3 {
            warm_kib = Some(resident_kib());
        }
    }
    rest(before).await;
    let (warm_kib, kib) = (warm_kib.unwrap_or_default(), resident_kib());
    let calls = calls.load(Ordering::SeqCst);
    println!(
        "{calls} calls, {cuts} cuts; {before:?} tasks before and after; {warm_kib} KiB after a third, {kib} at the end"
    );
    assert!(calls > 0);
    assert!(kib < warm_kib + SLACK_KIB, "{warm_kib} KiB after a third, {kib} KiB at the end");
    servers.shutdown_background();
    clients.shutdown_background();
}
