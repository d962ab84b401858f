//! Optional features of the link. A feature is live if both sides name it; frames of other features
//! are refused.

use crate::limits::Limits;

/// Acks. Part of every link of version 1: without them, nothing could be removed from the
/// retransmit buffer.
pub const ACK: &str = "ack";
/// Pings and pongs.
pub const HEARTBEAT: &str = "heartbeat";
/// Checkpoints: sessions that another server process can recover. Live where the server stores the
/// session.
pub const DURABLE: &str = "durable";
/// Requests for new credentials during a session.
pub const REFRESH: &str = "refresh";
/// Announcements that a server is about to stop, and where to reconnect.
pub const DRAIN: &str = "drain";
/// Requests to list what the session holds.
pub const LIST: &str = "list";
/// Texts of several lines, each of which is a message or a frame.
pub const LINES: &str = "lines";

/// Joined messages: a call together with the pull of its result, and consecutive releases.
pub const CALLS: &str = "calls";

/// The maximum length of a text that has several lines, in bytes. A peer that accepts only shorter
/// texts does not name [`LINES`].
pub const LINES_BYTES_MAX: usize = 4096;

/// A set of features.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// See [`HEARTBEAT`].
    pub heartbeat: bool,
    /// See [`DURABLE`].
    pub durable: bool,
    /// See [`REFRESH`].
    pub refresh: bool,
    /// See [`DRAIN`].
    pub drain: bool,
    /// See [`LIST`].
    pub list: bool,
    /// See [`LINES`].
    pub lines: bool,
    /// See [`CALLS`].
    pub calls: bool,
}

impl Features {
    /// All features of this version.
    pub const ALL: Self =
        Self { heartbeat: true, durable: true, refresh: true, drain: true, list: true, lines: true, calls: true };

    /// Returns the features that are supported within `limits`.
    pub fn within(limits: &Limits) -> Self {
        Self { lines: limits.message_bytes >= LINES_BYTES_MAX, ..Self::ALL }
    }

    /// Returns the features among `names` that this version supports.
    pub fn of(names: &[String]) -> Self {
        let has = |name: &str| names.iter().any(|theirs| theirs == name);
        Self {
            heartbeat: has(HEARTBEAT),
            durable: has(DURABLE),
            refresh: has(REFRESH),
            drain: has(DRAIN),
            list: has(LIST),
            lines: has(LINES),
            calls: has(CALLS),
        }
    }

    /// Returns the names of the features, [`ACK`] included.
    pub fn names(self) -> Vec<String> {
        let Self { heartbeat, durable, refresh, drain, list, lines, calls } = self;
        let all = [
            (true, ACK),
            (heartbeat, HEARTBEAT),
            (durable, DURABLE),
            (refresh, REFRESH),
            (drain, DRAIN),
            (list, LIST),
            (lines, LINES),
            (calls, CALLS),
        ];
        all.into_iter().filter(|(has, _)| *has).map(|(_, name)| name.to_owned()).collect()
    }

    /// Returns the features that are in both sets.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            heartbeat: self.heartbeat && other.heartbeat,
            durable: self.durable && other.durable,
            refresh: self.refresh && other.refresh,
            drain: self.drain && other.drain,
            list: self.list && other.list,
            lines: self.lines && other.lines,
            calls: self.calls && other.calls,
        }
    }
}
