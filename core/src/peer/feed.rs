//! The events of a link, queued for its listeners.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::broadcast;

use crate::endpoint::LinkEvent;
use crate::peer::unwind::caught;

/// Events that a slow listener can fall behind; of those before, it is not told.
const EVENTS: usize = 16;

/// The listeners of one session. A session without any has no queue for them.
#[derive(Debug, Default)]
pub(crate) struct Feed(Mutex<State>);

/// Events are queued under the lock of the session, which gives them their order, and sent without
/// any lock, because sending wakes listeners.
#[derive(Debug, Default)]
struct State {
    /// `None` before the first listener and after the last event.
    listened: Option<Box<Listened>>,
    /// A thread is sending the queue, and sends what is added meanwhile.
    is_flushing: bool,
    /// No event follows those in the queue.
    is_over: bool,
}

/// What a feed has once there was a listener.
#[derive(Debug)]
struct Listened {
    events: broadcast::Sender<LinkEvent>,
    queue: VecDeque<LinkEvent>,
}

impl Default for Listened {
    fn default() -> Self {
        Self { events: broadcast::Sender::new(EVENTS), queue: VecDeque::new() }
    }
}

impl Feed {
    /// Returns a receiver of the events from now on.
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<LinkEvent> {
        let mut state = self.lock();
        if state.is_over && state.listened.is_none() {
            return broadcast::Sender::new(1).subscribe();
        }
        state.listened.get_or_insert_default().events.subscribe()
    }

    /// Queues an event for [`flush`](Self::flush), which wakes the listeners.
    pub(crate) fn push(&self, event: LinkEvent) {
        if let Some(listened) = &mut self.lock().listened {
            listened.queue.push_back(event);
        }
    }

    /// Sends the queued events in their order. Called without the lock of the session.
    pub(crate) fn flush(&self) {
        if self.lock().is_flushing {
            return;
        }
        while let Some((events, event)) = self.next() {
            // Fails without listeners. A listener may be a task of an executor that panics.
            if caught(|| events.send(event).is_ok()).is_err() {
                tracing::error!("panic while a task was woken");
            }
        }
    }

    /// Ends the feed: every listener gets what is queued, then the end.
    pub(crate) fn end(&self) {
        self.lock().is_over = true;
        self.flush();
    }

    /// The next event to be sent, or `None` after the last.
    fn next(&self) -> Option<(broadcast::Sender<LinkEvent>, LinkEvent)> {
        let mut state = self.lock();
        let listened = state.listened.as_mut();
        let next = listened.and_then(|listened| Some((listened.events.clone(), listened.queue.pop_front()?)));
        state.is_flushing = next.is_some();
        let ended = if next.is_none() && state.is_over { state.listened.take() } else { None };
        drop(state);
        // Dropping the last sender wakes the listeners.
        drop(ended);
        next
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
