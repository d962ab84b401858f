//! What becomes of running calls when their session ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bowline_core::limits::Limits;
use bowline_core::peer::testing::{pair, pair_with};
use bowline_core::peer::{Args, Lifetime, Member, Object, Reply, Stub};
use tokio::sync::Notify;

use crate::fixture::*;

/// Calls that wait hold their arguments, and are counted.
#[derive(Default)]
struct Waits {
    held: AtomicUsize,
    done: AtomicUsize,
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
async fn the_end_of_a_session_drops_what_its_running_calls_hold() {
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
async fn a_detached_method_runs_to_its_end() {
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
async fn a_call_passed_on_to_another_session_is_aborted_there_too() {
    let waits = Arc::new(Waits::default());
    let back = pair(None, Some(Stub::new(Service(Arc::clone(&waits)))));
    // The proxy hands out what it has of another session.
    let front = pair_with(None, Some(back.left.root_dyn()), Limits::default());
    let waiting = front.left.root_dyn().call("wait", "held").into_future();
    waits.until_held(4).await;
    front.wire.cut();
    waits.until_held(0).await;
    assert!(waiting.await.unwrap_err().is_lost());
    assert!(!back.left.is_closed());
}
