//! The loop between a transport and a session. A turn reads the messages that are there, a number of
//! them at most, carries out what comes of them, then writes all that came of it with one flush.
//!
//! Reading and writing are two futures of one task, so a slow write does not stop the reading;
//! what piles up meanwhile is bounded by `Limits::outbound_bytes`.

mod reading;

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Duration;

use crate::endpoint::{Endpoint, Transmit};
use crate::error::ErrorCode;
use crate::link::Attachment;
use crate::peer::carrying::Place;
use crate::peer::leaving::Leaving;
use crate::peer::lines::Joining;
use crate::peer::pause::Pause;
use crate::peer::runtime::{self, Timer};
use crate::peer::shared::Shared;
use crate::peer::transport::{Sending, Transport, TransportEnd};
use crate::session::{Closed, ClosedBy};
use crate::time::Time;

/// How long one write may wait for a peer that does not read.
const STALL: Duration = Duration::from_secs(30);

/// How long a session that is over may take to send its last messages and say good-bye.
const LINGER: Duration = Duration::from_secs(5);

/// How long releases and acks wait for another message to go with: a client that calls again at once
/// gives back its last result in the same write. A shorter wait than a tick of the kernel's clock,
/// 4 ms on many, has a timer set for every call.
const COMPANY_WAIT: Duration = Duration::from_millis(4);

/// Messages, and about how many bytes of them, that are handled, or handed to a transport, under one lock.
const BATCH: usize = 64;
const BATCH_BYTES: usize = 64 << 10;

/// The close code of an ended session; the reason is its error.
const SESSION_OVER: u16 = 3000;

/// The close code of a transport that ended first.
const NORMAL: u16 = 1000;

/// What is said when the driver of a transport was dropped.
const DROPPED: &str = "The connection was dropped.";

/// The longest reason that fits into a WebSocket close frame.
const REASON_BYTES: usize = 123;

/// How a transport's turn at carrying a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The session is over.
    Ended(Closed),
    /// The transport is gone; the session waits for another.
    Detached(TransportEnd),
    /// The session goes on over a newer transport.
    Superseded,
}

/// Runs a session over a transport until one of both ends. `greeting` is sent before all else.
/// Dropping the future ends the transport's turn.
pub(crate) fn drive<T: Transport>(
    shared: Arc<Shared>,
    at: Attachment,
    transport: T,
    greeting: Option<String>,
) -> impl Future<Output = Turn> + Send + 'static {
    let joins_lines = shared.lock().endpoint.joins_lines();
    shared.begin_turn(at);
    let drive = Drive { shared, at, joins_lines, end: OnceLock::new() };
    async move {
        drive.shared.set_host();
        let (mut sender, mut receiver) = transport.split();
        let mut leaving = Leaving::new(drive.shared.options());
        let mut greeting = greeting;
        let own = &drive;
        // A block has what it captures once, a function its parameters twice.
        let reader = async move { own.read(&mut receiver).await };
        let writer = async move { own.write(&mut sender, &mut greeting, &mut leaving).await };
        join(&drive.shared, pin!(reader), pin!(writer)).await;
        drive.over()
    }
}

/// Reads and writes until the writer is through. The reader goes first in every poll: that way
/// the answers to all that was read share a write.
async fn join(
    shared: &Arc<Shared>,
    mut reader: Pin<&mut impl Future<Output = ()>>,
    mut writer: Pin<&mut impl Future<Output = ()>>,
) {
    let mut linger = pin!(linger(shared));
    let mut reading = true;
    poll_fn(|cx| {
        if reading && reader.as_mut().poll(cx).is_ready() {
            reading = false;
        }
        if writer.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        linger.as_mut().poll(cx)
    })
    .await;
}

/// Ends some time after the session did.
async fn linger(shared: &Shared) {
    shared.until_closed().await;
    Box::pin(runtime::sleep(LINGER)).await;
}

/// A transport's turn. The session is told when it is over, however that came to be.
struct Drive {
    shared: Arc<Shared>,
    at: Attachment,
    /// A text may hold several messages.
    joins_lines: bool,
    end: OnceLock<TransportEnd>,
}

impl Drive {
    fn input(&self, input: impl FnOnce(&mut Endpoint) -> bool) -> bool {
        let mut goes_on = false;
        self.shared.input_at(Place::Host, |endpoint| goes_on = input(endpoint)) && goes_on
    }

