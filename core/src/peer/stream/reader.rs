//! The readable end of a stream.

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
use crate::peer::interface::error::{CallError, CodecError, RpcError, type_error};
use crate::peer::interface::object::rejection;
use crate::peer::reference::local::{Body, Local};
use crate::peer::reference::readable::{Readable, Source};
use crate::peer::reference::stub::Stub;
use crate::value::{self, Cap, Payload};

/// The readable end of a stream.
///
/// A reader is a value: it may appear anywhere in arguments and results, and its chunks may contain
/// capabilities. A reader that was passed on cannot be read here any more.
///
/// A chunk counts as accepted when it is read, which drives the writer's backpressure. Dropping a
/// reader before the end of the stream makes all further writes fail.
///
/// ```
/// # mod bowline { pub use bowline_core::peer::{CallError, stream::Reader}; }
/// # fn main() {
/// use bowline::{CallError, Reader};
///
/// /// Adds up the chunks of a stream.
/// async fn sum(mut numbers: Reader<u32>) -> Result<u32, CallError> {
///     let mut sum = 0;
///     while let Some(number) = numbers.next().await {
///         sum += number?;
///     }
///     Ok(sum)
/// }
/// # }
/// ```
pub struct Reader<T> {
    local: Arc<Local>,
    /// Whether the end has been returned.
    is_over: bool,
    types: PhantomData<fn() -> T>,
}

impl<T> Reader<T> {
    /// Creates a reader of the items of `stream`.
    ///
    /// An error ends the stream, and the peer's reader receives it. `stream` is dropped at its end, or
    /// when it is no longer read.
    pub fn from_stream<E, S>(stream: S) -> Self
    where
        T: Serialize,
        E: RpcError,
        S: Stream<Item = Result<T, E>> + Send + 'static,
    {
        Self::from_source(Box::new(OfStream::new(stream)))
    }

    pub(crate) fn from_source(source: Box<dyn Source>) -> Self {
        Self::from_local(Readable::new(source).into_local())
    }

    /// Returns `cap` as a reader. If it is not one, the reader fails.
    pub(crate) fn of_cap(cap: &Cap) -> Self {
        match Stub::from_cap(cap).as_local() {
            Some(local) => Self::from_local(Arc::clone(local)),
            None => Self::from_local(Readable::default().into_local()),
        }
    }

    pub(crate) fn into_cap(self) -> Cap {
        Stub::from_local(self.local).into_cap()
    }

    fn from_local(local: Arc<Local>) -> Self {
        Self { local, is_over: false, types: PhantomData }
    }

    /// Changes the type of the chunks. The type is not checked until a chunk is read.
    pub fn cast<U>(self) -> Reader<U> {
        Reader { local: self.local, is_over: self.is_over, types: PhantomData }
    }

    /// Cancels the stream. Chunks that were not read and all further writes fail with `reason`.
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
        // The source is taken out, so that no code of the application runs under the lock.
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
    /// Returns the next chunk, or `None` at the end of the stream. Cancel-safe.
    ///
    /// # Errors
    /// [`CallError::Remote`] if the writer aborted the stream or was lost with its session; the stream is
    /// then at its end. [`CallError::Codec`] if the chunk is of another type; the next chunk can still be
    /// read.
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
    /// Passes on the rest of the stream.
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
