//! A store in the memory of one process, whose sessions end with it. It is for tests, and for
//! applications that use a store on some deployments only.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bowline_core::resume::Jti;
use bytes::Bytes;
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use dashmap::mapref::one::RefMut;

use super::bounds::WANTED_MAX;
use super::{
    Checkpoint, Claim, Claimed, Clock, Fence, Held, LIST_MAX, OwnerInfo, Place, Position, Quota, RECORDED_BYTES_EACH,
    RECORDED_BYTES_MAX, Recorded, SESSION_BYTES_EACH, SessionStore, StoreError, SturdyEntry, SturdyRecord, Wanted,
    bounds,
};

/// A store in the memory of this process.
pub struct MemoryStore {
    clock: Clock,
    owners: DashMap<String, Owner>,
    /// Sessions that were requested from their owners, and the tokens of the requests.
    wanted: Mutex<BTreeMap<(String, String), Jti>>,
    sessions: DashMap<String, Kept>,
    /// The bytes that are stored for each client.
    accounts: DashMap<String, u64>,
    sturdy: Mutex<Sturdy>,
}

#[derive(Default)]
struct Owner {
    /// When the lease ends.
    ends: Duration,
    info: OwnerInfo,
}

struct Kept {
    owner: Option<String>,
    claimed: u64,
    known_epoch: u64,
    tokens: Vec<Jti>,
    quota: Option<Quota>,
    /// When the session is dropped. Without an owner, this is before the end of its lifetime.
    ends: Duration,
    lifetime_ends: Duration,
    checkpoints: BTreeMap<Position, Bytes>,
    /// Outcomes by the magnitude and sign of their calls' numbers.
    recorded: BTreeMap<(u64, bool), Bytes>,
    /// The highest magnitude of a call whose outcome was forgotten.
    forgotten: Option<u64>,
}

#[derive(Default)]
struct Sturdy {
    records: BTreeMap<String, SturdyRecord>,
    /// The ids and labels of each owner's references.
    by_owner: BTreeMap<String, BTreeMap<String, String>>,
}

impl MemoryStore {
    /// Creates an empty store.
    pub fn new() -> Self {
        Self::with_clock(Clock::monotonic())
    }

    /// Creates an empty store with a clock.
    pub fn with_clock(clock: Clock) -> Self {
        Self {
            clock,
            owners: DashMap::new(),
            wanted: Mutex::default(),
            sessions: DashMap::new(),
            accounts: DashMap::new(),
            sturdy: Mutex::default(),
        }
    }

    /// Returns how long the lease of an owner lasts, or `None` if it has ended.
    fn lease_left(&self, owner: &str) -> Option<Duration> {
        let ends = self.owners.get(owner)?.ends;
        ends.checked_sub(self.clock.now()).filter(|left| !left.is_zero())
    }