    /// Sends what the session has to say, and says good-bye when it is over.
    async fn write<S: Sending>(&self, sender: &mut S, greeting: &mut Option<String>, leaving: &mut Leaving) {
        let shared = &self.shared;
        let mut timer = Timer::default();
        let mut waiting = None;
        let mut pause = Pause::default();
        // What the driver of a transport before this one knew, this one does not.
        shared.lock().postpones = false;
        loop {
            let is_behind = shared.work_on();
            // Looked at first: what a session says last is queued before it ends.
            let ended = shared.ended.get();
            let due = match self.send_all(sender, greeting.take(), leaving, &mut waiting).await {
                Ok(due) => due,
                Err(end) => return self.detach(end),
            };
            if shared.turn() != self.at {
                // The wake-up that brought us here may have been for the transport of now.
                shared.wake.notify_one();
                let taken_over = ErrorCode::SessionTakenOver;
                return sender.close(taken_over.close_code(), taken_over.as_str()).await;
            }
            if let Some(closed) = ended {
                // Not resumed when the linger time is over, and not needed then.
                let (code, reason) = self.close_of(closed, leaving);
                return sender.close(code, reason).await;
            }
            if self.end.get().is_some() {
                return;
            }
            if is_behind {
                runtime::yield_once().await;
                continue;
            }
            let rest = if S::FLUSH_IS_DEAR { pause.due(|| shared.now()) } else { None };
            if !self.wait(&mut timer, due.into_iter().chain(rest).min()).await {
                pause.disturb();
                continue;
            }
            if pause.look(shared.now()) {
                shared.lock().shrink();
            }
            if !self.on_time() {
                let message = "The peer has sent nothing for too long.".to_owned();
                return self.detach(TransportEnd::Failed(message));
            }
        }
    }

    /// Sends every message there is, with one flush, but for releases and an ack that have not been
    /// `waiting` for long. Returns when the endpoint wants to be called.
    async fn send_all<S: Sending>(
        &self,
        sender: &mut S,
        greeting: Option<String>,
        leaving: &mut Leaving,
        waiting: &mut Option<Time>,
    ) -> Result<Option<Time>, TransportEnd> {
        if let Some(greeting) = greeting {
            // Alone: a transport keeps the room for what was once written together.
            let greeted = async {
                sender.feed(greeting).await?;
                sender.flush().await
            };
            self.in_time(Box::pin(greeted)).await?;
        }
        let mut fed = false;
        let mut joining = Joining::new(self.joins_lines);
        let due = loop {
            if S::FLUSH_IS_DEAR
                && let Some(until) = self.may_wait(waiting)
            {
                break Some(until);
            }
            let due = self.next_texts(&mut joining, leaving);
            if joining.texts.is_empty() {
                break due;
            }
            sender.try_feed(&mut joining.texts)?;
            while let Some(text) = joining.texts.pop_front() {
                // Seldom, and a future has room for all that it may ever await.
                self.in_time(Box::pin(sender.feed(text))).await?;
            }
            fed = true;
        };
        if fed {
            self.in_time(pin!(sender.flush())).await?;
            self.shared.room.notify_waiters();
        }
        Ok(due)
    }

    /// Writes, unless that takes too long.
    async fn in_time(
        &self,
        mut write: impl Future<Output = Result<(), TransportEnd>> + Unpin,
    ) -> Result<(), TransportEnd> {
        // Most writes end at their first poll.
        match poll_fn(|cx| Poll::Ready(Pin::new(&mut write).poll(cx))).await {
            Poll::Ready(written) => written,
            Poll::Pending => Box::pin(self.stalled(write)).await,
        }
    }

    /// Waits for a write. What other threads leave to the driver is carried out meanwhile.
    async fn stalled(&self, write: impl Future<Output = Result<(), TransportEnd>> + Unpin) -> Result<(), TransportEnd> {
        let mut write = pin!(runtime::within(STALL, write));
        let mut left = pin!(async {
            while self.shared.turn() == self.at {
                self.shared.wake.notified().await;
                self.shared.carry_out(self.shared.lock(), Place::Host);
            }
        });
        let mut carries_out = true;
        let written = poll_fn(|cx| {
            if let Poll::Ready(written) = write.as_mut().poll(cx) {
                return Poll::Ready(written);
            }
            if carries_out && left.as_mut().poll(cx).is_ready() {
                carries_out = false;
                // The wake-up may have been for the driver of the transport that follows.
                self.shared.wake.notify_one();
            }
            Poll::Pending
        })
        .await;
        // There may be something to send.
        self.shared.wake.notify_one();
        written.unwrap_or_else(|| {
            let message = format!("The peer has not read for {} seconds.", STALL.as_secs());
            Err(TransportEnd::Failed(message))
        })
    }

