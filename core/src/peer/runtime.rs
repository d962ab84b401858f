//! The only file that names the async runtime: tasks, timers and the clock of a link.
//!
//! Everything else in `peer` is plain futures, so another runtime would be another file here.

#![expect(clippy::disallowed_methods, reason = "this is where the runtime comes in")]

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::runtime::Handle;

/// A point on the runtime's clock, which tests may stop and move.
pub(crate) use tokio::time::Instant;

/// A running task, to be stopped; dropping it leaves the task alone.
#[derive(Debug)]
pub(crate) struct Task(tokio::task::AbortHandle);

impl Task {
    /// Drops the task's future at its next await.
    pub(crate) fn abort(&self) {
        self.0.abort();
    }
}

/// Whether [`spawn`] works on this thread.
pub(crate) fn can_spawn() -> bool {
    Handle::try_current().is_ok()
}

/// Runs `future` on its own; `None` (and no task) outside of a runtime.
pub(crate) fn spawn(future: impl Future<Output = ()> + Send + 'static) -> Option<Task> {
    let task = Handle::try_current().ok()?.spawn(future);
    Some(Task(task.abort_handle()))
}

/// What the runtime's clock says.
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Waits until `at`. Cancel-safe.
pub(crate) async fn sleep_until(at: Instant) {
    tokio::time::sleep_until(at).await;
}

/// Waits for `time`. Cancel-safe.
pub(crate) async fn sleep(time: Duration) {
    tokio::time::sleep(time).await;
}

/// What `future` gives, or `None` when it takes longer than `limit`. As cancel-safe as `future`.
pub(crate) async fn within<F: Future>(limit: Duration, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    // Most writes end at their first poll; those need no timer.
    let first = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await;
    if let Poll::Ready(output) = first {
        return Some(output);
    }
    tokio::time::timeout(limit, future).await.ok()
}
