//! Waiting for a result, and taking the wait back when the waiter is dropped.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use crate::id::WaitId;
use crate::peer::error::{CodecError, closed_payload};
use crate::peer::object::{Answer, error_payload};
use crate::peer::shared::Shared;
use crate::peer::stream::Chunk;
use crate::session::{Closed, ClosedBy};
use crate::value::{Cap, Payload};

/// How a wait ended.
#[derive(Debug)]
pub(crate) enum Ending {
    /// An answer came.
    Answer(Answer),
    /// The session ended first.
    Lost(Closed),
    /// The call was never sent: its arguments have no form on the wire.
    Unsent(CodecError),
}

impl Ending {
    /// The ending as an answer to somebody else.
    pub(crate) fn into_answer(self) -> Answer {
        match self {
            Self::Answer(answer) => answer,
            Self::Lost(closed) => Err(closed_payload(&closed)),
            Self::Unsent(error) => Err(error_payload("TypeError", &error.to_string())),
        }
    }
}

/// Why a reference is broken.
#[derive(Clone)]
pub(crate) enum Broken {
    Lost(Closed),
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

/// Who is told how a wait ended.
pub(crate) enum Waiter {
    Task(oneshot::Sender<Ending>),
    Chunk(Chunk),
}

impl Waiter {
    pub(crate) fn tell(self, ending: Ending) {
        match self {
            // Who gave the wait up has dropped the other end.
            Self::Task(sender) => drop(sender.send(ending)),
            Self::Chunk(chunk) => chunk.end(ending),
        }
    }
}

/// A wait for a result. Dropping it takes the wait back.
#[derive(Debug)]
pub(crate) struct Wait(State);

#[derive(Debug)]
enum State {
    Ready(Ending),
    Pulled { shared: Arc<Shared>, wait: WaitId, receiver: oneshot::Receiver<Ending> },
    Done,
}

impl Wait {
    pub(crate) fn ready(ending: Ending) -> Self {
        Self(State::Ready(ending))
    }

    pub(crate) fn pulled(shared: Arc<Shared>, wait: WaitId, receiver: oneshot::Receiver<Ending>) -> Self {
        Self(State::Pulled { shared, wait, receiver })
    }
}

impl Future for Wait {
    type Output = Ending;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Ending> {
        if let State::Pulled { receiver, .. } = &mut self.0 {
            let Poll::Ready(received) = Pin::new(receiver).poll(cx) else {
                return Poll::Pending;
            };
            let ending = received.unwrap_or_else(|_| Ending::Lost(dropped()));
            self.0 = State::Ready(ending);
        }
        match std::mem::replace(&mut self.0, State::Done) {
            State::Ready(ending) => Poll::Ready(ending),
            State::Pulled { .. } | State::Done => Poll::Pending,
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

/// A session that went away without ending; only an unwinding session can do that.
pub(crate) fn dropped() -> Closed {
    Closed { by: ClosedBy::Us, name: "Error".to_owned(), message: "The session was dropped.".to_owned() }
}
