//! The loop between a transport and a session. A turn reads every message that is there, carries
//! them out one by one, then writes all that came of it with one flush.
//!
//! Reading and writing are two futures of one task, so a slow write does not stop the reading;
//! what piles up meanwhile is bounded by `Limits::outbound_bytes`.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use crate::peer::leaving::Leaving;
use crate::peer::options::Options;
use crate::peer::runtime;
use crate::peer::shared::Shared;
use crate::peer::transport::{Receiving, Sending, Transport, TransportEnd};
use crate::session::{Closed, ClosedBy};

/// How long one write may wait for a peer that does not read.
const STALL: Duration = Duration::from_secs(30);

/// How long a session that is over may take to send its last messages and say good-bye.
const LINGER: Duration = Duration::from_secs(5);

/// Messages read before the first answer is written, so that a peer which never pauses still
/// gets answers.
const TURN: usize = 256;

/// The close code of an ended session; the reason is its error.
const SESSION_OVER: u16 = 3000;

/// The close code of a transport that ended first.
const NORMAL: u16 = 1000;

/// The longest reason that fits into a WebSocket close frame.
const REASON_BYTES: usize = 123;

/// Runs a session over a transport until it ends.
pub(crate) fn drive<T: Transport>(
    shared: Arc<Shared>,
    transport: T,
    options: Options,
) -> impl Future<Output = Closed> + Send + 'static {
    let guard = EndOnDrop(shared);
    async move {
        let shared = &guard.0;
        let (sender, receiver) = transport.split();
        join(shared, read(shared, receiver), write(shared, sender, Leaving::new(options))).await;
        guard.end();
        shared.until_closed().await
    }
}

/// Reads and writes until the writer is through. The reader goes first in every poll: that way
/// the answers to all that was read share a write.
async fn join(shared: &Arc<Shared>, reader: impl Future<Output = ()>, writer: impl Future<Output = ()>) {
    let mut reader = pin!(reader);
    let mut writer = pin!(writer);
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
    runtime::sleep(LINGER).await;
}

/// Hands messages to the session until one of both is over.
async fn read<R: Receiving>(shared: &Arc<Shared>, mut receiver: R) {
    let mut turn = 0;
    loop {
        // Nothing here is cancelled: this future is dropped only with the whole driver.
        let received = match receiver.try_receive() {
            Some(received) => received,
            None => {
                turn = 0;
                receiver.receive().await
            }
        };
        if !take(shared, received) {
            return;
        }
        turn += 1;
        if turn == TURN {
            turn = 0;
            runtime::yield_once().await;
        }
    }
}

/// One thing received; false when nothing more is to be read.
fn take(shared: &Arc<Shared>, received: Result<impl AsRef<str>, TransportEnd>) -> bool {
    match received {
        Ok(text) => shared.input(|session| session.handle_message(text.as_ref())),
        Err(TransportEnd::Invalid { name, message }) => shared.input(|session| session.handle_invalid(&name, &message)),
        Err(end) => shared.input(|session| session.handle_disconnect(end.into_closed())),
    }
}

/// Sends what the session has to say, and says good-bye when it is over.
async fn write<S: Sending>(shared: &Arc<Shared>, mut sender: S, mut leaving: Leaving) {
    loop {
        shared.pump(shared.lock());
        // Looked at first: what a session says last is queued before it ends.
        let ended = shared.ended.borrow().clone();
        if let Err(end) = send_all(shared, &mut sender, &mut leaving).await {
            shared.input(|session| session.handle_disconnect(end.into_closed()));
            return;
        }
        if let Some(closed) = ended {
            // Not resumed when the linger time is over, and not needed then.
            return match closed.by {
                ClosedBy::Transport => sender.close(NORMAL, "").await,
                _ => sender.close(SESSION_OVER, cut(leaving.reason(&closed.message))).await,
            };
        }
        shared.wake.notified().await;
    }
}

/// Sends every message there is, with one flush.
async fn send_all<S: Sending>(shared: &Shared, sender: &mut S, leaving: &mut Leaving) -> Result<(), TransportEnd> {
    let mut fed = false;
    while let Some(text) = next_message(shared) {
        in_time(sender.feed(leaving.message(text))).await?;
        fed = true;
    }
    if fed {
        in_time(sender.flush()).await?;
        shared.room.notify_waiters();
    }
    Ok(())
}

/// The next message, unless the transport is gone.
fn next_message(shared: &Shared) -> Option<String> {
    let mut state = shared.lock();
    match &state.closed {
        Some(closed) if closed.by == ClosedBy::Transport => None,
        _ => state.session.poll_transmit(),
    }
}

async fn in_time(write: impl Future<Output = Result<(), TransportEnd>>) -> Result<(), TransportEnd> {
    runtime::within(STALL, write).await.unwrap_or_else(|| {
        let message = format!("The peer has not read for {} seconds.", STALL.as_secs());
        Err(TransportEnd::Failed(message))
    })
}

/// As much of `reason` as fits, in whole characters.
fn cut(reason: &str) -> &str {
    let mut end = reason.len().min(REASON_BYTES);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    &reason[..end]
}

/// A session ends when nobody drives it any more, however that came to be.
struct EndOnDrop(Arc<Shared>);

impl EndOnDrop {
    fn end(&self) {
        let end = TransportEnd::Failed("The connection was dropped.".to_owned());
        self.0.input(|session| session.handle_disconnect(end.into_closed()));
    }
}

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.end();
    }
}
