//! Sessions without a transport: how long, how many and how much of them is kept.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bowline_core::error::ErrorCode;
use bowline_core::session::ClosedBy;
use tokio::time::{Instant, sleep};

use super::{Admitted, Entry, HELLO_REPEATS, Life, Registry};

/// How often is looked for what is over, unless the window is short.
const SWEEP: Duration = Duration::from_secs(30);
const SWEEP_MIN: Duration = Duration::from_millis(20);

impl Registry {
    /// The transport of this epoch is gone. What the session waits for, it goes on waiting for.
    pub(crate) fn park(&self, admitted: &Admitted) {
        let mut held = admitted.entry.lock();
        if held.owner.epoch() != admitted.epoch || admitted.entry.connection.is_closed() {
            return;
        }
        held.life = Life::Parked(Instant::now());
        // A log subscriber may ask the service for its parked sessions, which takes this lock.
        drop(held);
        let stats = admitted.entry.connection.link(|endpoint| endpoint.link_stats());
        tracing::debug!(
            monotonic_counter.bowline_sessions_detached = 1_u64,
            session = admitted.entry.id,
            stats.retained_bytes,
            stats.retained_messages,
            "session detached"
        );
    }

    /// Sessions that wait for their client.
    pub(crate) fn parked(&self) -> usize {
        self.sessions.iter().filter(|entry| entry.parked_since().is_some()).count()
    }

    /// Ends those that nobody came back for, and forgets those that have ended.
    pub(super) fn sweep(self: &Arc<Self>) {
        let window = self.resumption.window;
        let expired = &ErrorCode::ResumeWindowExpired;
        self.sweep_all(|since| since.elapsed() > window, expired, "the client did not come back in time");
        if let Some(last) = self.last_too_much() {
            self.sweep_all(|since| since <= last, expired, "too much waits for clients that are away");
        }
        self.throttle.forget_full(Instant::now());
        self.restoring.retain(|_, turn| turn.strong_count() > 0);
        self.hellos.retain(|_, (entry, since)| since.elapsed() <= HELLO_REPEATS && !entry.connection.is_closed());
    }

    /// Of the sessions that are parked, all up to this moment have to go for the others to be kept.
    fn last_too_much(&self) -> Option<Instant> {
        let held = |entry: &Entry| entry.connection.link(|endpoint| endpoint.held_bytes());
        let parked = self.sessions.iter().filter_map(|entry| Some((entry.parked_since()?, held(&entry))));
        let mut parked: Vec<(Instant, usize)> = parked.collect();
        parked.sort_unstable_by(|(one, _), (other, _)| other.cmp(one));
        let mut bytes = 0_usize;
        let stays = parked.iter().take(self.resumption.parked).take_while(|(_, held)| {
            bytes = bytes.saturating_add(*held);
            bytes <= self.resumption.parked_bytes
        });
        let stays = stays.count();
        parked.get(stays).map(|(since, _)| *since)
    }

    fn sweep_all(self: &Arc<Self>, is_over: impl Fn(Instant) -> bool, code: &ErrorCode, message: &str) {
        let mut over = Vec::new();
        self.sessions.retain(|_, entry| {
            let stays =
                entry.is_ending() || !entry.connection.is_closed() && !entry.parked_since().is_some_and(&is_over);
            if !stays {
                over.push(Arc::clone(entry));
            }
            stays
        });
        // Ended outside of the map: the user's objects are dropped here, who may do anything.
        for entry in over {
            if entry.kept.is_some() && !entry.connection.is_closed() {
                // It can still be had back from where it is kept.
                let registry = Arc::clone(self);
                let message = message.to_owned();
                tokio::spawn(async move { registry.retire(&entry, &message).await });
            } else if !entry.connection.is_closed() {
                tracing::debug!(
                    monotonic_counter.bowline_sessions_lost = 1_u64, session = entry.id, %code, message, "session lost"
                );
                entry.connection.end_with(ClosedBy::Transport, code, message);
            }
        }
    }

    /// One task for all sessions, from the first session to the end of the service.
    pub(super) fn start_sweeping(self: &Arc<Self>) {
        if self.sweeps.swap(true, Ordering::SeqCst) {
            return;
        }
        let pause = (self.resumption.window / 4).clamp(SWEEP_MIN, SWEEP);
        let registry: Weak<Self> = Arc::downgrade(self);
        let dropped = self.dropped();
        let sweeping = async move {
            loop {
                sleep(pause).await;
                let Some(registry) = registry.upgrade() else { return };
                registry.sweep();
            }
        };
        tokio::spawn(async move {
            tokio::select! {
                () = sweeping => {}
                () = dropped => {}
            }
        });
    }
}

impl Entry {
    pub(super) fn parked_since(&self) -> Option<Instant> {
        let mut held = self.lock();
        // Whoever drove it was dropped without a word.
        if held.life == Life::Live && self.connection.link(|endpoint| endpoint.is_detached()) {
            held.life = Life::Parked(Instant::now());
        }
        match held.life {
            Life::Parked(since) => Some(since),
            Life::Live => None,
        }
    }
}
