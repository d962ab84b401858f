//! Capabilities as arguments and results.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use bowline_core::generated::TypedCalls;
use bowline_core::peer::testing::pair;
use bowline_core::peer::{DynTarget, Func, Never, Promise, Stub};
use bowline_core::session::{Path, Step};
use bowline_core::value::Value;

use crate::fixture::*;

#[tokio::test]
async fn callback_is_released_before_the_answer() {
    let (api, pair, _) = client();
    let double = Func::new(|n: u32| async move { n * 2 });
    let result: u32 = api.call_typed::<_, Never>("callBack", &(double, 21)).await.unwrap();
    assert_eq!(result, 42);
    assert_idle(&pair).await;
    assert_eq!(
        pair.wire.log(),
        [
            r#"> ["push",["pipeline",0,["callBack"],[["export",-1],21]]]"#,
            r#"> ["pull",1]"#,
            r#"< ["push",["pipeline",-1,[],[21]]]"#,
            r#"< ["pull",1]"#,
            r#"> ["resolve",1,42]"#,
            r#"< ["release",1,1]"#,
            r#"< ["release",-1,1]"#,
            r#"< ["resolve",1,42]"#,
            r#"> ["release",1,1]"#,
        ]
    );
}

#[tokio::test]
async fn returned_reference_is_the_object_itself() {
    let (api, pair, seen) = client();
    let mine = counter(0, &seen);
    api.call("hold", mine.clone()).await.unwrap();
    let home: Stub = api.call_typed::<_, Never>("give", &()).await.unwrap();
    assert!(home.ptr_eq(&mine) && home.is_local());
    pair.wire.cut();
    pair.left.closed().await;
    assert_eq!(home.call_typed::<u32, Never>("add", &3).await.unwrap(), 3);
}

