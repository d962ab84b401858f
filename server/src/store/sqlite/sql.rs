//! The operations on the tables. Callers of functions that write hold the write lock.

use std::time::Duration;

use bowline_core::resume::{Jti, snapshot_sum};
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, params};

use super::Fault;
use crate::store::{
    Checkpoint, Claim, Claimed, Fence, Held, OwnerInfo, Place, Position, Quota, RECORDED_BYTES_EACH,
    RECORDED_BYTES_MAX, Recorded, SESSION_BYTES_EACH, StoreError, SturdyEntry, SturdyRecord, Wanted, bounds, intact,
};

/// The maximum number of sessions that one transaction drops, so that other writers get their turn.
pub(super) const SWEPT_AT_ONCE: usize = 256;

/// The bytes of outcomes that are dropped in addition to what is needed.
const FORGOTTEN_AT_ONCE: usize = RECORDED_BYTES_MAX / 64;

/// Milliseconds of the store's clock.
pub(super) type Millis = i64;

/// Returns whether the process of an owner has verifiably ended.
pub(super) type IsDead<'a> = &'a dyn Fn(&str) -> bool;

/// Creates an owner, and removes those whose processes have ended. `locked` is whether the owner
/// holds a lock while its process runs.
pub(super) fn open_owner(
    db: &Connection,
    owner: &str,
    locked: bool,
    now: Millis,
    lease: Millis,
    is_dead: IsDead<'_>,
) -> Result<(), Fault> {
    let mut select = db.prepare_cached("SELECT owner FROM owners WHERE locked")?;
    let others = select.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
    for dead in others.iter().filter(|other| *other != owner && is_dead(other)) {
        close_owner(db, dead)?;
    }
    let insert = "INSERT OR IGNORE INTO owners (owner, ends, length, locked) VALUES (?1, ?2, ?3, ?4)";
    let inserted = db.prepare_cached(insert)?.execute(params![owner, now.saturating_add(lease), lease, locked])?;
    if inserted == 1 { Ok(()) } else { Err(StoreError::Taken.into()) }
}

pub(super) fn describe_owner(
    db: &Connection,
    owner: &str,
    info: &OwnerInfo,
    place: Place,
    now: Millis,
) -> Result<(), Fault> {
    let there = "SELECT 1 FROM owners WHERE instance = ?2 AND owner <> ?1 AND ends > ?3";
    if place == Place::Kept && db.prepare_cached(there)?.exists(params![owner, info.instance, now])? {
        return Err(StoreError::Taken.into());
    }
    let update = "UPDATE owners SET instance = ?2, address = ?3 WHERE owner = ?1 AND ends > ?4";
    fenced_unless_one(db.prepare_cached(update)?.execute(params![owner, info.instance, info.address, now])?)?;
    let before = "DELETE FROM owners WHERE instance = ?2 AND owner <> ?1";
    db.prepare_cached(before)?.execute(params![owner, info.instance])?;
    Ok(())
}

/// Records that a session was requested from its owner.
pub(super) fn want(db: &Connection, wanted: &Wanted) -> Result<(), Fault> {
    // The condition avoids a write if the row would not change.
    let update = "UPDATE sessions SET wanted = ?2 WHERE sid = ?1 AND owner IS NOT NULL AND wanted IS NOT ?2";
    db.prepare_cached(update)?.execute(params![wanted.sid, wanted.token.0])?;
    Ok(())
}

