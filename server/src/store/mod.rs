//! Session stores, from which another process recovers sessions.
//!
//! Every process that serves sessions is an *owner* with a lease. A session belongs to one owner by
//! a [`Fence`]. A process that claims a session after the lease of its owner has ended, or after it
//! was released, gets the next fence, and every operation with an older fence is refused. A store
//! does not interpret checkpoints.
//!
//! | | [`MemoryStore`] | `SqliteStore` | `RedisStore` |
//! | --- | --- | --- | --- |
//! | feature | – | `sqlite` | `redis` |
//! | shared by | one process | processes of one host | hosts |
//! | sessions survive | nothing | a crash of the process, power failure | what the server's settings survive |
//! | one owner at a time | always | always | except across a failover |
//!
//! An operation whose answer is lost (`Unavailable`, or its future was dropped) may have been
//! executed. Each operation can be repeated: what was done before is not done again, and a
//! [`Fence`] that was released or lost is refused.
//!
//! docs/store.md describes the cost of each store and how to operate it.

mod bounds;
mod clock;
mod lease;
mod memory;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bowline_core::resume::{Jti, snapshot_sum};
use bytes::Bytes;

pub use bounds::{
    ADDRESS_BYTES_MAX, CHECKPOINTS_MAX, EPOCH_MAX, LABEL_BYTES_MAX, LIST_MAX, NAME_BYTES_MAX, OUTCOME_BYTES_MAX,
    RECIPE_BYTES_MAX, RECORDED_BYTES_EACH, RECORDED_BYTES_MAX, SESSION_BYTES_EACH, SNAPSHOT_BYTES_MAX, STURDY_MAX,
    TOKENS_MAX,
};
pub use clock::Clock;
pub use lease::Lease;
pub use memory::MemoryStore;
#[cfg(feature = "redis")]
pub use redis::RedisStore;
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteStore;

/// The right of one owner to one session. It ends when another fence is granted, and when the
/// session is released or deleted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fence {
    /// The id of the session.
    pub sid: String,
    /// The name of the owner.
    pub owner: String,
    /// The epoch. It rises with every claim, above every epoch of the session that was known at
    /// that time.
    pub epoch: u64,
}

/// The position of a checkpoint of a session. Later positions are greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The number of recoveries before.
    pub lineage: u64,
    /// The number of the checkpoint.
    pub number: u64,
}

/// The state of a session, and its valid tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The position of the checkpoint.
    pub at: Position,
    /// The epoch in which the checkpoint was taken.
    pub epoch: u64,
    /// The tokens that were valid at that time. They replace those of the previous checkpoint.
    pub tokens: Vec<Jti>,
    /// The snapshot.
    pub bytes: Bytes,
}

/// What an owner tells other owners about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OwnerInfo {
    /// A stable name, which outlives the process and which one process at a time has.
    pub instance: Option<String>,
    /// The URL at which clients reach this process and no other.
    pub address: Option<String>,
}

/// Whether an owner takes over its instance name from another owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The process has just started: the lease of the owner that has the instance ends.
    TakenOver,
    /// The process continues under a new owner name: it keeps the instance, unless another owner
    /// has taken it over.
    Kept,
}

/// The result of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The session was claimed.
    Claimed(Claimed),
    /// Another owner has the session.
    Held(Held),
    /// The session does not exist, or has expired.
    NotFound,
}

/// A session that belongs to another owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// How long the owner's lease lasts unless it is renewed.
    pub left: Duration,
    /// The URL at which clients reach that owner and no other, if it is known.
    pub address: Option<String>,
    /// As in [`Claimed`], at the newest checkpoint.
    pub known_epoch: u64,
    /// As in [`Claimed`], at the newest checkpoint.
    pub tokens: Vec<Jti>,
}

/// A session that a client has requested from another process than its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The id of the session.
    pub sid: String,
    /// The token that the client has presented.
    pub token: Jti,
}

/// A session that was claimed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// The fence of the new owner.
    pub fence: Fence,
    /// The epoch of the newest checkpoint, or 0 if there is none. A token of a later epoch was
    /// minted after the checkpoint, and is valid although it is not among `tokens`.
    pub known_epoch: u64,
    /// The valid tokens of epochs up to `known_epoch`.
    pub tokens: Vec<Jti>,
    /// The positions of the stored checkpoints, oldest first.
    pub checkpoints: Vec<Position>,
}

/// What a store knows about the outcome of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// The recorded outcome.
    Kept(Bytes),
    /// No outcome was recorded.
    Never,
    /// Outcomes of calls up to this one were forgotten. It may have been among them.
    Forgotten,
}

/// A saved reference, which outlives its session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SturdyRecord {
    /// The owner of the reference, a principal.
    pub owner: String,
    /// The label that the owner has given it.
    pub label: String,
    /// The recipe of the object.
    pub recipe: Bytes,
}

