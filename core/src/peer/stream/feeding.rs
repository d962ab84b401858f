//! The `futures::Sink` implementation of a writer, for `forward`, codecs, and other users of `futures`.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_sink::Sink;
use serde::Serialize;

use super::writer::{Writable, Writer};
use crate::peer::interface::error::CallError;
use crate::peer::reference::local::Local;

/// What a polled writer waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    Ready,
    Flushed,
    Closed,
}

type Waiting = Pin<Box<dyn Future<Output = Result<(), CallError>> + Send + Sync>>;

/// The state of a polled writer.
#[derive(Default)]
pub(super) struct Feeding {
    /// The wait that an earlier poll started.
    waiting: Option<(Until, Waiting)>,
    /// Whether the close was sent.
    is_closing: bool,
}

impl Feeding {
    fn poll(&mut self, cx: &mut Context<'_>, local: &Arc<Local>, until: Until) -> Poll<Result<(), CallError>> {
        if self.waiting.as_ref().is_none_or(|(other, _)| *other != until) {
            // Polled once without an allocation, because there is usually nothing to wait for.
            self.waiting = None;
            if let Poll::Ready(done) = pin!(wait(local, until)).poll(cx) {
                return Poll::Ready(done);
            }
            let local = Arc::clone(local);
            self.waiting = Some((until, Box::pin(async move { wait(&local, until).await })));
        }
        let Some((_, waiting)) = &mut self.waiting else { unreachable!("set above") };
        let done = ready!(waiting.as_mut().poll(cx));
        self.waiting = None;
        Poll::Ready(done)
    }
}

async fn wait(local: &Local, until: Until) -> Result<(), CallError> {
    let writable = Writable::of(local);
    match until {
        Until::Ready => writable.ready().await,
        Until::Flushed => writable.flushed().await,
        Until::Closed => writable.closed().await,
    }
}

/// A writer is ready while [`write`](Writer::write) would not wait, flushed when the reader has
/// accepted everything, and closed when the reader has accepted the end as well. The errors are those of
/// the methods with these names. If an item cannot be encoded, `start_send` returns an error and the
/// stream continues.
impl<T: Serialize> Sink<T> for Writer<T> {
    type Error = CallError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        let this = &mut *self;
        this.feeding.poll(cx, &this.local, Until::Ready)
    }

    fn start_send(self: Pin<&mut Self>, chunk: T) -> Result<(), CallError> {
        let args = Self::encode(&chunk)?;
        Writable::of(&self.local).put(args);
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        let this = &mut *self;
        this.feeding.poll(cx, &this.local, Until::Flushed)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        let this = &mut *self;
        if !std::mem::replace(&mut this.feeding.is_closing, true) {
            Writable::of(&this.local).end();
        }
        this.feeding.poll(cx, &this.local, Until::Closed)
    }
}
