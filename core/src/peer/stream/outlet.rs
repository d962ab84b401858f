//! The local end of a stream to a writable of the peer. Chunks are sent as far as the flow-control window
//! allows. Acknowledgements need no task for each chunk.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use tokio::sync::Notify;

use super::pipe::Receipt;
use super::{only_argument, undefined};
use crate::peer::host::shared::Shared;
use crate::peer::host::wait::{Ending, Waiter};
use crate::peer::interface::error::{CallError, SessionError, closed_payload};
use crate::peer::runtime::{self, Instant};
use crate::session::{CloseReason, Ref, Sent, Window};
use crate::value::{Cap, Payload};

/// The most bytes that may wait in the session's queue when a chunk is added. A small call that is made
/// meanwhile waits for these bytes.
const QUEUED_BYTES_MAX: usize = 64 << 10;

/// A writable of the peer.
pub(crate) struct Outlet {
    shared: Arc<Shared>,
    into: Ref,
    state: Mutex<State>,
    changed: Notify,
    began: Instant,
}

#[derive(Default)]
struct State {
    window: Window,
    unacknowledged: usize,
    failure: Option<Failure>,
    /// Whether nothing more will be written.
    ended: bool,
    /// The reason that the writer was lost, if it is known when the writing end is dropped.
    lost: Option<Payload<Cap>>,
}

/// The reason that a stream cannot be written any more.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    Refused(Payload<Cap>),
    Lost(CloseReason),
}

impl Failure {
    pub(crate) fn into_payload(self) -> Payload<Cap> {
        match self {
            Self::Refused(reason) => reason,
            Self::Lost(closed) => closed_payload(&closed),
        }
    }

    pub(crate) fn into_error(self) -> CallError {
        match self {
            Self::Refused(reason) => CallError::from_rejection(reason),
            Self::Lost(closed) => CallError::Session(SessionError::Closed(closed)),
        }
    }
}

/// A chunk that was sent and is not acknowledged yet.
pub(crate) struct Chunk {
    outlet: Arc<Outlet>,
    sent: Sent,
    receipt: Receipt,
}

impl Chunk {
    /// Settles the chunk with the peer's answer, or with the end of the session.
    pub(crate) fn end(self, ending: Ending) {
        let failure = match ending {
            Ending::Answer(Ok(_)) => None,
            Ending::Lost(closed) => Some(Failure::Lost(closed)),
            other => other.into_answer().err().map(Failure::Refused),
        };
        let now_us = self.outlet.now_us();
        let mut state = self.outlet.lock();
        state.unacknowledged -= 1;
        match &failure {
            None => state.window.acknowledged(now_us, self.sent),
            Some(failure) => {
                state.window.refused(self.sent);
                state.failure.get_or_insert_with(|| failure.clone());
            }
        }
        drop(state);
        self.outlet.changed.notify_waiters();
        self.receipt.settle(match failure {
            None => Ok(undefined()),
            Some(failure) => Err(failure.into_payload()),
        });
    }
}

impl Outlet {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_us(&self) -> u64 {
        u64::try_from((runtime::now() - self.began).as_micros()).unwrap_or(u64::MAX)
    }

    fn failure(&self) -> Option<Failure> {
        self.lock().failure.clone()
    }

    /// Waits until `look` returns a value. Cancel-safe.
    async fn until<T>(&self, look: impl Fn() -> Option<T>) -> T {
        loop {
            let mut changed = pin!(self.changed.notified());
            let mut room = pin!(self.shared.room.notified());
            // Enabled before `look`, so that no notification after it is missed.
            changed.as_mut().enable();
            room.as_mut().enable();
            if let Some(found) = look() {
                return found;
            }
            poll_fn(|cx| match changed.as_mut().poll(cx) {
                Poll::Ready(()) => Poll::Ready(()),
                Poll::Pending => room.as_mut().poll(cx),
            })
            .await;
        }
    }
}

/// The unique owner of an outlet. Dropping it releases the writable, which the peer treats as an abort if
/// there was no close. If the writer was lost with its session, an explicit abort carries the reason.
pub(crate) struct OutletEnd(Arc<Outlet>);

