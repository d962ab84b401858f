//! Application code that uses a session or stream wherever the library calls it: wakers, log
//! subscribers, and drops. Each test has a thread of its own, because its failure is a deadlock.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bowline_core::endpoint::Attach;
use bowline_core::generated::TypedCalls;
use bowline_core::limits::Limits;
use bowline_core::link::{Features, LinkRules, Role};
use bowline_core::peer::stream::channel;
use bowline_core::peer::testing::pair_with;
use bowline_core::peer::{Connection, Durability, Never, Recipe, Restorers, SessionOptions, Stub};
use bowline_core::session::ClosedBy;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::fixture::*;
use crate::recipes::{Account, ctx};

/// Runs a test that could deadlock.
fn bounded(test: impl FnOnce() + Send + 'static) {
    let (done, is_done) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        test();
        done.send(()).unwrap();
    });
    match is_done.recv_timeout(Duration::from_secs(20)) {
        Ok(()) => thread.join().unwrap(),
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("deadlock"),
        Err(mpsc::RecvTimeoutError::Disconnected) => thread.join().unwrap(),
    }
}

/// A waker that acts at once when it is woken and when it is dropped.
struct Eager {
    act: Box<dyn Fn() + Send + Sync>,
    woken: AtomicUsize,
}

impl Eager {
    fn new(act: impl Fn() + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { act: Box::new(act), woken: AtomicUsize::new(0) })
    }
}

impl Wake for Eager {
    fn wake(self: Arc<Self>) {
        self.woken.fetch_add(1, Ordering::SeqCst);
        (self.act)();
    }
}

impl Drop for Eager {
    fn drop(&mut self) {
        (self.act)();
    }
}

fn poll_with<F: Future>(future: std::pin::Pin<&mut F>, eager: Arc<Eager>) -> Poll<F::Output> {
    let waker = Waker::from(eager);
    future.poll(&mut Context::from_waker(&waker))
}

fn durable() -> SessionOptions {
    SessionOptions::new().durability(Durability::new(ctx("ann"), Arc::new(Restorers::new())))
}

#[test]
fn listeners_are_woken_without_the_session_lock() {
    bounded(|| {
        let linked = Connection::linked(None, durable(), Role::Server, LinkRules::default());
        let look = || {
            let session = linked.clone();
            Eager::new(move || assert!(session.stats().imports < 10))
        };
        let wakers: Vec<_> = (0..5).map(|_| look()).collect();
        let mut events = linked.events();
        let mut event = pin!(events.next());
        assert!(poll_with(event.as_mut(), wakers[0].clone()).is_pending());
        let mut changed = pin!(linked.changed());
        let first = poll_with(changed.as_mut(), wakers[1].clone());
        assert!(first.is_ready() || poll_with(changed.as_mut(), wakers[1].clone()).is_pending());
        let mut closed = pin!(linked.closed());
        assert!(poll_with(closed.as_mut(), wakers[2].clone()).is_pending());
        let mut unused = pin!(linked.unused());
        let _root = linked.root_dyn();
        assert!(poll_with(unused.as_mut(), wakers[3].clone()).is_pending());
        linked.attach(Features::default(), Attach::New).unwrap();
        linked.end_with(ClosedBy::Local, &bowline_core::error::ErrorCode::Draining, "over");
        for at in [0, 2, 3] {
            assert!(wakers[at].woken.load(Ordering::SeqCst) > 0, "listener {at} is woken");
        }
    });
}

#[test]
fn reader_is_woken_and_its_waker_dropped_without_the_stream_lock() {
    bounded(|| {
        let (writer, mut reader) = channel::<u32>(1);
        let writer = Arc::new(Mutex::new(Some(writer)));
        let act = {
            let writer = Arc::clone(&writer);
            move || {
                let Ok(mut writer) = writer.try_lock() else { return };
                if let Some(writer) = &mut *writer {
                    drop(pin!(writer.write(1)).poll(&mut Context::from_waker(Waker::noop())));
                }
            }
        };
        let mut next = Box::pin(reader.next());
        // Each poll drops the previous waker.
        for _ in 0..3 {
            if poll_with(next.as_mut(), Eager::new(act.clone())).is_ready() {
                break;
            }
        }
        drop(next);
        writer.lock().unwrap().take();
    });
}

/// A log subscriber that uses a session for every line.
struct Looks(Mutex<Vec<Connection>>, Arc<AtomicUsize>);

