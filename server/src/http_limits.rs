//! The bounds on HTTP: connections, time and batches. Those of a session are `Limits`.

use std::time::Duration;

use bowline_transport::KeepAlive;

/// What a server accepts of the network. Each field says what it bounds and what happens beyond.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpLimits {
    /// Connections of [`serve`](crate::Service::serve), and beside it the sessions and running
    /// batches of a service wherever it is mounted. Beyond: 503, unless another address has more
    /// connections on which nothing is asked; then one of those is closed. Default 10,000.
    pub connections: usize,
    /// Connections of one address, or of one IPv6 network of 64 bits, which
    /// [`serve`](crate::Service::serve) alone can count. Beyond: 503. Raise it behind a proxy, where all peers have one address. Default 256.
    pub connections_per_address: usize,
    /// Sockets of clients that have the link and are not let in yet. They are shared out by address:
    /// beyond, one of the address that has the most gives way with `RATE_LIMITED`, those that say
    /// nothing first; the new one does if no address has more than its own. Default 1,000.
    pub unauthenticated: usize,
    /// Bytes of messages and values that all sessions and batches of the service hold for their peers together, as
    /// [`Limits::held_bytes`](bowline_core::limits::Limits::held_bytes) counts them for one. Beyond: sessions are
    /// closed with `BUFFER_OVERFLOW`, those without a connection first, the largest first. Default 1 GiB.
    pub total_held_bytes: usize,
    /// Calls that run at the same time in all sessions and batches of the service, beside
    /// [`Limits::running_calls`](bowline_core::limits::Limits::running_calls), which is for each session alone.
    /// Beyond: calls wait, those of a session in their order, and sessions take turns. Default 10,000.
    pub running_calls: usize,
    /// Tokens of one address that are refused each second, over time. Beyond: `RATE_LIMITED`, with
    /// the time to wait. Tokens that are good are never held up. Default 10.
    pub refused_tokens_per_second: u32,
    /// Tokens of one address that are refused at once. Beyond: `RATE_LIMITED`, with the time to
    /// wait. Default 20.
    pub refused_tokens_burst: u32,
    /// Bytes of a request's head, for [`serve`](crate::Service::serve); 8 KiB at least. Beyond:
    /// 431. Default 16 KiB.
    pub header_bytes: usize,
    /// Headers of a request, for [`serve`](crate::Service::serve). Beyond: 431. Default 64.
    pub headers: usize,
    /// How long each step before a session may take: a request's head, the root function, the
    /// upgrade. Beyond: the connection is closed, or 504 if the root function is late. Default 10 s.
    pub handshake: Duration,
    /// How silence on a WebSocket is treated. Default: a ping after 25 s, given up 20 s later.
    pub keep_alive: KeepAlive,
    /// Bytes of a batch request. Beyond: 413. Default 8 MiB.
    pub batch_bytes: usize,
    /// Messages of a batch request. Beyond: 429. Default 1,000.
    pub batch_messages: usize,
    /// How long a batch may take, reading included. Beyond: 408 while the request is read, 504
    /// while calls run. Default 30 s.
    pub batch_time: Duration,
    /// Bytes of a batch answer. Beyond: what fits, and an `abort` that says so. Default 25 MB.
    pub batch_answer_bytes: usize,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            connections_per_address: 256,
            unauthenticated: 1_000,
            total_held_bytes: 1 << 30,
            running_calls: 10_000,
            refused_tokens_per_second: 10,
            refused_tokens_burst: 20,
            header_bytes: 16 << 10,
            headers: 64,
            handshake: Duration::from_secs(10),
            keep_alive: KeepAlive::default(),
            batch_bytes: 8 << 20,
            batch_messages: 1_000,
            batch_time: Duration::from_secs(30),
            batch_answer_bytes: 25_000_000,
        }
    }
}
