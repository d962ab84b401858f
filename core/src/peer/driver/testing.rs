//! Two connected sessions in one process, for tests and demonstrations. They exchange real text over an
//! in-memory wire, which can be delayed, cut, and inspected.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use crate::peer::driver::connection::Connection;
use crate::peer::driver::options::SessionOptions;
use crate::peer::driver::transport::{Receiving, Sending, Transport, TransportEnd};
use crate::peer::reference::stub::Stub;
use crate::peer::runtime::{self, Instant};

/// Creates two connected sessions whose main objects are `left` and `right`.
///
/// Both sessions are running; this needs a Tokio runtime. By convention the left one is the client.
///
/// ```
/// use bowline_core::peer::{Stub, testing};
///
/// # async fn example() -> Result<(), bowline_core::peer::CallError> {
/// let echo = Stub::function(|mut args| async move { Ok(args.remove(0)) });
/// let pair = testing::pair(None, Some(echo));
/// assert_eq!(pair.left.root_dyn().call("", 7).await?.as_f64(), Some(7.0));
/// assert_eq!(pair.wire.round_trips(), 1);
/// # Ok(())
/// # }
/// ```
pub fn pair(left: Option<Stub>, right: Option<Stub>) -> Pair {
    pair_with(left, right, SessionOptions::default())
}

/// Creates two connected sessions with the given options, such as
/// [`Limits`](crate::limits::Limits). Both are running; this needs a Tokio runtime.
pub fn pair_with(left: Option<Stub>, right: Option<Stub>, options: impl Into<SessionOptions>) -> Pair {
    let options = options.into();
    let (left_end, right_end, wire) = link();
    let (left, left_driver) = Connection::start(left_end, left, options.clone());
    let (right, right_driver) = Connection::start(right_end, right, options);
    for driver in [Box::pin(left_driver) as Driver, Box::pin(right_driver)] {
        runtime::spawn(async move {
            driver.await;
        });
    }
    Pair { left, right, wire }
}

type Driver = std::pin::Pin<Box<dyn Future<Output = crate::session::CloseReason> + Send>>;

/// Creates both ends of a wire, without sessions.
pub fn link() -> (End, End, Wire) {
    let (to_right, from_left) = mpsc::unbounded_channel();
    let (to_left, from_right) = mpsc::unbounded_channel();
    let wire = Wire(Arc::new(Link {
        cut: watch::Sender::new(None),
        delay: Mutex::new(Duration::ZERO),
        crossed: Mutex::new(Vec::new()),
    }));
    let left = End { to: to_right, from: from_right, from_side: Side::Left, wire: wire.clone() };
    let right = End { to: to_left, from: from_left, from_side: Side::Right, wire: wire.clone() };
    (left, right, wire)
}

/// Two running sessions and the wire between them.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The left session, by convention the client.
    pub left: Connection,
    /// The right session.
    pub right: Connection,
    /// The wire between the sessions.
    pub wire: Wire,
}

/// The wire between two sessions.
#[derive(Clone)]
pub struct Wire(Arc<Link>);

struct Link {
    cut: watch::Sender<Option<TransportEnd>>,
    delay: Mutex<Duration>,
    crossed: Mutex<Vec<Message>>,
}

/// The session that sent a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// [`Pair::left`].
    Left,
    /// [`Pair::right`].
    Right,
}

/// A message that was sent over a wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The sender.
    pub from: Side,
    /// The text of the message.
    pub text: String,
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arrow = match self.from {
            Side::Left => '>',
            Side::Right => '<',
        };
        write!(f, "{arrow} {}", self.text)
    }
}

impl Wire {
    /// Cuts the wire in both directions. Messages in flight are lost.
    pub fn cut(&self) {
        self.cut_with(TransportEnd::Failed("The link was cut.".to_owned()));
    }

    /// Cuts the wire in both directions, and reports `end` to both sides.
    pub fn cut_with(&self, end: TransportEnd) {
        self.0.cut.send_replace(Some(end));
    }

    /// Delays every later message by `delay`, in both directions.
    pub fn delay(&self, delay: Duration) {
        *self.0.delay.lock().unwrap_or_else(PoisonError::into_inner) = delay;
    }

