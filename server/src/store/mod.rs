//! Where sessions are kept for the process that comes after the one that holds them.
//!
//! A store answers one question above all: whose is a session? Every process that serves is an
//! *owner* with a lease. A session belongs to one owner, by a [`Fence`]; whoever claims it after
//! the owner's lease is over, or after it was given back, gets the next fence, and everything that
//! is tried with an older one is refused. What a checkpoint holds is none of a store's business.
//!
//! | | [`MemoryStore`] | `SqliteStore` | `RedisStore` |
//! | --- | --- | --- | --- |
//! | feature | – | `sqlite` | `redis` |
//! | shared by | one process | processes of one host | hosts |
//! | survives | nothing | the process; power failure | what the server's own settings survive |
//! | one owner at a time | always | always | except across a failover |
//!
//! A call whose answer is lost (`Unavailable`, or its future was dropped) may have been carried
//! out. Each can be made again: what was done already is not done twice, and a [`Fence`] that
//! was given up or lost is refused.
//!
//! docs/store.md says what each costs and what it takes to run one.

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

/// The right of one owner to one session. It ends when another is given out, when it is given
/// back, and when the session ends.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fence {
    /// The session.
    pub sid: String,
    /// The process.
    pub owner: String,
    /// Rises with every claim, above every epoch of the session that was known to anybody then.
    pub epoch: u64,
}

/// Which checkpoint of a session: later ones are greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Counts the cold restores.
    pub lineage: u64,
    /// Counts the checkpoints.
    pub number: u64,
}

/// The state of a session, and which of its tokens count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Its place.
    pub at: Position,
    /// The epoch in which it was taken.
    pub epoch: u64,
    /// The tokens that counted then. They take the place of those of the checkpoint before.
    pub tokens: Vec<Jti>,
    /// The snapshot.
    pub bytes: Bytes,
}

/// What other owners are told of one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OwnerInfo {
    /// A name that outlives the process, and that one process at a time has.
    pub instance: Option<String>,
    /// Where clients reach this process and no other.
    pub address: Option<String>,
}

/// What an owner that is described does about its instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Its process has begun: the lease of the owner that has the instance ends.
    TakenOver,
    /// Its process goes on, by a new name: it has the instance unless another owner has it by now.
    Kept,
}

/// What became of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It succeeded.
    Claimed(Claimed),
    /// Another owner has the session.
    Held(Held),
    /// There is no such session, or its time is over.
    NotFound,
}

/// A session that belongs to another owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// How long the owner's lease lasts, unless it is renewed.
    pub left: Duration,
    /// Where clients reach that owner and no other, if it has said so.
    pub address: Option<String>,
    /// As in [`Claimed`], as of the newest checkpoint.
    pub known_epoch: u64,
    /// As in [`Claimed`], as of the newest checkpoint.
    pub tokens: Vec<Jti>,
}

/// A session that a client has asked another process for than its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The session.
    pub sid: String,
    /// The token that the client has shown.
    pub token: Jti,
}

/// A session that was claimed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// The right to it.
    pub fence: Fence,
    /// The epoch of the newest checkpoint, 0 without any. A good token of a later one was handed out after it,
    /// and counts although it is not among `tokens`.
    pub known_epoch: u64,
    /// The tokens of epochs up to that one that count.
    pub tokens: Vec<Jti>,
    /// The checkpoints that are there, oldest first.
    pub checkpoints: Vec<Position>,
}

/// What a store knows of the outcome of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// This was recorded.
    Kept(Bytes),
    /// Nothing was recorded.
    Never,
    /// Outcomes of calls up to this one were forgotten, and it may have been among them.
    Forgotten,
}

/// A reference that outlives its session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SturdyRecord {
    /// Whose it is.
    pub owner: String,
    /// What its owner calls it.
    pub label: String,
    /// How the object is made again.
    pub recipe: Bytes,
}

/// A line of a list of references.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SturdyEntry {
    /// Names it, and is where the next page begins.
    pub id: String,
    /// What its owner calls it.
    pub label: String,
}