    fn session(&self, sid: &str) -> Option<RefMut<'_, String, Kept>> {
        let now = self.clock.now();
        self.sessions.get_mut(sid).filter(|session| session.ends > now)
    }

    fn fenced(&self, fence: &Fence) -> Result<RefMut<'_, String, Kept>, StoreError> {
        let session = self.session(&fence.sid).ok_or(StoreError::Fenced)?;
        let is_owner = session.owner.as_ref() == Some(&fence.owner) && session.claimed == fence.epoch;
        if is_owner { Ok(session) } else { Err(StoreError::Fenced) }
    }

    /// Changes the size of a session in its quota from `before` to `after`.
    fn charge(&self, quota: Option<&Quota>, before: u64, after: u64) -> Result<(), StoreError> {
        let Some(quota) = quota else { return Ok(()) };
        let mut held = self.accounts.entry(quota.account.clone()).or_default();
        let size = held.saturating_sub(before).saturating_add(after);
        if after > before {
            bounds::stored(quota, size)?;
        }
        *held = size;
        drop(held);
        self.accounts.remove_if(&quota.account, |_, held| *held == 0);
        Ok(())
    }

    /// Removes a session from its quota.
    fn forget(&self, session: &Kept) -> Result<(), StoreError> {
        self.charge(session.quota.as_ref(), session.size(), 0)
    }

    /// Runs an operation that may exceed a quota. If it does, drops expired sessions and runs it
    /// again.
    fn with_room<T>(&self, work: impl Fn() -> Result<T, StoreError>) -> Result<T, StoreError> {
        match work() {
            Err(StoreError::TooMuch { what: bounds::STORED, .. }) => {
                self.drop_expired();
                work()
            }
            done => done,
        }
    }

    fn drop_expired(&self) -> u64 {
        let now = self.clock.now();
        self.owners.retain(|_, owner| owner.ends > now);
        self.wanted_of_all().retain(|(owner, _), _| self.owners.contains_key(owner));
        let mut shrunk = Vec::new();
        let mut dropped = 0;
        self.sessions.retain(|_, session| {
            let before = session.size();
            let stays = session.ends > now;
            dropped += u64::from(!stays);
            let after = if stays { session.size() } else { 0 };
            if after < before
                && let Some(quota) = &session.quota
            {
                shrunk.push((quota.clone(), before, after));
            }
            stays
        });
        for (quota, before, after) in shrunk {
            // This cannot fail, because the size shrinks.
            drop(self.charge(Some(&quota), before, after));
        }
        dropped
    }

    fn create_now(
        &self,
        sid: &str,
        owner: &str,
        lifetime: Duration,
        quota: Option<&Quota>,
    ) -> Result<Fence, StoreError> {
        let fence = Fence { sid: sid.to_owned(), owner: owner.to_owned(), epoch: 1 };
        let now = self.clock.now();
        let place = self.sessions.entry(sid.to_owned());
        if let Entry::Occupied(there) = &place {
            if there.get().ends > now {
                let same = there.get().owner.as_deref() == Some(owner) && there.get().is_new();
                return if same { Ok(fence) } else { Err(StoreError::Taken) };
            }
            // The session has expired.
            self.forget(there.get())?;
        }
        let session = Kept::new(owner, now.saturating_add(lifetime), quota);
        match self.charge(quota, 0, session.size()) {
            Ok(()) => {
                place.insert(session);
                Ok(fence)
            }
            Err(full) => {
                if let Entry::Occupied(there) = place {
                    there.remove();
                }
                Err(full)
            }
        }
    }

    fn checkpoint_now(&self, fence: &Fence, checkpoint: &Checkpoint, keep_from: Position) -> Result<(), StoreError> {
        let mut session = self.fenced(fence)?;
        let at = checkpoint.at;
        if session.checkpoints.last_key_value().is_some_and(|(newest, _)| *newest > at) {
            return Err(StoreError::OutOfOrder);
        }
        let stays = |other: &Position| *other >= keep_from && *other != at;
        let others = session.checkpoints.keys().filter(|other| stays(other)).count();
        bounds::CHECKPOINTS.check(others + 1)?;
        let dropped = session.checkpoints.iter().filter(|(other, _)| !stays(other));
        let dropped: usize = dropped.map(|(_, bytes)| bytes.len()).sum();
        let before = session.size();
        let after = before - dropped as u64 + checkpoint.bytes.len() as u64;
        self.charge(session.quota.as_ref(), before, after)?;
        session.checkpoints.retain(|other, _| stays(other));
        session.checkpoints.insert(at, checkpoint.bytes.clone());
        session.tokens.clone_from(&checkpoint.tokens);
        session.known_epoch = session.known_epoch.max(checkpoint.epoch);
        Ok(())
    }

    fn record_now(&self, fence: &Fence, call: i64, outcome: &Bytes) -> Result<(), StoreError> {
        let place = place(call);
        let mut session = self.fenced(fence)?;
        if session.recorded.contains_key(&place) {
            return Ok(());
        }
        let size = outcome.len() + RECORDED_BYTES_EACH;
        let (forgotten, freed) = session.oldest_outcomes(size);
        let before = session.size();
        self.charge(session.quota.as_ref(), before, before + size as u64 - freed as u64)?;
        for _ in 0..forgotten {
            if let Some(((magnitude, _), _)) = session.recorded.pop_first() {
                session.forgotten = session.forgotten.max(Some(magnitude));
            }
        }
        session.recorded.insert(place, outcome.clone());
        Ok(())
    }

    fn wanted_of_all(&self) -> MutexGuard<'_, BTreeMap<(String, String), Jti>> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sturdy_records(&self) -> MutexGuard<'_, Sturdy> {
        self.sturdy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("sessions", &self.sessions.len()).finish_non_exhaustive()
    }
}

#[async_trait]
impl SessionStore for MemoryStore {
    async fn open_owner(&self, owner: &str, lease: Duration) -> Result<(), StoreError> {
        bounds::name("the name of an owner", owner)?;
        match self.owners.entry(owner.to_owned()) {
            Entry::Occupied(_) => Err(StoreError::Taken),
            Entry::Vacant(place) => {
                place.insert(Owner { ends: self.clock.now().saturating_add(lease), ..Owner::default() });
                Ok(())
            }
        }
    }

    async fn renew_owner(&self, owner: &str, lease: Duration) -> Result<(), StoreError> {
        let now = self.clock.now();
        let mut there = self.owners.get_mut(owner).filter(|there| there.ends > now).ok_or(StoreError::Fenced)?;
        there.ends = now.saturating_add(lease);
        Ok(())
    }

