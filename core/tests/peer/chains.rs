//! Long chains of references that a peer creates. Calls through them are answered, and dropping
//! them terminates, on the stack of an ordinary thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bowline_core::generated::TypedCalls;
use bowline_core::peer::testing::pair;
use bowline_core::peer::{Args, CallError, DynTarget, Member, Never, Object, Reply, Revoke, Stub};
use bowline_core::session::Path;
use bowline_core::value::{ErrorValue, Value};

use crate::fixture::*;

const LEVELS: usize = 2_000;

/// Runs a test on a thread with the default stack size of Rust, regardless of the environment.
fn on_a_thread<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime
            .block_on(async { tokio::time::timeout(Duration::from_secs(60), test()).await })
            .expect("the chain is dropped in time");
    });
    thread.unwrap().join().unwrap();
}

/// The end of a chain.
struct Leaf(Arc<AtomicUsize>);

impl Object for Leaf {
    fn interface(&self) -> &'static str {
        "Leaf"
    }

    fn members(&self) -> &'static [Member] {
        const MEMBERS: &[Member] = &[method("value"), method("hidden"), property("inner")];
        MEMBERS
    }

    fn call(self: Arc<Self>, name: &str, _: Args) -> Option<Reply> {
        now(name.to_owned())
    }

    fn get(self: Arc<Self>, _: &str) -> Option<Reply> {
        now(Stub::new(Self(Arc::clone(&self.0))))
    }
}

impl Drop for Leaf {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Forwards calls.
struct Wrapper(Stub);

impl Object for Wrapper {
    fn interface(&self) -> &'static str {
        "Wrapper"
    }

    fn members(&self) -> &'static [Member] {
        const MEMBERS: &[Member] = &[method("value")];
        MEMBERS
    }

    fn call(self: Arc<Self>, _: &str, _: Args) -> Option<Reply> {
        later(async move { self.0.call_typed::<String, Never>("value", &()).await.map_err(as_error) })
    }

    fn get(self: Arc<Self>, _: &str) -> Option<Reply> {
        None
    }
}

/// Forwards everything.
struct Gateway(Stub);

#[async_trait]
impl DynTarget for Gateway {
    async fn call(&self, path: Path, args: Vec<Value>) -> Result<Value, Value> {
        let target = path.iter().fold(self.0.clone(), |stub, step| stub.get(step.clone()));
        target.apply(args).await.map_err(|error| as_error(error).into())
    }

    async fn get(&self, path: Path) -> Result<Value, Value> {
        let target = path.iter().fold(self.0.clone(), |stub, step| stub.get(step.clone()));
        target.await.map_err(|error| as_error(error).into())
    }
}

fn as_error<E>(error: CallError<E>) -> ErrorValue
where
    CallError<E>: ToString,
{
    ErrorValue::new("Error", error.to_string())
}

/// Returns its argument, guarded or wrapped as requested.
struct Hands(&'static str);

impl Object for Hands {
    fn interface(&self) -> &'static str {
        "Hands"
    }

    fn members(&self) -> &'static [Member] {
        const MEMBERS: &[Member] = &[method("on")];
        MEMBERS
    }

    fn call(self: Arc<Self>, _: &str, args: Args) -> Option<Reply> {
        let given: Stub = args.decode().unwrap();
        now(hand_on(self.0, given).0)
    }

    fn get(self: Arc<Self>, _: &str) -> Option<Reply> {
        None
    }
}

fn hand_on(way: &str, given: Stub) -> (Stub, Option<Revoke>) {
    match way {
        "only" => (given.only(["value", "inner"]), None),
        "revocable" => {
            let (stub, revoke) = given.revocable();
            (stub, Some(revoke))
        }
        "both" => {
            let (stub, revoke) = given.only(["value", "inner"]).revocable();
            (stub, Some(revoke))
        }
        "wrapper" => (Stub::new(Wrapper(given)), None),
        "gateway" => (Stub::dynamic(Gateway(given)), None),
        _ => panic!("{way}"),
    }
}

const WAYS: [&str; 5] = ["only", "revocable", "both", "wrapper", "gateway"];