/// The client that a session is stored for, and how much may be stored for it: snapshots, recorded outcomes, and
/// [`SESSION_BYTES_EACH`] for each session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Names the client. Of printable ASCII without spaces.
    pub account: String,
    /// Bytes of all its sessions together.
    pub bytes: u64,
}

/// Why a store did not do as told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The session belongs to another owner by now or is gone, or the owner's lease is over.
    #[error("fenced: the session or the lease is not this owner's any more")]
    Fenced,
    /// The store cannot be reached or did not answer in time. Whether it did as told is not known.
    #[error("the store is not available: {0}")]
    Unavailable(String),
    /// What was kept is not what comes back.
    #[error("the store is corrupt: {0}")]
    Corrupt(String),
    /// There is no such checkpoint.
    #[error("there is no such checkpoint")]
    NotFound,
    /// The name is taken, by something else.
    #[error("the name is taken")]
    Taken,
    /// A later checkpoint is there already.
    #[error("a later checkpoint is there already")]
    OutOfOrder,
    /// A name that is none: they are of printable ASCII without spaces.
    #[error("{0} is empty, or not of printable ASCII without spaces")]
    Name(&'static str),
    /// More than is kept.
    #[error("{what}: {size}, and {max} at most are kept")]
    TooMuch {
        /// What there is too much of.
        what: &'static str,
        /// How much.
        size: u64,
        /// How much may be.
        max: u64,
    },
    /// The store was written by another version, and nothing in it was changed.
    #[error("the store has layout {found}, and this version reads {known}")]
    Layout {
        /// What is there.
        found: i64,
        /// What can be read.
        known: i64,
    },
}