    async fn describe_owner(&self, owner: &str, info: &OwnerInfo, place: Place) -> Result<(), StoreError> {
        bounds::owner_info(info)?;
        self.lease_left(owner).ok_or(StoreError::Fenced)?;
        let is_before = |name: &str, there: &Owner| name != owner && there.info.instance == info.instance;
        if info.instance.is_some() && place == Place::TakenOver {
            self.owners.retain(|name, there| !is_before(name, there));
        } else if info.instance.is_some() {
            let now = self.clock.now();
            let is_alive = |name: &str, there: &Owner| there.ends > now && is_before(name, there);
            if self.owners.iter().any(|there| is_alive(there.key(), there.value())) {
                return Err(StoreError::Taken);
            }
        }
        self.owners.get_mut(owner).ok_or(StoreError::Fenced)?.info = info.clone();
        Ok(())
    }

    async fn want(&self, wanted: &Wanted) -> Result<(), StoreError> {
        bounds::wanted(wanted)?;
        let owner = self.session(&wanted.sid).and_then(|session| session.owner.clone());
        if let Some(owner) = owner.filter(|owner| self.lease_left(owner).is_some()) {
            self.wanted_of_all().insert((owner, wanted.sid.clone()), wanted.token.clone());
        }
        Ok(())
    }

    async fn wanted(&self, owner: &str) -> Result<Vec<Wanted>, StoreError> {
        self.lease_left(owner).ok_or(StoreError::Fenced)?;
        let mut wanted = self.wanted_of_all();
        let of_owner = wanted.range((owner.to_owned(), String::new())..).take_while(|((of, _), _)| of == owner);
        let sids: Vec<String> = of_owner.take(WANTED_MAX).map(|((_, sid), _)| sid.clone()).collect();
        let take = |sid: String| Some(Wanted { token: wanted.remove(&(owner.to_owned(), sid.clone()))?, sid });
        Ok(sids.into_iter().filter_map(take).collect())
    }

    async fn close_owner(&self, owner: &str) -> Result<(), StoreError> {
        self.owners.remove(owner);
        Ok(())
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
        self.lease_left(owner).ok_or(StoreError::Fenced)?;
        self.with_room(|| self.create_now(sid, owner, lifetime, quota))
    }

    async fn claim(&self, sid: &str, owner: &str, seen: u64) -> Result<Claim, StoreError> {
        bounds::epoch(seen)?;
        self.lease_left(owner).ok_or(StoreError::Fenced)?;
        let Some(mut session) = self.session(sid) else { return Ok(Claim::NotFound) };
        let other = session.owner.as_deref().filter(|other| *other != owner);
        if let Some(left) = other.and_then(|other| self.lease_left(other)) {
            let holder = session.owner.as_ref().and_then(|owner| self.owners.get(owner));
            let address = holder.and_then(|owner| owner.info.address.clone());
            let (known_epoch, tokens) = (session.known_epoch, session.tokens.clone());
            return Ok(Claim::Held(Held { left, address, known_epoch, tokens }));
        }
        session.claimed = bounds::next_epoch(session.claimed, session.known_epoch, seen)?;
        session.owner = Some(owner.to_owned());
        session.ends = session.lifetime_ends;
        Ok(Claim::Claimed(Claimed {
            fence: Fence { sid: sid.to_owned(), owner: owner.to_owned(), epoch: session.claimed },
            known_epoch: session.known_epoch,
            tokens: session.tokens.clone(),
            checkpoints: session.checkpoints.keys().copied().collect(),
        }))
    }

    async fn checkpoint(&self, fence: &Fence, checkpoint: Checkpoint, keep_from: Position) -> Result<(), StoreError> {
        bounds::checkpoint(&checkpoint)?;
        bounds::position(keep_from)?;
        self.with_room(|| self.checkpoint_now(fence, &checkpoint, keep_from))
    }

    async fn load(&self, fence: &Fence, at: Position) -> Result<Bytes, StoreError> {
        self.fenced(fence)?.checkpoints.get(&at).cloned().ok_or(StoreError::NotFound)
    }

    async fn release(&self, fence: &Fence, unclaimed: Duration) -> Result<(), StoreError> {
        let now = self.clock.now();
        let mut session = self.fenced(fence)?;
        session.owner = None;
        session.ends = session.ends.min(now.saturating_add(unclaimed));
        Ok(())
    }

    async fn delete(&self, fence: &Fence) -> Result<(), StoreError> {
        drop(self.fenced(fence)?);
        let is_owner =
            |_: &String, kept: &Kept| kept.owner.as_ref() == Some(&fence.owner) && kept.claimed == fence.epoch;
        let (_, session) = self.sessions.remove_if(&fence.sid, is_owner).ok_or(StoreError::Fenced)?;
        self.forget(&session)
    }

