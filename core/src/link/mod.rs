//! The link: what lets a session outlive its transport. It numbers the messages of both
//! directions without writing the numbers down, keeps what the peer has not confirmed, and tells
//! a silent peer from a dead one.
//!
//! Messages are opaque text here. Numbers begin at 1 and count messages, never frames. One
//! transport at a time is attached; what comes from any other is not looked at.

mod control;
pub mod features;
mod frame;
mod greeting;
pub mod handshake;
mod list;
mod machine;
mod retain;
mod secret;
mod tokens;

use std::time::Duration;

pub(crate) use control::Asked;
pub use control::Refresh;
pub use features::Features;
pub use frame::Frame;
pub use greeting::{
    ClientIdentity, Covers, Credentials, Drain, Hello, Lease, Left, Mode, Refused, Resume, Resumed, RuntimeIdentity,
    SharedLimits, Ticket, TrustLevel, Welcome,
};
pub use list::{EntryKind, LIST_DEFAULT, LIST_MAX, List, ListFilter, ObjectEntry, Objects, Status};
pub(crate) use machine::Link;
pub use machine::LinkStats;
pub use secret::Secret;

/// The subprotocol by which client and server agree to use the link.
pub const SUBPROTOCOL: &str = "bowline.v1";

/// The header by which a server confirms the link in its answer to the handshake. Some servers
/// echo any subprotocol that is offered; none echoes this.
pub const CONFIRMATION: &str = "bowline-link";

/// Which end of the link this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The one that dials.
    Client,
    /// The one that keeps the session.
    Server,
}

/// Times and bounds of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinkRules {
    /// A peer that sent nothing for so long is sent a ping. Default 20 s.
    pub heartbeat: Duration,
    /// A transport that brought nothing for so long is given up. Default 40 s.
    pub dead_after: Duration,
    /// Messages after which the peer is told that they arrived. Default 32.
    pub ack_messages: u64,
    /// Bytes of messages after which it is told. Default 64 KiB.
    pub ack_bytes: usize,
    /// Time after which it is told. Default 100 ms.
    pub ack_after: Duration,
    /// Bytes of messages that are kept until the peer has confirmed them. Beyond: while there is
    /// a transport, messages wait; without, a client refuses new calls and a server gives the
    /// session up, both with `BUFFER_OVERFLOW`. Default 4 MiB.
    pub retain_bytes: usize,
    /// Messages that are kept. Beyond: as `retain_bytes`. Default 4,096.
    pub retain_messages: usize,
    /// How long calls run on when the client has closed the session. Default 5 s.
    pub close_grace: Duration,
}

impl Default for LinkRules {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(20),
            dead_after: Duration::from_secs(40),
            ack_messages: 32,
            ack_bytes: 64 << 10,
            ack_after: Duration::from_millis(100),
            retain_bytes: 4 << 20,
            retain_messages: 4_096,
            close_grace: Duration::from_secs(5),
        }
    }
}

/// One transport's turn at carrying a session. Later ones are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attachment(pub(crate) u64);

/// Where both sides stand when a transport begins its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Joint {
    /// The number of our last message that the peer has carried out.
    pub peer_processed: u64,
    /// The number after which the peer's messages follow; `None` is wherever we are.
    pub peer_sends_after: Option<u64>,
    /// What both can do.
    pub features: Features,
}