/// Keeps sessions, outcomes of calls and durable references. Every session operation is
/// conditional on a fence: of two owners that both take a session for their own, one is refused.
///
/// Names and values beyond the bounds of this module are refused, by `Name` and `TooMuch`. No
/// future of a store takes longer than a few seconds. Dropping one leaves unknown whether it
/// was carried out.
#[async_trait]
pub trait SessionStore: Send + Sync + fmt::Debug + 'static {
    /// Begins the lease of an owner, by a name that nobody has used before: it is drawn at random
    /// when the process starts.
    ///
    /// # Errors
    /// `Taken` if there is such an owner.
    async fn open_owner(&self, owner: &str, lease: Duration) -> Result<(), StoreError>;

    /// Says more of an owner, and what becomes of another owner of the same instance. Says the same when
    /// it is called again. A store that does not know of this does nothing.
    ///
    /// # Errors
    /// `Fenced` if the owner's lease is over; `Taken` if it keeps its place and another owner has it.
    async fn describe_owner(&self, _owner: &str, _info: &OwnerInfo, _place: Place) -> Result<(), StoreError> {
        Ok(())
    }

    /// Tells the owner of a session, if it has one, that a client has asked another process for it, and
    /// shown this token. A store that does not know of this does nothing.
    async fn want(&self, _wanted: &Wanted) -> Result<(), StoreError> {
        Ok(())
    }

    /// What was told to an owner by [`want`](Self::want) since this was called last. Called several
    /// times a second. A store that does not know of this returns nothing.
    ///
    /// # Errors
    /// `Fenced` if the owner's lease is over.
    async fn wanted(&self, _owner: &str) -> Result<Vec<Wanted>, StoreError> {
        Ok(Vec::new())
    }

    /// Prolongs a lease: it ends `lease` from now. One that is over stays over, since others may
    /// have acted upon it.
    ///
    /// # Errors
    /// `Fenced` if the lease is over.
    async fn renew_owner(&self, owner: &str, lease: Duration) -> Result<(), StoreError>;

    /// Ends a lease: every session of the owner can be claimed at once. It need not be there.
    async fn close_owner(&self, owner: &str) -> Result<(), StoreError>;

    /// Begins a session, of the first epoch. It is dropped after `lifetime`, owned or not. What is stored of it
    /// counts towards `quota`; without one, nothing bounds it together with others.
    ///
    /// # Errors
    /// `Fenced` if the owner's lease is over, `Taken` if there is such a session, `TooMuch` if the quota is used up.
    async fn create(
        &self,
        sid: &str,
        owner: &str,
        lifetime: Duration,
        quota: Option<&Quota>,
    ) -> Result<Fence, StoreError>;

    /// Takes over a session that has no owner, whose owner's lease is over, whose owner's process has
    /// verifiably ended, or that has the same owner. The new fence's epoch is above `seen`, the highest epoch that the claimant knows of.
    ///
    /// # Errors
    /// `Fenced` if the claimant's own lease is over.
    async fn claim(&self, sid: &str, owner: &str, seen: u64) -> Result<Claim, StoreError>;

    /// Keeps a checkpoint, and drops those before `keep_from`. All of it or nothing is done. The
    /// newest one may be written again.
    ///
    /// # Errors
    /// `Fenced`; `OutOfOrder`; `TooMuch` if the session has too many checkpoints, or its quota is used up.
    async fn checkpoint(&self, fence: &Fence, checkpoint: Checkpoint, keep_from: Position) -> Result<(), StoreError>;

    /// The snapshot of a checkpoint.
    ///
    /// # Errors
    /// `Fenced`; `NotFound`; `Corrupt`, and then an earlier one may be good.
    async fn load(&self, fence: &Fence, at: Position) -> Result<Bytes, StoreError>;

    /// Gives a session back, so that any owner may claim it at once. It is dropped after `unclaimed`, unless it is
    /// claimed by then or its lifetime is over before.
    ///
    /// # Errors
    /// `Fenced`.
    async fn release(&self, fence: &Fence, unclaimed: Duration) -> Result<(), StoreError>;

    /// Ends a session, with its checkpoints and recorded calls.
    ///
    /// # Errors
    /// `Fenced`.
    async fn delete(&self, fence: &Fence) -> Result<(), StoreError>;

    /// Keeps the outcome of a call for as long as the session. The first outcome of a call stays.
    /// Where the outcomes of the session take more than [`RECORDED_BYTES_MAX`], those of the lowest
    /// calls are forgotten, `-n` as `n`; [`recorded`](Self::recorded) says so.
    ///
    /// # Errors
    /// `Fenced`; `TooMuch` if the outcome is too long, or the quota of the session is used up.
    async fn record(&self, fence: &Fence, call: i64, outcome: Bytes) -> Result<(), StoreError>;

    /// The outcome of a call, or what is known of it.
    ///
    /// # Errors
    /// `Fenced`.
    async fn recorded(&self, fence: &Fence, call: i64) -> Result<Recorded, StoreError>;

    /// Keeps a durable reference until it is revoked.
    ///
    /// # Errors
    /// `Taken` if there is another of this name, `TooMuch` if the owner has too many.
    async fn save(&self, id: &str, record: SturdyRecord) -> Result<(), StoreError>;

    /// A durable reference.
    async fn sturdy(&self, id: &str) -> Result<Option<SturdyRecord>, StoreError>;

    /// The references of an owner in the order of their names, those after `after` alone, at most
    /// `limit` and never more than [`LIST_MAX`].
    async fn list_sturdy(&self, owner: &str, after: &str, limit: usize) -> Result<Vec<SturdyEntry>, StoreError>;

    /// Forgets a reference if it is the owner's. Says whether it was there.
    async fn revoke(&self, owner: &str, id: &str) -> Result<bool, StoreError>;

    /// Drops what is past its time, which nobody sees any more even before. Says how many
    /// sessions this was, as far as the store does not do so by itself.
    async fn gc(&self) -> Result<u64, StoreError>;
}

/// Bytes that came back, if they are the ones that were kept.
#[cfg_attr(not(any(feature = "sqlite", feature = "redis")), expect(dead_code, reason = "memory is not checked"))]
fn intact(bytes: Vec<u8>, sum: &str, what: &str) -> Result<Bytes, StoreError> {
    if snapshot_sum(&bytes) == sum {
        Ok(bytes.into())
    } else {
        Err(StoreError::Corrupt(format!("the sum of {what} is not that of its bytes")))
    }
}