    async fn record(&self, fence: &Fence, call: i64, outcome: Bytes) -> Result<(), StoreError> {
        bounds::outcome(call, &outcome)?;
        self.with_room(|| self.record_now(fence, call, &outcome))
    }

    async fn forget(&self, fence: &Fence, call: i64) -> Result<(), StoreError> {
        bounds::outcome(call, &[])?;
        let mut session = self.fenced(fence)?;
        session.forgotten = session.forgotten.max(Some(call.unsigned_abs()));
        Ok(())
    }

    async fn recorded(&self, fence: &Fence, call: i64) -> Result<Recorded, StoreError> {
        let session = self.fenced(fence)?;
        Ok(match session.recorded.get(&place(call)) {
            Some(outcome) => Recorded::Kept(outcome.clone()),
            None if session.forgotten >= Some(call.unsigned_abs()) => Recorded::Forgotten,
            None => Recorded::Never,
        })
    }

    async fn save(&self, id: &str, record: SturdyRecord) -> Result<(), StoreError> {
        bounds::sturdy(id, &record)?;
        let mut sturdy = self.sturdy_records();
        if let Some(there) = sturdy.records.get(id) {
            return if *there == record { Ok(()) } else { Err(StoreError::Taken) };
        }
        let list = sturdy.by_owner.entry(record.owner.clone()).or_default();
        bounds::REFERENCES.check(list.len() + 1)?;
        list.insert(id.to_owned(), record.label.clone());
        sturdy.records.insert(id.to_owned(), record);
        Ok(())
    }

    async fn sturdy(&self, id: &str) -> Result<Option<SturdyRecord>, StoreError> {
        Ok(self.sturdy_records().records.get(id).cloned())
    }

    async fn list_sturdy(&self, owner: &str, after: &str, limit: usize) -> Result<Vec<SturdyEntry>, StoreError> {
        let sturdy = self.sturdy_records();
        let beyond = (Bound::Excluded(after), Bound::Unbounded);
        let entries = sturdy.by_owner.get(owner).into_iter().flat_map(|list| list.range::<str, _>(beyond));
        let entries = entries.map(|(id, label)| SturdyEntry { id: id.clone(), label: label.clone() });
        Ok(entries.take(limit.min(LIST_MAX)).collect())
    }

    async fn revoke(&self, owner: &str, id: &str) -> Result<bool, StoreError> {
        let mut sturdy = self.sturdy_records();
        if sturdy.records.get(id).is_none_or(|record| record.owner != owner) {
            return Ok(false);
        }
        sturdy.records.remove(id);
        if let Some(list) = sturdy.by_owner.get_mut(owner) {
            list.remove(id);
            if list.is_empty() {
                sturdy.by_owner.remove(owner);
            }
        }
        Ok(true)
    }

    async fn gc(&self) -> Result<u64, StoreError> {
        Ok(self.drop_expired())
    }
}

/// Returns the key of an outcome, by which the oldest calls come first.
fn place(call: i64) -> (u64, bool) {
    (call.unsigned_abs(), call < 0)
}

impl Kept {
    fn new(owner: &str, ends: Duration, quota: Option<&Quota>) -> Self {
        Self {
            quota: quota.cloned(),
            lifetime_ends: ends,
            owner: Some(owner.to_owned()),
            claimed: 1,
            known_epoch: 0,
            tokens: Vec::new(),
            ends,
            checkpoints: BTreeMap::new(),
            recorded: BTreeMap::new(),
            forgotten: None,
        }
    }

    /// Returns the size of the session as its quota counts it.
    fn size(&self) -> u64 {
        let snapshots: usize = self.checkpoints.values().map(Bytes::len).sum();
        (SESSION_BYTES_EACH + snapshots + self.recorded_bytes()) as u64
    }

    fn recorded_bytes(&self) -> usize {
        self.recorded.values().map(|outcome| outcome.len() + RECORDED_BYTES_EACH).sum()
    }

    /// Returns how many of the oldest outcomes must be forgotten for one of this size, and their
    /// bytes.
    fn oldest_outcomes(&self, size: usize) -> (usize, usize) {
        let most = RECORDED_BYTES_MAX.saturating_sub(size);
        let held = self.recorded_bytes();
        let (mut count, mut freed) = (0, 0);
        for outcome in self.recorded.values() {
            if held - freed <= most {
                break;
            }
            (count, freed) = (count + 1, freed + outcome.len() + RECORDED_BYTES_EACH);
        }
        (count, freed)
    }

    /// Returns whether the session is unchanged since it was created.
    fn is_new(&self) -> bool {
        self.claimed == 1 && self.checkpoints.is_empty() && self.recorded.is_empty()
    }
}