/// Returns the requested sessions of an owner.
pub(super) fn wanted(db: &Connection, owner: &str, now: Millis) -> Result<Vec<Wanted>, Fault> {
    let there = "SELECT 1 FROM owners WHERE owner = ?1 AND ends > ?2";
    if !db.prepare_cached(there)?.exists(params![owner, now])? {
        return Err(StoreError::Fenced.into());
    }
    let select = "SELECT sid, wanted FROM sessions WHERE owner = ?1 AND wanted IS NOT NULL LIMIT ?2";
    let mut select = db.prepare_cached(select)?;
    let read = |row: &rusqlite::Row<'_>| Ok(Wanted { sid: row.get(0)?, token: Jti(row.get(1)?) });
    let rows = select.query_map(params![owner, bounds::WANTED_MAX], read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(super) fn clear_wanted(db: &Connection, owner: &str, told: &[Wanted]) -> Result<(), Fault> {
    let mut update = db.prepare_cached("UPDATE sessions SET wanted = NULL WHERE sid = ?2 AND owner = ?1")?;
    for Wanted { sid, .. } in told {
        update.execute(params![owner, sid])?;
    }
    Ok(())
}

pub(super) fn renew_owner(db: &Connection, owner: &str, now: Millis, lease: Millis) -> Result<(), Fault> {
    let mut update = db.prepare_cached("UPDATE owners SET ends = ?2, length = ?3 WHERE owner = ?1 AND ends > ?4")?;
    fenced_unless_one(update.execute(params![owner, now.saturating_add(lease), lease, now])?)
}

pub(super) fn close_owner(db: &Connection, owner: &str) -> Result<(), Fault> {
    db.prepare_cached("DELETE FROM owners WHERE owner = ?1")?.execute([owner])?;
    Ok(())
}

pub(super) fn create(
    db: &Connection,
    fence: &Fence,
    quota: Option<&Quota>,
    now: Millis,
    ends: Millis,
) -> Result<(), Fault> {
    lease_left(db, &fence.owner, now)?.ok_or(StoreError::Fenced)?;
    let there = "SELECT owner = ?2 AND claimed = ?3
            AND NOT EXISTS (SELECT 1 FROM checkpoints WHERE sid = ?1) AND NOT EXISTS (SELECT 1 FROM recorded WHERE sid = ?1)
        FROM sessions WHERE sid = ?1 AND ends > ?4";
    let arguments = params![fence.sid, fence.owner, fence.epoch, now];
    let is_ours: Option<Option<bool>> = db.prepare_cached(there)?.query_row(arguments, |row| row.get(0)).optional()?;
    match is_ours.map(Option::unwrap_or_default) {
        Some(true) => return Ok(()),
        Some(false) => return Err(StoreError::Taken.into()),
        None => {}
    }
    db.prepare_cached("DELETE FROM sessions WHERE sid = ?1")?.execute([&fence.sid])?;
    let insert =
        "INSERT INTO sessions (sid, owner, claimed, known_epoch, tokens, ends, lifetime_ends, account, quota, size)
        VALUES (?1, ?2, ?3, 0, '', ?4, ?4, ?5, ?6, 0)";
    let account = quota.map(|quota| quota.account.as_str());
    // SQLite has no larger integers, and no disk has as many bytes.
    let bytes = quota.map(|quota| i64::try_from(quota.bytes).unwrap_or(i64::MAX));
    db.prepare_cached(insert)?.execute(params![fence.sid, fence.owner, fence.epoch, ends, account, bytes])?;
    charge(db, &fence.sid, now)
}

/// Updates the size of a session after a change. If that exceeds the quota, the error rolls back
/// the change with the transaction.
fn charge(db: &Connection, sid: &str, now: Millis) -> Result<(), Fault> {
    let there = "SELECT account, quota, size FROM sessions WHERE sid = ?1";
    let read = |row: &rusqlite::Row<'_>| {
        Ok((row.get::<_, Option<String>>(0)?, row.get::<_, Option<u64>>(1)?, row.get::<_, u64>(2)?))
    };
    let (account, quota, before) = db.prepare_cached(there)?.query_row([sid], read)?;
    let Some((account, bytes)) = account.zip(quota) else { return Ok(()) };
    let update = "UPDATE sessions SET size = ?2
            + (SELECT coalesce(sum(length(bytes)), 0) FROM checkpoints WHERE sid = ?1)
            + (SELECT coalesce(sum(size), 0) FROM recorded WHERE sid = ?1)
        WHERE sid = ?1 RETURNING size";
    let after: u64 = db.prepare_cached(update)?.query_row(params![sid, SESSION_BYTES_EACH], |row| row.get(0))?;
    if after > before {
        let held = "SELECT coalesce(sum(size), 0) FROM sessions WHERE account = ?1 AND ends > ?2";
        let held: u64 = db.prepare_cached(held)?.query_row(params![account, now], |row| row.get(0))?;
        bounds::stored(&Quota { account, bytes }, held)?;
    }
    Ok(())
}

pub(super) fn claim(
    db: &Connection,
    sid: &str,
    owner: &str,
    seen: u64,
    now: Millis,
    is_dead: IsDead<'_>,
) -> Result<Claim, Fault> {
    lease_left(db, owner, now)?.ok_or(StoreError::Fenced)?;
    let there = "SELECT owner, claimed, known_epoch, tokens FROM sessions WHERE sid = ?1 AND ends > ?2";
    let read = |row: &rusqlite::Row<'_>| {
        Ok((row.get::<_, Option<String>>(0)?, row.get::<_, u64>(1)?, row.get::<_, u64>(2)?, row.get::<_, String>(3)?))
    };
    let row = db.prepare_cached(there)?.query_row(params![sid, now], read).optional()?;
    let Some((holder, claimed, known_epoch, tokens)) = row else { return Ok(Claim::NotFound) };
    if let Some(holder) = holder.filter(|holder| holder != owner)
        && let Some(left) = lease_left(db, &holder, now)?
    {
        let there = "SELECT locked, address FROM owners WHERE owner = ?1";
        let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, bool>(0)?, row.get::<_, Option<String>>(1)?));
        let (locked, address) = db.prepare_cached(there)?.query_row([&holder], read)?;
        if !locked || !is_dead(&holder) {
            return Ok(Claim::Held(Held { left, address, known_epoch, tokens: read_tokens(&tokens) }));
        }
        close_owner(db, &holder)?;
    }
    let epoch = bounds::next_epoch(claimed, known_epoch, seen)?;
    let update = "UPDATE sessions SET owner = ?2, claimed = ?3, wanted = NULL, ends = lifetime_ends WHERE sid = ?1";
    db.prepare_cached(update)?.execute(params![sid, owner, epoch])?;
    Ok(Claim::Claimed(Claimed {
        fence: Fence { sid: sid.to_owned(), owner: owner.to_owned(), epoch },
        known_epoch,
        tokens: read_tokens(&tokens),
        checkpoints: positions(db, sid)?,
    }))
}

