//! The link, the layer that lets a session outlive its connection; see docs/link.md.
//!
//! It numbers messages, keeps them until the peer acknowledges them, and detects dead peers. To the
//! link, messages are opaque texts. Numbers start at 1 and count messages, not frames; they are not
//! transmitted. One connection at a time is attached, and texts of all others are ignored.

mod attached;
mod control;
pub mod features;
mod frame;
mod greeting;
pub mod handshake;
mod list;
mod machine;
mod retain;
mod role;
mod secret;
mod tokens;

use std::time::Duration;

pub(crate) use control::FrameEffect;
pub use control::Refresh;
pub use features::Features;
pub use frame::Frame;
pub use greeting::{
    ClientIdentity, Covers, Credentials, Drain, Hello, Lease, Left, Mode, Refused, Resume, Resumed, RuntimeIdentity,
    SharedLimits, Ticket, TrustLevel, Welcome,
};
pub use list::{LIST_DEFAULT, LIST_MAX, List, ListFilter, ObjectEntry, ObjectKind, ObjectStatus, Objects};
pub use machine::LinkStats;
pub(crate) use machine::{Heard, Link};
pub(crate) use role::{ClientState, DrainState, RoleState, ServerState, TokenAck};
pub use secret::Secret;

/// The WebSocket subprotocol that selects the link. Clients offer it behind a random one, because
/// some servers select the first that is offered, whatever it is.
pub const SUBPROTOCOL: &str = "bowline.v1";

/// The end of the link that this side is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The side that connects.
    Client,
    /// The side that keeps the session.
    Server,
}

/// Timeouts and limits of a link.
///
/// ```
/// # mod bowline { pub mod link { pub use bowline_core::link::LinkRules; } }
/// use std::time::Duration;
///
/// use bowline::link::LinkRules;
///
/// let rules = LinkRules::default().heartbeat(Duration::from_secs(10)).dead_after(Duration::from_secs(25));
/// assert_eq!(rules.retain_messages, 4_096);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinkRules {
    /// The silence after which the peer is sent a ping. Default 20 s.
    pub heartbeat: Duration,
    /// The silence after which the connection is closed. Default 40 s.
    pub dead_after: Duration,
    /// The number of unacknowledged messages after which an ack is due. Default 32.
    pub ack_messages: u64,
    /// The number of unacknowledged bytes after which an ack is due. Default 64 KiB.
    pub ack_bytes: usize,
    /// The time after which a message is acknowledged at the latest. Default 100 ms.
    pub ack_after: Duration,
    /// The maximum size of the retransmit buffer, in bytes. When it is full, messages wait while
    /// there is a connection. Without one, a client refuses new calls, and a server ends the
    /// session, both with `BUFFER_OVERFLOW`. Default 4 MiB.
    pub retain_bytes: usize,
    /// The maximum number of messages in the retransmit buffer. Beyond it, the same happens as
    /// beyond `retain_bytes`. Default 4,096.
    pub retain_messages: usize,
    /// How long calls may run after the client has closed the session. Default 5 s.
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

setters! {
    LinkRules {
        heartbeat: Duration,
        dead_after: Duration,
        ack_messages: u64,
        ack_bytes: usize,
        ack_after: Duration,
        retain_bytes: usize,
        retain_messages: usize,
        close_grace: Duration,
    }
}

/// Identifies one connection among those that a session has had. Later ones compare greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attachment(pub(crate) u64);

impl Attachment {
    /// The only attachment of an endpoint without a link.
    pub const PLAIN: Self = Self(0);
}
