//! Draining a server while clients call, write, and read.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bowline::auth::{Key, KeyRing};
use bowline::error::Never;
use bowline::server::{DrainReport, Successor};
use bowline::store::MemoryStore;
use bowline::{CallError, ErrorCode, Reader, Recovery, Resumption, Service, Session};
use tokio::task::JoinHandle;

use crate::harness::{serve, within};
use crate::proxy::Proxy;

#[bowline::interface]
trait Depot {
    /// Returns the number of chunks, or the code that the stream ended with.
    async fn upload(&self, chunks: Reader<u64>) -> Result<Result<u64, String>, Never>;
    async fn nap(&self, ms: u64) -> Result<u64, Never>;
    #[rpc(idempotent)]
    async fn small(&self) -> Result<u64, Never>;
}

#[derive(Default)]
struct House {
    naps: Arc<AtomicUsize>,
}

impl Depot for House {
    async fn upload(&self, mut chunks: Reader<u64>) -> Result<Result<u64, String>, Never> {
        let mut count = 0;
        while let Some(chunk) = chunks.next().await {
            match chunk {
                Ok(_) => count += 1,
                Err(error) => return Ok(Err(error.code().map_or_else(|| format!("{error}"), |code| code.to_string()))),
            }
        }
        Ok(Ok(count))
    }

    async fn nap(&self, ms: u64) -> Result<u64, Never> {
        tokio::time::sleep(Duration::from_millis(ms)).await;
        self.naps.fetch_add(1, Ordering::SeqCst);
        Ok(ms)
    }

    async fn small(&self) -> Result<u64, Never> {
        Ok(7)
    }
}

/// Two processes that share a store. The old one is drained.
struct Pair {
    old: Service,
    old_address: SocketAddr,
    new_address: SocketAddr,
    naps: Arc<AtomicUsize>,
}

impl Pair {
    async fn new() -> Self {
        let (store, naps) = (Arc::new(MemoryStore::new()), Arc::<AtomicUsize>::default());
        let process = || {
            let mut resumption = Resumption::default();
            resumption.keys = KeyRing::new(Key::new("test", &[7; 32]).unwrap()).into();
            let naps = Arc::clone(&naps);
            Service::new(move |_peer| DepotRef::new(House { naps: Arc::clone(&naps) }))
                .resumption(resumption)
                .recovery(Recovery::in_shared_store(store.clone()))
        };
        let (old, new) = (process(), process());
        let (old_address, new_address) = (serve(old.clone()).await, serve(new).await);
        Self { old, old_address, new_address, naps }
    }

    async fn connect(&self) -> (Session, DepotRef) {
        let session = within(bowline::connect(format!("ws://{}", self.old_address))).await.unwrap();
        let depot = session.root();
        (session, depot)
    }

    fn drain(&self, within: Duration) -> JoinHandle<(DrainReport, Duration)> {
        let old = self.old.clone();
        let next = Successor::default().at(format!("ws://{}", self.new_address));
        tokio::spawn(async move {
            let began = Instant::now();
            (old.drain_to(within, next).await, began.elapsed())
        })
    }
}

#[tokio::test]
async fn call_awaited_later_is_answered_by_a_server_that_hands_over() {
    let pair = Pair::new().await;
    let (_session, depot) = pair.connect().await;
    let nap = depot.nap(500);
    within(depot.small().into_future()).await.unwrap();
    let draining = pair.drain(Duration::from_secs(5));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(within(nap.into_future()).await.unwrap(), 500);
    let (report, took) = within(draining).await.unwrap();
    assert_eq!((report.calls_cut, pair.naps.load(Ordering::SeqCst)), (0, 1));
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[tokio::test]
async fn call_without_a_pull_completes_before_a_handoff() {
    let pair = Pair::new().await;
    let (_session, depot) = pair.connect().await;
    drop(depot.nap(500));
    within(depot.small().into_future()).await.unwrap();
    let (report, took) = within(pair.drain(Duration::from_secs(5))).await.unwrap();
    assert_eq!((report.calls_cut, pair.naps.load(Ordering::SeqCst)), (0, 1));
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert_eq!(within(depot.small().into_future()).await.unwrap(), 7);
}

#[tokio::test]
async fn upload_completes_and_small_calls_are_answered_meanwhile() {
    let pair = Pair::new().await;
    let (_session, depot) = pair.connect().await;
    let (mut writer, reader) = bowline::stream::channel::<u64>(4);
    let uploaded = depot.upload(reader);
    writer.write(0).await.unwrap();
    within(depot.small().into_future()).await.unwrap();
    let draining = pair.drain(Duration::from_secs(5));
    for n in 1..12 {
        let asked = Instant::now();
        assert_eq!(within(depot.small().into_future()).await.unwrap(), 7);
        assert!(asked.elapsed() < Duration::from_millis(500), "{:?}", asked.elapsed());
        writer.write(n).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    within(writer.close()).await.unwrap();
    assert_eq!(within(uploaded.into_future()).await.unwrap(), Ok(12));
    let (report, took) = within(draining).await.unwrap();
    assert_eq!(report.calls_cut, 0);
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert_eq!(within(depot.small().into_future()).await.unwrap(), 7);
}

#[tokio::test]
async fn upload_beyond_the_deadline_is_interrupted_on_both_sides() {
    let pair = Pair::new().await;
    let (_session, depot) = pair.connect().await;
    let (mut writer, reader) = bowline::stream::channel::<u64>(4);
    let uploaded = tokio::spawn(depot.upload(reader).into_future());
    let writing = tokio::spawn(async move {
        loop {
            writer.write(1).await?;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        #[expect(unreachable_code, reason = "states the type of the block")]
        Ok::<(), CallError>(())
    });
    within(depot.small().into_future()).await.unwrap();
    let draining = pair.drain(Duration::from_secs(2));
    let mut slowest = Duration::ZERO;
    while !draining.is_finished() {
        let asked = Instant::now();
        assert_eq!(within(depot.small().into_future()).await.unwrap(), 7);
        slowest = slowest.max(asked.elapsed());
    }
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    let (report, _took) = within(draining).await.unwrap();
    assert_eq!(report.calls_cut, 0);
    assert_eq!(within(uploaded).await.unwrap().unwrap(), Err("STREAM_INTERRUPTED".to_owned()));
    let error = within(writing).await.unwrap().unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::StreamInterrupted), "{error}");
}

#[tokio::test]
async fn call_of_a_detached_client_completes() {
    for keeps in [true, false] {
        let pair = Pair::new().await;
        let old = match keeps {
            true => pair.old.clone(),
            false => {
                let naps = Arc::clone(&pair.naps);
                Service::new(move |_peer| DepotRef::new(House { naps: Arc::clone(&naps) }))
            }
        };
        let proxy = Proxy::to(serve(old.clone()).await).await;
        let session = within(bowline::connect(proxy.url())).await.unwrap();
        let depot: DepotRef = session.root();
        drop(depot.nap(600));
        within(depot.small().into_future()).await.unwrap();
        proxy.set_down(true);
        proxy.cut();
        while old.parked_sessions() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let report = within(old.drain(Duration::from_secs(5))).await;
        assert_eq!((report.calls_cut, pair.naps.load(Ordering::SeqCst)), (0, 1), "{keeps}");
    }
}
