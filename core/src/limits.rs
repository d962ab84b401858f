//! Every bound on what a peer can make us hold, with its default and the reason for it.

/// The bounds of one session. Each field says what it bounds and what happens beyond it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of one message. Beyond: the session is aborted (a WebSocket closes with 1009 before
    /// the whole message was read). Default 8 MiB; Cap'n Web itself allows 32 Mi UTF-16 units.
    pub message_bytes: usize,
    /// UTF-16 code units of one message, which is how JavaScript measures text. Beyond: abort.
    /// Default 33,554,432, Cap'n Web's own, which matters only with a larger `message_bytes`.
    pub message_units: usize,
    /// Levels of nesting of a value, counted as Cap'n Web counts: the root is 0. Beyond: abort.
    /// Default 256, Cap'n Web's own; more is refused by official peers.
    pub value_depth: usize,
    /// JSON values in one message. Small values cost far more memory than text, so bytes alone
    /// are no bound. Beyond: abort. Default 1,000,000.
    pub message_nodes: usize,
    /// Characters of a bigint, sign included. Beyond: abort. Default 16,384, Cap'n Web's own.
    pub bigint_chars: usize,
    /// Bytes of one object key, and of one name in a property path. Beyond: abort, or for a name
    /// in a path that call is rejected. Default 64 KiB.
    pub key_bytes: usize,
    /// Steps of a property path. Beyond: that call is rejected. Default 64.
    pub path_steps: usize,
    /// Instructions of one mapper function. Beyond: the map is rejected. Default 1,024.
    pub map_instructions: usize,
    /// Elements of an array that is mapped. Beyond: the map is rejected. Default 10,000.
    pub map_inputs: usize,
    /// Instructions that one map may carry out, for all its elements and in maps inside of it.
    /// Beyond: the map is rejected. Default 100,000.
    pub map_steps: u64,
    /// Work that one message may cause, in bytes of values that are read: looking up parts of them,
    /// mapping them, putting them together. Eight bytes that are copied count one, a look-up 64 and
    /// an instruction of a mapper function 32 more. What waits for a result counts when that is
    /// there. Beyond: the call is rejected. Default 16 MiB, which takes less than 100 ms.
    pub work_bytes: usize,
    /// Entries of each table: exports, imports and promises. Beyond: a new call is rejected; at
    /// twice the number the session is aborted. An entry takes about 400 bytes. Default 65,536.
    pub table_entries: usize,
    /// Bytes that a session holds for its peer: results, errors, calls that wait with their paths
    /// and arguments, arguments of methods that run, chunks that wait for their reader, mapper
    /// functions and what they capture. Text counts what it has, a reference 16 bytes, and a JSON
    /// value among the arguments of a running method 64 bytes beside its text, for what it takes
    /// when it is decoded. Beyond: a new call is rejected; at twice the number the session is
    /// aborted. Default 64 MiB.
    pub held_bytes: usize,
    /// Streams that the peer may have open towards us. Beyond: a new one fails. Default 256.
    pub streams: usize,
    /// Calls that run at the same time; further ones wait in order. Default 1,024.
    pub running_calls: usize,
    /// Bytes of messages waiting to be sent. Beyond: the session is closed, because the peer
    /// does not read. Default 32 MiB.
    pub outbound_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes: 8 << 20,
            message_units: 32 << 20,
            value_depth: 256,
            message_nodes: 1_000_000,
            bigint_chars: 16_384,
            key_bytes: 64 << 10,
            path_steps: 64,
            map_instructions: 1_024,
            map_inputs: 10_000,
            map_steps: 100_000,
            work_bytes: 16 << 20,
            table_entries: 65_536,
            held_bytes: 64 << 20,
            streams: 256,
            running_calls: 1_024,
            outbound_bytes: 32 << 20,
        }
    }
}

impl Limits {
    /// Tighter bounds, for peers that have not been authenticated.
    ///
    /// A thousand such sessions must fit into the memory of a small server, so each may take some
    /// megabytes: messages of 1 MiB and 100,000 values, 4 MiB held, 4 MiB waiting to be sent, 4,096
    /// table entries, which is about 2 MiB. A browser has a few streams and calls open at a time, so 16
    /// and 64 are enough.
    pub fn public() -> Self {
        Self {
            message_bytes: 1 << 20,
            message_nodes: 100_000,
            work_bytes: 4 << 20,
            table_entries: 4_096,
            held_bytes: 4 << 20,
            streams: 16,
            running_calls: 64,
            outbound_bytes: 4 << 20,
            ..Self::default()
        }
    }
}
