//! A pipe: a stream between two ends in this process, with the chunks that wait for the reader.
//!
//! A waiting chunk is data: its text, its capabilities, and the call that is settled when the chunk is
//! taken. Nothing is settled, woken, or dropped while the pipe is locked.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::sync::Notify;

use super::{over, unclosed, undefined, unread};
use crate::id::PromiseId;
use crate::peer::host::shared::Shared;
use crate::peer::interface::object::{Answer, error_payload};
use crate::session::units;
use crate::value::{Cap, Payload};

/// The most UTF-16 units that may wait in a pipe. A writer that respects its window stays far below.
const WAITING_MAX: usize = 16 << 20;

/// The call to settle when a chunk is accepted. A local writer has none, because it waits on the pipe
/// instead. Dropping the receipt rejects the call.
#[derive(Default)]
pub(crate) struct Receipt(Option<(Arc<Shared>, PromiseId)>);

impl Receipt {
    /// Creates a receipt that settles `call`.
    pub(crate) fn call(shared: &Arc<Shared>, call: PromiseId) -> Self {
        Self(Some((Arc::clone(shared), call)))
    }

    /// Creates a receipt for a write of a local writer.
    pub(crate) fn none() -> Self {
        Self::default()
    }

    pub(crate) fn settle(mut self, answer: Answer) {
        if let Some((shared, call)) = self.0.take() {
            shared.settle(call, answer);
        }
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if let Some((shared, call)) = self.0.take() {
            shared.settle(call, Err(unread()));
        }
    }
}

/// The kind of the reading end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// A reader, which accepts a chunk by taking it.
    Read,
    /// A sink, which accepts or refuses each chunk after taking it.
    Serve,
}

/// A stream within this process.
pub(crate) struct Pipe {
    state: Mutex<State>,
    /// Notified of changes that a local writer may wait for.
    changed: Notify,
    used: Use,
    /// The number of chunks that a local writer may leave waiting.
    chunks: usize,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Waiting>,
    queued_units: usize,
    /// The number of chunks that were written and not accepted yet.
    unaccepted: usize,
    /// The receipt of a close that has not been accepted yet.
    closing: Option<Receipt>,
    /// Whether nothing more will be written.
    ended: bool,
    /// Whether the close was accepted.
    finished: bool,
    /// The reason that the writer was lost, if it is known when the writing end is dropped.
    lost: Option<Payload<Cap>>,
    /// The reason with which writes are refused.
    refusal: Option<Payload<Cap>>,
    /// The error with which the stream ends for the reader.
    error: Option<Payload<Cap>>,
    reader: Option<Waker>,
}

struct Waiting {
    args: Payload<Cap>,
    units: usize,
    receipt: Receipt,
}

/// The next item at the reading end.
pub(crate) enum Taken {
    /// A chunk. The receipt is for a sink; for a reader it is settled already.
    Chunk(Payload<Cap>, Receipt),
    Closed,
    Failed(Payload<Cap>),
}

/// The actions to take once the pipe is unlocked.
#[derive(Default)]
struct After {
    settle: Vec<(Receipt, Answer)>,
    dropped: Vec<Payload<Cap>>,
    wake: Option<Waker>,
    /// A waker to drop.
    unused: Option<Waker>,
}

impl After {
    fn refuse(&mut self, receipt: Receipt, reason: &Payload<Cap>) {
        self.settle.push((receipt, Err(reason.clone())));
    }

    fn accept(&mut self, receipt: Receipt) {
        self.settle.push((receipt, Ok(undefined())));
    }
}

impl State {
    /// Refuses the waiting chunks, and all later ones.
    fn refuse_all(&mut self, reason: &Payload<Cap>, after: &mut After) {
        self.queued_units = 0;
        for waiting in std::mem::take(&mut self.queue) {
            after.refuse(waiting.receipt, reason);
            after.dropped.push(waiting.args);
        }
        if let Some(receipt) = self.closing.take() {
            after.refuse(receipt, reason);
        }
        self.refusal.get_or_insert_with(|| reason.clone());
    }

