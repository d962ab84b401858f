//! A session whose messages are the lines of one HTTP request and of its answer. Nothing here
//! knows HTTP: one side puts lines in and takes lines out, the session sees a transport.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bowline_core::peer::{Receiving, Sending, Transport, TransportEnd};

/// A batch as a transport of a session.
#[derive(Debug)]
pub struct Lines {
    batch: Shared,
}

/// Puts lines into the session of a batch and takes out what it produced.
#[derive(Clone, Debug)]
pub struct LinesControl {
    batch: Shared,
}

impl Lines {
    /// A batch whose produced lines may have `produced_bytes_max` bytes in all, separators
    /// included. The line that would go beyond is not kept, and ends the session.
    pub fn new(produced_bytes_max: usize) -> (Self, LinesControl) {
        let batch = Shared(Arc::new(Mutex::new(Batch {
            incoming: VecDeque::new(),
            end: None,
            produced: String::new(),
            produced_bytes_max,
            overflowed: false,
            starved: false,
            receiver: None,
            watcher: None,
        })));
        (Self { batch: batch.clone() }, LinesControl { batch })
    }
}

impl LinesControl {
    /// Hands the session its next message.
    pub fn push(&self, line: String) {
        let mut batch = self.batch.lock();
        batch.starved = false;
        batch.incoming.push_back(line);
        let receiver = batch.receiver.take();
        drop(batch);
        wake(receiver);
    }

    /// Ends the transport when the session has taken all lines. The first end stands.
    pub fn end(&self, end: TransportEnd) {
        let mut batch = self.batch.lock();
        batch.end.get_or_insert(end);
        let receiver = batch.receiver.take();
        drop(batch);
        wake(receiver);
    }

    /// Waits until the session asks for more lines than there are, which it does when it has
    /// handled all of them. Cancel-safe; one waiter at a time.
    pub async fn starved(&self) {
        poll_fn(|cx| {
            let waker = cx.waker().clone();
            let mut batch = self.batch.lock();
            let is_starved = batch.starved;
            let unused = if is_starved { Some(waker) } else { batch.watcher.replace(waker) };
            drop(batch);
            drop(unused);
            if is_starved { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Takes what the session produced since the last call: lines joined by `\n`.
    pub fn take(&self) -> String {
        std::mem::take(&mut self.batch.lock().produced)
    }

    /// Whether a line was dropped because the produced lines were too many bytes.
    pub fn overflowed(&self) -> bool {
        self.batch.lock().overflowed
    }
}

impl Transport for Lines {
    type Sender = LinesSender;
    type Receiver = LinesReceiver;

    fn split(self) -> (LinesSender, LinesReceiver) {
        (LinesSender { batch: self.batch.clone() }, LinesReceiver { batch: self.batch })
    }
}

/// Hands the session the lines of a batch.
#[derive(Debug)]
pub struct LinesReceiver {
    batch: Shared,
}

impl LinesReceiver {
    fn poll_line(&self, cx: &mut Context<'_>) -> Poll<Result<String, TransportEnd>> {
        if let Some(next) = self.batch.lock().next() {
            return Poll::Ready(next);
        }
        let waker = cx.waker().clone();
        let mut batch = self.batch.lock();
        let next = batch.next();
        let (unused, watcher) = if next.is_some() {
            (Some(waker), None)
        } else {
            batch.starved = true;
            (batch.receiver.replace(waker), batch.watcher.take())
        };
        drop(batch);
        drop(unused);
        wake(watcher);
        next.map_or(Poll::Pending, Poll::Ready)
    }
}

impl Receiving for LinesReceiver {
    type Text = String;

    /// Cancel-safe: a line is taken only in the poll that returns it.
    async fn receive(&mut self) -> Result<String, TransportEnd> {
        poll_fn(|cx| self.poll_line(cx)).await
    }

    /// Does not count as asking for more: a session may look before it handles what it has.
    fn try_receive(&mut self) -> Option<Result<String, TransportEnd>> {
        self.batch.lock().incoming.pop_front().map(Ok)
    }
}

/// Collects the lines a session produces.
#[derive(Debug)]
pub struct LinesSender {
    batch: Shared,
}

impl Sending for LinesSender {
    /// Never waits.
    async fn feed(&mut self, text: String) -> Result<(), TransportEnd> {
        let mut batch = self.batch.lock();
        let separator = usize::from(!batch.produced.is_empty());
        if batch.overflowed || batch.produced.len() + separator + text.len() > batch.produced_bytes_max {
            batch.overflowed = true;
            let max = batch.produced_bytes_max;
            return Err(TransportEnd::Failed(format!("the batch produced more than {max} bytes")));
        }
        if separator == 1 {
            batch.produced.push('\n');
        }
        batch.produced.push_str(&text);
        Ok(())
    }

    /// Does nothing: a batch has no way out before its end.
    async fn flush(&mut self) -> Result<(), TransportEnd> {
        Ok(())
    }

    /// Does nothing: the end of a batch is the end of its text.
    async fn close(&mut self, _code: u16, _reason: &str) {}
}

struct Batch {
    incoming: VecDeque<String>,
    end: Option<TransportEnd>,
    produced: String,
    produced_bytes_max: usize,
    overflowed: bool,
    starved: bool,
    receiver: Option<Waker>,
    watcher: Option<Waker>,
}

impl Batch {
    fn next(&mut self) -> Option<Result<String, TransportEnd>> {
        self.incoming.pop_front().map(Ok).or_else(|| self.end.clone().map(Err))
    }
}

#[derive(Clone)]
struct Shared(Arc<Mutex<Batch>>);

impl Shared {
    /// Nothing that can panic runs while the lock is held: no waker is cloned, woken or dropped.
    fn lock(&self) -> MutexGuard<'_, Batch> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let batch = self.lock();
        f.debug_struct("Batch")
            .field("incoming", &batch.incoming.len())
            .field("produced_bytes", &batch.produced.len())
            .finish_non_exhaustive()
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}
