//! How the driver batches messages.
//!
//! A batch is what the driver handles before it writes. The driver reads every text that is there, passes the
//! messages of a batch to the session under one lock, carries out the outputs, and writes all replies with one
//! flush. Small batches let the peer work on the replies while this side handles the rest; large ones save
//! writes. So a batch is small after idle and doubles while more messages are there than it takes. Releases and
//! acks, which nothing waits for, are delayed to share a write with a message that something waits for. A
//! session that is idle frees the memory that its batches needed.

use std::time::Duration;

/// The sizes and times of batches.
pub(super) struct Batching {
    /// Messages handled before the replies to them are written: after idle, and at most.
    pub(super) messages: usize,
    pub(super) messages_max: usize,
    /// Texts, and about how many bytes, that are taken from a transport before the session handles them.
    pub(super) read_texts: usize,
    pub(super) read_bytes: usize,
    /// Messages, and about how many bytes, that are handled, or given to a transport, under one lock.
    pub(super) locked_messages: usize,
    pub(super) locked_bytes: usize,
    /// How long a release or an ack may be delayed so that it shares a write (compare Nagle's algorithm). A
    /// client that calls again at once then releases its last result in the same write. A delay shorter than a
    /// tick of the kernel's clock, 4 ms on many systems, would set a timer for every call.
    pub(super) coalesce: Duration,
    /// The interval of checks for idleness. An idle session is detected within twice this time.
    pub(super) idle_check: Duration,
}

pub(super) const BATCHING: Batching = Batching {
    messages: 32,
    messages_max: 256,
    read_texts: 64,
    read_bytes: 4 << 10,
    locked_messages: 64,
    locked_bytes: 64 << 10,
    coalesce: Duration::from_millis(4),
    idle_check: Duration::from_millis(100),
};
