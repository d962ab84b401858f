//! The end of a stream that is read.

use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::source::OfStream;
use super::{Readable, Source};
use crate::peer::error::{CallError, CodecError, RpcError, type_error};
use crate::peer::local::{Body, Local};
use crate::peer::object::rejection;
use crate::peer::stub::Stub;
use crate::value::{self, Cap, Payload};

/// Chunks of a stream, one after the other. A value like any other: it may stand anywhere in
/// arguments and results, and capabilities may stand in its chunks.
///
/// A chunk counts as accepted when it is read, which is what the writer's backpressure goes by.
/// Dropping a reader that is not at its end refuses whatever is still written. A reader is read
/// in one place: one that was passed on is at its end here.
pub struct Reader<T> {
    local: Arc<Local>,
    /// The end was seen.
    is_over: bool,
    types: PhantomData<fn() -> T>,
}

impl<T> Reader<T> {
    /// A reader of what `stream` yields. An error ends it, and is what the peer's reader gets.
    /// The stream is dropped at its end, or when nobody wants more of it.
    pub fn from_stream<E, S>(stream: S) -> Self
    where
        T: Serialize,
        E: RpcError,
        S: Stream<Item = Result<T, E>> + Send + 'static,
    {
        Self::from_source(Box::new(OfStream::new(stream)))
    }

    pub(crate) fn from_source(source: Box<dyn Source>) -> Self {
        Self::from_local(Local::new(Body::Readable(Box::new(Readable::new(source)))))
    }

    /// The reader that `cap` is; of anything else, one that fails.
    pub(crate) fn of_cap(cap: &Cap) -> Self {
        match Stub::from_cap(cap).as_local() {
            Some(local) => Self::from_local(Arc::clone(local)),
            None => Self::from_local(Local::new(Body::Readable(Box::default()))),
        }
    }

    pub(crate) fn into_cap(self) -> Cap {
        Stub::from_local(self.local).into_cap()
    }

    fn from_local(local: Arc<Local>) -> Self {
        Self { local, is_over: false, types: PhantomData }
    }

    /// A reader of the same stream for another type of chunk. Nothing is checked before they
    /// are read.
    pub fn cast<U>(self) -> Reader<U> {
        Reader { local: self.local, is_over: self.is_over, types: PhantomData }
    }

    /// Wants no more. What is written from now on, and what was not read, is refused with
    /// `reason`.
    pub fn cancel(self, reason: impl RpcError) {
        if let Some(mut source) = self.readable().and_then(Readable::take) {
            source.cancel(&rejection(&reason.to_value()));
        }
    }

    fn readable(&self) -> Option<&Readable> {
        match &self.local.body {
            Body::Readable(readable) => Some(readable),
            _ => None,
        }
    }

    pub(crate) fn poll_payload(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Payload<Cap>, Payload<Cap>>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        // Taken out, so that no code of the application's runs under a lock.
        let Some(mut source) = self.readable().and_then(Readable::take) else {
            self.is_over = true;
            let error = type_error("This ReadableStream is read elsewhere.".to_owned());
            return Poll::Ready(Some(Err(rejection(&error.to_value()))));
        };
        match source.poll_chunk(cx) {
            Poll::Ready(Some(Ok(args))) => {
                self.put_back(source);
                Poll::Ready(Some(Ok(args)))
            }
            Poll::Ready(end) => {
                self.is_over = true;
                Poll::Ready(end)
            }
            Poll::Pending => {
                self.put_back(source);
                Poll::Pending
            }
        }
    }

    fn put_back(&self, source: Box<dyn Source>) {
        if let Some(readable) = self.readable() {
            readable.put_back(source);
        }
    }
}

impl<T: DeserializeOwned> Reader<T> {
    /// The next chunk, `None` at the end. After an error there is nothing more. Cancel-safe.
    ///
    /// # Errors
    /// [`CallError::Remote`] with what the writer aborted the stream with, or
    /// [`CallError::Codec`] for a chunk of another type, after which the next one can be read.
    pub async fn next(&mut self) -> Option<Result<T, CallError>> {
        poll_fn(|cx| self.poll_typed(cx)).await
    }

    fn poll_typed(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T, CallError>>> {
        Poll::Ready(ready!(self.poll_payload(cx)).map(|chunk| match chunk {
            Ok(args) => match value::decode_args::<(T,)>(args) {
                Ok((chunk,)) => Ok(chunk),
                Err(error) => Err(CallError::Codec(CodecError::Decode(error))),
            },
            Err(error) => Err(CallError::from_rejection(error)),
        }))
    }
}

impl<T: DeserializeOwned> Stream for Reader<T> {
    type Item = Result<T, CallError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_typed(cx)
    }
}

impl<T> Serialize for Reader<T> {
    /// Passes the rest of the stream on.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Stub::from_local(Arc::clone(&self.local)).serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for Reader<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let stub = Stub::deserialize(deserializer)?;
        match stub.as_local() {
            Some(local) if matches!(local.body, Body::Readable(_)) => Ok(Self::from_local(Arc::clone(local))),
            _ => Err(D::Error::custom("expected a stream to read from, found another capability")),
        }
    }
}

impl<T> fmt::Debug for Reader<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("is_over", &self.is_over).finish_non_exhaustive()
    }
}
