//! The traits of a transport, which carries the messages of a session. Implementations are in the
//! server and client crates and in `testing`.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;

use crate::session::{CloseReason, ClosedBy};

/// A bidirectional, ordered, reliable transport of text messages.
pub trait Transport: Send + 'static {
    /// The sending half.
    type Sender: Sending;
    /// The receiving half.
    type Receiver: Receiving;

    /// Splits the transport. Dropping both halves must end it in every state.
    fn split(self) -> (Self::Sender, Self::Receiver);
}

/// A transport that is split already.
impl<S: Sending, R: Receiving> Transport for (S, R) {
    type Sender = S;
    type Receiver = R;

    fn split(self) -> (S, R) {
        self
    }
}

/// The receiving half of a transport.
pub trait Receiving: Send + 'static {
    /// The type of one message.
    type Text: AsRef<str> + Send + Sync;

    /// Returns the next message. Must be cancel-safe: dropping the future must not lose a message.
    fn receive(&mut self) -> impl Future<Output = Result<Self::Text, TransportEnd>> + Send;

    /// Returns a message that is available without waiting, or `None`. A session reads all available
    /// messages before it answers, so that many answers share one write.
    fn try_receive(&mut self) -> Option<Result<Self::Text, TransportEnd>> {
        None
    }
}

/// The sending half of a transport.
pub trait Sending: Send + 'static {
    /// Whether a flush costs much more than a message. If so, a session delays releases and acks by up to
    /// four milliseconds, so that they share a write with other messages.
    const EXPENSIVE_FLUSH: bool = false;

    /// Queues one message, and waits while the queue is full. It is not called again after its future was
    /// dropped, so it need not be cancel-safe.
    fn feed(&mut self, text: String) -> impl Future<Output = Result<(), TransportEnd>> + Send;

    /// Removes messages from the front of `texts` and queues them, as many as possible without waiting. The
    /// default implementation queues none.
    ///
    /// # Errors
    /// The transport has ended.
    fn try_feed(&mut self, texts: &mut VecDeque<String>) -> Result<(), TransportEnd> {
        let _ = texts;
        Ok(())
    }

    /// Sends the queued messages. It is not called again after its future was dropped.
    fn flush(&mut self) -> impl Future<Output = Result<(), TransportEnd>> + Send;

    /// Closes the transport, with a WebSocket close code and a reason of at most 123 bytes. Transports
    /// without close codes ignore both. This is the last call, made at most once, and its future is
    /// dropped after a few seconds.
    fn close(&mut self, code: u16, reason: &str) -> impl Future<Output = ()> + Send;
}

/// The reason that a transport delivers no more messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransportEnd {
    /// The peer closed it with a code and a reason.
    Closed {
        /// The WebSocket close code.
        code: u16,
        /// The reason that the peer gave, often empty.
        reason: String,
    },
    /// It failed, with this message.
    Failed(String),
    /// The peer sent something other than a message, such as a binary frame. The session is aborted with an
    /// error of this name and message.
    Invalid {
        /// The class of the error, as in JavaScript.
        name: String,
        /// The message of the error.
        message: String,
    },
    /// The peer ended it without giving a reason.
    Ended,
}

impl TransportEnd {
    /// Returns the end of a session whose transport ended in this way.
    pub(crate) fn into_closed(self) -> CloseReason {
        CloseReason::new(ClosedBy::Transport, "Error", self.to_string())
    }
}

impl fmt::Display for TransportEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // The text of JavaScript peers. Applications match on it.
            Self::Closed { code, reason } => write!(f, "Peer closed WebSocket: {code} {reason}"),
            Self::Failed(message) | Self::Invalid { message, .. } => f.write_str(message),
            Self::Ended => f.write_str("the peer closed the connection"),
        }
    }
}

impl std::error::Error for TransportEnd {}
