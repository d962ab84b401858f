//! The only file that names the async runtime: tasks, timers, and the clock. Everything else in `peer`
//! consists of plain futures, so supporting another runtime means replacing this file.

#![expect(clippy::disallowed_methods, reason = "the one file that uses the runtime directly")]

use std::future::{Future, poll_fn};
use std::num::NonZero;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::LazyLock;
use std::task::{Context, Poll};
use std::thread::available_parallelism;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;

/// A point in time on the runtime's clock, which tests can pause and advance.
pub(crate) use tokio::time::Instant;

/// A handle to abort a task. Dropping it leaves the task running.
#[derive(Debug)]
pub(crate) struct Task(tokio::task::AbortHandle);

impl Task {
    /// Aborts the task at its next await.
    pub(crate) fn abort(&self) {
        self.0.abort();
    }
}

/// Longer than any process runs.
const FAR: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Returns `true` if [`spawn`] works on this thread.
pub(crate) fn can_spawn() -> bool {
    Handle::try_current().is_ok()
}

/// The runtime on which the methods of a session run.
#[derive(Clone, Debug)]
pub(crate) struct Host(Handle);

impl Host {
    /// Returns the runtime of this thread, if there is one.
    pub(crate) fn current() -> Option<Self> {
        Handle::try_current().ok().map(Self)
    }

    /// Spawns a task. If the runtime has shut down, `future` is dropped here.
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) -> Task {
        Task(self.0.spawn(future).abort_handle())
    }
}

/// Spawns a task. Outside of a runtime, drops `future` and returns `None`.
pub(crate) fn spawn(future: impl Future<Output = ()> + Send + 'static) -> Option<Task> {
    let task = Handle::try_current().ok()?.spawn(future);
    Some(Task(task.abort_handle()))
}

/// Returns the current time of the runtime's clock.
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Returns `from + time`. If the clock cannot represent it, returns a time that is never reached.
pub(crate) fn after(from: Instant, time: Duration) -> Instant {
    from.checked_add(time).unwrap_or_else(|| from + FAR)
}

/// Waits until `at`. Cancel-safe.
pub(crate) async fn sleep_until(at: Instant) {
    tokio::time::sleep_until(at).await;
}

/// Waits for `time`. Cancel-safe.
pub(crate) async fn sleep(time: Duration) {
    tokio::time::sleep(time).await;
}

/// A timer whose deadline usually moves before it fires. It may fire early, but never late.
#[derive(Debug, Default)]
pub(crate) struct Timer(Option<Pin<Box<tokio::time::Sleep>>>);

impl Timer {
    /// Ensures that `poll` is ready at `at`. A later deadline leaves the timer as it is, which saves a reset
    /// for each message.
    pub(crate) fn arm(&mut self, at: Instant) {
        match &mut self.0 {
            Some(sleep) if sleep.is_elapsed() || at < sleep.deadline() => sleep.as_mut().reset(at),
            Some(_) => {}
            None => self.0 = Some(Box::pin(tokio::time::sleep_until(at))),
        }
    }

    /// Completes when the timer has fired.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().map_or(Poll::Pending, |sleep| sleep.as_mut().poll(cx))
    }
}

/// Runs work that takes milliseconds on a thread beside the runtime, where it delays no task, and returns its
/// result, or `None` if the runtime shuts down. As much of it runs at once as there are cores. Outside of a
/// runtime, runs it on this thread. Dropping the future does not stop work that has begun.
pub(crate) async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    static CORES: LazyLock<Semaphore> =
        LazyLock::new(|| Semaphore::new(available_parallelism().map_or(1, NonZero::get)));
    if !can_spawn() {
        return Some(work());
    }
    let _permit = CORES.acquire().await;
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => Some(result),
        Err(error) => error.try_into_panic().map_or(None, |panic| resume_unwind(panic)),
    }
}

/// Yields once to other tasks and to other parts of this one.
pub(crate) async fn yield_once() {
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Consumes one unit of Tokio's cooperative budget. When the budget is used up, returns pending and wakes
/// the task, so that other tasks can run.
pub(crate) fn poll_turn(cx: &mut Context<'_>) -> Poll<()> {
    tokio::task::coop::poll_proceed(cx).map(|turn| turn.made_progress())
}

/// Awaits `future` for at most `limit`. Returns `None` after that. As cancel-safe as `future`.
pub(crate) async fn within<F: Future + Unpin>(limit: Duration, mut future: F) -> Option<F::Output> {
    // Most futures complete at their first poll. Those need no timer and no memory for one.
    let first = poll_fn(|cx| Poll::Ready(Pin::new(&mut future).poll(cx))).await;
    if let Poll::Ready(output) = first {
        return Some(output);
    }
    Box::pin(tokio::time::timeout(limit, future)).await.ok()
}
