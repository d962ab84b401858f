//! What a store keeps at most. The same for every store, and looked at before anything is sent to it.

use bowline_core::resume::Jti;

use super::{Checkpoint, OwnerInfo, Position, Quota, StoreError, SturdyRecord, Wanted};

/// Bytes of the name of a session, an owner, a token or a reference. They are of printable ASCII
/// without spaces.
pub const NAME_BYTES_MAX: usize = 128;

/// Bytes of a snapshot: as much as a session may hold.
pub const SNAPSHOT_BYTES_MAX: usize = 64 << 20;

/// Checkpoints of a session. Those that its client has not confirmed are few; this is a last bound.
pub const CHECKPOINTS_MAX: usize = 16;

/// Tokens of a session that count at the same time.
pub const TOKENS_MAX: usize = 64;

/// The highest epoch and the highest lineage, checkpoint or call: what a double counts exactly,
/// for the stores that have nothing else.
pub const EPOCH_MAX: u64 = (1 << 53) - 1;

/// Bytes of the outcome of one call.
pub const OUTCOME_BYTES_MAX: usize = 1 << 20;

/// Bytes of the outcomes of one session, each counted as [`RECORDED_BYTES_EACH`] more than it has.
/// Beyond, those of the lowest calls are forgotten.
pub const RECORDED_BYTES_MAX: usize = 16 << 20;

/// What keeping an outcome takes beside its bytes.
pub const RECORDED_BYTES_EACH: usize = 256;

/// What storing a session takes beside its snapshots and outcomes, as a [`Quota`] counts it.
pub const SESSION_BYTES_EACH: usize = 4 << 10;

/// Bytes of a label, and of the name of whoever owns references.
pub const LABEL_BYTES_MAX: usize = 256;

/// Bytes of a recipe.
pub const RECIPE_BYTES_MAX: usize = 64 << 10;

/// References of one owner.
pub const STURDY_MAX: usize = 10_000;

/// References in one answer.
pub const LIST_MAX: usize = 1_000;

/// How much there may be of something.
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

/// Bytes of the address of an owner.
pub const ADDRESS_BYTES_MAX: usize = 2_048;

/// Sessions that an owner is told of in one answer.
pub(super) const WANTED_MAX: usize = 256;

pub(super) const CHECKPOINTS: Bound = Bound::new("checkpoints of a session", CHECKPOINTS_MAX);
pub(super) const REFERENCES: Bound = Bound::new("references of an owner", STURDY_MAX);
pub(super) const EPOCH: Bound = Bound { what: "epoch", max: EPOCH_MAX };

/// What a [`Quota`] bounds.
pub(super) const STORED: &str = "bytes stored for a client";

/// Whether a client may hold so much.
pub(super) fn stored(quota: &Quota, size: u64) -> Result<(), StoreError> {
    Bound { what: STORED, max: quota.bytes }.check_number(size)
}

pub(super) fn quota(quota: Option<&Quota>) -> Result<(), StoreError> {
    quota.map_or(Ok(()), |quota| name("the name of a client", &quota.account))
}

/// A name of ours, which goes into keys and lists.
pub(super) fn name(what: &'static str, name: &str) -> Result<(), StoreError> {
    Bound::new(what, NAME_BYTES_MAX).check(name.len())?;
    if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    Err(StoreError::Name(what))
}

/// What is said of an owner.
pub(super) fn owner_info(info: &OwnerInfo) -> Result<(), StoreError> {
    info.instance.as_ref().map_or(Ok(()), |instance| name("the name of an instance", instance))?;
    let address_bytes = info.address.as_ref().map_or(0, String::len);
    Bound::new("bytes of an owner's address", ADDRESS_BYTES_MAX).check(address_bytes)
}

/// A session that is wanted.
pub(super) fn wanted(wanted: &Wanted) -> Result<(), StoreError> {
    name("the name of a session", &wanted.sid)?;
    name("the name of a token", &wanted.token.0)
}

/// An epoch that somebody has seen.
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

/// The epoch of the next claim.
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
