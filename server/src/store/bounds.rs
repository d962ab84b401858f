//! The limits of a store. They are the same for every store, and are checked before anything is
//! sent to it.

use bowline_core::resume::Jti;

use super::{Checkpoint, OwnerInfo, Position, Quota, StoreError, SturdyRecord, Wanted};

/// The maximum length of the name of a session, an owner, a token, or a reference, in bytes. Names
/// are printable ASCII without spaces.
pub const NAME_BYTES_MAX: usize = 128;

/// The maximum size of a snapshot, in bytes.
pub const SNAPSHOT_BYTES_MAX: usize = 64 << 20;

/// The maximum number of checkpoints of a session. Usually there are few, because checkpoints that
/// the client no longer needs are dropped.
pub const CHECKPOINTS_MAX: usize = 16;

/// The maximum number of valid tokens of a session.
pub const TOKENS_MAX: usize = 64;

/// The highest epoch, lineage, number of a checkpoint, and number of a call: the highest integer up
/// to which a double is exact, because some stores have no other numbers.
pub const EPOCH_MAX: u64 = (1 << 53) - 1;

/// The maximum size of the outcome of one call, in bytes.
pub const OUTCOME_BYTES_MAX: usize = 1 << 20;

/// The maximum size of all outcomes of a session, in bytes. Each counts [`RECORDED_BYTES_EACH`] in
/// addition to its own size. Beyond, the outcomes of the lowest calls are forgotten.
pub const RECORDED_BYTES_MAX: usize = 16 << 20;

/// The bytes that each outcome counts in addition to its own size.
pub const RECORDED_BYTES_EACH: usize = 256;

/// The bytes that a session counts in a [`Quota`], in addition to its snapshots and outcomes.
pub const SESSION_BYTES_EACH: usize = 4 << 10;

/// The maximum length of a label, and of the name of an owner of references, in bytes.
pub const LABEL_BYTES_MAX: usize = 256;

/// The maximum size of a recipe, in bytes.
pub const RECIPE_BYTES_MAX: usize = 64 << 10;

/// The maximum number of references of one owner.
pub const STURDY_MAX: usize = 10_000;

/// The maximum number of references in one page of a list.
pub const LIST_MAX: usize = 1_000;

/// A limit, and what it limits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bound {
    what: &'static str,
    max: u64,
}

impl Bound {
    const fn new(what: &'static str, max: usize) -> Self {
        Self { what, max: max as u64 }
    }

    pub(super) fn check(self, size: usize) -> Result<(), StoreError> {
        self.check_number(size as u64)
    }

    fn check_number(self, size: u64) -> Result<(), StoreError> {
        if size <= self.max { Ok(()) } else { Err(self.exceeded(size)) }
    }

    pub(super) fn exceeded(self, size: u64) -> StoreError {
        StoreError::TooMuch { what: self.what, size, max: self.max }
    }
}

/// The maximum length of the address of an owner, in bytes.
pub const ADDRESS_BYTES_MAX: usize = 2_048;

/// The maximum number of sessions that one call of `wanted` returns.
pub(super) const WANTED_MAX: usize = 256;

pub(super) const CHECKPOINTS: Bound = Bound::new("checkpoints of a session", CHECKPOINTS_MAX);
pub(super) const REFERENCES: Bound = Bound::new("references of an owner", STURDY_MAX);
pub(super) const EPOCH: Bound = Bound { what: "epoch", max: EPOCH_MAX };

/// What a [`Quota`] limits.
pub(super) const STORED: &str = "bytes stored for a client";

/// Checks the size of what is stored for a client.
pub(super) fn stored(quota: &Quota, size: u64) -> Result<(), StoreError> {
    Bound { what: STORED, max: quota.bytes }.check_number(size)
}

pub(super) fn quota(quota: Option<&Quota>) -> Result<(), StoreError> {
    quota.map_or(Ok(()), |quota| name("the name of a client", &quota.account))
}

/// Checks a name, which becomes part of keys and lists.
pub(super) fn name(what: &'static str, name: &str) -> Result<(), StoreError> {
    Bound::new(what, NAME_BYTES_MAX).check(name.len())?;
    if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    Err(StoreError::Name(what))
}

/// Checks the description of an owner.
pub(super) fn owner_info(info: &OwnerInfo) -> Result<(), StoreError> {
    info.instance.as_ref().map_or(Ok(()), |instance| name("the name of an instance", instance))?;
    let address_bytes = info.address.as_ref().map_or(0, String::len);
    Bound::new("bytes of an owner's address", ADDRESS_BYTES_MAX).check(address_bytes)
}

/// Checks a request for a session.
pub(super) fn wanted(wanted: &Wanted) -> Result<(), StoreError> {
    name("the name of a session", &wanted.sid)?;
    name("the name of a token", &wanted.token.0)
}

/// Checks an epoch.
pub(super) fn epoch(epoch: u64) -> Result<(), StoreError> {
    EPOCH.check_number(epoch)
}

fn number(what: &'static str, number: u64) -> Result<(), StoreError> {
    Bound { what, max: EPOCH_MAX }.check_number(number)
}

pub(super) fn position(at: Position) -> Result<(), StoreError> {
    number("lineage", at.lineage)?;
    number("number of a checkpoint", at.number)
}

pub(super) fn checkpoint(checkpoint: &Checkpoint) -> Result<(), StoreError> {
    epoch(checkpoint.epoch)?;
    position(checkpoint.at)?;
    Bound::new("bytes of a snapshot", SNAPSHOT_BYTES_MAX).check(checkpoint.bytes.len())?;
    Bound::new("tokens of a session", TOKENS_MAX).check(checkpoint.tokens.len())?;
    checkpoint.tokens.iter().try_for_each(|Jti(token)| name("the name of a token", token))
}

pub(super) fn outcome(call: i64, outcome: &[u8]) -> Result<(), StoreError> {
    number("number of a call", call.unsigned_abs())?;
    Bound::new("bytes of an outcome", OUTCOME_BYTES_MAX).check(outcome.len())
}

/// Returns the epoch of the next claim.
pub(super) fn next_epoch(claimed: u64, known_epoch: u64, seen: u64) -> Result<u64, StoreError> {
    let epoch = claimed.max(known_epoch).max(seen).saturating_add(1);
    EPOCH.check_number(epoch).map(|()| epoch)
}

pub(super) fn sturdy(id: &str, record: &SturdyRecord) -> Result<(), StoreError> {
    name("the name of a reference", id)?;
    Bound::new("bytes of an owner's name", LABEL_BYTES_MAX).check(record.owner.len())?;
    Bound::new("bytes of a label", LABEL_BYTES_MAX).check(record.label.len())?;
    Bound::new("bytes of a recipe", RECIPE_BYTES_MAX).check(record.recipe.len())
}
