//! The loop between a transport and a session. It handles a batch of incoming messages, carries out the
//! outputs of the session, and writes everything that results from them with one flush.
//!
//! Reading and writing are two futures of one task, so a slow write does not stop the reading. What
//! accumulates meanwhile is bounded by `Limits::outbound_bytes`.

mod aside;
mod batching;
pub(crate) mod connection;
mod idle_shrink;
pub(crate) mod kept_references;
mod lines;
mod link_owner;
pub(crate) mod memory_shares;
pub(crate) mod options;
mod reading;
pub mod testing;
pub(crate) mod transport;

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Poll, ready};
use std::time::Duration;

use crate::endpoint::{Endpoint, Transmit};
use crate::error::ErrorCode;
use crate::link::Attachment;
use crate::peer::driver::aside::Aside;
use crate::peer::driver::batching::BATCHING;
use crate::peer::driver::idle_shrink::IdleDetector;
use crate::peer::driver::lines::Joining;
use crate::peer::driver::transport::{Sending, Transport, TransportEnd};
use crate::peer::host::outgoing_errors::OutgoingErrors;
use crate::peer::host::outputs::Place;
use crate::peer::host::shared::Shared;
use crate::peer::runtime::{self, Timer};
use crate::session::{CloseReason, ClosedBy};
use crate::time::Time;

/// The timeout of a write to a peer that does not read.
const STALL: Duration = Duration::from_secs(30);

/// How long an ended session may take to send its last messages and close its transport.
const LINGER: Duration = Duration::from_secs(5);

/// The close code of a session that ended. The reason is the session's error.
const SESSION_OVER: u16 = 3000;

/// The close code if the transport ended first.
const NORMAL: u16 = 1000;

/// The message if the driver of a transport was dropped.
const DROPPED: &str = "The connection was dropped.";

/// The longest reason that fits into a WebSocket close frame.
const REASON_BYTES: usize = 123;

/// How a transport stopped carrying a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The session has ended.
    Ended(CloseReason),
    /// The transport has ended. The session waits for another one.
    Detached(TransportEnd),
    /// The session continues on a newer transport.
    Superseded,
}

/// Runs a session over a transport until either ends. Sends `greeting` first. Dropping the future
/// detaches the transport.
pub(crate) fn drive<T: Transport>(
    shared: Arc<Shared>,
    at: Attachment,
    transport: T,
    greeting: Option<String>,
) -> impl Future<Output = Turn> + Send + 'static {
    let joins_lines = shared.lock().endpoint.joins_lines();
    shared.begin_turn(at);
    let drive = Drive {
        shared,
        at,
        joins_lines,
        has_news: AtomicBool::new(false),
        aside: Aside::default(),
        end: OnceLock::new(),
    };
    async move {
        drive.shared.set_host();
        let (mut sender, mut receiver) = transport.split();
        let mut errors = OutgoingErrors::new(drive.shared.settings().on_send_error.clone());
        let mut greeting = greeting;
        let own = &drive;
        // An async block stores its captures once; an async function stores its parameters twice.
        let reader = async move { own.read(&mut receiver).await };
        let writer = async move { own.write(&mut sender, &mut greeting, &mut errors).await };
        join(&drive, pin!(reader), pin!(writer)).await;
        drive.over()
    }
}

/// Reads and writes until the writer completes. The reader is polled first, so that the answers to all
/// messages that were read share a write.
async fn join(
    drive: &Drive,
    mut reader: Pin<&mut impl Future<Output = ()>>,
    mut writer: Pin<&mut impl Future<Output = ()>>,
) {
    let mut linger = pin!(linger(&drive.shared));
    let mut reading = true;
    poll_fn(|cx| {
        ready!(drive.aside.poll(cx));
        if reading && reader.as_mut().poll(cx).is_ready() {
            reading = false;
        }
        if drive.aside.is_running() {
            // The reader has yielded, so this task is woken. The writer would wait for the session's lock.
            return Poll::Pending;
        }
        if writer.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        linger.as_mut().poll(cx)
    })
    .await;
}

