//! Panics and ended runtimes: every call is answered, whatever happens to the code that it calls.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bowline_core::generated::TypedCalls;
use bowline_core::peer::stream::{Sink, Writer};
use bowline_core::peer::testing::pair;
use bowline_core::peer::{Answer, Args, Member, Never, Object, Promise, Reply, Stub, reply};
use bowline_core::value::{ErrorValue, Value};
use tokio::runtime::{Builder, Runtime};

use crate::fixture::*;

const PATIENCE: Duration = Duration::from_secs(10);

/// Returns the output of `future`, which must be ready soon.
async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.expect("the call is answered")
}

fn other_runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

async fn shut_down(runtime: Runtime) {
    tokio::task::spawn_blocking(move || drop(runtime)).await.unwrap();
}

/// Panics on drop.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("dropped");
    }
}

/// An object that fails in the way that its name says.
struct Failing(&'static str);

impl Object for Failing {
    fn interface(&self) -> &'static str {
        "Failing"
    }

    fn members(&self) -> &'static [Member] {
        const MEMBERS: &[Member] = &[method("fail"), property("late")];
        assert!(self.0 != "members", "members of {}", self.0);
        MEMBERS
    }

    fn call(self: Arc<Self>, _: &str, args: Args) -> Option<Reply> {
        match self.0 {
            "payload" => std::panic::panic_any(Bomb),
            "late payload" => later::<(), Never, _>(async {
                tokio::task::yield_now().await;
                std::panic::panic_any(Bomb)
            }),
            "future" => Some(Box::pin(Answers(Bomb))),
            "arguments" => later(async move {
                tokio::task::yield_now().await;
                Ok::<_, Never>(args.len())
            }),
            _ => now("well"),
        }
    }

    fn get(self: Arc<Self>, _: &str) -> Option<Reply> {
        later::<(), _, _>(async {
            tokio::task::yield_now().await;
            Err(ErrorValue::new("RangeError", "no property"))
        })
    }
}

/// Answers at once, and panics on drop.
struct Answers(Bomb);

impl Future for Answers {
    type Output = Answer;
    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Answer> {
        let _bomb = &self.0;
        Poll::Ready(reply(Ok::<_, Never>("done")))
    }
}

const INTERNAL: &str = "Error: internal error";

#[tokio::test]
async fn every_panic_rejects_its_call_and_keeps_the_session() {
    for (way, expected) in [
        ("payload", Err(INTERNAL)),
        ("late payload", Err(INTERNAL)),
        ("members", Err(INTERNAL)),
        ("future", Ok("done")),
        ("nothing", Ok("well")),
    ] {
        let pair = pair(None, Some(Stub::new(Failing(way))));
        let api = pair.left.root_dyn();
        for _ in 0..3 {
            let answer = soon(api.call_typed::<String, Never>("fail", &()).into_future()).await;
            let answer = answer.as_deref().map_err(ToString::to_string);
            assert_eq!(answer, expected.map_err(str::to_owned), "{way}");
        }
        assert_idle(&pair).await;
    }
}

#[tokio::test]
async fn argument_with_panicking_drop_rejects_its_call() {
    let bomb = || {
        let bomb = Bomb;
        Stub::function(move |_| {
            let _bomb = &bomb;
            async { Ok(Value::Null) }
        })
    };
    let failing = Stub::new(Failing("arguments"));
    for (target, expected) in [
        (failing.get("fail"), INTERNAL),
        (failing.get("late"), "RangeError: no property"),
        (failing.get("late").get("further"), "RangeError: no property"),
    ] {
        let error = soon(target.apply([bomb().into_value()]).into_future()).await.unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
}

#[tokio::test]
async fn panicking_waker_does_not_stop_other_wakeups() {
    struct Panics;
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("woken");
        }
    }
    let (api, pair, _) = client();
    let mut first = Box::pin(api.call("forever", ()).into_future());
    let waker = Waker::from(Arc::new(Panics));
    assert!(first.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    let second = tokio::spawn(api.call("forever", ()).into_future());
    settle().await;
    pair.wire.cut();
    assert!(soon(second).await.unwrap().unwrap_err().is_lost());
    soon(pair.left.closed()).await;
    assert!(soon(first).await.unwrap_err().is_lost());
}