/// An entry of a list of saved references.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SturdyEntry {
    /// The id of the reference. The next page begins after it.
    pub id: String,
    /// The label that the owner has given it.
    pub label: String,
}

/// The client that a session is stored for, and how much may be stored for it. Snapshots, recorded
/// outcomes, and [`SESSION_BYTES_EACH`] for each session count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quota {
    /// The name of the client, in printable ASCII without spaces.
    pub account: String,
    /// The maximum number of bytes of all its sessions together.
    pub bytes: u64,
}

/// Why an operation of a store failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another owner has the session, it no longer exists, or the owner's lease has ended.
    #[error("fenced: the owner no longer has the session or the lease")]
    Fenced,
    /// The store is unreachable or did not answer in time. The operation may have been executed.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// What was read is not what was written.
    #[error("the store is corrupt: {0}")]
    Corrupt(String),
    /// There is no checkpoint at this position.
    #[error("the checkpoint does not exist")]
    NotFound,
    /// The name is in use for something else.
    #[error("the name is in use")]
    Taken,
    /// There is a later checkpoint.
    #[error("a later checkpoint exists")]
    OutOfOrder,
    /// A name is empty, or not in printable ASCII without spaces.
    #[error("{0} must be printable ASCII without spaces, and not empty")]
    Name(&'static str),
    /// A limit of the store is exceeded.
    #[error("{what}: {size} exceeds the limit of {max}")]
    TooMuch {
        /// What is limited.
        what: &'static str,
        /// The size that was requested.
        size: u64,
        /// The limit.
        max: u64,
    },
    /// The store was written by another version or program. Nothing in it was changed.
    #[error("the store has layout {found}, but this version supports layout {known}")]
    Layout {
        /// The layout of the store.
        found: i64,
        /// The layout that this version supports.
        known: i64,
    },
}

