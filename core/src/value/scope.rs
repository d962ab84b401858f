//! Holds capabilities while serde runs.
//!
//! Serde cannot carry live handles, so during one synchronous encode or decode they are held in a
//! thread-local frame, and serde sees tickets. A ticket is never issued twice, so one that outlives its
//! frame in a buffer is refused instead of referring to another capability. Frames nest. The guard
//! removes its frame however the scope ends, even by a panic.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use super::Cap;

/// The capabilities that an encode has found, in order.
pub(super) type Journal = Vec<(u32, Cap)>;

#[derive(Debug)]
enum Frame {
    Writing(Journal),
    Reading { base: u64, caps: Vec<Cap> },
}

thread_local! {
    static FRAMES: RefCell<Vec<Frame>> = const { RefCell::new(Vec::new()) };
}

static WRITTEN: AtomicU32 = AtomicU32::new(0);
static READ: AtomicU64 = AtomicU64::new(0);

/// The guard of the innermost frame.
#[derive(Debug)]
pub(super) struct Scope {
    on_this_thread: PhantomData<*const ()>,
}

impl Scope {
    /// Opens a frame that collects the capabilities of an encode.
    pub(super) fn writing() -> Self {
        Self::open(Frame::Writing(Vec::new()))
    }

    /// Opens a frame that issues tickets for `caps`. Also returns the ticket of the first one.
    pub(super) fn reading(caps: Vec<Cap>) -> (Self, u64) {
        // Most messages carry none and need not touch the shared counter.
        let base = match caps.len() {
            0 => 0,
            len => READ.fetch_add(len as u64, Relaxed),
        };
        (Self::open(Frame::Reading { base, caps }), base)
    }

    fn open(frame: Frame) -> Self {
        FRAMES.with_borrow_mut(|frames| frames.push(frame));
        Self { on_this_thread: PhantomData }
    }

    /// Ends an encode and returns the capabilities that it found.
    pub(super) fn journal(self) -> Journal {
        // The frame is popped here, so the guard has nothing left to do.
        std::mem::forget(self);
        match FRAMES.with_borrow_mut(Vec::pop) {
            Some(Frame::Writing(journal)) => journal,
            _ => Vec::new(),
        }
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        // The capabilities are dropped after the borrow ends, because a drop may run user code, including
        // another encode.
        let ended = FRAMES.try_with(|frames| frames.borrow_mut().pop());
        drop(ended);
    }
}

/// Adds a capability to the journal of the current encode.
pub(super) fn note(cap: &Cap) -> Option<u32> {
    with_innermost(|frame| match frame {
        Frame::Writing(journal) => {
            let ticket = WRITTEN.fetch_add(1, Relaxed);
            journal.push((ticket, cap.clone()));
            Some(ticket)
        }
        Frame::Reading { .. } => None,
    })
}

/// Returns the capability for which the current decode issued `ticket`.
pub(super) fn redeem(ticket: u64) -> Option<Cap> {
    with_innermost(|frame| match frame {
        Frame::Reading { base, caps } => {
            let index = usize::try_from(ticket.checked_sub(*base)?).ok()?;
            caps.get(index).cloned()
        }
        Frame::Writing(_) => None,
    })
}

/// Returns `true` inside of an encode.
pub(super) fn is_writing() -> bool {
    with_innermost(|frame| matches!(frame, Frame::Writing(_)).then_some(())).is_some()
}

/// Returns `true` inside of a decode.
pub(super) fn is_reading() -> bool {
    with_innermost(|frame| matches!(frame, Frame::Reading { .. }).then_some(())).is_some()
}

fn with_innermost<T>(f: impl FnOnce(&mut Frame) -> Option<T>) -> Option<T> {
    FRAMES.try_with(|frames| frames.borrow_mut().last_mut().and_then(f)).ok().flatten()
}
