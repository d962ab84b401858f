//! What a store keeps at most. The same for every store, and looked at before anything is sent to it.

use bowline_core::resume::Jti;

use super::{Checkpoint, Position, StoreError, SturdyRecord};

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
pub const RECORDED_BYTES_MAX: usize = 16 << 20;

/// What keeping an outcome takes beside its bytes.
pub const RECORDED_BYTES_EACH: usize = 256;

/// Bytes of a label, and of the name of whoever owns references.
pub const LABEL_BYTES_MAX: usize = 256;

/// Bytes of a recipe.
pub const RECIPE_BYTES_MAX: usize = 64 << 10;

/// References of one owner.
pub const STURDY_MAX: usize = 10_000;

/// References in one answer.
pub const LIST_MAX: usize = 1_000;

pub(super) const RECORDED: &str = "bytes of a session's recorded calls";
pub(super) const CHECKPOINTS: &str = "checkpoints of a session";
pub(super) const REFERENCES: &str = "references of an owner";

pub(super) fn at_most(what: &'static str, size: usize, max: usize) -> Result<(), StoreError> {
    if size <= max { Ok(()) } else { Err(StoreError::TooMuch { what, size: size as u64, max: max as u64 }) }
}

/// A name of ours, which goes into keys and lists.
pub(super) fn name(what: &'static str, name: &str) -> Result<(), StoreError> {
    at_most(what, name.len(), NAME_BYTES_MAX)?;
    if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    Err(StoreError::Name(what))
}

pub(super) fn number(what: &'static str, number: u64) -> Result<(), StoreError> {
    if number <= EPOCH_MAX { Ok(()) } else { Err(StoreError::TooMuch { what, size: number, max: EPOCH_MAX }) }
}

pub(super) fn position(at: Position) -> Result<(), StoreError> {
    number("lineage", at.lineage)?;
    number("number of a checkpoint", at.number)
}

pub(super) fn checkpoint(checkpoint: &Checkpoint) -> Result<(), StoreError> {
    number("epoch", checkpoint.epoch)?;
    position(checkpoint.at)?;
    at_most("bytes of a snapshot", checkpoint.bytes.len(), SNAPSHOT_BYTES_MAX)?;
    at_most("tokens of a session", checkpoint.tokens.len(), TOKENS_MAX)?;
    checkpoint.tokens.iter().try_for_each(|Jti(token)| name("the name of a token", token))
}

pub(super) fn outcome(call: i64, outcome: &[u8]) -> Result<(), StoreError> {
    number("number of a call", call.unsigned_abs())?;
    at_most("bytes of an outcome", outcome.len(), OUTCOME_BYTES_MAX)
}

/// Whether one more outcome may be kept beside `held` bytes.
pub(super) fn recorded(held: usize, outcome: &[u8]) -> Result<(), StoreError> {
    at_most(RECORDED, held + outcome.len() + RECORDED_BYTES_EACH, RECORDED_BYTES_MAX)
}

/// The epoch of the next claim.
pub(super) fn next_epoch(claimed: u64, known_epoch: u64, seen: u64) -> Result<u64, StoreError> {
    let epoch = claimed.max(known_epoch).max(seen).saturating_add(1);
    number("epoch", epoch).map(|()| epoch)
}

pub(super) fn sturdy(id: &str, record: &SturdyRecord) -> Result<(), StoreError> {
    name("the name of a reference", id)?;
    at_most("bytes of an owner's name", record.owner.len(), LABEL_BYTES_MAX)?;
    at_most("bytes of a label", record.label.len(), LABEL_BYTES_MAX)?;
    at_most("bytes of a recipe", record.recipe.len(), RECIPE_BYTES_MAX)
}
