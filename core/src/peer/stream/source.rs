//! Sources of chunks: the reading end of a pipe, or a stream of the application. A [`Readable`] is a
//! source as a local object, until it is taken to be read.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use serde::Serialize;

use super::pipe::{Exit, Taken};
use crate::peer::host::shared::Shared;
use crate::peer::interface::error::RpcError;
use crate::peer::interface::object::{error_payload, rejection};
use crate::value::{self, Bytes, Cap, Payload};

/// A source of chunks, each of which is an argument list.
pub(crate) trait Source: Send {
    /// Polls for the next chunk. Not called again after the end or an error.
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Payload<Cap>, Payload<Cap>>>>;

    /// Cancels the source, which is dropped next.
    fn cancel(&mut self, reason: &Payload<Cap>);
}

impl Source for Exit {
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Payload<Cap>, Payload<Cap>>>> {
        Poll::Ready(match ready!(self.poll(cx)) {
            Taken::Chunk(args, _) => Some(Ok(args)),
            Taken::Closed => None,
            Taken::Failed(error) => Some(Err(error)),
        })
    }

    fn cancel(&mut self, reason: &Payload<Cap>) {
        self.refuse(reason);
    }
}

/// A stream of the application.
pub(crate) struct OfStream<S>(Pin<Box<S>>);

impl<S> OfStream<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self(Box::pin(stream))
    }
}

impl<T, E, S> Source for OfStream<S>
where
    T: Serialize,
    E: RpcError,
    S: Stream<Item = Result<T, E>> + Send,
{
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Payload<Cap>, Payload<Cap>>>> {
        Poll::Ready(ready!(self.0.as_mut().poll_next(cx)).map(|item| match item {
            Ok(chunk) => value::encode_args(&(chunk,)).map_err(|error| error_payload("TypeError", &error.to_string())),
            Err(error) => Err(rejection(&error.to_value())),
        }))
    }

    fn cancel(&mut self, _: &Payload<Cap>) {}
}

/// Bytes of the application, in pieces.
pub(crate) struct OfBytes {
    bytes: Arc<Vec<u8>>,
    sent: usize,
}

/// Small enough to let other messages in between, and large enough to cost little per byte.
const PIECE_BYTES: usize = 32 << 10;

impl OfBytes {
    pub(crate) fn new(bytes: Arc<Vec<u8>>) -> Self {
        Self { bytes, sent: 0 }
    }
}

impl Source for OfBytes {
    fn poll_chunk(&mut self, _: &mut Context<'_>) -> Poll<Option<Result<Payload<Cap>, Payload<Cap>>>> {
        let rest = &self.bytes[self.sent..];
        if rest.is_empty() {
            return Poll::Ready(None);
        }
        let piece = &rest[..rest.len().min(PIECE_BYTES)];
        self.sent += piece.len();
        let args = value::encode_args(&(Bytes::new(piece),));
        Poll::Ready(Some(args.map_err(|error| error_payload("TypeError", &error.to_string()))))
    }

    fn cancel(&mut self, _: &Payload<Cap>) {}
}

/// A source as a local object.
#[derive(Default)]
pub(crate) struct Readable {
    source: Mutex<Option<Box<dyn Source>>>,
    /// The session whose peer writes the stream, if it comes from a peer.
    session: Weak<Shared>,
}

impl Readable {
    pub(crate) fn new(source: Box<dyn Source>) -> Self {
        Self { source: Mutex::new(Some(source)), session: Weak::new() }
    }

    /// Creates a readable of a stream to which the peer of `session` writes.
    pub(crate) fn of_peer(source: Box<dyn Source>, session: &Arc<Shared>) -> Self {
        Self { session: Arc::downgrade(session), ..Self::new(source) }
    }

    /// Returns the session that counts the kept chunks of the stream.
    pub(super) fn session(&self) -> Option<Arc<Shared>> {
        self.session.upgrade()
    }

    /// Takes the source out, for the one place that reads it.
    pub(crate) fn take(&self) -> Option<Box<dyn Source>> {
        self.source.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Puts back the source that [`take`](Self::take) returned.
    pub(crate) fn put_back(&self, source: Box<dyn Source>) {
        *self.source.lock().unwrap_or_else(PoisonError::into_inner) = Some(source);
    }
}

impl fmt::Debug for Readable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Readable")
    }
}
