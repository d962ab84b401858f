//! Waits for results. Dropping a wait withdraws it from the session.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::id::WaitId;
use crate::peer::host::shared::{self, Shared};
use crate::peer::interface::error::{CodecError, closed_payload};
use crate::peer::interface::object::{Answer, error_payload};
use crate::peer::runtime;
use crate::session::{CloseReason, ClosedBy};
use crate::value::{Cap, Payload};

/// The end of a wait.
#[derive(Debug)]
pub(crate) enum Ending {
    /// The answer arrived.
    Answer(Answer),
    /// The session ended before the answer arrived.
    Lost(CloseReason),
    /// The call was not sent, because its arguments cannot be encoded.
    Unsent(CodecError),
}

impl Ending {
    /// Converts the ending into an answer, to settle another call with.
    pub(crate) fn into_answer(self) -> Answer {
        match self {
            Self::Answer(answer) => answer,
            Self::Lost(closed) => Err(closed_payload(&closed)),
            Self::Unsent(error) => Err(error_payload("TypeError", &error.to_string())),
        }
    }
}

/// The reason that a reference is broken.
#[derive(Clone, Debug)]
pub(crate) enum Broken {
    Lost(CloseReason),
    Codec(CodecError),
    Rejected(Payload<Cap>),
}

impl Broken {
    pub(crate) fn into_payload(self) -> Payload<Cap> {
        match self {
            Self::Lost(closed) => closed_payload(&closed),
            Self::Codec(error) => error_payload("TypeError", &error.to_string()),
            Self::Rejected(error) => error,
        }
    }
}

/// The receiver of an ending.
pub(crate) enum Waiter {
    /// A [`Wait`], with the waker of its last poll.
    Task(Option<Waker>),
    /// A [`Wait`] that has not polled its ending yet.
    Ended(Ending),
    /// A function to call.
    Call(Box<dyn FnOnce(Ending) + Send>),
}

/// A wait for a result. Dropping it withdraws the wait.
#[derive(Debug)]
pub(crate) struct Wait(State);

#[derive(Debug)]
enum State {
    Ready(Ending),
    Pulled { shared: Arc<Shared>, wait: WaitId, has_waited: bool },
    Done,
}

impl Wait {
    pub(crate) fn ready(ending: Ending) -> Self {
        Self(State::Ready(ending))
    }

    pub(crate) fn pulled(shared: Arc<Shared>, wait: WaitId) -> Self {
        Self(State::Pulled { shared, wait, has_waited: false })
    }
}

impl Future for Wait {
    type Output = Ending;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Ending> {
        let ending = match std::mem::replace(&mut self.0, State::Done) {
            State::Ready(ending) => ending,
            State::Pulled { shared, wait, has_waited } => match shared.poll_ending(wait, cx) {
                Poll::Ready(ending) if has_waited => return Poll::Ready(ending),
                Poll::Ready(ending) => ending,
                Poll::Pending => {
                    self.0 = State::Pulled { shared, wait, has_waited: true };
                    return Poll::Pending;
                }
            },
            State::Done => return Poll::Pending,
        };
        // A task that awaits only calls that complete at once would otherwise never yield.
        if runtime::poll_turn(cx).is_pending() {
            self.0 = State::Ready(ending);
            return Poll::Pending;
        }
        Poll::Ready(ending)
    }
}

impl Shared {
    fn poll_ending(&self, wait: WaitId, cx: &Context<'_>) -> Poll<Ending> {
        if let Some(ending) = self.lock().take_ending(wait) {
            return Poll::Ready(ending);
        }
        // Wakers are cloned and dropped without the lock, because both may run code of the application.
        let waker = cx.waker().clone();
        let mut state = self.lock();
        if let Some(ending) = state.take_ending(wait) {
            return Poll::Ready(ending);
        }
        let before = match state.waiters.get_mut(wait) {
            Some(Waiter::Task(before)) => before.replace(waker),
            _ => None,
        };
        drop(state);
        drop(before);
        Poll::Pending
    }
}

impl shared::State {
    /// Removes and returns the ending of a wait, or `None` while there is none.
    fn take_ending(&mut self, wait: WaitId) -> Option<Ending> {
        match self.waiters.get(wait) {
            Some(Waiter::Task(_) | Waiter::Call(_)) => None,
            Some(Waiter::Ended(_)) => match self.waiters.remove(wait) {
                Some(Waiter::Ended(ending)) => Some(ending),
                _ => None,
            },
            None => Some(Ending::Lost(self.closed.as_deref().cloned().unwrap_or_else(dropped))),
        }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if let State::Pulled { shared, wait, .. } = &self.0 {
            shared.forget(*wait);
        }
    }
}

/// Returns the end of a session that was dropped without ending, which happens only during a panic.
pub(crate) fn dropped() -> CloseReason {
    CloseReason::new(ClosedBy::Local, "Error", "the session was dropped")
}
