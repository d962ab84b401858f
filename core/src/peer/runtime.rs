//! The only file that names the async runtime: tasks, timers and the clock of a link.
//!
//! Everything else in `peer` is plain futures, so another runtime would be another file here.

#![expect(clippy::disallowed_methods, reason = "this is where the runtime comes in")]

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
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

/// Longer than any process runs.
const FAR: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Whether [`spawn`] works on this thread.
pub(crate) fn can_spawn() -> bool {
    Handle::try_current().is_ok()
}

/// The runtime of a session: where the methods that its peer calls run.
#[derive(Clone, Debug)]
pub(crate) struct Host(Handle);

impl Host {
    /// The runtime of this thread, if it has one.
    pub(crate) fn current() -> Option<Self> {
        Handle::try_current().ok().map(Self)
    }

    /// Runs `future` on its own. If the runtime has shut down, the future is dropped here.
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) -> Task {
        Task(self.0.spawn(future).abort_handle())
    }
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

/// The point `time` after `from`; one so far away that it is never reached, if the clock has none.
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

/// A wake-up that is mostly moved before it comes. It may come early, never late.
#[derive(Debug, Default)]
pub(crate) struct Timer(Option<Pin<Box<tokio::time::Sleep>>>);

impl Timer {
    /// Makes sure that `poll` is ready at `at`.
    pub(crate) fn arm(&mut self, at: Instant) {
        match &mut self.0 {
            Some(sleep) if sleep.is_elapsed() || at < sleep.deadline() => sleep.as_mut().reset(at),
            Some(_) => {}
            None => self.0 = Some(Box::pin(tokio::time::sleep_until(at))),
        }
    }

    /// Ready when it is time.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().map_or(Poll::Pending, |sleep| sleep.as_mut().poll(cx))
    }
}

/// Lets other tasks, or another part of this one, have their turn.
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

/// Counts a step that was ready against what Tokio lets a task do in a row. Pending, and woken at
/// once, when other tasks have to have their turn.
pub(crate) fn poll_turn(cx: &mut Context<'_>) -> Poll<()> {
    tokio::task::coop::poll_proceed(cx).map(|turn| turn.made_progress())
}

/// What `future` gives, or `None` when it takes longer than `limit`. As cancel-safe as `future`.
pub(crate) async fn within<F: Future + Unpin>(limit: Duration, mut future: F) -> Option<F::Output> {
    // Most writes end at their first poll; those need no timer, nor room for one.
    let first = poll_fn(|cx| Poll::Ready(Pin::new(&mut future).poll(cx))).await;
    if let Poll::Ready(output) = first {
        return Some(output);
    }
    Box::pin(tokio::time::timeout(limit, future)).await.ok()
}
