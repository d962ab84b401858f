//! Streams that write into code of the application.

use std::future::{Future, poll_fn};
use std::marker::PhantomData;
use std::pin::pin;
use std::task::Poll;

use serde::de::DeserializeOwned;

use super::pipe::{Entry, Exit, Pipe, Taken, Use};
use crate::peer::interface::error::{RemoteError, RpcError, internal_error, type_error};
use crate::peer::interface::object::rejection;
use crate::peer::runtime;
use crate::peer::unwind::caught;
use crate::value::{self, Cap, Payload, Value};

/// The target of a [`Writer`](super::Writer).
///
/// Chunks are written one at a time. A chunk counts as accepted when its `write` completes, so a slow
/// sink slows its writer down.
pub trait Sink<T>: Send + 'static {
    /// The error with which the sink refuses a chunk.
    type Error: RpcError;

    /// Accepts a chunk.
    ///
    /// The future is dropped before it completes if the stream is aborted meanwhile.
    ///
    /// # Errors
    /// An error ends the stream: this write and all later ones fail with it, and the sink is dropped.
    fn write(&mut self, chunk: T) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Called at the end of the stream, after all chunks were written.
    fn close(self) -> impl Future<Output = Result<(), Self::Error>> + Send
    where
        Self: Sized,
    {
        std::future::ready(Ok(()))
    }

    /// Called when the stream ends with an error: the writer aborted it, or was dropped without a close,
    /// as happens when its session ends.
    fn abort(self, reason: RemoteError) -> impl Future<Output = ()> + Send
    where
        Self: Sized,
    {
        drop(reason);
        std::future::ready(())
    }
}

/// Spawns a task that runs the sink, and returns the entry that leads to it.
pub(super) fn serve<T: DeserializeOwned + Send + 'static>(sink: impl Sink<T>) -> Entry {
    let (entry, exit) = Pipe::ends(Use::Serve, 1);
    // Outside of a runtime the task is dropped here with the exit, so that writes fail.
    drop(runtime::spawn(Serving { exit, sink, types: PhantomData }.run()));
    entry
}

struct Serving<T, S> {
    exit: Exit,
    sink: S,
    types: PhantomData<fn() -> T>,
}

/// The reason that a write did not complete.
enum Stop {
    Refused(Payload<Cap>),
    Aborted(Payload<Cap>),
}

impl<T: DeserializeOwned + Send, S: Sink<T>> Serving<T, S> {
    async fn run(mut self) {
        loop {
            let stop = match poll_fn(|cx| self.exit.poll(cx)).await {
                Taken::Chunk(args, receipt) => match self.write(args).await {
                    Ok(()) => {
                        self.exit.accept(receipt);
                        continue;
                    }
                    Err(stop) => {
                        let (Stop::Refused(reason) | Stop::Aborted(reason)) = &stop;
                        receipt.settle(Err(reason.clone()));
                        stop
                    }
                },
                Taken::Closed => {
                    let sink = self.sink;
                    match guarded(async move { sink.close().await.map_err(|error| error.to_value()) }).await {
                        Ok(()) => self.exit.accept_close(),
                        Err(reason) => self.exit.refuse(&reason),
                    }
                    return;
                }
                Taken::Failed(reason) => Stop::Aborted(reason),
            };
            return match stop {
                Stop::Refused(reason) => self.exit.refuse(&reason),
                Stop::Aborted(reason) => {
                    let reason = value::decode(reason).unwrap_or(Value::Undefined);
                    self.sink.abort(RemoteError::new(reason)).await;
                }
            };
        }
    }

    async fn write(&mut self, args: Payload<Cap>) -> Result<(), Stop> {
        let sink = &mut self.sink;
        let mut writing = pin!(guarded(async move {
            let (chunk,) =
                value::decode_args::<(T,)>(args).map_err(|error| type_error(error.to_string()).to_value())?;
            sink.write(chunk).await.map_err(|error| error.to_value())
        }));
        let exit = &mut self.exit;
        poll_fn(|cx| match writing.as_mut().poll(cx) {
            Poll::Ready(Ok(())) => Poll::Ready(Ok(())),
            Poll::Ready(Err(reason)) => Poll::Ready(Err(Stop::Refused(reason))),
            Poll::Pending => exit.poll_error(cx).map(|reason| Err(Stop::Aborted(reason))),
        })
        .await
    }
}

/// Awaits a method of a sink, and converts a panic into an internal error.
async fn guarded(answer: impl Future<Output = Result<(), Value>>) -> Result<(), Payload<Cap>> {
    let mut answer = pin!(answer);
    poll_fn(|cx| {
        caught(|| answer.as_mut().poll(cx).map_err(|error| rejection(&error))).unwrap_or_else(|_| {
            tracing::error!("panic in a sink");
            Poll::Ready(Err(internal_error()))
        })
    })
    .await
}
