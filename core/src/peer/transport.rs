//! What a session needs of whatever carries its messages. Implementations live in the server
//! and client crates and in `testing`.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;

use crate::session::{Closed, ClosedBy};

/// A two-way, ordered, reliable carrier of text messages.
pub trait Transport: Send + 'static {
    /// The half that writes.
    type Sender: Sending;
    /// The half that reads.
    type Receiver: Receiving;

    /// Takes the transport apart. Dropping both halves must end it, whatever state it is in.
    fn split(self) -> (Self::Sender, Self::Receiver);
}

/// A transport that is apart already.
impl<S: Sending, R: Receiving> Transport for (S, R) {
    type Sender = S;
    type Receiver = R;

    fn split(self) -> (S, R) {
        self
    }
}

/// The half of a transport that reads.
pub trait Receiving: Send + 'static {
    /// One message.
    type Text: AsRef<str> + Send + Sync;

    /// The next message. Must be cancel-safe: a dropped call loses nothing.
    fn receive(&mut self) -> impl Future<Output = Result<Self::Text, TransportEnd>> + Send;

    /// A message that can be had without waiting, `None` when there is none. A session reads
    /// everything that is there before it answers, so that many answers share one write.
    fn try_receive(&mut self) -> Option<Result<Self::Text, TransportEnd>> {
        None
    }
}

/// The half of a transport that writes.
pub trait Sending: Send + 'static {
    /// Whether a flush costs much more than a message does. Then a session has releases, which nobody
    /// waits for, wait four milliseconds for other messages to go with.
    const FLUSH_IS_DEAR: bool = false;

    /// Queues one message, waiting when the queue is full. Not resumed once it was dropped, so
    /// it need not be cancel-safe.
    fn feed(&mut self, text: String) -> impl Future<Output = Result<(), TransportEnd>> + Send;

    /// Queues as many messages, from the front, as can be queued without waiting; the others stay.
    /// None by default.
    ///
    /// # Errors
    /// The transport takes no more.
    fn try_feed(&mut self, texts: &mut VecDeque<String>) -> Result<(), TransportEnd> {
        let _ = texts;
        Ok(())
    }

    /// Sends what was queued. Not resumed once it was dropped.
    fn flush(&mut self) -> impl Future<Output = Result<(), TransportEnd>> + Send;

    /// Says good-bye, with a WebSocket close code and a reason of at most 123 bytes; carriers
    /// without codes ignore them. Called at most once, and last. Dropped after some seconds.
    fn close(&mut self, code: u16, reason: &str) -> impl Future<Output = ()> + Send;
}

/// Why a transport gives no more messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransportEnd {
    /// The peer closed it and said why.
    Closed {
        /// The WebSocket close code.
        code: u16,
        /// The peer's words, often empty.
        reason: String,
    },
    /// It broke; in the transport's own words.
    Failed(String),
    /// Something arrived that is no message, such as a binary frame. The session aborts with an
    /// error of this name and message.
    Invalid {
        /// Class of the error, as JavaScript names it.
        name: String,
        /// What was wrong with it.
        message: String,
    },
    /// The peer ended it without a word.
    Ended,
}

impl TransportEnd {
    /// The end of the session that follows from this end.
    pub(crate) fn into_closed(self) -> Closed {
        Closed { by: ClosedBy::Transport, name: "Error".to_owned(), message: self.to_string() }
    }
}

impl fmt::Display for TransportEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // The words of JavaScript peers, which applications match on.
            Self::Closed { code, reason } => write!(f, "Peer closed WebSocket: {code} {reason}"),
            Self::Failed(message) | Self::Invalid { message, .. } => f.write_str(message),
            Self::Ended => f.write_str("Peer closed the connection."),
        }
    }
}

impl std::error::Error for TransportEnd {}
