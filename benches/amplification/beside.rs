//! How long the calls of another client take while a server is busy with a hostile one, on one thread.

use std::time::{Duration, Instant};

use bowline::error::Never;
use bowline::{Limits, Stub, Value};
use bowline_core::peer::testing::{Pair, link, pair};
use bowline_core::peer::{Connection, Receiving, Sending, Transport};
use tokio::runtime::Builder;

/// How often the message is sent.
const ROUNDS: usize = 20;

/// Returns the time that 99 of 100 calls of the other client take at most.
pub(crate) fn p99(before: &[String], message: &str, limits: &Limits) -> Duration {
    let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
    let mut times = runtime.block_on(calls_beside(before, message, limits));
    times.sort_unstable();
    times.get(times.len() * 99 / 100).copied().unwrap_or_default()
}

fn service() -> Stub {
    Stub::function(|_| async { Ok::<_, Value>(Value::Undefined) })
}

async fn calls_beside(before: &[String], message: &str, limits: &Limits) -> Vec<Duration> {
    let (near, far, _wire) = link();
    let (_hostile, driver) = Connection::start(near, Some(service()), limits.clone());
    tokio::spawn(driver);
    let (mut sender, mut receiver) = far.split();
    let Pair { left, .. } = pair(None, Some(service()));
    let client = left.root_dyn();
    for text in before {
        drop(sender.feed(text.clone()).await);
    }
    let mark = |pushes: usize| format!("[\"pull\",{pushes}]");
    let pushes = before.iter().filter(|text| text.starts_with("[\"push\"")).count();
    for n in 1..=ROUNDS {
        drop(sender.feed(message.to_owned()).await);
        if message.starts_with("[\"push\"") {
            drop(sender.feed(mark(pushes + n)).await);
            drop(sender.feed(format!("[\"release\",{},1]", pushes + n)).await);
        }
    }
    drop(sender.feed("[\"push\",7]".to_owned()).await);
    let last = pushes + 1 + if message.starts_with("[\"push\"") { ROUNDS } else { 0 };
    drop(sender.feed(mark(last)).await);
    let end = format!("[\"resolve\",{last},7]");
    let hostile = tokio::spawn(async move { while receiver.receive().await.is_ok_and(|text| text != end) {} });
    let mut times = Vec::new();
    while !hostile.is_finished() {
        let began = Instant::now();
        drop(client.call_typed::<(), Never>("f", &()).await);
        times.push(began.elapsed());
        tokio::task::yield_now().await;
    }
    times
}