fn read_tokens(tokens: &str) -> Vec<Jti> {
    tokens.split_ascii_whitespace().map(|token| Jti(token.to_owned())).collect()
}

/// Returns how long a lease lasts. If it ends later than possible, the clock was set back since: it
/// then lasts for its length from now. Otherwise its sessions would stay unavailable.
fn lease_left(db: &Connection, owner: &str, now: Millis) -> Result<Option<Duration>, Fault> {
    let there = "SELECT ends, length FROM owners WHERE owner = ?1 AND ends > ?2";
    let row: Option<(Millis, Millis)> =
        db.prepare_cached(there)?.query_row(params![owner, now], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    let Some((ends, length)) = row else { return Ok(None) };
    let latest = now.saturating_add(length);
    if ends > latest {
        db.prepare_cached("UPDATE owners SET ends = ?2 WHERE owner = ?1")?.execute(params![owner, latest])?;
    }
    Ok(Some(Duration::from_millis(ends.min(latest).saturating_sub(now).unsigned_abs())))
}

fn positions(db: &Connection, sid: &str) -> Result<Vec<Position>, Fault> {
    let mut select =
        db.prepare_cached("SELECT lineage, number FROM checkpoints WHERE sid = ?1 ORDER BY lineage, number")?;
    let rows = select.query_map([sid], |row| Ok(Position { lineage: row.get(0)?, number: row.get(1)? }))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Checks that the owner of a fence has the session.
fn check(db: &Connection, fence: &Fence, now: Millis) -> Result<(), Fault> {
    let there = "SELECT 1 FROM sessions WHERE sid = ?1 AND owner = ?2 AND claimed = ?3 AND ends > ?4";
    let arguments = params![fence.sid, fence.owner, fence.epoch, now];
    if db.prepare_cached(there)?.exists(arguments)? { Ok(()) } else { Err(StoreError::Fenced.into()) }
}

pub(super) fn checkpoint(
    db: &Connection,
    fence: &Fence,
    checkpoint: &Checkpoint,
    keep_from: Position,
    now: Millis,
) -> Result<(), Fault> {
    check(db, fence, now)?;
    let Checkpoint { at, epoch, tokens, bytes } = checkpoint;
    let there = positions(db, &fence.sid)?;
    if there.last().is_some_and(|newest| newest > at) {
        return Err(StoreError::OutOfOrder.into());
    }
    let others = there.iter().filter(|other| **other >= keep_from && *other != at).count();
    bounds::CHECKPOINTS.check(others + 1)?;
    db.prepare_cached("DELETE FROM checkpoints WHERE sid = ?1 AND (lineage, number) < (?2, ?3)")?.execute(params![
        fence.sid,
        keep_from.lineage,
        keep_from.number
    ])?;
    db.prepare_cached(
        "INSERT OR REPLACE INTO checkpoints (sid, lineage, number, sum, bytes) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![fence.sid, at.lineage, at.number, snapshot_sum(bytes), &bytes[..]])?;
    let tokens = tokens.iter().map(|Jti(token)| token.as_str()).collect::<Vec<_>>().join(" ");
    db.prepare_cached("UPDATE sessions SET tokens = ?2, known_epoch = max(known_epoch, ?3) WHERE sid = ?1")?
        .execute(params![fence.sid, tokens, epoch])?;
    charge(db, &fence.sid, now)
}

pub(super) fn load(db: &Connection, fence: &Fence, at: Position, now: Millis) -> Result<Bytes, Fault> {
    check(db, fence, now)?;
    let there = "SELECT sum, bytes FROM checkpoints WHERE sid = ?1 AND lineage = ?2 AND number = ?3";
    let row = db.prepare_cached(there)?.query_row(params![fence.sid, at.lineage, at.number], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?))
    });
    let (sum, bytes) = row.optional()?.ok_or(StoreError::NotFound)?;
    Ok(intact(bytes, &sum, "a snapshot")?)
}

