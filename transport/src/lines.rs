//! A transport whose messages are the lines of an HTTP request and of its response. It knows
//! nothing of HTTP: its controller puts lines in and takes lines out.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bowline_core::peer::{Receiving, Sending, Transport, TransportEnd};

/// The transport of a batch.
#[derive(Debug)]
pub struct Lines {
    batch: Shared,
}

/// Passes lines to the session of a batch, and takes the lines that it has sent.
#[derive(Clone, Debug)]
pub struct LinesControl {
    batch: Shared,
}

impl Lines {
    /// Creates a transport whose sent lines may have at most `produced_bytes_max` bytes in all,
    /// separators included. A line that exceeds this is dropped and ends the session.
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
    /// Passes the next message to the session.
    pub fn push(&self, line: String) {
        let mut batch = self.batch.lock();
        batch.starved = false;
        batch.incoming.push_back(line);
        let receiver = batch.receiver.take();
        drop(batch);
        wake(receiver);
    }

    /// Ends the transport once the session has taken all lines. Only the first call counts.
    pub fn end(&self, end: TransportEnd) {
        let mut batch = self.batch.lock();
        batch.end.get_or_insert(end);
        let receiver = batch.receiver.take();
        drop(batch);
        wake(receiver);
    }

    /// Waits until the session has handled all lines, which is when it asks for another one.
    /// Cancel-safe. Only one task may wait at a time.
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

    /// Takes the lines that the session has sent since the last call, joined by `\n`.
    pub fn take(&self) -> String {
        std::mem::take(&mut self.batch.lock().produced)
    }

    /// Returns whether a line was dropped because the sent lines would have exceeded the limit.
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

/// The receiving half of [`Lines`].
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

    /// Does not count as asking for another line: a session may look for one before it has handled
    /// those it has.
    fn try_receive(&mut self) -> Option<Result<String, TransportEnd>> {
        self.batch.lock().incoming.pop_front().map(Ok)
    }
}

/// The sending half of [`Lines`].
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
            return Err(TransportEnd::Failed(format!("the answers to the batch exceed {max} bytes")));
        }
        if separator == 1 {
            batch.produced.push('\n');
        }
        batch.produced.push_str(&text);
        Ok(())
    }

    /// Does nothing: the lines are sent when the batch ends.
    async fn flush(&mut self) -> Result<(), TransportEnd> {
        Ok(())
    }

    /// Does nothing: a batch ends with its text.
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
    /// Locks the batch. Nothing that can panic runs while the lock is held, so poisoning is
    /// ignored: wakers are cloned, woken, and dropped outside of the lock.
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