#[tokio::test]
async fn result_holds_its_objects_until_dropped() {
    let (api, pair, seen) = client();
    let counter: Stub = api.call_typed::<_, Never>("counter", &10).await.unwrap();
    assert_eq!(counter.call_typed::<u32, Never>("add", &5).await.unwrap(), 15);
    assert_eq!(seen.dropped.load(Ordering::SeqCst), 0);
    drop(counter);
    assert_idle(&pair).await;
    assert_eq!(seen.dropped.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn promise_in_a_result_resolves_later() {
    let (api, pair, seen) = client();
    let later = api.call_typed::<Later, Never>("counterLater", &());
    let counter = Promise::stub(&later).get("counter");
    let early = counter.call_typed::<u32, Never>("add", &1).into_future();
    let whole = later.into_future();
    settle().await;
    seen.go_on.notify_one();
    assert_eq!(early.await.unwrap(), 6);
    assert_eq!(whole.await.unwrap().counter.call_typed::<u32, Never>("add", &1).await.unwrap(), 7);
    drop(counter);
    assert_idle(&pair).await;
    assert!(pair.wire.log().iter().any(|line| line.contains(r#"{"counter":["promise",-"#)), "{:#?}", pair.wire.log());
}

#[tokio::test]
async fn local_promise_can_be_an_argument() {
    let (api, pair, _) = client();
    let promise = Promise::<u32>::new(async {
        tokio::task::yield_now().await;
        Ok(20)
    });
    assert_eq!(api.call_typed::<u32, Never>("add", &(promise, 3)).await.unwrap(), 23);
    assert_idle(&pair).await;
}

/// left - middle - right: the middle returns a reference of the right.
#[tokio::test]
async fn reference_passes_through_three_parties() {
    let (far, right, seen) = client();
    let middle = pair(None, Some(far.clone()));
    let api = middle.left.root_dyn();
    // Calls, objects, and promises are forwarded.
    assert_eq!(api.call_typed::<u32, Never>("add", &(1, 2)).await.unwrap(), 3);
    let counter = api.call_typed::<Stub, Never>("counter", &10);
    assert_eq!(counter.call_typed::<u32, Never>("add", &1).await.unwrap(), 11);
    // Callbacks are forwarded in the other direction.
    let double = Func::new(|n: u32| async move { n * 2 });
    assert_eq!(api.call_typed::<u32, Never>("callBack", &(double, 4)).await.unwrap(), 8);
    // A reference that returns to its owner is the object itself.
    let mine = crate::fixture::counter(0, &seen);
    api.call("hold", mine.clone()).await.unwrap();
    let home: Stub = api.call_typed::<_, Never>("give", &()).await.unwrap();
    assert!(home.ptr_eq(&mine));
    // Errors keep their names.
    let error = api.call_typed::<Profile, NoUser>("profile", &200).await.unwrap_err();
    assert!(matches!(error, bowline_core::peer::CallError::App(NoUser { id: 200 })));
    seen.held().clear();
    drop((counter, far));
    assert_idle(&middle).await;
    assert_idle(&right).await;
}

#[tokio::test(start_paused = true)]
async fn chain_crosses_a_proxy_in_one_round_trip() {
    let (far, right, _) = client();
    let middle = pair(None, Some(far));
    for wire in [&middle.wire, &right.wire] {
        wire.delay(std::time::Duration::from_millis(100));
    }
    let start = tokio::time::Instant::now();
    let api = middle.left.root_dyn();
    let authed = api.call_typed::<Stub, Never>("authenticate", &());
    let me = authed.call_typed::<Profile, Never>("me", &());
    let boss = api.call_typed::<Profile, NoUser>("profile", &(Promise::stub(&me).get("boss"),));
    assert_eq!(me.await.unwrap().name, "Ann");
    assert_eq!(start.elapsed().as_millis() / 10, 40, "two links, in both directions");
    // An argument that is a result is awaited before the call is forwarded.
    assert_eq!(boss.await.unwrap().boss, 8);
    drop(authed);
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert_idle(&middle).await;
    assert_idle(&right).await;
}

#[tokio::test]
async fn calls_through_a_proxy_stay_in_order() {
    let (far, right, _) = client();
    let middle = pair(None, Some(far));
    let counter = middle.left.root_dyn().call_typed::<Stub, Never>("counter", &0);
    let mut adds: Vec<_> = (0..20).map(|_| counter.call_typed::<u32, Never>("add", &1).into_future()).collect();
    let counter: Stub = counter.await.unwrap();
    adds.extend((0..20).map(|_| counter.call_typed::<u32, Never>("add", &1).into_future()));
    for (n, add) in adds.into_iter().enumerate() {
        assert_eq!(add.await.unwrap() as usize, n + 1);
    }
    drop(counter);
    assert_idle(&middle).await;
    assert_idle(&right).await;
}

#[tokio::test]
async fn cancellation_crosses_a_proxy() {
    let (far, right, seen) = client();
    let middle = pair(None, Some(far));
    let waiting = middle.left.root_dyn().call("forever", ()).into_future();
    seen.started.notified().await;
    drop(waiting);
    settle().await;
    assert_eq!(seen.cancelled.load(Ordering::SeqCst), 1);
    assert_idle(&middle).await;
    assert_idle(&right).await;
}

struct Recorder(Arc<Seen>);

#[async_trait]
impl DynTarget for Recorder {
    async fn call(&self, path: Path, args: Vec<Value>) -> Result<Value, Value> {
        let path: Vec<String> = path.iter().map(Step::to_string).collect();
        self.0.order.lock().unwrap().push(format!("{}/{}", path.join("."), args.len()));
        match args.into_iter().next() {
            Some(first) => Ok(first),
            None => Err(Value::String("nothing".to_owned())),
        }
    }

    async fn get(&self, path: Path) -> Result<Value, Value> {
        Ok(Value::Number(path.len() as f64))
    }
}

#[tokio::test]
async fn dynamic_target_accepts_any_call() {
    let seen = Arc::new(Seen::default());
    let pair = pair(None, Some(Stub::dynamic(Recorder(Arc::clone(&seen)))));
    let any = pair.left.root_dyn();
    assert_eq!(any.get("a").get("b").call("c", (7, "x")).await.unwrap(), Value::Number(7.0));
    assert_eq!(any.get("a").get("b").await.unwrap(), Value::Number(2.0));
    let mine = counter(0, &seen);
    let back = Stub::from_value(&any.call("echo", mine.clone()).await.unwrap()).unwrap();
    assert!(back.ptr_eq(&mine));
    assert!(any.call("fail", ()).await.is_err());
    assert_eq!(seen.order(), ["a.b.c/2", "echo/1", "fail/0"]);
    assert_idle(&pair).await;
}

#[tokio::test]
async fn attenuated_references() {
    let (api, pair, seen) = client();
    let (shared, revoke) = counter(0, &seen).revocable();
    api.call("hold", shared).await.unwrap();
    let held = seen.held()[0].clone();
    assert_eq!(held.call_typed::<u32, Never>("add", &1).await.unwrap(), 1);
    revoke.revoke();
    let error = held.call("add", 1).await.unwrap_err();
    assert_eq!(error.to_string(), "Error: This reference was revoked.");
    assert_eq!(seen.dropped.load(Ordering::SeqCst), 1, "its result is dropped");
    seen.held().clear();
    drop(held);

    api.call("hold", api.only(["version", "add"])).await.unwrap();
    let held = seen.held()[0].clone();
    assert_eq!(held.call_typed::<u32, Never>("add", &(1, 2)).await.unwrap(), 3);
    assert_eq!(held.get("version").await.unwrap(), Value::String("1.2".to_owned()));
    assert_eq!(held.get("config").await.unwrap(), Value::Undefined);
    let error = held.call("profile", 1).await.unwrap_err();
    assert_eq!(error.to_string(), "TypeError: 'profile' is not a function.");
    seen.held().clear();
    drop(held);
    assert_idle(&pair).await;
}