pub(super) fn release(db: &Connection, fence: &Fence, now: Millis, unclaimed: Millis) -> Result<(), Fault> {
    let update = "UPDATE sessions SET owner = NULL, wanted = NULL, ends = min(ends, ?5)
        WHERE sid = ?1 AND owner = ?2 AND claimed = ?3 AND ends > ?4";
    let ends = now.saturating_add(unclaimed);
    fenced_unless_one(db.prepare_cached(update)?.execute(params![fence.sid, fence.owner, fence.epoch, now, ends])?)
}

pub(super) fn delete(db: &Connection, fence: &Fence, now: Millis) -> Result<(), Fault> {
    let delete = "DELETE FROM sessions WHERE sid = ?1 AND owner = ?2 AND claimed = ?3 AND ends > ?4";
    fenced_unless_one(db.prepare_cached(delete)?.execute(params![fence.sid, fence.owner, fence.epoch, now])?)
}

fn fenced_unless_one(rows: usize) -> Result<(), Fault> {
    if rows == 1 { Ok(()) } else { Err(StoreError::Fenced.into()) }
}

pub(super) fn record(db: &Connection, fence: &Fence, call: i64, outcome: &[u8], now: Millis) -> Result<(), Fault> {
    check(db, fence, now)?;
    let there = "SELECT 1 FROM recorded WHERE sid = ?1 AND call = ?2";
    if db.prepare_cached(there)?.exists(params![fence.sid, call])? {
        return Ok(());
    }
    let size = outcome.len() + RECORDED_BYTES_EACH;
    let held = "SELECT coalesce(sum(size), 0) FROM recorded WHERE sid = ?1";
    let held: usize = db.prepare_cached(held)?.query_row([&fence.sid], |row| row.get(0))?;
    if held + size > RECORDED_BYTES_MAX {
        forget_oldest(db, &fence.sid, held + size - RECORDED_BYTES_MAX)?;
    }
    db.prepare_cached("INSERT INTO recorded (sid, call, outcome, size) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![fence.sid, call, outcome, size])?;
    charge(db, &fence.sid, now)
}

/// Drops the outcomes of the lowest calls: at least this many bytes, and some more, so that not
/// every record has to drop some. `sessions.forgotten` is the highest magnitude of their calls.
fn forget_oldest(db: &Connection, sid: &str, bytes: usize) -> Result<(), Fault> {
    let oldest = "SELECT abs(call), size FROM recorded WHERE sid = ?1 ORDER BY abs(call)";
    let mut select = db.prepare_cached(oldest)?;
    let mut rows = select.query([sid])?;
    let (mut freed, mut last) = (0, -1_i64);
    while freed < bytes + FORGOTTEN_AT_ONCE
        && let Some(row) = rows.next()?
    {
        last = row.get(0)?;
        freed += row.get::<_, usize>(1)?;
    }
    drop(rows);
    db.prepare_cached("DELETE FROM recorded WHERE sid = ?1 AND abs(call) <= ?2")?.execute(params![sid, last])?;
    if last >= 0 { set_forgotten(db, sid, last) } else { Ok(()) }
}

pub(super) fn forget(db: &Connection, fence: &Fence, call: i64, now: Millis) -> Result<(), Fault> {
    check(db, fence, now)?;
    set_forgotten(db, &fence.sid, call)
}

fn set_forgotten(db: &Connection, sid: &str, call: i64) -> Result<(), Fault> {
    db.prepare_cached("UPDATE sessions SET forgotten = max(forgotten, abs(?2)) WHERE sid = ?1")?
        .execute(params![sid, call])?;
    Ok(())
}

pub(super) fn recorded(db: &Connection, fence: &Fence, call: i64, now: Millis) -> Result<Recorded, Fault> {
    check(db, fence, now)?;
    let there = "SELECT outcome FROM recorded WHERE sid = ?1 AND call = ?2";
    let outcome = db.prepare_cached(there)?.query_row(params![fence.sid, call], |row| row.get::<_, Vec<u8>>(0));
    if let Some(outcome) = outcome.optional()? {
        return Ok(Recorded::Kept(outcome.into()));
    }
    let forgotten = "SELECT 1 FROM sessions WHERE sid = ?1 AND forgotten >= abs(?2)";
    let is_forgotten = db.prepare_cached(forgotten)?.exists(params![fence.sid, call])?;
    Ok(if is_forgotten { Recorded::Forgotten } else { Recorded::Never })
}

pub(super) fn save(db: &Connection, id: &str, record: &SturdyRecord) -> Result<(), Fault> {
    if let Some(there) = sturdy(db, id)? {
        return if there == *record { Ok(()) } else { Err(StoreError::Taken.into()) };
    }
    let there = "SELECT count(*) FROM sturdy WHERE owner = ?1";
    let held: usize = db.prepare_cached(there)?.query_row([&record.owner], |row| row.get(0))?;
    bounds::REFERENCES.check(held + 1)?;
    db.prepare_cached("INSERT INTO sturdy (id, owner, label, recipe) VALUES (?1, ?2, ?3, ?4)")?.execute(params![
        id,
        record.owner,
        record.label,
        &record.recipe[..]
    ])?;
    Ok(())
}

pub(super) fn sturdy(db: &Connection, id: &str) -> Result<Option<SturdyRecord>, Fault> {
    let row = db.prepare_cached("SELECT owner, label, recipe FROM sturdy WHERE id = ?1")?.query_row([id], |row| {
        Ok(SturdyRecord { owner: row.get(0)?, label: row.get(1)?, recipe: row.get::<_, Vec<u8>>(2)?.into() })
    });
    Ok(row.optional()?)
}

pub(super) fn list_sturdy(db: &Connection, owner: &str, after: &str, limit: usize) -> Result<Vec<SturdyEntry>, Fault> {
    let mut select =
        db.prepare_cached("SELECT id, label FROM sturdy WHERE owner = ?1 AND id > ?2 ORDER BY id LIMIT ?3")?;
    let rows = select
        .query_map(params![owner, after, limit], |row| Ok(SturdyEntry { id: row.get(0)?, label: row.get(1)? }))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(super) fn revoke(db: &Connection, owner: &str, id: &str) -> Result<bool, Fault> {
    let delete = "DELETE FROM sturdy WHERE id = ?1 AND owner = ?2";
    Ok(db.prepare_cached(delete)?.execute([id, owner])? == 1)
}

/// Drops a part of what has expired. Returns how many sessions it has dropped.
pub(super) fn sweep(db: &Connection, now: Millis, is_dead: IsDead<'_>) -> Result<usize, Fault> {
    let mut select = db.prepare_cached("SELECT owner FROM owners WHERE ends <= ?1 AND locked")?;
    for owner in select.query_map([now], |row| row.get::<_, String>(0))? {
        // Removes the lock files of owners that have ended.
        is_dead(&owner?);
    }
    db.prepare_cached("DELETE FROM owners WHERE ends <= ?1")?.execute([now])?;
    let sessions = "DELETE FROM sessions WHERE sid IN (SELECT sid FROM sessions WHERE ends <= ?1 LIMIT ?2)";
    Ok(db.prepare_cached(sessions)?.execute(params![now, SWEPT_AT_ONCE])?)
}