impl OutletEnd {
    /// Takes over a reference count of `into`.
    pub(crate) fn new(shared: &Arc<Shared>, into: Ref) -> Self {
        Self(Arc::new(Outlet {
            shared: Arc::clone(shared),
            into,
            state: Mutex::default(),
            changed: Notify::new(),
            began: runtime::now(),
        }))
    }

    /// Waits until another chunk may be sent. Cancel-safe, like the methods below.
    pub(crate) async fn ready(&self) -> Result<(), Failure> {
        let outlet = &*self.0;
        let look = || {
            // The locks are taken one after the other, never together.
            let (closed, queued) = outlet.shared.outbound();
            let state = outlet.lock();
            if let Some(failure) = &state.failure {
                return Some(Err(failure.clone()));
            }
            if let Some(closed) = closed {
                return Some(Err(Failure::Lost(closed)));
            }
            let is_open = !outlet.shared.acknowledges() || state.window.is_open();
            (is_open && queued < QUEUED_BYTES_MAX).then_some(Ok(()))
        };
        outlet.until(look).await
    }

    /// Waits until everything that was sent is acknowledged.
    pub(crate) async fn flushed(&self) -> Result<(), Failure> {
        let outlet = &*self.0;
        let look = || {
            let state = outlet.lock();
            match &state.failure {
                Some(failure) => Some(Err(failure.clone())),
                None => (state.unacknowledged == 0).then_some(Ok(())),
            }
        };
        outlet.until(look).await
    }

    /// Waits until the stream has failed or the session has ended.
    pub(crate) async fn failed(&self) -> Failure {
        let outlet = &*self.0;
        let look = || outlet.failure().or_else(|| outlet.shared.outbound().0.map(Failure::Lost));
        outlet.until(look).await
    }

    /// Returns `true` if a close or an abort was sent.
    pub(crate) fn is_ended(&self) -> bool {
        self.0.lock().ended
    }

    /// Sets the reason with which the stream is aborted if this end is dropped without a close.
    pub(crate) fn lose_writer(&self, reason: Payload<Cap>) {
        let before = self.0.lock().lost.replace(reason);
        drop(before);
    }

    /// Sends `write`, `close`, or `abort` at once, regardless of the window.
    pub(crate) fn send(&self, method: &str, args: Payload<Cap>, receipt: Receipt) {
        let outlet = &self.0;
        let shared = &outlet.shared;
        let mut state = shared.lock();
        if let Some(closed) = state.closed.as_deref().cloned() {
            // Dropping the arguments may run user code, so unlock first.
            drop(state);
            outlet.lock().failure.get_or_insert_with(|| Failure::Lost(closed.clone()));
            return receipt.settle(Err(closed_payload(&closed)));
        }
        let mut lowering = shared.lowering(&mut state);
        let args = lowering.lower(args);
        let lowered = lowering.done();
        let (wait, units) = state.endpoint.session.stream(outlet.into, method, args);
        if shared.acknowledges() {
            let mut own = outlet.lock();
            own.unacknowledged += 1;
            own.ended |= method != "write";
            let sent = own.window.sent(outlet.now_us(), units);
            drop(own);
            let chunk = Chunk { outlet: Arc::clone(outlet), sent, receipt };
            state.waiters.insert(wait, Waiter::Call(Box::new(move |ending| chunk.end(ending))));
            shared.finish_lowering(state, lowered);
        } else {
            state.endpoint.session.forget(wait);
            shared.finish_lowering(state, lowered);
            receipt.settle(Ok(undefined()));
        }
    }
}

impl Drop for OutletEnd {
    fn drop(&mut self) {
        let lost = {
            let mut state = self.0.lock();
            let is_over = state.ended || state.failure.is_some();
            state.lost.take().filter(|_| !is_over)
        };
        if let Some(reason) = lost {
            self.send("abort", only_argument(reason), Receipt::none());
        }
        self.0.shared.release(self.0.into);
    }
}

impl fmt::Debug for OutletEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.into.fmt(f)
    }
}
