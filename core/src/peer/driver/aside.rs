//! Expensive inputs, which take a session milliseconds: they run on a thread beside the runtime, so that they
//! delay no other session, and neither half of the driver is polled meanwhile.

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use crate::peer::host::shared::Shared;
use crate::peer::runtime;

/// Longer texts are expensive: checking one takes a millisecond or more.
const TEXT_BYTES: usize = 256 << 10;

/// For how many inputs after an expensive one a session is expected to get more of them.
const REMEMBERED: u32 = 1_000;

/// Returns `true` if a text of this length is expensive whatever it says.
#[inline]
pub(super) fn is_large(len: usize) -> bool {
    len > TEXT_BYTES
}

type Work = Pin<Box<dyn Future<Output = Option<bool>> + Send>>;

/// The work that this driver waits for.
#[derive(Default)]
pub(super) struct Aside {
    is_running: AtomicBool,
    work: Mutex<Option<Work>>,
    result: AtomicBool,
    /// The number of inputs that still run beside the runtime because an earlier one was expensive.
    remembered: AtomicU32,
}

impl Aside {
    /// Returns `true` if the next input, which is a text of `len` bytes, may be expensive.
    #[inline]
    pub(super) fn expects(&self, len: usize) -> bool {
        is_large(len) || self.remembered.load(Ordering::Relaxed) > 0
    }

    /// Notes whether an input was expensive.
    #[inline]
    pub(super) fn note(&self, is_expensive: bool) {
        if is_expensive {
            self.remembered.store(REMEMBERED, Ordering::Relaxed);
        }
    }

    /// Runs `work` and returns its result, or `false` if the runtime shuts down. Panics if the work does.
    /// Cancel-safe, but the work is done in any case.
    pub(super) async fn run(&self, shared: &Arc<Shared>, work: impl FnOnce(&Shared) -> bool + Send + 'static) -> bool {
        let left = self.remembered.load(Ordering::Relaxed);
        self.remembered.store(left.saturating_sub(1), Ordering::Relaxed);
        let shared = Arc::clone(shared);
        let work = Box::pin(runtime::aside(move || work(&shared)));
        *self.work.lock().unwrap_or_else(PoisonError::into_inner) = Some(work);
        self.is_running.store(true, Ordering::Relaxed);
        // The driver polls this future again when the work is done.
        runtime::yield_once().await;
        self.result.load(Ordering::Relaxed)
    }

    /// Returns `true` if work is running, for which the driver waits.
    pub(super) fn is_running(&self) -> bool {
        self.is_running.load(Ordering::Relaxed)
    }

    /// Completes when no work is running.
    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_running() {
            return Poll::Ready(());
        }
        let mut work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = work.as_mut() {
            let Poll::Ready(result) = running.as_mut().poll(cx) else { return Poll::Pending };
            self.result.store(result.unwrap_or(false), Ordering::Relaxed);
        }
        *work = None;
        self.is_running.store(false, Ordering::Relaxed);
        Poll::Ready(())
    }
}

impl fmt::Debug for Aside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aside").field("is_running", &self.is_running).finish_non_exhaustive()
    }
}
