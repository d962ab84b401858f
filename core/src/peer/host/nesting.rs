//! Bounds the stack for chains of references, which a peer can make as long as its tables allow: an
//! object that holds a reference to an object that holds a reference, and so on. Calls and drops that
//! nest too deep are queued and done by the outermost frame.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::sync::Arc;

use crate::peer::host::outputs::Place;
use crate::peer::host::shared::Shared;
use crate::peer::unwind::drop_quietly;

/// The number of sessions of local objects that may call each other on one thread's stack.
const LEVELS_MAX: usize = 32;

thread_local! {
    static LEVELS: Cell<usize> = const { Cell::new(0) };
    static TOO_DEEP: RefCell<VecDeque<Arc<Shared>>> = const { RefCell::new(VecDeque::new()) };
    /// Values dropped inside of the current drop, or `None` if no drop is running.
    static GARBAGE: RefCell<Option<VecDeque<Box<dyn Send>>>> = const { RefCell::new(None) };
}

/// A level of local calls; see [`enter`].
pub(crate) struct Level(());

/// Enters a level of local calls. If there are too many, queues `session` for the outermost level and
/// returns `None`.
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
        // During the destruction of thread-locals there are no levels, and none was counted.
        let left = LEVELS.try_with(|levels| {
            levels.set(levels.get().saturating_sub(1));
            levels.get()
        });
        if left != Ok(0) {
            return;
        }
        let next = || TOO_DEEP.try_with(|sessions| sessions.borrow_mut().pop_front()).ok().flatten();
        while let Some(session) = next() {
            session.drain_outputs(session.lock(), Place::Elsewhere);
        }
    }
}

/// Drops `value`. Inside of another such drop, the value is queued and dropped before that one returns.
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

/// A guard that drops the queued values, even if the first drop panics.
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