    /// Accepts the close if no chunk waits before it.
    fn finish_reading(&mut self, after: &mut After) {
        if self.queue.is_empty()
            && let Some(receipt) = self.closing.take()
        {
            self.finished = true;
            after.accept(receipt);
        }
    }
}

impl Pipe {
    /// Creates a pipe and returns its two ends.
    pub(crate) fn ends(used: Use, chunks: usize) -> (Entry, Exit) {
        let pipe = Arc::new(Self { state: Mutex::default(), changed: Notify::new(), used, chunks });
        (Entry(Arc::clone(&pipe)), Exit(pipe))
    }

    fn with<T>(&self, act: impl FnOnce(&mut State, &mut After) -> T) -> T {
        let mut after = After::default();
        let given = act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner), &mut after);
        self.changed.notify_waiters();
        if let Some(reader) = after.wake {
            reader.wake();
        }
        for (receipt, answer) in after.settle {
            receipt.settle(answer);
        }
        drop((after.dropped, after.unused));
        given
    }

    fn write(&self, args: Payload<Cap>, receipt: Receipt) {
        let units = units(args.text());
        self.with(|state, after| {
            if let Some(reason) = &state.refusal {
                after.refuse(receipt, &reason.clone());
                after.dropped.push(args);
            } else if state.ended {
                after.refuse(receipt, &over());
                after.dropped.push(args);
            } else if state.queued_units >= WAITING_MAX {
                let message = format!("limit: UTF-16 units waiting in a stream (at most {WAITING_MAX})");
                let reason = error_payload("RangeError", &message);
                after.refuse(receipt, &reason);
                after.dropped.push(args);
                state.refuse_all(&reason, after);
                state.error = Some(reason);
                after.wake = state.reader.take();
            } else {
                state.queue.push_back(Waiting { args, units, receipt });
                state.queued_units += units;
                state.unaccepted += 1;
                after.wake = state.reader.take();
            }
        });
    }

    fn close(&self, receipt: Receipt) {
        self.with(|state, after| {
            if let Some(reason) = &state.refusal {
                after.refuse(receipt, &reason.clone());
            } else if state.ended {
                after.refuse(receipt, &over());
            } else {
                state.ended = true;
                state.closing = Some(receipt);
                after.wake = state.reader.take();
                if self.used == Use::Read {
                    state.finish_reading(after);
                }
            }
        });
    }

    fn abort(&self, reason: Payload<Cap>, receipt: Receipt) {
        self.with(|state, after| {
            after.accept(receipt);
            if state.refusal.is_some() || state.finished {
                return;
            }
            state.ended = true;
            if self.used == Use::Serve {
                state.refuse_all(&reason, after);
            }
            if let Some(receipt) = state.closing.take() {
                after.refuse(receipt, &reason);
            }
            state.refusal = Some(reason.clone());
            state.error = Some(reason);
            after.wake = state.reader.take();
        });
    }

    fn read(&self, cx: &mut Context<'_>) -> Poll<Taken> {
        self.poll(cx, |state, after| {
            let Some(Waiting { args, units, mut receipt }) = state.queue.pop_front() else {
                return match &state.error {
                    Some(error) => Some(Taken::Failed(error.clone())),
                    None => (state.finished || state.closing.is_some()).then_some(Taken::Closed),
                };
            };
            state.queued_units -= units;
            if self.used == Use::Read {
                state.unaccepted -= 1;
                after.accept(std::mem::take(&mut receipt));
                state.finish_reading(after);
            }
            Some(Taken::Chunk(args, receipt))
        })
    }

    /// Returns the result of `look`. If there is none, registers the reader's waker.
    fn poll<T>(&self, cx: &Context<'_>, look: impl Fn(&mut State, &mut After) -> Option<T>) -> Poll<T> {
        let seen = self.with(|state, after| match look(state, after) {
            Some(found) => Some(Poll::Ready(found)),
            None => state.reader.as_ref().is_some_and(|reader| reader.will_wake(cx.waker())).then_some(Poll::Pending),
        });
        if let Some(seen) = seen {
            return seen;
        }
        // Cloning or dropping a waker may run code of an executor, so neither happens while the pipe is
        // locked.
        let waker = cx.waker().clone();
        self.with(|state, after| {
            let found = look(state, after);
            after.unused = if found.is_some() { Some(waker) } else { state.reader.replace(waker) };
            found.map_or(Poll::Pending, Poll::Ready)
        })
    }
}

