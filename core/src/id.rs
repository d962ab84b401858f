//! The ids that a session assigns. Wire ids are allocated by the peers: 0 is the main object, the
//! importer allocates positive ids, and the exporter negative ones. The other ids never leave the
//! process.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($int:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $int);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// An id of something that the peer exports and this side holds. To the peer, the same number is an
    /// [`ExportId`].
    ImportId(i64)
}
id! {
    /// An id of something that this side exports and the peer holds.
    ExportId(i64)
}
id! {
    /// An id of a local object. Only the peer layer knows the object.
    TargetId(i64)
}
id! {
    /// An id of a local promise.
    PromiseId(i64)
}
id! {
    /// An id of one wait for a result by the application.
    WaitId(i64)
}

impl ImportId {
    /// The peer's main object.
    pub const MAIN: Self = Self(0);
}

impl ExportId {
    /// This side's main object.
    pub const MAIN: Self = Self(0);
}

/// The largest magnitude of a wire id. A JavaScript number holds integers up to it exactly.
pub const ID_MAX: i64 = 1 << 53;

/// The ids that each side allocates next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ids {
    /// The id of this side's next push.
    pub next_positive: i64,
    /// The id of this side's next export.
    pub next_negative: i64,
    /// The id of the peer's next push.
    pub peer_next_positive: i64,
    /// The id of the peer's next export, as far as this side has seen.
    pub peer_next_negative: i64,
}

impl Ids {
    /// Returns the same ids from the peer's point of view.
    #[must_use]
    pub fn of_peer(self) -> Self {
        Self {
            next_positive: self.peer_next_positive,
            next_negative: self.peer_next_negative,
            peer_next_positive: self.next_positive,
            peer_next_negative: self.next_negative,
        }
    }
}