/// Completes some time after the session has ended.
async fn linger(shared: &Shared) {
    shared.until_closed().await;
    Box::pin(runtime::sleep(LINGER)).await;
}

/// The result of taking texts.
struct Taken {
    /// The time at which the endpoint needs to be called.
    due: Option<Time>,
    /// Whether all texts were taken.
    is_all: bool,
}

/// A transport that carries a session. Detaches it when dropped.
struct Drive {
    shared: Arc<Shared>,
    at: Attachment,
    /// Whether a text may contain several messages.
    joins_lines: bool,
    /// Set by the reader when the writer has something to do. Both belong to one task and the writer is
    /// polled after the reader, so a notification would only cause a second poll of the task.
    has_news: AtomicBool,
    aside: Aside,
    end: OnceLock<TransportEnd>,
}

impl Drive {
    /// Passes an input of the reader to the endpoint.
    fn input(&self, input: impl FnOnce(&mut Endpoint) -> bool) -> bool {
        let mut goes_on = false;
        let (is_open, is_wanted) = self.shared.input_at(Place::Driver(self.at), |endpoint| goes_on = input(endpoint));
        if is_wanted {
            self.has_news.store(true, Ordering::Relaxed);
        }
        is_open && goes_on
    }

    /// Sends the messages of the session, and closes the transport when the session has ended.
    async fn write<S: Sending>(&self, sender: &mut S, greeting: &mut Option<String>, errors: &mut OutgoingErrors) {
        let shared = &self.shared;
        let mut timer = Timer::default();
        let mut waiting = None;
        let mut idle = IdleDetector::default();
        // The new driver does not know which releases the previous one had postponed.
        shared.lock().postpones = false;
        loop {
            let is_behind = shared.drain_outputs_for(self.at);
            // Read before sending: the last messages of a session are queued before it ends.
            let ended = shared.ended.get();
            let due = match self.send_all(sender, greeting.take(), errors, &mut waiting).await {
                Ok(due) => due,
                Err(end) => return self.detach(end),
            };
            if shared.turn() != self.at {
                // The wake-up may have been meant for the driver of the newer transport, so pass it on.
                shared.wake.notify_one();
                let taken_over = ErrorCode::SessionTakenOver;
                return sender.close(taken_over.close_code(), taken_over.as_str()).await;
            }
            if let Some(closed) = ended {
                // May be dropped when the linger time is over, which does no harm.
                let (code, reason) = self.close_of(closed, errors);
                return sender.close(code, reason).await;
            }
            if self.end.get().is_some() {
                return;
            }
            if is_behind {
                Box::pin(self.work()).await;
                continue;
            }
            let rest = if S::EXPENSIVE_FLUSH { idle.due(|| shared.now()) } else { None };
            if !self.wait(&mut timer, due.into_iter().chain(rest).min()).await {
                idle.record_activity();
                continue;
            }
            if idle.check(shared.now()) {
                shared.lock().shrink();
            }
            if !self.on_time() {
                let message = "The peer has sent nothing for too long.".to_owned();
                return self.detach(TransportEnd::Failed(message));
            }
        }
    }

