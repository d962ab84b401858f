//! What carrying out one input may cost.
//!
//! Work is counted in bytes of values that are read; what else takes time counts as many bytes as
//! are read in that time. An input is a message, or a result of the application with all that
//! waited for it. Beyond `Limits::work_bytes`, calls are rejected. Work is done in slices, so that
//! other sessions have their turn in between.

use crate::limits::Limits;
use crate::wire::WireError;

/// Looking up a part of a value, beside what is read for it.
pub(super) const LOOK_UP: usize = 64;

/// Carrying out an instruction of a mapper function, beside reading it.
pub(super) const INSTRUCTION: usize = 32;

/// Bytes that are copied in the time in which one is read.
const COPIED: usize = 8;

/// The bytes that are read in about a millisecond.
const SLICE_BYTES: usize = 256 << 10;

/// What has been spent on an input.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Budget {
    /// Work is done in slices; the caller asks for the next one.
    pub(super) is_sliced: bool,
    /// Bytes of this input, and of this slice of it.
    spent: usize,
    slice: usize,
    /// Instructions of mapper functions.
    steps: u64,
}

/// Sessions compare by what they are, not by how they go about it.
impl PartialEq for Budget {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Budget {
    /// Counts bytes that are read.
    ///
    /// # Errors
    /// They are more than an input may read.
    #[inline]
    pub(super) fn read(&mut self, bytes: usize, limits: &Limits) -> Result<(), WireError> {
        self.spent += bytes;
        self.slice += bytes;
        if self.spent <= limits.work_bytes { Ok(()) } else { Err(refused(limits)) }
    }

    /// Counts bytes that are copied.
    ///
    /// # Errors
    /// The input has spent more than it may.
    #[inline]
    pub(super) fn copy(&mut self, bytes: usize, limits: &Limits) -> Result<(), WireError> {
        self.read(bytes / COPIED, limits)
    }

    /// Returns how many bytes may still be read.
    pub(super) fn left(&self, limits: &Limits) -> usize {
        limits.work_bytes.saturating_sub(self.spent)
    }

    /// Returns how many bytes may still be copied.
    pub(super) fn copies_left(&self, limits: &Limits) -> usize {
        self.left(limits).saturating_mul(COPIED)
    }

    /// Counts instructions that are about to be carried out.
    ///
    /// # Errors
    /// They are more than the maps of an input may carry out.
    pub(super) fn step(&mut self, instructions: u64, limits: &Limits) -> Result<(), WireError> {
        self.steps = self.steps.saturating_add(instructions);
        if self.steps <= limits.map_steps {
            return Ok(());
        }
        Err(WireError::limit("instructions carried out by a map", limits.map_steps as usize))
    }

    /// Whether other sessions are to have their turn.
    #[inline]
    pub(super) fn is_slice_over(&self) -> bool {
        self.is_sliced && self.slice >= SLICE_BYTES
    }

    pub(super) fn begin_slice(&mut self) {
        self.slice = 0;
    }

    /// Everything that followed from the input is carried out.
    #[inline]
    pub(super) fn begin_input(&mut self) {
        (self.spent, self.slice, self.steps) = (0, 0, 0);
    }
}

#[cold]
fn refused(limits: &Limits) -> WireError {
    WireError::limit("bytes read for one message", limits.work_bytes)
}
