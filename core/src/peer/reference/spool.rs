//! A stream of bytes that can be read repeatedly: the content of a blob whose bytes the peer has. The
//! first reader reads the stream, and the chunks are kept for the others.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use crate::peer::host::shared::Shared;
use crate::peer::interface::object::error_payload;
use crate::peer::reference::readable::{Readable, Source};
use crate::value::{Cap, Capability, Payload};

/// The most bytes of chunks that are kept, as text: base64 of 64 MiB.
const KEPT_MAX: usize = (64 << 20) / 3 * 4;

/// The bytes that a kept chunk counts in its session, in addition to its text.
const CHUNK_BYTES: usize = 128;

/// The stream, and the chunks that were read from it.
pub(crate) struct Spool {
    readable: Arc<Readable>,
    state: Mutex<State>,
    waiting: Arc<Waiting>,
}

struct State {
    source: Slot,
    /// The chunks that were read and kept. The first is number `first` of the stream.
    chunks: VecDeque<Payload<Cap>>,
    first: usize,
    kept_bytes: usize,
    /// The bytes that the session counts for the chunks.
    counted: usize,
    end: Option<Result<(), Payload<Cap>>>,
}

/// The state of the source. It is taken out to be polled, because polling may run code of the
/// application.
enum Slot {
    Unread,
    Idle(Box<dyn Source>),
    Polled,
}

/// The readers that wait for the next chunk. The source wakes all of them.
#[derive(Default)]
struct Waiting(Mutex<Vec<Waker>>);

impl Waiting {
    fn add(&self, waker: &Waker) {
        let mut wakers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !wakers.iter().any(|known| known.will_wake(waker)) {
            wakers.push(waker.clone());
        }
    }
}

impl Wake for Waiting {
    fn wake(self: Arc<Self>) {
        let wakers = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Capability for Spool {
    fn is_readable(&self) -> bool {
        true
    }
}

impl Spool {
    /// Creates a spool of a stream that has not been read.
    pub(crate) fn new(readable: Arc<Readable>) -> Self {
        let state =
            State { source: Slot::Unread, chunks: VecDeque::new(), first: 0, kept_bytes: 0, counted: 0, end: None };
        Self { readable, state: Mutex::new(state), waiting: Arc::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the session whose peer writes the stream. The caller must drop it without the lock of the
    /// spool, because it may be the last reference to the session.
    fn session(&self) -> Option<Arc<Shared>> {
        self.readable.session()
    }

    /// Returns a source of the same chunks as all others of this spool.
    pub(crate) fn reader(self: Arc<Self>) -> impl Source + 'static {
        OfSpool { spool: self, next: 0 }
    }
}

/// Removes the chunks from the count of the session.
impl Drop for Spool {
    fn drop(&mut self) {
        let counted = self.state().counted;
        if let Some(session) = self.session().filter(|_| counted > 0) {
            session.count_outside(counted, 0);
        }
    }
}

impl State {
    /// Updates the session's count of the kept chunks. Lock order: the spool before the session, never the
    /// reverse.
    fn count(&mut self, session: Option<&Arc<Shared>>) {
        let counted = self.kept_bytes + CHUNK_BYTES * self.chunks.len();
        if let Some(session) = session.filter(|_| counted != self.counted) {
            session.count_outside(self.counted, counted);
            self.counted = counted;
        }
    }

    /// Keeps a chunk, and drops the oldest ones beyond the limit.
    fn keep(&mut self, chunk: Payload<Cap>) {
        self.kept_bytes += chunk.text_len();
        self.chunks.push_back(chunk);
        while self.kept_bytes > KEPT_MAX && self.chunks.len() > 1 {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some(chunk) = self.chunks.pop_front() {
            self.kept_bytes -= chunk.text_len();
            self.first += 1;
        }
    }
}

/// One reader of a spool.
struct OfSpool {
    spool: Arc<Spool>,
    /// The number of the next chunk.
    next: usize,
}

impl OfSpool {
    /// Returns `true` if no further reader can be created.
    fn is_last(&self) -> bool {
        Arc::strong_count(&self.spool) == 1
    }

    /// Returns the next chunk if it is kept, or the end.
    fn kept(&mut self, state: &mut State, is_last: bool) -> Option<Option<Result<Payload<Cap>, Payload<Cap>>>> {
        let Some(at) = self.next.checked_sub(state.first) else {
            let message = format!("limit: bytes kept of a blob to read it again (at most {})", KEPT_MAX / 4 * 3);
            return Some(Some(Err(error_payload("RangeError", &message))));
        };
        if let Some(chunk) = state.chunks.get(at).cloned() {
            self.next += 1;
            while is_last && state.first < self.next {
                state.forget_first();
            }
            return Some(Some(Ok(chunk)));
        }
        match &state.end {
            None => None,
            Some(Ok(())) => Some(None),
            Some(Err(error)) => Some(Some(Err(error.clone()))),
        }
    }

    /// Takes the source to poll it. Returns `None` if another reader is polling it.
    fn take(&self, state: &mut State) -> Option<Box<dyn Source>> {
        match std::mem::replace(&mut state.source, Slot::Polled) {
            Slot::Polled => None,
            Slot::Idle(source) => Some(source),
            Slot::Unread => self.spool.readable.take().or_else(|| {
                let message = "This ReadableStream is read elsewhere.";
                state.end = Some(Err(error_payload("TypeError", message)));
                None
            }),
        }
    }
}

impl Source for OfSpool {
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Payload<Cap>, Payload<Cap>>>> {
        let is_last = self.is_last();
        let spool = Arc::clone(&self.spool);
        // Declared before the lock, so dropped after it: this may be the last reference to the session.
        let session = spool.session();
        loop {
            let mut state = spool.state();
            if let Some(chunk) = self.kept(&mut state, is_last) {
                state.count(session.as_ref());
                return Poll::Ready(chunk);
            }
            // Registered before the source is polled, so that no wake-up is missed.
            spool.waiting.add(cx.waker());
            let Some(mut source) = self.take(&mut state) else {
                if state.end.is_some() {
                    continue;
                }
                return Poll::Pending;
            };
            drop(state);
            let waker = Waker::from(Arc::clone(&spool.waiting));
            let polled = source.poll_chunk(&mut Context::from_waker(&waker));
            let mut state = spool.state();
            match polled {
                Poll::Pending => {
                    state.source = Slot::Idle(source);
                    return Poll::Pending;
                }
                Poll::Ready(Some(Ok(chunk))) => {
                    state.keep(chunk);
                    state.count(session.as_ref());
                    state.source = Slot::Idle(source);
                }
                Poll::Ready(Some(Err(error))) => state.end = Some(Err(error)),
                Poll::Ready(None) => state.end = Some(Ok(())),
            }
            drop(state);
            // Another reader may have found the source taken, and has to look again.
            waker.wake();
        }
    }

    fn cancel(&mut self, reason: &Payload<Cap>) {
        if !self.is_last() {
            return;
        }
        let source = self.take(&mut self.spool.state());
        if let Some(mut source) = source {
            source.cancel(reason);
        }
    }
}

impl fmt::Debug for Spool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Spool")
    }
}