    /// Sends all messages with one flush, except releases and acks that are still being delayed, since
    /// `waiting`. Returns the time at which the endpoint needs to be called.
    async fn send_all<S: Sending>(
        &self,
        sender: &mut S,
        greeting: Option<String>,
        errors: &mut OutgoingErrors,
        waiting: &mut Option<Time>,
    ) -> Result<Option<Time>, TransportEnd> {
        if let Some(greeting) = greeting {
            // Flushed separately: a transport keeps a buffer as large as its largest write.
            let greeted = async {
                sender.feed(greeting).await?;
                sender.flush().await
            };
            self.in_time(Box::pin(greeted)).await?;
        }
        let mut fed = false;
        let mut joining = Joining::new(self.joins_lines);
        let due = loop {
            if S::EXPENSIVE_FLUSH
                && let Some(until) = self.may_wait(waiting)
            {
                break Some(until);
            }
            let Taken { due, is_all } = self.next_texts(&mut joining, errors);
            if joining.texts.is_empty() {
                break due;
            }
            sender.try_feed(&mut joining.texts)?;
            while let Some(text) = joining.texts.pop_front() {
                // Rarely needed, so boxed: a future reserves space for everything that it may await.
                self.in_time(Box::pin(sender.feed(text))).await?;
            }
            fed = true;
            if is_all {
                *waiting = None;
                break due;
            }
        };
        if fed {
            self.in_time(pin!(sender.flush())).await?;
            self.shared.room.notify_waiters();
        }
        Ok(due)
    }

    /// Awaits a write, with a timeout.
    async fn in_time(
        &self,
        mut write: impl Future<Output = Result<(), TransportEnd>> + Unpin,
    ) -> Result<(), TransportEnd> {
        // Most writes complete at their first poll.
        match poll_fn(|cx| Poll::Ready(Pin::new(&mut write).poll(cx))).await {
            Poll::Ready(written) => written,
            Poll::Pending => Box::pin(self.stalled(write)).await,
        }
    }

    /// Waits for a pending write. Meanwhile, carries out the outputs that other threads leave to the driver.
    async fn stalled(&self, write: impl Future<Output = Result<(), TransportEnd>> + Unpin) -> Result<(), TransportEnd> {
        let mut write = pin!(runtime::within(STALL, write));
        let mut left = pin!(async {
            while self.shared.turn() == self.at {
                self.shared.wake.notified().await;
                self.shared.drain_outputs(self.shared.lock(), Place::Driver(self.at));
            }
        });
        let mut carries_out = true;
        let written = poll_fn(|cx| {
            if let Poll::Ready(written) = write.as_mut().poll(cx) {
                return Poll::Ready(written);
            }
            if carries_out && left.as_mut().poll(cx).is_ready() {
                carries_out = false;
                // The wake-up may have been meant for the driver of the next transport.
                self.shared.wake.notify_one();
            }
            Poll::Pending
        })
        .await;
        // Wake-ups were consumed above, and there may be something to send.
        self.shared.wake.notify_one();
        written.unwrap_or_else(|| {
            let message = format!("The peer has not read for {} seconds.", STALL.as_secs());
            Err(TransportEnd::Failed(message))
        })
    }

    /// Returns the time until which sending can be delayed, or an earlier timeout of the endpoint. Returns
    /// `None` if there is something to send now.
    fn may_wait(&self, waiting: &mut Option<Time>) -> Option<Time> {
        let mut state = self.shared.lock();
        state.postpones = state.endpoint.has_transmit() && state.endpoint.may_wait();
        if !state.postpones {
            *waiting = None;
            return None;
        }
        let now = self.shared.now();
        let until = *waiting.get_or_insert(now) + BATCHING.coalesce;
        (now < until).then(|| state.endpoint.poll_timeout().map_or(until, |due| due.min(until)))
    }

