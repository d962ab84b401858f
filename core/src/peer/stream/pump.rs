//! Moves the chunks of a local reader into the peer's end of the stream, with one task for each stream.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use super::only_argument;
use super::outlet::{Failure, OutletEnd};
use super::pipe::Receipt;
use crate::peer::host::shared::Shared;
use crate::peer::host::target::Entry;
use crate::peer::interface::object::error_payload;
use crate::peer::reference::local::{Body, Local};
use crate::peer::reference::readable::{Readable, Source};
use crate::peer::runtime;
use crate::session::Ref;
use crate::value::{Cap, Payload};

/// A local stream to be sent. The session counts it until it is dropped.
pub(crate) struct Pumping {
    shared: Arc<Shared>,
    outlet: OutletEnd,
    source: Option<Arc<Readable>>,
}

impl Pumping {
    /// Takes over a reference count of `into`, and one of the session's count of streams being sent.
    pub(crate) fn new(shared: &Arc<Shared>, source: Option<&Entry>, into: Ref) -> Self {
        let source = match source {
            Some(Entry::Object(object)) => readable_of(&Arc::clone(object).reference()),
            Some(Entry::Dormant(_)) | None => None,
        };
        Self { shared: Arc::clone(shared), outlet: OutletEnd::new(shared, into), source }
    }

    /// Starts to read. If the stream cannot be read, it is aborted.
    pub(crate) fn start(mut self) {
        let source = self.source.take().and_then(|readable| readable.take());
        let why = match source {
            None => error_payload("TypeError", "This ReadableStream is read elsewhere."),
            Some(source) if self.shared.can_spawn() => {
                let shared = Arc::clone(&self.shared);
                shared.spawn(self.run(source));
                return;
            }
            Some(_) => error_payload("Error", "A stream needs an async runtime."),
        };
        self.abort(why);
    }

    fn abort(&self, reason: Payload<Cap>) {
        self.outlet.send("abort", only_argument(reason), Receipt::none());
    }

    async fn run(self, mut source: Box<dyn Source>) {
        let failure = loop {
            if let Err(failure) = self.outlet.ready().await {
                break failure;
            }
            match self.next(&mut *source).await {
                Ok(Some(Ok(args))) => self.outlet.send("write", args, Receipt::none()),
                Ok(Some(Err(error))) => return self.abort(error),
                Ok(None) => {
                    drop(source);
                    self.outlet.send("close", Payload::plain("[]"), Receipt::none());
                    // Errors are ignored: there is no reader left to report them to.
                    let _ = self.outlet.flushed().await;
                    return;
                }
                Err(failure) => break failure,
            }
            // A source that is always ready must not starve other tasks.
            runtime::yield_once().await;
        };
        source.cancel(&failure.into_payload());
    }

    /// Returns the next item of the source, unless the stream fails first.
    async fn next(&self, source: &mut dyn Source) -> Result<Option<Result<Payload<Cap>, Payload<Cap>>>, Failure> {
        let mut failed = pin!(self.outlet.failed());
        poll_fn(|cx| match failed.as_mut().poll(cx) {
            Poll::Ready(failure) => Poll::Ready(Err(failure)),
            Poll::Pending => source.poll_chunk(cx).map(Ok),
        })
        .await
    }
}

fn readable_of(cap: &Cap) -> Option<Arc<Readable>> {
    match &cap.downcast_ref::<Local>()?.body {
        Body::Readable(readable) => Some(Arc::clone(readable)),
        _ => None,
    }
}

impl Drop for Pumping {
    fn drop(&mut self) {
        self.shared.pump_ended();
    }
}
