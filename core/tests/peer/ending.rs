//! What happens to running calls when their session ends.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bowline_core::limits::Limits;
use bowline_core::peer::testing::{pair, pair_with};
use bowline_core::peer::{Args, Lifetime, Member, Object, Reply, RunningCalls, SessionOptions, Stub};
use tokio::sync::Notify;

use crate::fixture::*;

/// Waiting calls hold their arguments and are counted.
#[derive(Default)]
struct Waits {
    held: AtomicUsize,
    most: AtomicUsize,
    done: AtomicUsize,
    order: Mutex<Vec<String>>,
    go_on: Notify,
}

struct Held(Arc<Waits>, usize);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.held.fetch_sub(self.1, Ordering::SeqCst);
    }
}

struct Service(Arc<Waits>);

impl Object for Service {
    fn interface(&self) -> &'static str {
        "Service"
    }

    fn members(&self) -> &'static [Member] {
        const MEMBERS: &[Member] =
            &[method("wait"), Member { lifetime: Lifetime::Detached, ..method("finish") }, method("callBack")];
        MEMBERS
    }

    fn call(self: Arc<Self>, name: &str, args: Args) -> Option<Reply> {
        let waits = Arc::clone(&self.0);
        if name == "callBack" {
            return later(async move {
                let back: Stub = args.decode()?;
                let held = waits.hold(1);
                let answer = back.call("wait", ()).await.is_ok();
                drop(held);
                Ok::<_, bowline_core::value::ErrorValue>(answer)
            });
        }
        let text: String = args.decode().unwrap_or_default();
        let held = waits.hold(text.len().max(1));
        waits.most.fetch_max(waits.held(), Ordering::SeqCst);
        waits.order.lock().unwrap().push(text.clone());
        later(async move {
            waits.go_on.notified().await;
            waits.done.fetch_add(1, Ordering::SeqCst);
            drop((held, text));
            Ok::<_, bowline_core::peer::Never>(())
        })
    }

    fn get(self: Arc<Self>, _: &str) -> Option<Reply> {
        None
    }
}

impl Waits {
    fn hold(self: &Arc<Self>, bytes: usize) -> Held {
        self.held.fetch_add(bytes, Ordering::SeqCst);
        Held(Arc::clone(self), bytes)
    }

    fn held(&self) -> usize {
        self.held.load(Ordering::SeqCst)
    }