    /// Takes the next texts to send, unless the transport has ended.
    fn next_texts(&self, joining: &mut Joining, errors: &mut OutgoingErrors) -> Taken {
        let (mut taken, mut bytes) = (0, 0);
        while taken < BATCHING.locked_messages && bytes < BATCHING.locked_bytes {
            let mut state = self.shared.lock();
            if state.closed.as_ref().is_some_and(|closed| closed.by == ClosedBy::Transport) {
                return Taken { due: None, is_all: true };
            }
            // A text that may contain an error ends this loop: the hook for errors runs without the lock.
            let last = loop {
                let session = &state.endpoint.session;
                let all = (session.transmit_bytes() + session.transmit_len()).saturating_sub(1);
                let Some(Transmit { text, source }) = state.endpoint.next_transmit(self.at) else {
                    self.shared.report_memory(&mut state);
                    // Nothing is left to postpone: the next message has to wake this driver.
                    state.postpones = false;
                    return Taken { due: state.endpoint.poll_timeout(), is_all: true };
                };
                (taken, bytes) = (taken + 1, bytes + text.len());
                if source.may_have_error() && OutgoingErrors::may_be_in(&text) {
                    break text.into_owned();
                }
                joining.push(text, source.is_line(), all);
                if taken == BATCHING.locked_messages || bytes >= BATCHING.locked_bytes {
                    return Taken { due: None, is_all: false };
                }
            };
            drop(state);
            // The retransmit buffer gets the text as it was sent, so that the hook sees every error once.
            let text = errors.message(last);
            self.shared.lock().endpoint.leaves_as(self.at, &text);
            joining.push(text.into(), false, 0);
        }
        Taken { due: None, is_all: false }
    }

    /// Waits for a wake-up or until `due`. Returns `true` if `due` was reached. Cancel-safe.
    async fn wait(&self, timer: &mut Timer, due: Option<Time>) -> bool {
        let mut woken = pin!(self.shared.wake.notified());
        // Enabled before the check, so that a newer transport cannot be attached unnoticed.
        woken.as_mut().enable();
        if self.shared.turn() != self.at {
            return false;
        }
        if let Some(due) = due {
            timer.arm(self.shared.instant(due));
        }
        poll_fn(|cx| {
            if self.has_news.swap(false, Ordering::Relaxed) || woken.as_mut().poll(cx).is_ready() {
                return Poll::Ready(false);
            }
            if due.is_some() { timer.poll(cx).map(|()| true) } else { Poll::Pending }
        })
        .await
    }

    /// Handles a timeout of the endpoint. Returns `false` if the peer is considered dead.
    fn on_time(&self) -> bool {
        let now = self.shared.now();
        let mut alive = true;
        // The caller is the writer, which sends next, so it need not be woken.
        self.shared.input_at(Place::Driver(self.at), |endpoint| alive = endpoint.handle_timeout(self.at, now));
        alive
    }

    fn detach(&self, end: TransportEnd) {
        // An earlier end takes precedence.
        drop(self.end.set(end.clone()));
        self.shared.input(|endpoint| endpoint.detach(self.at, end.into_closed()));
        self.shared.wake.notify_one();
    }

    /// Returns the close code and the reason for a transport whose session has ended.
    fn close_of<'a>(&self, closed: &'a CloseReason, errors: &'a OutgoingErrors) -> (u16, &'a str) {
        let code = closed.cause.code().filter(|_| self.shared.lock().endpoint.is_linked());
        match (closed.by, code) {
            (ClosedBy::Transport, _) => (NORMAL, ""),
            (ClosedBy::Local | ClosedBy::Protocol, Some(code)) => (code.close_code(), code.as_str()),
            _ => (SESSION_OVER, cut(errors.reason(&closed.message))),
        }
    }

    fn over(self) -> Turn {
        self.detach(TransportEnd::Failed(DROPPED.to_owned()));
        if let Some(closed) = self.shared.lock().endpoint.session.closed() {
            return Turn::Ended(closed.clone());
        }
        if self.shared.turn() != self.at {
            return Turn::Superseded;
        }
        Turn::Detached(self.end.get().cloned().unwrap_or(TransportEnd::Ended))
    }
}

impl Drop for Drive {
    fn drop(&mut self) {
        // This thread may be outside of the runtime, so the remaining deliveries are left to another.
        self.shared.end_turn(self.at);
        self.detach(TransportEnd::Failed(DROPPED.to_owned()));
    }
}

/// Truncates `reason` to what fits into a close frame, at a character boundary.
fn cut(reason: &str) -> &str {
    let mut end = reason.len().min(REASON_BYTES);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    &reason[..end]
}
