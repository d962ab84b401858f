//! Many threads at once: nothing is lost, reordered for a reference, or left behind. And how often a driver
//! is polled for a call.

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bowline_core::generated::TypedCalls;
use bowline_core::limits::Limits;
use bowline_core::peer::testing::link;
use bowline_core::peer::{Connection, Func, Never, Stub};

use crate::fixture::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_concurrent_callers() {
    let (api, pair, seen) = client();
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let api = api.clone();
            tokio::spawn(async move {
                for n in 0..200_u32 {
                    match (n + task) % 5 {
                        0 => assert_eq!(api.call_typed::<u32, Never>("add", &(n, 1)).await.unwrap(), n + 1),
                        1 => {
                            let counter = api.call_typed::<Stub, Never>("counter", &n);
                            assert_eq!(counter.call_typed::<u32, Never>("add", &1).await.unwrap(), n + 1);
                        }
                        2 => {
                            let double = Func::new(|n: u32| async move {
                                tokio::task::yield_now().await;
                                n * 2
                            });
                            assert_eq!(api.call_typed::<u32, Never>("callBack", &(double, n)).await.unwrap(), n * 2);
                        }
                        3 => drop(api.call("forever", ()).into_future()),
                        _ => drop(api.call("echo", api.clone())),
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    // Every result was pulled. Wait until the last release has arrived.
    api.call("add", (1, 1)).await.unwrap();
    drop(api);
    for _ in 0..100 {
        if seen.cancelled.load(Ordering::SeqCst) == 8 * 40 && pair.right.stats().exports == 1 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_idle(&pair).await;
    assert_eq!(seen.dropped.load(Ordering::SeqCst), 8 * 40);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn local_objects_are_callable_from_many_threads() {
    let count = Arc::new(AtomicUsize::new(0));
    let function = Func::<(), usize>::new({
        let count = Arc::clone(&count);
        move |()| {
            let before = count.fetch_add(1, Ordering::SeqCst);
            async move {
                tokio::task::yield_now().await;
                before
            }
        }
    });
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let function = function.clone();
            tokio::spawn(async move {
                for _ in 0..200 {
                    function.call(()).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(count.load(Ordering::SeqCst), 1600);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn connection_cuts_at_every_point() {
    for round in 0..30 {
        let (api, pair, _) = client();
        let tasks: Vec<_> = (0..4)
            .map(|_| {
                let api = api.clone();
                tokio::spawn(async move {
                    loop {
                        let double = Func::new(|n: u32| async move { n * 2 });
                        if let Err(error) = api.call_typed::<u32, Never>("callBack", &(double, 2)).await {
                            // The session was lost on this side, or on the callee's side, which
                            // reported it.
                            assert!(error.is_lost() || error.remote().is_some(), "{error:?}");
                            if error.is_lost() {
                                return;
                            }
                        }
                    }
                })
            })
            .collect();
        tokio::time::sleep(std::time::Duration::from_micros(200 * round)).await;
        pair.wire.cut();
        for task in tasks {
            task.await.unwrap();
        }
        pair.right.closed().await;
    }
}

/// Runs a driver as a task and counts its polls.
fn run_counted(driver: impl Future + Send + 'static) -> Arc<AtomicUsize> {
    let polls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&polls);
    let mut driver = Box::pin(driver);
    tokio::spawn(poll_fn(move |cx| {
        counter.fetch_add(1, Ordering::Relaxed);
        driver.as_mut().poll(cx).map(drop)
    }));
    polls
}

#[tokio::test(start_paused = true)]
async fn driver_is_polled_at_most_twice_per_call() {
    const CALLS: usize = 50;
    let (left, right, _wire) = link();
    let main = Stub::new(Api(Arc::new(Seen::default())));
    let (_server, server_driver) = Connection::start(right, Some(main), Limits::default());
    let (client, client_driver) = Connection::start(left, None, Limits::default());
    let (server_polls, client_polls) = (run_counted(server_driver), run_counted(client_driver));
    let root = client.root_dyn();
    for n in 0..CALLS as u32 {
        assert_eq!(root.call_typed::<u32, Never>("add", &(n, 1)).await.unwrap(), n + 1);
    }
    let (server_polls, client_polls) = (server_polls.load(Ordering::Relaxed), client_polls.load(Ordering::Relaxed));
    // The server reads a call and writes its answer in one poll, and reads the release in another. The
    // client writes the call in one poll, and reads the answer and writes the release in another.
    assert!(server_polls <= 2 * CALLS + 2, "{server_polls} polls of the server");
    assert!(client_polls <= 2 * CALLS + 2, "{client_polls} polls of the client");
}
