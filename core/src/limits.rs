//! Every bound on what a peer can make a session hold or do, with its default and the reason for it.

/// The bounds of one session.
///
/// Each field says what it bounds, what happens when the bound is exceeded, and its default. "Abort"
/// means that the session ends with an error; "reject" means that one call fails.
///
/// ```
/// # mod bowline { pub use bowline_core::limits::Limits; }
/// use bowline::Limits;
///
/// let limits = Limits::public().running_calls(32).message_bytes(256 << 10);
/// assert_eq!(limits.running_calls, 32);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of one message. Beyond: abort; a WebSocket closes with 1009 before the whole message has
    /// been read. Default 8 MiB; Cap'n Web itself allows 32 Mi UTF-16 units.
    pub message_bytes: usize,
    /// UTF-16 code units of one message, which is how JavaScript measures text. Beyond: abort. Default
    /// 33,554,432, the value of Cap'n Web. It matters only if `message_bytes` is larger.
    pub message_units: usize,
    /// Nesting levels of a value, counted as in Cap'n Web: the root is level 0. Beyond: abort. A call
    /// whose arguments are too deep only once results are inserted is rejected. Default 256, the value
    /// of Cap'n Web; official peers refuse more.
    pub value_depth: usize,
    /// JSON values in one message. Small values take far more memory than their text, so a bound on
    /// bytes alone is not enough. Beyond: abort. Default 1,000,000.
    pub message_nodes: usize,
    /// Characters of a bigint, including the sign. Beyond: abort. Default 16,384, the value of Cap'n
    /// Web.
    pub bigint_chars: usize,
    /// Bytes of one object key, and of one name in a property path. Beyond: abort for a key; for a
    /// name, the call is rejected. Default 64 KiB.
    pub key_bytes: usize,
    /// Steps of a property path. Beyond: the call is rejected. Default 64.
    pub path_steps: usize,
    /// Instructions of one mapper function. Beyond: the map is rejected. Default 1,024.
    pub map_instructions: usize,
    /// Elements of an array to be mapped. Beyond: the map is rejected. Default 10,000.
    pub map_inputs: usize,
    /// Instructions that the maps of one message may run, for all their elements and the maps inside of
    /// them. Beyond: the map is rejected. Default 100,000.
    pub map_steps: u64,
    /// Work that one message may cause, in bytes of values read: to look up parts of values, to map
    /// them, and to assemble arguments. Copying 8 bytes counts as 1. A lookup adds 64, an instruction
    /// of a mapper function 32, and a call inside of a value 128. Work that waits for a result counts
    /// when the result arrives. Beyond: the call is rejected. Default 12 MiB, which takes less than
    /// 100 ms and is enough to read the longest message and copy it.
    pub work_bytes: usize,
    /// Entries of each table: exports, imports, and promises. Beyond: a new call is rejected; at twice
    /// the number the session is aborted. An entry takes about 400 bytes. Default 65,536.
    pub table_entries: usize,
    /// Bytes that a session holds for its peer: results, errors, waiting calls with their paths and
    /// arguments, arguments of running methods, chunks that wait for their reader, mapper functions
    /// with their captures, and indexes of large values. Text counts its length, a reference 16 bytes,
    /// and the reader of a stream 10 KiB. If the arguments of a running method are longer than 256
    /// bytes, each JSON value in them counts another 64 bytes, for the memory that it takes once
    /// decoded. Beyond: a new call is rejected; at one and a half times the number the session is
    /// aborted. Default 64 MiB.
    pub held_bytes: usize,
    /// Streams to this side that the peer may have open. Beyond: a new stream fails. Default 256.
    pub streams: usize,
    /// Calls that run concurrently. Further calls wait, in order. Default 1,024.
    pub running_calls: usize,
    /// Bytes of messages that wait to be sent. Beyond: the session is closed, because the peer does
    /// not read. Default 32 MiB.
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
            work_bytes: 12 << 20,
            table_entries: 65_536,
            held_bytes: 64 << 20,
            streams: 256,
            running_calls: 1_024,
            outbound_bytes: 32 << 20,
        }
    }
}

setters! {
    Limits {
        message_bytes: usize,
        message_units: usize,
        value_depth: usize,
        message_nodes: usize,
        bigint_chars: usize,
        key_bytes: usize,
        path_steps: usize,
        map_instructions: usize,
        map_inputs: usize,
        map_steps: u64,
        work_bytes: usize,
        table_entries: usize,
        held_bytes: usize,
        streams: usize,
        running_calls: usize,
        outbound_bytes: usize,
    }
}

impl Limits {
    /// Returns tighter bounds, for peers that have not been authenticated.
    ///
    /// A thousand of these sessions must fit into the memory of a small server, so each may take a few
    /// megabytes: messages of 1 MiB and 100,000 values, 4 MiB held, 4 MiB waiting to be sent, and 4,096
    /// table entries (about 2 MiB). A browser has few streams and calls open at a time, so 16 and 64
    /// are enough.
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
