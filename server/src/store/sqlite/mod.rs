//! A store in a SQLite file, which several processes of one host may share.
//!
//! The file must be on a local disk: locks and shared memory of network file systems are not
//! reliable.

mod alive;
mod batch;
mod pool;
mod schema;
mod sql;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use rusqlite::Connection;

use self::alive::Alive;
use self::pool::{Fault, Pool, Role, Turn};
use self::sql::Millis;
use super::{
    Checkpoint, Claim, Clock, Fence, LIST_MAX, OwnerInfo, Place, Position, Quota, Recorded, SessionStore, StoreError,
    SturdyEntry, SturdyRecord, Wanted, bounds,
};

/// The number of connections that only read.
const READERS: usize = 3;

/// A store in a SQLite file. What was acknowledged is on disk.
#[derive(Clone, Debug)]
pub struct SqliteStore {
    writer: Arc<Pool>,
    /// Checkpoints may be large, so they have a connection of their own: sessions are opened,
    /// claimed, and closed between two of them.
    checkpoints: Arc<Pool>,
    /// Leases must not wait behind checkpoints, because the process would lose its sessions if it
    /// could not renew its lease in time.
    leases: Arc<Pool>,
    readers: Arc<Pool>,
    alive: Arc<Alive>,
    clock: Clock,
}

impl SqliteStore {
    /// Opens a file, or creates it with permissions for its owner only. This blocks the thread,
    /// usually for milliseconds.
    ///
    /// # Errors
    /// Returns `Unavailable` if the file cannot be opened, `Layout` if it belongs to another
    /// version or program, and `Corrupt` if it is not a database.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, StoreError> {
        Self::open_with_clock(path, Clock::system())
    }

    /// Opens a file with a clock, which all processes that open the file must share. Otherwise the
    /// same as [`open`](Self::open).
    ///
    /// # Errors
    /// Returns the errors of [`open`](Self::open).
    pub fn open_with_clock(path: impl Into<PathBuf>, clock: Clock) -> Result<Self, StoreError> {
        let path = path.into();
        let turn = Turn::new();
        let writer = Pool::new(path.clone(), Role::Write(turn.clone()));
        writer.open_one()?;
        let alive = Arc::new(Alive::new(&path));
        let checkpoints = Arc::new(Pool::new(path.clone(), Role::Write(turn.clone())));
        let leases = Arc::new(Pool::new(path.clone(), Role::Lease(turn)));
        let readers = Arc::new(Pool::new(path, Role::Read(READERS)));
        Ok(Self { writer: Arc::new(writer), checkpoints, leases, readers, alive, clock })
    }

    /// Runs `work` in a transaction. No other writer runs meanwhile.
    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection, Millis) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.writer.write(0, self.now(), work).await
    }

    /// Changes the lease of an owner, ahead of other queued writes.
    async fn write_lease<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection, Millis) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.leases.write(0, self.now(), work).await
    }

    /// Returns the time as a function.
    fn now(&self) -> impl Fn() -> Millis + Clone + Send + 'static {
        let clock = self.clock.clone();
        move || millis(clock.now())
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection, Millis) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        let clock = self.clock.clone();
        let run = move |connection: &mut Connection| {
            // A transaction, so that several reads see the same state.
            let transaction = connection.transaction()?;
            work(&transaction, millis(clock.now()))
        };
        self.readers.run(run).await
    }
}

fn millis(duration: Duration) -> Millis {
    Millis::try_from(duration.as_millis()).unwrap_or(Millis::MAX)
}

#[async_trait]
impl SessionStore for SqliteStore {
    async fn open_owner(&self, owner: &str, lease: Duration) -> Result<(), StoreError> {
        bounds::name("the name of an owner", owner)?;
        let (owner, alive) = (owner.to_owned(), Arc::clone(&self.alive));
        let open = move |db: &Connection, now: Millis| {
            let locked = alive.lock(&owner);
            let opened = sql::open_owner(db, &owner, locked, now, millis(lease), &|other| alive.is_dead(other));
            if locked && opened.is_err() {
                alive.unlock(&owner);
            }
            opened
        };
        self.write_lease(open).await
    }

    async fn describe_owner(&self, owner: &str, info: &OwnerInfo, place: Place) -> Result<(), StoreError> {
        bounds::owner_info(info)?;
        let (owner, info) = (owner.to_owned(), info.clone());
        self.write_lease(move |db, now| sql::describe_owner(db, &owner, &info, place, now)).await
    }

    async fn want(&self, wanted: &Wanted) -> Result<(), StoreError> {
        bounds::wanted(wanted)?;
        let wanted = wanted.clone();
        self.write_lease(move |db, _| sql::want(db, &wanted)).await
    }

    async fn wanted(&self, owner: &str) -> Result<Vec<Wanted>, StoreError> {
        let of = owner.to_owned();
        let wanted = self.read(move |db, now| sql::wanted(db, &of, now)).await?;
        if !wanted.is_empty() {
            let (owner, told) = (owner.to_owned(), wanted.clone());
            self.write_lease(move |db, _| sql::clear_wanted(db, &owner, &told)).await?;
        }
        Ok(wanted)
    }

