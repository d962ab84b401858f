//! Where what happens to a link is told, for as long as somebody wants to know.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::broadcast;

use crate::endpoint::LinkEvent;

/// Events that a slow listener can fall behind; of those before, it is not told.
const EVENTS: usize = 16;

/// The listeners of one session. A session without any has no queue for them.
#[derive(Debug, Default)]
pub(crate) struct Feed(Mutex<State>);

#[derive(Debug, Default)]
enum State {
    /// Nobody has asked.
    #[default]
    Idle,
    Open(broadcast::Sender<LinkEvent>),
    /// There will be no more.
    Over,
}

impl Feed {
    /// What happens from now on.
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<LinkEvent> {
        let mut state = self.lock();
        if let State::Idle = *state {
            *state = State::Open(broadcast::Sender::new(EVENTS));
        }
        match &*state {
            State::Open(events) => events.subscribe(),
            State::Idle | State::Over => broadcast::Sender::new(1).subscribe(),
        }
    }

    pub(crate) fn tell(&self, event: LinkEvent) {
        if let State::Open(events) = &*self.lock() {
            // Nobody need listen.
            drop(events.send(event));
        }
    }

    /// Every listener hears what was told, and then that it was all.
    pub(crate) fn end(&self) {
        *self.lock() = State::Over;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
