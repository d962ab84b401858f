//! The numbers by which a session names things. Wire ids are counted by the peers
//! (protocol: 0 is main, positive ids are counted by the importer, negative ones by the
//! exporter); the others never leave the process.

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
    /// Names something of the peer's that we hold. The peer calls the same number an [`ExportId`].
    ImportId(i64)
}
id! {
    /// Names something of ours that the peer holds.
    ExportId(i64)
}
id! {
    /// Names a local object. What it stands for is known to the peer layer only.
    TargetId(i64)
}
id! {
    /// Names a local result that may not have arrived yet.
    PromiseId(i64)
}
id! {
    /// Names one wait of the application for a result.
    WaitId(i64)
}

impl ImportId {
    /// The peer's main object.
    pub const MAIN: Self = Self(0);
}

impl ExportId {
    /// Our main object.
    pub const MAIN: Self = Self(0);
}

/// The largest magnitude of a wire id: what a JavaScript number holds exactly.
pub const ID_MAX: i64 = 1 << 53;

/// The ids that either side will give next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ids {
    /// Ours, for our next push.
    pub next_positive: i64,
    /// Ours, for the next thing we export.
    pub next_negative: i64,
    /// The peer's, for its next push.
    pub peer_next_positive: i64,
    /// The peer's, for the next thing it exports, as far as we have seen.
    pub peer_next_negative: i64,
}

impl Ids {
    /// The same, as the peer sees it.
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
