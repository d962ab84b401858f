//! Chains of references, which a peer can make as long as its tables allow: an object that holds a
//! reference to an object that holds a reference, and so on. Calling and dropping one takes a bounded
//! part of the stack: what is too deep is queued, and done by the outermost frame.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::sync::Arc;

use crate::peer::carrying::Place;
use crate::peer::shared::Shared;
use crate::peer::unwind::drop_quietly;

/// Sessions of local objects that carry out calls inside of each other's, on one thread.
const LEVELS_MAX: usize = 32;

thread_local! {
    static LEVELS: Cell<usize> = const { Cell::new(0) };
    static TOO_DEEP: RefCell<VecDeque<Arc<Shared>>> = const { RefCell::new(VecDeque::new()) };
    /// What is dropped inside of the drop that is under way, if one is.
    static GARBAGE: RefCell<Option<VecDeque<Box<dyn Send>>>> = const { RefCell::new(None) };
}

/// A level of local calls; see [`enter`].
pub(crate) struct Level(());

/// Begins a level of local calls. If there are too many, `session` is queued for the outermost level.
pub(crate) fn enter(session: &Arc<Shared>) -> Option<Level> {
    let entered = LEVELS.try_with(|levels| {
        let is_room = levels.get() < LEVELS_MAX;
        levels.set(levels.get() + usize::from(is_room));
        is_room
    });
    if entered == Ok(false) {
        TOO_DEEP.with_borrow_mut(|sessions| sessions.push_back(Arc::clone(session)));
        return None;
    }
    Some(Level(()))
}

impl Drop for Level {
    fn drop(&mut self) {
        // A thread that ends has no levels, and counted none.
        let left = LEVELS.try_with(|levels| {
            levels.set(levels.get().saturating_sub(1));
            levels.get()
        });
        if left != Ok(0) {
            return;
        }
        let next = || TOO_DEEP.try_with(|sessions| sessions.borrow_mut().pop_front()).ok().flatten();
        while let Some(session) = next() {
            session.carry_out(session.lock(), Place::Elsewhere);
        }
    }
}

/// Drops `value`. Inside of another such drop it is queued, and dropped before that one returns.
pub(crate) fn drop_flat<T: Send + 'static>(value: T) {
    let mut value = Some(value);
    let is_nested = GARBAGE.try_with(|garbage| match &mut *garbage.borrow_mut() {
        Some(queue) => {
            queue.extend(value.take().map(|value| Box::new(value) as Box<dyn Send>));
            true
        }
        none => {
            *none = Some(VecDeque::new());
            false
        }
    });
    if is_nested == Ok(false) {
        let _outermost = Outermost;
        drop(value);
    }
}

/// Drops what was queued, however the first drop ends.
struct Outermost;

impl Drop for Outermost {
    fn drop(&mut self) {
        let next = || GARBAGE.with_borrow_mut(|garbage| garbage.as_mut().and_then(VecDeque::pop_front));
        while let Some(value) = next() {
            drop_quietly(value);
        }
        GARBAGE.set(None);
    }
}
