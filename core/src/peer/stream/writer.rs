//! The writable end of a stream.

use std::any::Any;
use std::borrow::Borrow;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::feeding::Feeding;
use super::outlet::{Failure, OutletEnd};
use super::pipe::{Entry, Receipt};
use super::{over, sink};
use crate::peer::interface::error::{CallError, CodecError, RpcError};
use crate::peer::interface::object::rejection;
use crate::peer::reference::local::{Body, Local};
use crate::peer::reference::stub::Stub;
use crate::value::{self, Cap, Payload};

/// The target of a local writable.
#[derive(Debug)]
pub(crate) enum Writable {
    /// A reader or a sink in this process.
    Pipe(Entry),
    /// A writable of a peer.
    Remote(OutletEnd),
}

/// The writable end of a stream.
///
/// A writer is a value: it may appear anywhere in arguments and results, and its chunks may contain
/// capabilities. Writes arrive in order.
///
/// [`write`](Self::write) waits while too many chunks are in flight, so a slow reader slows its writer
/// down. Dropping a writer without [`close`](Self::close) aborts the stream: the reader receives an
/// error instead of the end.
///
/// It also implements `futures::Sink`. `feed` waits for room in the stream; `send` and `flush` wait
/// until the reader has accepted the items.
///
/// ```
/// # mod bowline { pub use bowline_core::peer::{CallError, stream::Writer}; }
/// # fn main() {
/// use bowline::{CallError, Writer};
///
/// /// Writes the numbers below `end`. Each write waits while the reader is behind.
/// async fn count(mut numbers: Writer<u32>, end: u32) -> Result<(), CallError> {
///     for number in 0..end {
///         numbers.write(number).await?;
///     }
///     numbers.close().await
/// }
/// # }
/// ```
pub struct Writer<T> {
    pub(super) local: Arc<Local>,
    /// The state of the `futures::Sink` implementation.
    pub(super) feeding: Feeding,
    types: PhantomData<fn(T)>,
}

impl<T> Writer<T> {
    /// Creates a writer into a sink of the application, most often to be given to a peer.
    ///
    /// The sink runs in a task of its own from now on, so this needs a Tokio runtime. Without one, every
    /// write fails.
    pub fn to_sink<S: super::Sink<T>>(sink: S) -> Self
    where
        T: serde::de::DeserializeOwned + Send + 'static,
    {
        Self::from_writable(Writable::Pipe(sink::serve(sink)))
    }

    pub(crate) fn from_writable(writable: Writable) -> Self {
        Self::from_local(writable.into_local())
    }

    fn from_local(local: Arc<Local>) -> Self {
        Self { local, feeding: Feeding::default(), types: PhantomData }
    }

    /// Changes the type of the chunks.
    pub fn cast<U>(self) -> Writer<U> {
        Writer { local: self.local, feeding: self.feeding, types: PhantomData }
    }

    /// Waits until the reader has accepted everything that was written. Cancel-safe.
    ///
    /// # Errors
    /// The stream is over; see [`write`](Self::write).
    pub async fn flush(&mut self) -> Result<(), CallError> {
        Writable::of(&self.local).flushed().await
    }

    /// Ends the stream, and waits until the reader has accepted everything that was written and the end
    /// itself.
    ///
    /// The stream is ended at once, even if the future is not polled.
    ///
    /// # Errors
    /// The stream was over before; see [`write`](Self::write).
    pub fn close(self) -> impl Future<Output = Result<(), CallError>> + Send {
        Writable::of(&self.local).end();
        async move { Writable::of(&self.local).closed().await }
    }

    /// Ends the stream with an error, which its reader receives. Chunks that were not read may be lost.
    pub fn abort(self, reason: impl RpcError) {
        Writable::of(&self.local).abort(rejection(&reason.to_value()), Receipt::none());
    }
}

impl<T: Serialize> Writer<T> {
    /// Writes a chunk.
    ///
    /// Completes when the chunk is queued to be sent, before it has arrived. Waits while too many chunks
    /// are in flight. Cancel-safe: if the future is dropped before it completes, the chunk is not written.
    ///
    /// # Errors
    /// [`CallError::Codec`] if the chunk cannot be encoded; the stream continues. All other errors mean
    /// that the stream is over: [`CallError::Remote`] with the error with which an earlier chunk was
    /// refused, by a sink or by a reader that was canceled, or [`CallError::Session`].
    pub fn write(&mut self, chunk: impl Borrow<T>) -> impl Future<Output = Result<(), CallError>> + Send {
        let args = Self::encode(chunk.borrow());
        let local = &self.local;
        async move {
            let args = args?;
            let writable = Writable::of(local);
            writable.ready().await?;
            writable.put(args);
            Ok(())
        }
    }

    pub(super) fn encode(chunk: &T) -> Result<Payload<Cap>, CallError> {
        value::encode_args(&(chunk,)).map_err(|error| CallError::Codec(CodecError::Encode(error)))
    }
}

impl Writable {
    /// Returns the writable of a writer.
    pub(super) fn of(local: &Local) -> &Self {
        let writable: Option<&dyn Any> = match &local.body {
            Body::Writable(writable) => Some(&**writable),
            _ => None,
        };
        writable.and_then(|writable| writable.downcast_ref()).expect("a writer always refers to a writable")
    }

    pub(super) fn into_local(self) -> Arc<Local> {
        Local::new(Body::Writable(Box::new(self)))
    }

    /// Waits until another chunk may be written. Cancel-safe, like the methods below.
    pub(super) async fn ready(&self) -> Result<(), CallError> {
        match self {
            Self::Pipe(entry) => entry.ready().await.map_err(CallError::from_rejection),
            Self::Remote(outlet) => {
                outlet.ready().await.map_err(Failure::into_error)?;
                if outlet.is_ended() { Err(CallError::from_rejection(over())) } else { Ok(()) }
            }
        }
    }

    /// Waits until everything that was written is accepted.
    pub(super) async fn flushed(&self) -> Result<(), CallError> {
        match self {
            Self::Pipe(entry) => entry.flushed().await.map_err(CallError::from_rejection),
            Self::Remote(outlet) => outlet.flushed().await.map_err(Failure::into_error),
        }
    }

    /// Waits until the end is accepted.
    pub(super) async fn closed(&self) -> Result<(), CallError> {
        match self {
            Self::Pipe(entry) => entry.closed().await.map_err(CallError::from_rejection),
            Self::Remote(_) => self.flushed().await,
        }
    }

    /// Writes a chunk at once, regardless of the state of the stream.
    pub(super) fn put(&self, args: Payload<Cap>) {
        self.write(args, Receipt::none());
    }

    /// Closes the stream, unless it was closed before.
    pub(super) fn end(&self) {
        if !matches!(self, Self::Remote(outlet) if outlet.is_ended()) {
            self.close(Receipt::none());
        }
    }
}

impl<T> Serialize for Writer<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Stub::from_local(Arc::clone(&self.local)).serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for Writer<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let stub = Stub::deserialize(deserializer)?;
        match stub.as_local() {
            Some(local) if matches!(local.body, Body::Writable(_)) => Ok(Self::from_local(Arc::clone(local))),
            _ => Err(D::Error::custom("expected a stream to write to, found another capability")),
        }
    }
}

impl<T> fmt::Debug for Writer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Writer").field(Writable::of(&self.local)).finish()
    }
}