impl Subscriber for Looks {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event<'_>) {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.lock().unwrap().iter().for_each(|session| assert!(session.stats().imports < 10));
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[test]
fn log_subscriber_may_access_the_session() {
    bounded(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let lines = Arc::new(AtomicUsize::new(0));
        let looks = Looks(Mutex::default(), Arc::clone(&lines));
        let dispatch = tracing::Dispatch::new(looks);
        let _default = tracing::dispatcher::set_default(&dispatch);
        runtime.block_on(async {
            let seen = Arc::new(Seen::default());
            // The parameters contain something that no other process could restore.
            let recipe = Recipe::new("things", 1, &(Stub::new(Api(Arc::clone(&seen))),));
            let thing = Stub::durable(Api(Arc::clone(&seen)), recipe);
            let pair = pair_with(None, Some(Stub::new(Api(Arc::clone(&seen)))), durable());
            dispatch.downcast_ref::<Looks>().unwrap().0.lock().unwrap().extend([pair.left.clone(), pair.right.clone()]);
            seen.held().push(thing);
            let given: Stub = pair.left.root_dyn().call_typed::<_, Never>("give", &()).await.unwrap();
            assert_eq!(given.call_typed::<u32, Never>("add", &(1, 2)).await.unwrap(), 3);
        });
        assert!(lines.load(Ordering::SeqCst) > 0, "a warning is logged");
    });
}

#[test]
fn revocable_reference_to_a_durable_object_is_logged_once() {
    bounded(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let lines = Arc::new(AtomicUsize::new(0));
        let dispatch = tracing::Dispatch::new(Looks(Mutex::default(), Arc::clone(&lines)));
        let _default = tracing::dispatcher::set_default(&dispatch);
        runtime.block_on(async {
            let seen = Arc::new(Seen::default());
            let pair = pair_with(None, Some(Stub::new(Api(Arc::clone(&seen)))), durable());
            let account = Account::reference("ann", None);
            for thing in [account.only(["owner"]), Stub::new(Api(Arc::clone(&seen))).revocable().0] {
                *seen.held() = vec![thing];
                pair.left.root_dyn().call("give", ()).await.unwrap();
            }
            assert_eq!(lines.load(Ordering::SeqCst), 0, "no durable reference was made revocable yet");
            for _ in 0..3 {
                *seen.held() = vec![account.revocable().0];
                pair.left.root_dyn().call("give", ()).await.unwrap();
            }
            assert_eq!(lines.load(Ordering::SeqCst), 1);
        });
    });
}

#[tokio::test]
async fn dropped_waits_leave_no_state() {
    let seen = Arc::new(Seen::default());
    let pair = pair_with(None, Some(Stub::new(Api(Arc::clone(&seen)))), Limits::default());
    let api = pair.left.root_dyn();
    let waiting = api.call("slow", ()).into_future();
    seen.started.notified().await;
    // A waker is dropped with its wait.
    let token = Arc::new(());
    for _ in 0..100 {
        let held = Arc::clone(&token);
        let eager = Eager::new(move || drop(Arc::clone(&held)));
        assert!(poll_with(pin!(pair.right.quiet()), Arc::clone(&eager)).is_pending());
        assert!(poll_with(pin!(pair.right.answered()), Arc::clone(&eager)).is_pending());
        assert!(poll_with(pin!(pair.right.settled()), Arc::clone(&eager)).is_pending());
        assert!(poll_with(pin!(pair.right.running_calls_ended()), Arc::clone(&eager)).is_pending());
        assert!(poll_with(pin!(pair.left.unused()), eager).is_pending());
    }
    assert_eq!(Arc::strong_count(&token), 1, "no wait remains");
    let quiet = tokio::spawn({
        let right = pair.right.clone();
        async move { tokio::join!(right.quiet(), right.answered(), right.settled(), right.running_calls_ended()) }
    });
    settle().await;
    seen.go_on.notify_one();
    tokio::time::timeout(Duration::from_secs(10), quiet).await.expect("waits still end").unwrap();
    waiting.await.unwrap();
}

#[tokio::test]
async fn consecutive_local_calls_yield_to_other_tasks() {
    let turns = Arc::new(AtomicUsize::new(0));
    let others = tokio::spawn({
        let turns = Arc::clone(&turns);
        async move {
            loop {
                turns.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
            }
        }
    });
    let api = Stub::new(Api(Arc::default()));
    tokio::spawn(async move {
        for n in 0..2_000 {
            assert_eq!(api.call_typed::<u32, Never>("add", &(n, 1)).await.unwrap(), n + 1);
            api.get("version").await.unwrap();
            api.clone().await.unwrap();
        }
    })
    .await
    .unwrap();
    others.abort();
    assert!(turns.load(Ordering::SeqCst) >= 10, "{turns:?} turns");
}