    async fn until_held(&self, bytes: usize) {
        let reached = async {
            while self.held() != bytes {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(10), reached).await;
        assert!(waited.is_ok(), "{} bytes are held, not {bytes}", self.held());
    }
}

#[tokio::test]
async fn session_end_drops_the_state_of_running_calls() {
    let waits = Arc::new(Waits::default());
    for way in ["cut", "closed by the peer", "closed here", "aborted by the peer", "broken protocol"] {
        let pair = pair(None, Some(Stub::new(Service(Arc::clone(&waits)))));
        let api = pair.left.root_dyn();
        let big = "x".repeat(100_000);
        // Awaited, and not awaited.
        let awaited: Vec<_> = (0..10).map(|_| api.call("wait", &big).into_future()).collect();
        (0..10).for_each(|_| drop(api.call("wait", &big)));
        waits.until_held(20 * big.len()).await;
        match way {
            "cut" => pair.wire.cut(),
            "closed by the peer" => pair.left.close(),
            "closed here" => pair.right.close(),
            "aborted by the peer" => pair.left.abort("Error", "enough"),
            _ => pair.right.abort("Error", "enough"),
        }
        waits.until_held(0).await;
        for call in awaited {
            assert!(call.await.unwrap_err().is_lost(), "{way}");
        }
    }
    assert_eq!(waits.done.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn detached_method_runs_to_completion() {
    let waits = Arc::new(Waits::default());
    let pair = pair(None, Some(Stub::new(Service(Arc::clone(&waits)))));
    let api = pair.left.root_dyn();
    drop(api.call("finish", "one"));
    let waiting = api.call("finish", "two").into_future();
    let stopped = api.call("wait", "three").into_future();
    waits.until_held(11).await;
    // A caller that stops waiting does not stop a detached method.
    drop((waiting, stopped));
    waits.until_held(6).await;
    pair.wire.cut();
    pair.right.closed().await;
    settle().await;
    assert_eq!(waits.held(), 6);
    waits.go_on.notify_one();
    waits.go_on.notify_waiters();
    waits.until_held(0).await;
    assert_eq!(waits.done.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn forwarded_call_is_aborted_in_the_other_session() {
    let waits = Arc::new(Waits::default());
    let back = pair(None, Some(Stub::new(Service(Arc::clone(&waits)))));
    // The proxy exports a reference of another session.
    let front = pair_with(None, Some(back.left.root_dyn()), Limits::default());
    let waiting = front.left.root_dyn().call("wait", "held").into_future();
    waits.until_held(4).await;
    front.wire.cut();
    waits.until_held(0).await;
    assert!(waiting.await.unwrap_err().is_lost());
    assert!(!back.left.is_closed());
}

impl Waits {
    /// Lets running calls return, one at a time, until `done` have returned.
    async fn until_done(&self, done: usize) {
        let all = async {
            while self.done.load(Ordering::SeqCst) < done {
                self.go_on.notify_one();
                tokio::time::sleep(Duration::from_micros(100)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(30), all).await;
        assert!(waited.is_ok(), "{} of {done} calls are done", self.done.load(Ordering::SeqCst));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn running_calls_of_many_sessions_share_a_limit() {
    let waits = Arc::new(Waits::default());
    let bound = RunningCalls::new(5);
    let options = SessionOptions::new().running_calls(bound.clone());
    let pairs: Vec<_> =
        (0..20).map(|_| pair_with(None, Some(Stub::new(Service(Arc::clone(&waits)))), options.clone())).collect();
    let calls: Vec<_> = pairs
        .iter()
        .flat_map(|pair| (0..10).map(|n| pair.left.root_dyn().call("wait", n.to_string()).into_future()))
        .collect();
    waits.until_held(5).await;
    assert_eq!(bound.running(), 5);
    // Half of the sessions are lost, with running and waiting calls.
    pairs[..10].iter().for_each(|pair| pair.wire.cut());
    let (gone, rest): (Vec<_>, Vec<_>) = calls.into_iter().enumerate().partition(|(at, _)| *at < 100);
    for (_, call) in gone {
        assert!(call.await.unwrap_err().is_lost());
    }
    // Until the server's side has ended as well, its calls could return and be counted below.
    for pair in &pairs[..10] {
        pair.right.closed().await;
    }
    waits.until_done(100).await;
    for (_, call) in rest {
        call.await.unwrap();
    }
    assert!(waits.most.load(Ordering::SeqCst) <= 5, "{:?} ran at once", waits.most);
    waits.until_held(0).await;
    assert_eq!(bound.running(), 0);
}

#[tokio::test]
async fn sessions_take_turns_and_keep_the_order_of_their_calls() {
    let waits = Arc::new(Waits::default());
    let bound = RunningCalls::new(1);
    let options = SessionOptions::new().running_calls(bound.clone());
    let start = || pair_with(None, Some(Stub::new(Service(Arc::clone(&waits)))), options.clone());
    let (busy, quiet) = (start(), start());
    let many: Vec<_> = (0..50).map(|n| busy.left.root_dyn().call("wait", format!("busy {n}")).into_future()).collect();
    waits.until_held(6).await;
    let few: Vec<_> = (0..3).map(|n| quiet.left.root_dyn().call("wait", format!("quiet {n}")).into_future()).collect();
    settle().await;
    // A waiting call can be dropped, and then never begins.
    drop(quiet.left.root_dyn().call("wait", "given up").into_future());
    settle().await;
    waits.until_done(53).await;
    for call in many.into_iter().chain(few) {
        call.await.unwrap();
    }
    let order = waits.order.lock().unwrap().clone();
    let of = |who: &str| order.iter().filter(|text| text.starts_with(who)).cloned().collect::<Vec<_>>();
    assert_eq!(of("busy"), (0..50).map(|n| format!("busy {n}")).collect::<Vec<_>>());
    assert_eq!(of("quiet"), ["quiet 0", "quiet 1", "quiet 2"]);
    assert_eq!(of("given up"), [""; 0]);
    let last = order.iter().position(|text| text == "quiet 2").unwrap();
    assert!(last <= 8, "the idle session waits behind the busy one: {order:?}");
    assert_eq!(bound.running(), 0);
}
