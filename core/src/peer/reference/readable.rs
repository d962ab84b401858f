//! Readable ends of streams: where their chunks come from. A [`Readable`] is a source as a local object, until
//! it is taken to be read.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};

use crate::peer::host::nesting;
use crate::peer::host::shared::Shared;
use crate::peer::interface::object::error_payload;
use crate::peer::reference::local::{Body, Local};
use crate::value::{self, Bytes, Cap, Payload};

/// A source of chunks, each of which is an argument list.
pub(crate) trait Source: Send {
    /// Polls for the next chunk. Not called again after the end or an error.
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Payload<Cap>, Payload<Cap>>>>;

    /// Cancels the source, which is dropped next.
    fn cancel(&mut self, reason: &Payload<Cap>);
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
    /// Creates a local object that is read from `source`.
    pub(crate) fn local(source: impl Source + 'static) -> Arc<Local> {
        Self::new(Box::new(source)).into_local()
    }

    pub(crate) fn new(source: Box<dyn Source>) -> Self {
        Self { source: Mutex::new(Some(source)), session: Weak::new() }
    }

    pub(crate) fn into_local(self) -> Arc<Local> {
        Local::new(Body::Readable(Arc::new(self)))
    }

    /// Creates a readable of a stream to which the peer of `session` writes.
    pub(crate) fn of_peer(source: Box<dyn Source>, session: &Arc<Shared>) -> Self {
        Self { source: Mutex::new(Some(source)), session: Arc::downgrade(session) }
    }

    /// Returns the session that counts the kept chunks of the stream.
    pub(crate) fn session(&self) -> Option<Arc<Shared>> {
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

impl Drop for Readable {
    /// Drops the source iteratively: its chunks may hold the last reference to another stream, and so on.
    fn drop(&mut self) {
        nesting::drop_flat(self.take());
    }
}

impl fmt::Debug for Readable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Readable")
    }
}