    async fn renew_owner(&self, owner: &str, lease: Duration) -> Result<(), StoreError> {
        let owner = owner.to_owned();
        self.write_lease(move |db, now| sql::renew_owner(db, &owner, now, millis(lease))).await
    }

    async fn close_owner(&self, owner: &str) -> Result<(), StoreError> {
        let owner = owner.to_owned();
        let alive = Arc::clone(&self.alive);
        let close = move |db: &Connection, _| {
            sql::close_owner(db, &owner)?;
            alive.unlock(&owner);
            Ok(())
        };
        self.write_lease(close).await
    }

    async fn create(
        &self,
        sid: &str,
        owner: &str,
        lifetime: Duration,
        quota: Option<&Quota>,
    ) -> Result<Fence, StoreError> {
        bounds::name("the name of a session", sid)?;
        bounds::quota(quota)?;
        let quota = quota.cloned();
        let fence = Fence { sid: sid.to_owned(), owner: owner.to_owned(), epoch: 1 };
        let create = move |db: &Connection, now: Millis| {
            sql::create(db, &fence, quota.as_ref(), now, now.saturating_add(millis(lifetime))).map(|()| fence)
        };
        self.write(create).await
    }

    async fn claim(&self, sid: &str, owner: &str, seen: u64) -> Result<Claim, StoreError> {
        bounds::epoch(seen)?;
        let (sid, owner, alive) = (sid.to_owned(), owner.to_owned(), Arc::clone(&self.alive));
        let claim = move |db: &Connection, now: Millis| {
            sql::claim(db, &sid, &owner, seen, now, &|holder| alive.is_dead(holder))
        };
        self.write(claim).await
    }

    async fn checkpoint(&self, fence: &Fence, checkpoint: Checkpoint, keep_from: Position) -> Result<(), StoreError> {
        bounds::checkpoint(&checkpoint)?;
        bounds::position(keep_from)?;
        let fence = fence.clone();
        let bytes = checkpoint.bytes.len();
        let put = move |db: &Connection, now: Millis| sql::checkpoint(db, &fence, &checkpoint, keep_from, now);
        self.checkpoints.write(bytes, self.now(), put).await
    }

    async fn load(&self, fence: &Fence, at: Position) -> Result<Bytes, StoreError> {
        bounds::position(at)?;
        let fence = fence.clone();
        self.read(move |db, now| sql::load(db, &fence, at, now)).await
    }

    async fn release(&self, fence: &Fence, unclaimed: Duration) -> Result<(), StoreError> {
        let fence = fence.clone();
        self.write(move |db, now| sql::release(db, &fence, now, millis(unclaimed))).await
    }

    async fn delete(&self, fence: &Fence) -> Result<(), StoreError> {
        let fence = fence.clone();
        self.write(move |db, now| sql::delete(db, &fence, now)).await
    }

    async fn record(&self, fence: &Fence, call: i64, outcome: Bytes) -> Result<(), StoreError> {
        bounds::outcome(call, &outcome)?;
        let fence = fence.clone();
        let bytes = outcome.len();
        self.writer.write(bytes, self.now(), move |db, now| sql::record(db, &fence, call, &outcome, now)).await
    }

    async fn forget(&self, fence: &Fence, call: i64) -> Result<(), StoreError> {
        bounds::outcome(call, &[])?;
        let fence = fence.clone();
        self.write(move |db, now| sql::forget(db, &fence, call, now)).await
    }

    async fn recorded(&self, fence: &Fence, call: i64) -> Result<Recorded, StoreError> {
        let fence = fence.clone();
        self.read(move |db, now| sql::recorded(db, &fence, call, now)).await
    }

    async fn save(&self, id: &str, record: SturdyRecord) -> Result<(), StoreError> {
        bounds::sturdy(id, &record)?;
        let id = id.to_owned();
        self.write(move |db, _| sql::save(db, &id, &record)).await
    }

    async fn sturdy(&self, id: &str) -> Result<Option<SturdyRecord>, StoreError> {
        let id = id.to_owned();
        self.read(move |db, _| sql::sturdy(db, &id)).await
    }

    async fn list_sturdy(&self, owner: &str, after: &str, limit: usize) -> Result<Vec<SturdyEntry>, StoreError> {
        let (owner, after, limit) = (owner.to_owned(), after.to_owned(), limit.min(LIST_MAX));
        self.read(move |db, _| sql::list_sturdy(db, &owner, &after, limit)).await
    }

    async fn revoke(&self, owner: &str, id: &str) -> Result<bool, StoreError> {
        let (owner, id) = (owner.to_owned(), id.to_owned());
        self.write(move |db, _| sql::revoke(db, &owner, &id)).await
    }

    async fn gc(&self) -> Result<u64, StoreError> {
        let mut dropped = 0;
        loop {
            let alive = Arc::clone(&self.alive);
            let swept = self.write(move |db, now| sql::sweep(db, now, &|owner| alive.is_dead(owner))).await?;
            dropped += swept as u64;
            if swept < sql::SWEPT_AT_ONCE {
                return Ok(dropped);
            }
        }
    }
}