#[tokio::test]
async fn local_call_is_answered_when_its_runtime_ends() {
    let other = other_runtime();
    let seen = Arc::new(Seen::default());
    let api = Stub::new(Api(Arc::clone(&seen)));
    let waiting = other.spawn({
        let api = api.clone();
        async move { Promise::stub(&api.call("forever", ())).clone() }
    });
    let result = waiting.await.unwrap();
    let ended = tokio::spawn(result.into_future());
    settle().await;
    shut_down(other).await;
    let error = soon(ended).await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "Error: the async runtime of this call has shut down");
}

#[tokio::test]
async fn promise_is_rejected_for_the_peer_when_its_runtime_ends() {
    let other = other_runtime();
    let (api, pair, _) = client();
    let promise = other.spawn(async { Promise::<u32>::new(std::future::pending()) }).await.unwrap();
    let answer = tokio::spawn(api.call("echo", promise).into_future());
    settle().await;
    shut_down(other).await;
    let error = soon(answer).await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "Error: the async runtime of this call has shut down");
    assert_idle(&pair).await;
}

#[tokio::test]
async fn call_on_an_ended_runtime_is_answered() {
    let other = other_runtime();
    let handle = other.handle().clone();
    shut_down(other).await;
    let seen = Arc::new(Seen::default());
    let api = Stub::new(Api(seen));
    let result = {
        let _entered = handle.enter();
        api.call("forever", ())
    };
    let error = soon(result.into_future()).await.unwrap_err();
    assert_eq!(error.to_string(), "Error: the async runtime of this call has shut down");
}

/// Panics at the chunk or the end that its text names.
struct Fragile(&'static str);

impl Sink<String> for Fragile {
    type Error = Never;

    async fn write(&mut self, chunk: String) -> Result<(), Never> {
        assert!(chunk != self.0, "chunk {chunk}");
        tokio::task::yield_now().await;
        assert!(format!("late {chunk}") != self.0, "late chunk {chunk}");
        Ok(())
    }

    async fn close(self) -> Result<(), Never> {
        assert!(self.0 != "close", "close");
        Ok(())
    }
}

#[tokio::test]
async fn panicking_sink_rejects_the_write() {
    for (way, accepted) in [("a", 0), ("late a", 0), ("b", 1), ("late b", 1), ("close", 3)] {
        let (api, pair, seen) = client();
        soon(api.call("hold", Writer::to_sink(Fragile(way))).into_future()).await.unwrap();
        let held = seen.held().pop().unwrap();
        let mut calls: Vec<_> = ["a", "b", "c"].into_iter().map(|chunk| held.call("write", chunk)).collect();
        calls.push(held.call("close", ()));
        for (at, call) in calls.into_iter().enumerate() {
            let answer = soon(call.into_future()).await;
            let answer = answer.map(drop).map_err(|error| error.to_string());
            let expected = if at < accepted { Ok(()) } else { Err(INTERNAL.to_owned()) };
            assert_eq!(answer, expected, "chunk {at} of a sink that panics at {way}");
        }
        drop(held);
        assert_idle(&pair).await;
    }
}

#[tokio::test]
async fn sink_rejects_the_write_when_its_runtime_ends() {
    struct Slow;
    impl Sink<String> for Slow {
        type Error = Never;
        async fn write(&mut self, _: String) -> Result<(), Never> {
            std::future::pending().await
        }
    }
    let other = other_runtime();
    let mut writer = other.spawn(async { Writer::to_sink(Slow) }).await.unwrap();
    soon(writer.write("a".to_owned())).await.unwrap();
    let flushing = tokio::spawn(async move { writer.flush().await });
    settle().await;
    shut_down(other).await;
    let error = soon(flushing).await.unwrap().unwrap_err();
    assert!(error.to_string().contains("disposed without being consumed"), "{error}");
}
