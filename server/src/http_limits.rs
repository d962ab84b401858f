//! Limits on connections, requests, and batches. The limits of a session are in `Limits`.

use std::time::Duration;

use bowline_transport::KeepAlive;

/// The limits of a server on what it accepts from the network.
///
/// Each field states what it bounds and what happens beyond the limit.
///
/// ```
/// # mod bowline { pub use bowline_server::HttpLimits; }
/// use std::time::Duration;
///
/// use bowline::HttpLimits;
///
/// let limits = HttpLimits::default().connections_per_address(64).batch_time(Duration::from_secs(5));
/// assert_eq!(limits.batch_messages, 1_000);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpLimits {
    /// Connections of [`serve`](crate::Service::serve), and independently of it the open sessions
    /// and running batches of a service. Beyond: 503, unless an address that has more connections
    /// has idle ones; then one of those is closed. Default 10,000.
    pub connections: usize,
    /// Connections of one IPv4 address or one IPv6 /64 network. Only
    /// [`serve`](crate::Service::serve) counts them. Beyond: 503. Raise this behind a proxy that
    /// hides the addresses of clients. Default 256.
    pub connections_per_address: usize,
    /// Connections that speak the link protocol and whose clients have not been admitted yet. They
    /// are shared out by address. Beyond: one of the address that has the most is closed with
    /// `RATE_LIMITED`, silent ones first; the new one is refused if no address has more than its
    /// own. Default 1,000.
    pub unauthenticated: usize,
    /// Bytes of messages and values that all sessions and batches of the service hold for their
    /// peers, counted as for [`Limits::held_bytes`](bowline_core::limits::Limits::held_bytes).
    /// Beyond: sessions are closed with `BUFFER_OVERFLOW`, those without a connection first, the
    /// largest first. Default 1 GiB.
    pub total_held_bytes: usize,
    /// Calls that run at the same time in all sessions and batches of the service.
    /// [`Limits::running_calls`](bowline_core::limits::Limits::running_calls) bounds those of each
    /// session. Beyond: calls wait, those of a session in order, and sessions take turns. Default
    /// 10,000.
    pub running_calls: usize,
    /// Refused tokens per second from one address, over time. Beyond: `RATE_LIMITED`, with the time
    /// to wait. Valid tokens are never delayed. Default 10.
    pub refused_tokens_per_second: u32,
    /// Refused tokens from one address at once. Beyond: `RATE_LIMITED`, with the time to wait.
    /// Default 20.
    pub refused_tokens_burst: u32,
    /// Bytes of the head of a request, at least 8 KiB. Only [`serve`](crate::Service::serve)
    /// applies this. Beyond: 431. Default 16 KiB.
    pub header_bytes: usize,
    /// Headers of a request. Only [`serve`](crate::Service::serve) applies this. Beyond: 431.
    /// Default 64.
    pub headers: usize,
    /// The timeout of each step before a session: reading the head of a request, the root function,
    /// the upgrade. Beyond: the connection is closed, or 504 if the root function is late. Default
    /// 10 s.
    pub handshake: Duration,
    /// When a silent WebSocket is probed and closed. By default, a ping is sent after 25 s, and the
    /// connection is closed 20 s later.
    pub keep_alive: KeepAlive,
    /// Bytes of a batch request. Beyond: 413. Default 8 MiB.
    pub batch_bytes: usize,
    /// Messages of a batch request. Beyond: 429. Default 1,000.
    pub batch_messages: usize,
    /// The timeout of a batch, including the time to read it. Beyond: 408 while the request is
    /// read, 504 while calls run. Default 30 s.
    pub batch_time: Duration,
    /// Bytes of a batch response. Beyond: an `abort` after the messages that fit. Default 25 MB.
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

bowline_core::setters! {
    HttpLimits {
        connections: usize,
        connections_per_address: usize,
        unauthenticated: usize,
        total_held_bytes: usize,
        running_calls: usize,
        refused_tokens_per_second: u32,
        refused_tokens_burst: u32,
        header_bytes: usize,
        headers: usize,
        handshake: Duration,
        keep_alive: KeepAlive,
        batch_bytes: usize,
        batch_messages: usize,
        batch_time: Duration,
        batch_answer_bytes: usize,
    }
}