#[test]
fn long_local_chain_is_called_and_dropped() {
    on_a_thread(async || {
        for way in WAYS {
            let dropped = Arc::new(AtomicUsize::new(0));
            let mut chain = Stub::new(Leaf(Arc::clone(&dropped)));
            for _ in 0..LEVELS {
                chain = hand_on(way, chain).0;
            }
            let value = chain.call_typed::<String, Never>("value", &()).await;
            assert_eq!(value.unwrap(), "value", "{way}");
            assert_eq!(dropped.load(Ordering::SeqCst), 0, "{way}");
            drop(chain);
            settle().await;
            assert_eq!(dropped.load(Ordering::SeqCst), 1, "{way}");
        }
    });
}

#[test]
fn long_chain_of_guarded_properties_is_called_and_dropped() {
    on_a_thread(async || {
        let dropped = Arc::new(AtomicUsize::new(0));
        let mut chain = Stub::new(Leaf(Arc::clone(&dropped)));
        for _ in 0..50 {
            chain = chain.only(["value", "inner"]).get("inner").revocable().0;
        }
        assert_eq!(chain.call_typed::<String, Never>("value", &()).await.unwrap(), "value");
        assert_eq!(chain.call_typed::<String, Never>("hidden", &()).await.unwrap(), "hidden");
        let narrow = chain.only(["value"]);
        assert!(narrow.call("hidden", ()).await.is_err());
        assert!(narrow.get("inner").call("value", ()).await.is_err());
        assert_eq!(narrow.call_typed::<String, Never>("value", &()).await.unwrap(), "value");
        for _ in 0..LEVELS {
            chain = chain.only(["value", "inner"]).get("inner").revocable().0;
        }
        let error = chain.call("value", ()).await.unwrap_err();
        assert!(error.to_string().contains("steps of a property path"), "{error}");
        drop((chain, narrow));
        settle().await;
    });
}

#[test]
fn long_chain_from_a_peer_is_called_and_dropped() {
    on_a_thread(async || {
        for way in WAYS {
            let dropped = Arc::new(AtomicUsize::new(0));
            let pair = pair(None, Some(Stub::new(Hands(way))));
            let hands = pair.left.root_dyn();
            let mut chain = Stub::new(Leaf(Arc::clone(&dropped)));
            for _ in 0..LEVELS {
                chain = hands.call_typed::<Stub, Never>("on", &chain).await.unwrap();
            }
            pair.wire.take_log();
            assert_eq!(chain.call_typed::<String, Never>("value", &()).await.unwrap(), "value", "{way}");
            drop((chain, hands));
            pair.left.close();
            pair.right.closed().await;
            let all = async {
                while dropped.load(Ordering::SeqCst) == 0 {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(Duration::from_secs(10), all).await.expect("the chain is dropped");
        }
    });
}

#[tokio::test]
async fn nested_guards_intersect_and_can_each_be_revoked() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let leaf = Stub::new(Leaf(Arc::clone(&dropped)));
    let narrow = leaf.only(["value", "hidden"]).only(["value", "inner"]);
    assert!(narrow.call("value", ()).await.is_ok());
    for name in ["hidden", "inner", "other"] {
        assert!(narrow.call(name, ()).await.is_err(), "{name}");
    }
    // Awaiting a guard returns the guard, not what it guards.
    let (first, revoke_first) = narrow.revocable();
    let itself = first.clone().await.unwrap();
    assert!(Stub::from_value(&itself).unwrap().call("hidden", ()).await.is_err());

    let (second, revoke_second) = first.revocable();
    let third = second.only(["value"]);
    revoke_second.revoke();
    for revoked in [&second, &third] {
        let error = revoked.call("value", ()).await.unwrap_err();
        assert_eq!(error.to_string(), "Error: This reference was revoked.");
    }
    assert!(first.call("value", ()).await.is_ok());
    let fourth = first.only(["value"]);
    revoke_first.revoke();
    assert!(first.call("value", ()).await.is_err());
    assert!(fourth.call("value", ()).await.is_err());
    assert!(narrow.call("value", ()).await.is_ok());
    // A revoked guard holds nothing.
    drop((narrow, leaf));
    settle().await;
    assert_eq!(dropped.load(Ordering::SeqCst), 1);
}