/// A store of sessions, outcomes of recorded calls, and saved references.
///
/// Every operation on a session is conditional on a fence: of two owners that both believe they
/// have a session, one is refused. Names and values beyond the limits of this module are refused
/// with `Name` and `TooMuch`.
///
/// The futures of a store complete within a few seconds. If one is dropped, the operation may or
/// may not be executed.
///
/// All operations can fail with `Unavailable`; the methods list their other errors.
#[async_trait]
pub trait SessionStore: Send + Sync + fmt::Debug + 'static {
    /// Begins the lease of an owner. The name was never used before: it is chosen at random.
    ///
    /// # Errors
    /// Returns `Taken` if the owner exists.
    async fn open_owner(&self, owner: &str, lease: Duration) -> Result<(), StoreError>;

    /// Describes an owner, and handles another owner with the same instance as `place` says.
    /// Repeating this has no effect. A store without support for it does nothing.
    ///
    /// # Errors
    /// Returns `Fenced` if the owner's lease has ended, and `Taken` if it wants to keep its
    /// instance and another owner has it.
    async fn describe_owner(&self, _owner: &str, _info: &OwnerInfo, _place: Place) -> Result<(), StoreError> {
        Ok(())
    }

    /// Notifies the owner of a session, if there is one, that a client has requested it from
    /// another process with this token. A store without support for this does nothing.
    async fn want(&self, _wanted: &Wanted) -> Result<(), StoreError> {
        Ok(())
    }

    /// Returns the requests of [`want`](Self::want) for an owner since the previous call. This is
    /// called several times a second. A store without support for it returns nothing.
    ///
    /// # Errors
    /// Returns `Fenced` if the owner's lease has ended.
    async fn wanted(&self, _owner: &str) -> Result<Vec<Wanted>, StoreError> {
        Ok(Vec::new())
    }

    /// Extends a lease, so that it ends `lease` from now. A lease that has ended is not extended,
    /// because other owners may have claimed its sessions.
    ///
    /// # Errors
    /// Returns `Fenced` if the lease has ended.
    async fn renew_owner(&self, owner: &str, lease: Duration) -> Result<(), StoreError>;

    /// Completes while the store may take the owner's process for dead, although it runs and its
    /// lease has not ended. The owner then handles no messages until it has renewed its lease, which
    /// fails with `Unavailable` as long as this lasts. A store that judges owners by their leases
    /// alone never completes it. Cancel-safe.
    async fn doubted(&self, _owner: &str) {
        std::future::pending().await
    }

    /// Ends a lease, so that the sessions of the owner can be claimed at once. Succeeds if the
    /// owner does not exist.
    async fn close_owner(&self, owner: &str) -> Result<(), StoreError>;

    /// Creates a session in the first epoch. It is dropped after `lifetime`, even if it has an
    /// owner. What is stored of it counts against `quota`. Without a quota, it is not limited
    /// together with other sessions.
    ///
    /// # Errors
    /// Returns `Fenced` if the owner's lease has ended, `Taken` if the session exists, and
    /// `TooMuch` if the quota is exhausted.
    async fn create(
        &self,
        sid: &str,
        owner: &str,
        lifetime: Duration,
        quota: Option<&Quota>,
    ) -> Result<Fence, StoreError>;

    /// Claims a session. Succeeds if it has no owner or the same owner, if the owner's lease has
    /// ended, or if the owner's process has verifiably ended. The epoch of the new fence is above
    /// `seen`, the highest epoch that the claimant knows.
    ///
    /// # Errors
    /// Returns `Fenced` if the claimant's lease has ended.
    async fn claim(&self, sid: &str, owner: &str, seen: u64) -> Result<Claim, StoreError>;

    /// Stores a checkpoint, and drops those before `keep_from`. This is atomic. The newest
    /// checkpoint may be written again.
    ///
    /// # Errors
    /// Returns `Fenced`, `OutOfOrder` if there is a later checkpoint, and `TooMuch` if the session
    /// has too many checkpoints or its quota is exhausted.
    async fn checkpoint(&self, fence: &Fence, checkpoint: Checkpoint, keep_from: Position) -> Result<(), StoreError>;

    /// Returns the snapshot of a checkpoint.
    ///
    /// # Errors
    /// Returns `Fenced`, `NotFound`, and `Corrupt` if the snapshot is damaged. An earlier
    /// checkpoint may be intact then.
    async fn load(&self, fence: &Fence, at: Position) -> Result<Bytes, StoreError>;

    /// Releases a session, so that any owner may claim it at once. It is dropped after `unclaimed`,
    /// unless it is claimed before or its lifetime ends earlier.
    ///
    /// # Errors
    /// Returns `Fenced`.
    async fn release(&self, fence: &Fence, unclaimed: Duration) -> Result<(), StoreError>;

    /// Deletes a session with its checkpoints and recorded calls.
    ///
    /// # Errors
    /// Returns `Fenced`.
    async fn delete(&self, fence: &Fence) -> Result<(), StoreError>;

    /// Records the outcome of a call for as long as the session. The first outcome of a call is
    /// kept. If the outcomes of the session exceed [`RECORDED_BYTES_MAX`], those of the lowest
    /// calls are forgotten, where `-n` counts as `n`; [`recorded`](Self::recorded) reports that.
    ///
    /// # Errors
    /// Returns `Fenced`, and `TooMuch` if the outcome is too long or the quota is exhausted.
    async fn record(&self, fence: &Fence, call: i64, outcome: Bytes) -> Result<(), StoreError>;

    /// Declares the outcomes of calls up to this one forgotten, where `-n` counts as `n`: for those
    /// without an outcome, [`recorded`](Self::recorded) returns [`Recorded::Forgotten`]. Recorded
    /// outcomes are kept.
    ///
    /// # Errors
    /// Returns `Fenced`.
    async fn forget(&self, fence: &Fence, call: i64) -> Result<(), StoreError>;

    /// Returns what is known about the outcome of a call.
    ///
    /// # Errors
    /// Returns `Fenced`.
    async fn recorded(&self, fence: &Fence, call: i64) -> Result<Recorded, StoreError>;

    /// Saves a reference until it is revoked.
    ///
    /// # Errors
    /// Returns `Taken` if there is another reference with this id, and `TooMuch` if the owner has
    /// too many.
    async fn save(&self, id: &str, record: SturdyRecord) -> Result<(), StoreError>;

    /// Returns a saved reference.
    async fn sturdy(&self, id: &str) -> Result<Option<SturdyRecord>, StoreError>;

    /// Lists the references of an owner after the id `after`, sorted by id. Returns at most `limit`
    /// and never more than [`LIST_MAX`].
    async fn list_sturdy(&self, owner: &str, after: &str, limit: usize) -> Result<Vec<SturdyEntry>, StoreError>;

    /// Deletes a saved reference if it belongs to the owner. Returns whether it did.
    async fn revoke(&self, owner: &str, id: &str) -> Result<bool, StoreError>;

    /// Deletes expired state, which is not visible even before. Returns the number of deleted
    /// sessions, not counting those that the store expires by itself.
    async fn gc(&self) -> Result<u64, StoreError>;
}

/// Returns bytes that were read, if they have the checksum of those that were written.
#[cfg_attr(
    not(any(feature = "sqlite", feature = "redis")),
    expect(dead_code, reason = "snapshots in memory are not checked")
)]
fn intact(bytes: Vec<u8>, sum: &str, what: &str) -> Result<Bytes, StoreError> {
    if snapshot_sum(&bytes) == sum {
        Ok(bytes.into())
    } else {
        Err(StoreError::Corrupt(format!("the checksum of {what} does not match")))
    }
}
