//! The events of a link, for the application.

use std::time::{Duration, SystemTime};

use crate::error::ErrorCode;
use crate::link::Drain;
use crate::time::UnixTime;

/// A change in the state of a session with a link.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkEvent {
    /// The connection was lost. The session continues: calls wait for a new connection.
    Detached {
        /// What happened to the connection.
        reason: String,
    },
    /// The session resumed on a new connection. Nothing was lost.
    Resumed {
        /// The number of messages that are retransmitted.
        resent: u64,
    },
    /// A new connection reached another server process, which recovered the session. Some objects
    /// and calls may be lost.
    Recovered {
        /// The number of calls that are retransmitted.
        resent: usize,
        /// The number of calls that failed with `CALL_OUTCOME_UNKNOWN`.
        unknown: usize,
        /// The number of calls that failed with `CALL_NOT_ATTEMPTED`.
        not_attempted: usize,
        /// The number of references that were lost.
        lost: usize,
    },
    /// On a client that reattached: the server has reported what it still holds. Calls made before
    /// this event would be undone.
    Reattached,
    /// On a server: another client process reattached to the session. What that client did not keep
    /// is released.
    Restarted {
        /// The number of calls to the client that failed because its process was replaced.
        unknown: usize,
        /// The number of references to objects of the client that were lost.
        lost: usize,
    },
    /// The server is about to stop. If the session is stored, new calls wait until another process
    /// has recovered it. Otherwise calls can still be made, and the session ends with the server.
    Draining {
        /// When the server will have stopped, if it has said so.
        deadline: Option<SystemTime>,
        /// The minimum time before the client reconnects.
        retry_after: Option<Duration>,
        /// The address to reconnect to, if it is not the same.
        resume_url: Option<String>,
    },
    /// The peer acknowledges messages more slowly than they are sent: more than three quarters of
    /// the retransmit buffer is in use.
    PeerSlow {
        /// Bytes that are not acknowledged.
        retained_bytes: usize,
        /// Messages that are not acknowledged.
        retained_messages: usize,
    },
    /// The session has ended, and not by this side.
    Lost {
        /// The reason, as a code.
        code: ErrorCode,
        /// The reason, as a message.
        message: String,
    },
}

impl LinkEvent {
    pub(super) fn draining(drain: Drain) -> Self {
        Self::Draining {
            deadline: drain.deadline.and_then(|seconds| UnixTime(seconds).to_system_time()),
            retry_after: drain.retry_after_ms.map(Duration::from_millis),
            resume_url: drain.resume_url,
        }
    }
}
