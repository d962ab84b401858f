//! The end of a stream that is written to.

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
use crate::peer::error::{CallError, CodecError, RpcError};
use crate::peer::local::{Body, Local};
use crate::peer::object::rejection;
use crate::peer::stub::Stub;
use crate::value::{self, Cap, Payload};

/// What a writable of ours leads to.
#[derive(Debug)]
pub(crate) enum Writable {
    /// A reader or a sink in this process.
    Pipe(Entry),
    /// A writable of a peer's.
    Remote(OutletEnd),
}

/// Takes chunks. A value like any other: it may stand anywhere in arguments and results, and
/// capabilities may stand in its chunks.
///
/// Writes arrive in their order. [`write`](Self::write) waits while too much is under way, so a
/// slow reader slows its writer down. Dropping a writer without [`close`](Self::close) aborts
/// the stream: its reader sees an error, not an end.
///
/// It is a `futures::Sink` as well, whose items are accepted when a `flush` is done: `send` waits for
/// the reader, `feed` only for room.
pub struct Writer<T> {
    pub(super) local: Arc<Local>,
    /// For those who poll.
    pub(super) feeding: Feeding,
    types: PhantomData<fn(T)>,
}

impl<T> Writer<T> {
    /// A writer into code of the application's, most often to be given to a peer. The sink runs
    /// as a task of its own from now on, so this needs a Tokio runtime; without one every write
    /// fails.
    pub fn to_sink<S: super::Sink<T>>(sink: S) -> Self
    where
        T: serde::de::DeserializeOwned + Send + 'static,
    {
        Self::from_writable(Writable::Pipe(sink::serve(sink)))
    }

    pub(crate) fn from_writable(writable: Writable) -> Self {
        Self::from_local(Local::new(Body::Writable(writable)))
    }

    fn from_local(local: Arc<Local>) -> Self {
        Self { local, feeding: Feeding::default(), types: PhantomData }
    }

    /// A writer of another type into the same stream.
    pub fn cast<U>(self) -> Writer<U> {
        Writer { local: self.local, feeding: self.feeding, types: PhantomData }
    }

    /// Waits until all that was written is accepted by whoever reads. Cancel-safe.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub async fn flush(&mut self) -> Result<(), CallError> {
        Writable::of(&self.local).flushed().await
    }

    /// Ends the stream, at once, and waits until all that was written and the end itself are
    /// accepted.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn close(self) -> impl Future<Output = Result<(), CallError>> + Send {
        Writable::of(&self.local).end();
        async move { Writable::of(&self.local).closed().await }
    }

    /// Ends the stream with an error, which is what its reader gets. Chunks that were not read
    /// may be lost.
    pub fn abort(self, reason: impl RpcError) {
        Writable::of(&self.local).abort(rejection(&reason.to_value()), Receipt::none());
    }
}

impl<T: Serialize> Writer<T> {
    /// Writes a chunk: done when it is under way, before it has arrived. Waits while too much is
    /// under way already. Cancel-safe: a write that is given up was not made.
    ///
    /// # Errors
    /// [`CallError::Codec`] when the chunk has no form on the wire; the stream goes on.
    /// Otherwise the stream is over: [`CallError::Remote`] with what an earlier chunk was refused
    /// with (the error of a sink, or the reason of a reader that wants no more), or
    /// [`CallError::Session`].
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
    /// What a writer writes to.
    pub(super) fn of(local: &Local) -> &Self {
        match &local.body {
            Body::Writable(writable) => writable,
            _ => unreachable!("a writer is made of nothing else"),
        }
    }

    /// Waits until another chunk may be written. Cancel-safe, as are the others.
    pub(super) async fn ready(&self) -> Result<(), CallError> {
        match self {
            Self::Pipe(entry) => entry.ready().await.map_err(CallError::from_rejection),
            Self::Remote(outlet) => {
                outlet.ready().await.map_err(Failure::into_error)?;
                if outlet.is_ended() { Err(CallError::from_rejection(over())) } else { Ok(()) }
            }
        }
    }

    /// Waits until everything written is accepted.
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

    /// Writes a chunk at once, in whatever state the stream is.
    pub(super) fn put(&self, args: Payload<Cap>) {
        self.write(args, Receipt::none());
    }

    /// Closes the stream, unless that was done.
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