/// The writing end. Dropping it without a close aborts the stream.
pub(crate) struct Entry(Arc<Pipe>);

impl Entry {
    /// Returns `true` if a reader in this process holds the reading end.
    pub(crate) fn is_read(&self) -> bool {
        self.0.used == Use::Read && Arc::strong_count(&self.0) > 1
    }

    pub(crate) fn write(&self, args: Payload<Cap>, receipt: Receipt) {
        self.0.write(args, receipt);
    }

    pub(crate) fn close(&self, receipt: Receipt) {
        self.0.close(receipt);
    }

    pub(crate) fn abort(&self, reason: Payload<Cap>, receipt: Receipt) {
        self.0.abort(reason, receipt);
    }

    /// Sets the reason with which the stream is aborted if this end is dropped without a close.
    pub(crate) fn lose_writer(&self, reason: Payload<Cap>) {
        let before = self.0.with(|state, _| state.lost.replace(reason));
        drop(before);
    }

    /// Waits for room. Cancel-safe, like the methods below.
    pub(crate) async fn ready(&self) -> Result<(), Payload<Cap>> {
        self.until(|state| match state.ended {
            true => Some(Err(over())),
            false => (state.queue.len() < self.0.chunks).then_some(Ok(())),
        })
        .await
    }

    /// Waits until everything that was written is accepted.
    pub(crate) async fn flushed(&self) -> Result<(), Payload<Cap>> {
        self.until(|state| (state.unaccepted == 0).then_some(Ok(()))).await
    }

    /// Waits until the close is accepted.
    pub(crate) async fn closed(&self) -> Result<(), Payload<Cap>> {
        self.until(|state| state.finished.then_some(Ok(()))).await
    }

    async fn until(&self, look: impl Fn(&State) -> Option<Result<(), Payload<Cap>>>) -> Result<(), Payload<Cap>> {
        loop {
            let mut changed = std::pin::pin!(self.0.changed.notified());
            // Enabled before the state is read, so that no notification after that is missed.
            changed.as_mut().enable();
            let seen = {
                let state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
                match &state.refusal {
                    Some(reason) => Some(Err(reason.clone())),
                    None => look(&state),
                }
            };
            if let Some(seen) = seen {
                return seen;
            }
            changed.await;
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let (is_over, lost) = {
            let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
            (state.ended || state.refusal.is_some(), state.lost.take())
        };
        if !is_over {
            self.0.abort(lost.unwrap_or_else(unclosed), Receipt::none());
        }
    }
}

/// The reading end. Dropping it refuses the chunks that were not taken.
pub(crate) struct Exit(Arc<Pipe>);

impl Exit {
    /// Returns the next item. The end is returned repeatedly.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Taken> {
        self.0.read(cx)
    }

    /// Refuses the waiting chunks and all later ones.
    pub(crate) fn refuse(&mut self, reason: &Payload<Cap>) {
        self.0.with(|state, after| {
            if !state.finished {
                state.refuse_all(reason, after);
            }
        });
    }

    /// Accepts a chunk on behalf of a sink.
    pub(crate) fn accept(&mut self, receipt: Receipt) {
        self.0.with(|state, after| {
            state.unaccepted -= 1;
            after.accept(receipt);
        });
    }

    /// Accepts the close on behalf of a sink.
    pub(crate) fn accept_close(&mut self) {
        self.0.with(|state, after| state.finish_reading(after));
    }

    /// Returns the error with which the writer ended the stream. Registers the waker if there is none.
    pub(crate) fn poll_error(&mut self, cx: &mut Context<'_>) -> Poll<Payload<Cap>> {
        self.0.poll(cx, |state, _| state.error.clone())
    }
}

impl Drop for Exit {
    fn drop(&mut self) {
        self.refuse(&unread());
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Entry")
    }
}

impl fmt::Debug for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Exit")
    }
}