    /// Until when nothing need be sent, or what the endpoint wants before that.
    fn may_wait(&self, waiting: &mut Option<Time>) -> Option<Time> {
        let mut state = self.shared.lock();
        state.postpones = state.endpoint.has_transmit() && state.endpoint.may_wait();
        if !state.postpones {
            *waiting = None;
            return None;
        }
        let now = self.shared.now();
        let until = *waiting.get_or_insert(now) + COMPANY_WAIT;
        (now < until).then(|| state.endpoint.poll_timeout().map_or(until, |due| due.min(until)))
    }

    /// Takes the next texts as they leave, unless the transport is gone. Returns when the endpoint
    /// wants to be called.
    fn next_texts(&self, joining: &mut Joining, leaving: &mut Leaving) -> Option<Time> {
        let (mut taken, mut bytes) = (0, 0);
        while taken < BATCH && bytes < BATCH_BYTES {
            let mut state = self.shared.lock();
            if state.closed.as_ref().is_some_and(|closed| closed.by == ClosedBy::Transport) {
                return None;
            }
            // One that may hold an error is last: what it leaves as is the hook's business, which is
            // not asked under the lock.
            let last = loop {
                let session = &state.endpoint.session;
                let all = (session.transmit_bytes() + session.transmit_len()).saturating_sub(1);
                let Some(Transmit { text, is_final, is_line }) = state.endpoint.next_transmit(self.at) else {
                    self.shared.report_memory(&mut state);
                    return state.endpoint.poll_timeout();
                };
                (taken, bytes) = (taken + 1, bytes + text.len());
                if !is_final && Leaving::concerns(&text) {
                    break text.into_owned();
                }
                joining.push(text, is_line, all);
                if taken == BATCH || bytes >= BATCH_BYTES {
                    return None;
                }
            };
            drop(state);
            // How it leaves is how it is kept: a hook sees every error once.
            let text = leaving.message(last);
            self.shared.lock().endpoint.leaves_as(self.at, &text);
            joining.push(text.into(), false, 0);
        }
        None
    }

    /// Waits until there may be something to do; true when it is `due`. Cancel-safe.
    async fn wait(&self, timer: &mut Timer, due: Option<Time>) -> bool {
        let mut woken = pin!(self.shared.wake.notified());
        // Once it is enabled no newer transport can begin unnoticed.
        woken.as_mut().enable();
        if self.shared.turn() != self.at {
            return false;
        }
        let Some(due) = due else {
            woken.await;
            return false;
        };
        timer.arm(self.shared.instant(due));
        poll_fn(|cx| {
            if woken.as_mut().poll(cx).is_ready() {
                return Poll::Ready(false);
            }
            timer.poll(cx).map(|()| true)
        })
        .await
    }

    /// Lets the endpoint do what is due; false when the peer is dead.
    fn on_time(&self) -> bool {
        let now = self.shared.now();
        let mut alive = true;
        self.shared.input_at(Place::Host, |endpoint| alive = endpoint.handle_timeout(self.at, now));
        alive
    }

    fn detach(&self, end: TransportEnd) {
        // Refused means that it ended before, and that stands.
        drop(self.end.set(end.clone()));
        let now = self.shared.now();
        self.shared.input(|endpoint| endpoint.detach(self.at, now, end.into_closed()));
        self.shared.wake.notify_one();
    }

    /// The code and the reason by which a socket is closed whose session is over.
    fn close_of<'a>(&self, closed: &'a Closed, leaving: &'a Leaving) -> (u16, &'a str) {
        let code = ErrorCode::known(&closed.name).filter(|_| self.shared.lock().endpoint.is_linked());
        match (closed.by, code) {
            (ClosedBy::Transport, _) => (NORMAL, ""),
            (ClosedBy::Us | ClosedBy::Protocol, Some(code)) => (code.close_code(), &closed.name),
            _ => (SESSION_OVER, cut(leaving.reason(&closed.message))),
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
        // May be a thread without the runtime, so what is left to deliver is handed on.
        self.shared.end_turn(self.at);
        self.detach(TransportEnd::Failed(DROPPED.to_owned()));
    }
}

/// As much of `reason` as fits, in whole characters.
fn cut(reason: &str) -> &str {
    let mut end = reason.len().min(REASON_BYTES);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    &reason[..end]
}
