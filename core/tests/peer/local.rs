//! Local references and promises, without a connection.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bowline_core::generated::TypedCalls;
use bowline_core::peer::{CallError, Func, Never, Promise, Stub};
use bowline_core::value::Value;

use crate::fixture::*;

fn api() -> (Stub, Arc<Seen>) {
    let seen = Arc::new(Seen::default());
    (Stub::new(Api(Arc::clone(&seen))), seen)
}

#[tokio::test]
async fn local_calls_and_pipelining() {
    let (api, seen) = api();
    assert!(api.is_local());
    assert_eq!(api.call_typed::<u32, Never>("add", &(1, 2)).await.unwrap(), 3);
    let counter = api.call_typed::<Stub, Never>("counter", &1);
    assert_eq!(counter.call_typed::<u32, Never>("add", &1).await.unwrap(), 2);
    let counter: Stub = counter.await.unwrap();
    assert!(counter.is_local());
    let me = api.call_typed::<Stub, Never>("authenticate", &()).call_typed::<Profile, Never>("me", &());
    let boss = api.call_typed::<Profile, NoUser>("profile", &(Promise::stub(&me).get("boss"),)).await.unwrap();
    assert_eq!(boss.boss, 8);
    assert_eq!(api.get("config").get("limits").get("users").await.unwrap(), Value::Number(3.0));
    drop(counter);
    assert_eq!(seen.dropped.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn local_calls_run_in_order_and_start_at_once() {
    let (api, seen) = api();
    drop(api.call("note", "a"));
    drop(api.call("note", "b"));
    assert_eq!(seen.order(), ["a", "b"]);
}

#[tokio::test]
async fn local_cancellation() {
    let (api, seen) = api();
    drop(api.call("forever", ()).into_future());
    settle().await;
    assert_eq!(seen.cancelled.load(Ordering::SeqCst), 1);
    drop(api.call("forever", ()));
    settle().await;
    assert_eq!(seen.cancelled.load(Ordering::SeqCst), 1, "the call was not awaited, so it keeps running");
}

#[tokio::test]
async fn local_promises() {
    let promise = Promise::<u32, NoUser>::new(async { Ok(4) });
    assert_eq!(promise.clone().await.unwrap(), 4);
    assert_eq!(promise.await.unwrap(), 4);
    let failed = Promise::<u32, NoUser>::new(async {
        tokio::task::yield_now().await;
        Err(NoUser { id: 1 })
    });
    assert!(matches!(failed.clone().await, Err(CallError::App(NoUser { id: 1 }))));
    assert_eq!(Promise::stub(&failed).broken().await.to_string(), "NoUser: no user 1");
    let (api, _) = api();
    let object = Promise::<Stub>::new(async move { Ok(api) });
    assert_eq!(object.call_typed::<u32, Never>("add", &(1, 2)).await.unwrap(), 3);
}

#[tokio::test]
async fn functions() {
    let add = Func::<(u32, u32), u32>::new(|(a, b)| async move { a + b });
    assert_eq!(add.call((1, 2)).await.unwrap(), 3);
    let fail = Func::<u32, u32, NoUser>::try_new(|id| async move { Err(NoUser { id }) });
    assert!(matches!(fail.call(9).await, Err(CallError::App(NoUser { id: 9 }))));
    let untyped = Stub::function(|values| async move { Ok(Value::Number(values.len() as f64)) });
    assert_eq!(untyped.call("", (1, 2, 3)).await.unwrap(), Value::Number(3.0));
}

#[test]
fn local_calls_that_do_not_wait_work_without_a_runtime() {
    let (api, _) = api();
    let mut call = std::pin::pin!(api.call_typed::<u32, Never>("add", &(1, 2)).into_future());
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(matches!(call.as_mut().poll(&mut context), std::task::Poll::Ready(Ok(3))));
    let mut call = std::pin::pin!(api.call("forever", ()).into_future());
    assert!(matches!(call.as_mut().poll(&mut context), std::task::Poll::Ready(Err(CallError::Remote(_)))));
}

#[test]
fn reference_does_not_serialize_in_other_formats() {
    assert!(serde_json::to_string(&api().0).is_err());
}