    /// Returns all messages so far, in the order in which they were sent.
    pub fn messages(&self) -> Vec<Message> {
        self.0.crossed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns all messages so far, one line each. Lines of the left side begin with `>`, those of the
    /// right with `<`.
    pub fn log(&self) -> Vec<String> {
        self.messages().iter().map(Message::to_string).collect()
    }

    /// Returns the messages since the last call, as [`log`](Self::log) formats them, and clears the log.
    pub fn take_log(&self) -> Vec<String> {
        let taken = std::mem::take(&mut *self.0.crossed.lock().unwrap_or_else(PoisonError::into_inner));
        taken.iter().map(Message::to_string).collect()
    }

    /// Returns the number of round trips: how often messages of the right side follow messages of the
    /// left.
    pub fn round_trips(&self) -> usize {
        let messages = self.messages();
        messages.windows(2).filter(|two| two[0].from == Side::Left && two[1].from == Side::Right).count()
    }

    fn is_cut(&self) -> Option<TransportEnd> {
        self.0.cut.borrow().clone()
    }

    /// Waits until the wire is cut. Cancel-safe.
    async fn until_cut(&self) -> TransportEnd {
        let mut cut = self.0.cut.subscribe();
        // `self` holds the sender, so it cannot be dropped while this waits.
        let seen = cut.wait_for(Option::is_some).await;
        seen.ok().and_then(|end| end.clone()).unwrap_or(TransportEnd::Ended)
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Wire").field(&self.is_cut()).finish()
    }
}

/// One end of a wire.
#[derive(Debug)]
pub struct End {
    to: mpsc::UnboundedSender<Parcel>,
    from: mpsc::UnboundedReceiver<Parcel>,
    from_side: Side,
    wire: Wire,
}

/// A message or the end of the wire, with the time at which it arrives.
type Parcel = (Instant, Result<String, TransportEnd>);

impl Transport for End {
    type Sender = EndSender;
    type Receiver = EndReceiver;

    fn split(self) -> (EndSender, EndReceiver) {
        let sender = EndSender { to: self.to, side: self.from_side, wire: self.wire.clone() };
        (sender, EndReceiver { from: self.from, next: None, wire: self.wire })
    }
}

/// The sending half.
#[derive(Debug)]
pub struct EndSender {
    to: mpsc::UnboundedSender<Parcel>,
    side: Side,
    wire: Wire,
}

impl EndSender {
    fn send(&self, parcel: Result<String, TransportEnd>) {
        let delay = *self.wire.0.delay.lock().unwrap_or_else(PoisonError::into_inner);
        // If the peer is gone, the receiving half reports it.
        let _ = self.to.send((runtime::now() + delay, parcel));
    }
}

impl Sending for EndSender {
    async fn feed(&mut self, text: String) -> Result<(), TransportEnd> {
        if let Some(end) = self.wire.is_cut() {
            return Err(end);
        }
        let message = Message { from: self.side, text: text.clone() };
        self.wire.0.crossed.lock().unwrap_or_else(PoisonError::into_inner).push(message);
        self.send(Ok(text));
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), TransportEnd> {
        Ok(())
    }

    async fn close(&mut self, code: u16, reason: &str) {
        self.send(Err(TransportEnd::Closed { code, reason: reason.to_owned() }));
    }
}

/// The receiving half.
#[derive(Debug)]
pub struct EndReceiver {
    from: mpsc::UnboundedReceiver<Parcel>,
    /// The message in flight; kept here so that a dropped `receive` does not lose it.
    next: Option<Parcel>,
    wire: Wire,
}

impl EndReceiver {
    async fn arrive(&mut self) -> Result<String, TransportEnd> {
        if self.next.is_none() {
            self.next = self.from.recv().await;
        }
        let Some((at, _)) = &self.next else {
            return Err(TransportEnd::Ended);
        };
        if *at > runtime::now() {
            runtime::sleep_until(*at).await;
        }
        match self.next.take() {
            Some((_, parcel)) => parcel,
            None => Err(TransportEnd::Ended),
        }
    }
}

impl Receiving for EndReceiver {
    type Text = String;

    async fn receive(&mut self) -> Result<String, TransportEnd> {
        let wire = self.wire.clone();
        let mut cut = std::pin::pin!(wire.until_cut());
        let mut arrive = std::pin::pin!(self.arrive());
        std::future::poll_fn(|cx| match cut.as_mut().poll(cx) {
            std::task::Poll::Ready(end) => std::task::Poll::Ready(Err(end)),
            std::task::Poll::Pending => arrive.as_mut().poll(cx),
        })
        .await
    }

    fn try_receive(&mut self) -> Option<Result<String, TransportEnd>> {
        if let Some(end) = self.wire.is_cut() {
            return Some(Err(end));
        }
        if self.next.is_none() {
            self.next = self.from.try_recv().ok();
        }
        let (at, _) = self.next.as_ref()?;
        if *at > runtime::now() {
            return None;
        }
        self.next.take().map(|(_, parcel)| parcel)
    }
}
