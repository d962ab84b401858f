//! Parked sessions, which have no connection: how long, how many, and how many bytes of them are
//! kept.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bowline_core::error::ErrorCode;
use bowline_core::session::ClosedBy;
use tokio::time::{Instant, sleep};

use super::quota::{self, Holder, Parked, ParkedBounds};
use super::{Admitted, Entry, HELLO_REPEATS, Life, Registry};
use crate::resumption::Resumption;

/// The longest and shortest pause between two sweeps. A short window makes sweeps more frequent.
const SWEEP: Duration = Duration::from_secs(30);
const SWEEP_MIN: Duration = Duration::from_millis(20);

/// How often expired state in the store is deleted.
const COLLECT: Duration = Duration::from_secs(60);

impl Registry {
    /// Parks a session whose connection of this epoch has ended. Calls keep running.
    pub(crate) fn park(&self, admitted: &Admitted) {
        let mut held = admitted.entry.lock();
        if held.owner.epoch() != admitted.epoch || admitted.entry.connection.is_closed() {
            return;
        }
        held.life = Life::Parked(Instant::now());
        // Released before logging, because a log subscriber may ask the service for its parked
        // sessions, which takes this lock.
        drop(held);
        let stats = admitted.entry.connection.link_stats();
        tracing::debug!(
            monotonic_counter.bowline_sessions_detached = 1_u64,
            session = admitted.entry.id,
            stats.retained_bytes,
            stats.retained_messages,
            "session detached"
        );
    }

    /// Returns the number of parked sessions.
    pub(crate) fn parked(&self) -> usize {
        self.sessions.iter().filter(|entry| entry.parked_since().is_some()).count()
    }

    /// Ends sessions whose window has ended, and removes those that have ended.
    pub(super) fn sweep(self: &Arc<Self>) {
        let window = self.resumption.window;
        let expired = &ErrorCode::ResumeWindowExpired;
        self.sweep_all(|since| since.elapsed() > window, expired, "the client did not come back in time");
        self.end_unused();
        self.bound_parked();
        self.report_overdue();
        self.hello_rates.forget_full(Instant::now());
        self.throttle.forget_full(Instant::now());
        self.recovering.retain(|_, turn| turn.strong_count() > 0);
        self.hellos.retain(|_, (entry, since)| since.elapsed() <= HELLO_REPEATS && !entry.connection.is_closed());
    }

    /// Ends parked sessions whose clients have never sent a message and whose shorter window has
    /// ended.
    fn end_unused(&self) {
        let window = self.resumption.unused_window;
        let unused = self
            .of_whom(|entry| entry.parked_since().is_some_and(|since| since.elapsed() > window) && entry.is_unused());
        for entry in unused {
            self.lose(&entry, "the client never used the session and did not come back in time");
        }
    }

    /// Ends parked sessions until the rest is within the limits.
    fn bound_parked(&self) {
        let entries = self.of_whom(|entry| entry.parked_since().is_some());
        let parked: Vec<Parked<'_>> = entries.iter().filter_map(|entry| entry.as_parked()).collect();
        let Resumption { parked: sessions, parked_bytes: bytes, .. } = self.resumption;
        let Resumption { parked_per_principal: per_principal, parked_per_address: per_address, .. } = self.resumption;
        if parked.len() != entries.len() {
            // A session was resumed meanwhile; the next sweep counts the others.
            return;
        }
        for at in quota::excess(&parked, ParkedBounds { sessions, bytes, per_principal, per_address }) {
            self.lose(&entries[at], "too many sessions, or too many bytes of them, wait for detached clients");
        }
    }

    /// Ends a session if it is still parked, and deletes its stored state.
    fn lose(&self, entry: &Entry, message: &str) {
        if entry.parked_since().is_none() {
            return;
        }
        let code = &ErrorCode::ResumeWindowExpired;
        tracing::debug!(
            monotonic_counter.bowline_sessions_lost = 1_u64, session = entry.id, %code, message, "session lost"
        );
        entry.connection.end_with(ClosedBy::Transport, code, message);
        self.ended(entry);
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
        // Ended outside of the map, because objects of the application are dropped here, and their
        // code may call the service.
        for entry in over {
            if entry.kept.is_some() && !entry.connection.is_closed() {
                // The session can still be recovered from the store.
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

    /// Deletes expired state from the store.
    fn collect(&self) {
        let Some(store) = self.keeper.as_ref().and_then(|keeper| keeper.store.clone()) else { return };
        tokio::spawn(async move {
            match store.gc().await {
                Ok(sessions) => tracing::debug!(sessions, "deleted expired sessions from the store"),
                Err(error) => tracing::debug!(%error, "cannot delete expired sessions from the store"),
            }
        });
    }

    /// Starts the task that sweeps all sessions. It starts with the first session and ends with the
    /// service.
    pub(super) fn start_sweeping(self: &Arc<Self>) {
        if self.sweeps.swap(true, Ordering::SeqCst) {
            return;
        }
        let shortest = self.resumption.window.min(self.resumption.unused_window).min(self.overdue());
        let pause = (shortest / 4).clamp(SWEEP_MIN, SWEEP);
        let registry: Weak<Self> = Arc::downgrade(self);
        let dropped = self.dropped();
        let sweeping = async move {
            let mut collects_at = Instant::now() + COLLECT;
            loop {
                sleep(pause).await;
                let Some(registry) = registry.upgrade() else { return };
                registry.sweep();
                if Instant::now() >= collects_at {
                    collects_at = Instant::now() + COLLECT;
                    registry.collect();
                }
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
    /// Returns the session as the quotas count it, if it is parked.
    fn as_parked(&self) -> Option<Parked<'_>> {
        let since = self.parked_since()?;
        let address = self.lock().from;
        let holder = match address {
            _ if !self.principal.is_anonymous() => Holder::Principal(&self.principal.id),
            Some(address) => Holder::Address(address),
            None => Holder::Unknown,
        };
        let bytes = self.connection.held_bytes();
        Some(Parked { holder, address, since, bytes, is_unused: self.is_unused() })
    }

    /// Returns whether the client has neither sent a message nor resumed the session.
    fn is_unused(&self) -> bool {
        !self.lock().welcomed && self.connection.processed() == 0
    }

    pub(super) fn parked_since(&self) -> Option<Instant> {
        let mut held = self.lock();
        // The task that drove the session was dropped without parking it.
        if held.life == Life::Live && self.connection.is_detached() {
            held.life = Life::Parked(Instant::now());
        }
        match held.life {
            Life::Parked(since) => Some(since),
            Life::Live => None,
        }
    }
}
