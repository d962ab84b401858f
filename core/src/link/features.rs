//! What two peers can do beside carrying messages, one name each. What both can do is live; a
//! frame of anything else is refused.

use crate::limits::Limits;

/// Acks, without which nothing is ever freed. Part of every link of version 1.
pub const ACK: &str = "ack";
/// Pings.
pub const HEARTBEAT: &str = "heartbeat";
/// Sessions that outlive the process of their server, where it keeps them.
pub const DURABLE: &str = "durable";
/// Authority that ends is renewed in the midst of a session.
pub const REFRESH: &str = "refresh";
/// A server that stops says so, and where to go on.
pub const DRAIN: &str = "drain";
/// A client can ask what the session holds.
pub const LIST: &str = "list";
/// Texts of several lines, each of which is a message or a frame.
pub const LINES: &str = "lines";

/// A call with the pull of its result, and releases of results in a row, are one message.
pub const CALLS: &str = "calls";

/// The longest text that has several lines. A peer that takes less does not name [`LINES`].
pub const LINES_BYTES_MAX: usize = 4096;

/// A set of features.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// [`HEARTBEAT`]
    pub heartbeat: bool,
    /// [`DURABLE`]
    pub durable: bool,
    /// [`REFRESH`]
    pub refresh: bool,
    /// [`DRAIN`]
    pub drain: bool,
    /// [`LIST`]
    pub list: bool,
    /// [`LINES`]
    pub lines: bool,
    /// [`CALLS`]
    pub calls: bool,
}

impl Features {
    /// Everything that this version knows.
    pub const ALL: Self =
        Self { heartbeat: true, durable: true, refresh: true, drain: true, list: true, lines: true, calls: true };

    /// What this version can do within these limits.
    pub fn within(limits: &Limits) -> Self {
        Self { lines: limits.message_bytes >= LINES_BYTES_MAX, ..Self::ALL }
    }

    /// Those of these names that this version knows.
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

    /// Their names.
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

    /// What is in both.
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
