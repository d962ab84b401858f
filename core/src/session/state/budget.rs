//! The work that one input may cause, counted in bytes of values read; see docs/wire.md, "Work".
//!
//! An input is a message, or a result from the application together with everything that waited for
//! it. Other expensive operations count as the bytes that could be read in the same time. Beyond
//! `Limits::work_bytes`, calls are rejected. Work is done in slices so that other sessions can run
//! in between.

use crate::limits::Limits;
use crate::wire::WireError;

/// The cost of looking up a part of a value, in addition to the bytes read.
pub(crate) const LOOK_UP: usize = 64;

/// The cost of a call inside of a value, in addition to what it does. A push that is itself a call
/// costs nothing.
pub(crate) const CALL: usize = 128;

/// The cost of an instruction of a mapper function, in addition to reading it.
pub(crate) const INSTRUCTION: usize = 32;

/// The number of copied bytes that cost as much as one byte read.
const COPIED: usize = 8;

/// The bytes of one slice: about a millisecond of work.
const SLICE_BYTES: usize = 256 << 10;

/// The work done for the current input.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Budget {
    /// Work is done in slices, and the caller requests the next one.
    pub(crate) is_sliced: bool,
    /// The cost of this input, and of its current slice.
    spent: usize,
    slice: usize,
    /// Instructions of mapper functions that were run.
    steps: u64,
}

/// Sessions are equal if their state is, regardless of the work done so far.
impl PartialEq for Budget {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Budget {
    /// Charges for bytes that are read.
    ///
    /// # Errors
    /// The cost of the input exceeds `Limits::work_bytes`.
    #[inline]
    pub(crate) fn read(&mut self, bytes: usize, limits: &Limits) -> Result<(), WireError> {
        self.spent += bytes;
        self.slice += bytes;
        if self.spent <= limits.work_bytes { Ok(()) } else { Err(refused(limits)) }
    }

    /// Charges for bytes that are copied.
    ///
    /// # Errors
    /// The cost of the input exceeds `Limits::work_bytes`.
    #[inline]
    pub(crate) fn copy(&mut self, bytes: usize, limits: &Limits) -> Result<(), WireError> {
        self.read(bytes / COPIED, limits)
    }

    /// Returns how many bytes may still be read.
    pub(crate) fn left(&self, limits: &Limits) -> usize {
        limits.work_bytes.saturating_sub(self.spent)
    }

    /// Returns how many bytes may still be copied.
    pub(crate) fn copies_left(&self, limits: &Limits) -> usize {
        self.left(limits).saturating_mul(COPIED)
    }

    /// Charges for instructions that are about to run.
    ///
    /// # Errors
    /// The maps of the input exceed `Limits::map_steps`.
    pub(crate) fn step(&mut self, instructions: u64, limits: &Limits) -> Result<(), WireError> {
        self.steps = self.steps.saturating_add(instructions);
        if self.steps <= limits.map_steps {
            return Ok(());
        }
        Err(WireError::limit("instructions carried out by a map", limits.map_steps as usize))
    }

    /// Returns `true` if the slice is used up and other sessions should run.
    #[inline]
    pub(crate) fn is_slice_over(&self) -> bool {
        self.is_sliced && self.slice >= SLICE_BYTES
    }

    pub(crate) fn begin_slice(&mut self) {
        self.slice = 0;
    }

    /// Returns `true` if the current input has cost about a millisecond or more.
    #[inline]
    pub(in crate::session) fn is_expensive(&self) -> bool {
        self.spent >= SLICE_BYTES
    }

    /// Starts counting anew, once everything that followed from the previous input is done.
    #[inline]
    pub(crate) fn begin_input(&mut self) {
        (self.spent, self.slice, self.steps) = (0, 0, 0);
    }
}

#[cold]
fn refused(limits: &Limits) -> WireError {
    WireError::limit("bytes read for one message", limits.work_bytes)
}
