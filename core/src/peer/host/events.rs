//! The queue that gives the events of a link to their listeners.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::broadcast;

use crate::endpoint::LinkEvent;
use crate::peer::unwind::caught;

/// The number of events by which a listener can fall behind before it misses the oldest.
const EVENTS: usize = 16;

/// The listeners of one session. Without a listener there is no queue.
#[derive(Debug, Default)]
pub(crate) struct Feed(Mutex<State>);

/// Events are queued under the lock of the session, which keeps their order, and sent without any
/// lock, because sending wakes listeners.
#[derive(Debug, Default)]
struct State {
    /// `None` before the first listener and after the last event.
    listened: Option<Box<Listened>>,
    /// Whether a thread is sending the queue. It also sends what is added meanwhile.
    is_flushing: bool,
    /// Whether no event follows those in the queue.
    is_over: bool,
}

/// The parts of a feed that exist once there was a listener.
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

    /// Queues an event. [`flush`](Self::flush) sends it.
    pub(crate) fn push(&self, event: LinkEvent) {
        if let Some(listened) = &mut self.lock().listened {
            listened.queue.push_back(event);
        }
    }

    /// Sends the queued events in order. Must be called without the lock of the session.
    pub(crate) fn flush(&self) {
        if self.lock().is_flushing {
            return;
        }
        while let Some((events, event)) = self.next() {
            // Fails if there are no listeners. Waking a listener may panic in its executor.
            if caught(|| events.send(event).is_ok()).is_err() {
                tracing::error!("panic while a task was woken");
            }
        }
    }

    /// Ends the feed: every listener receives the queued events, then the end.
    pub(crate) fn end(&self) {
        self.lock().is_over = true;
        self.flush();
    }

    /// Returns the next event to send, or `None` if there is none.
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
