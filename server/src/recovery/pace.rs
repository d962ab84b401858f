//! Limits how often sessions are stored and how large they may be, and reports sessions that have
//! not been stored for too long.
//!
//! A checkpoint contains the whole session. So a client with a large session could cause unlimited
//! writes by sending a few bytes per second. The larger a snapshot, the longer its session waits
//! for the next one. All sessions of a client together are limited, too.

use std::sync::{Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use dashmap::DashMap;
use tokio::time::{Instant, sleep_until};

use super::{Keeper, Kept};
use crate::registry::{Entry, Registry};
use crate::store::Quota;

/// The maximum number of clients whose rate is remembered. Beyond, those that need not wait are
/// forgotten.
const CLIENTS_MAX: usize = 10_000;

/// The longest time that a session waits because of one snapshot.
const WAIT_MAX: Duration = Duration::from_secs(600);

/// The limits on stored sessions, as in [`Recovery`](super::Recovery).
#[derive(Clone, Copy, Debug)]
pub(super) struct StoredBounds {
    pub(super) snapshot_bytes: usize,
    pub(super) session_bytes_per_second: usize,
    pub(super) client_bytes_per_second: usize,
    pub(super) stored_bytes: u64,
    pub(super) unclaimed: Duration,
    pub(super) overdue: Duration,
}

/// When each client may store again.
#[derive(Debug, Default)]
pub(super) struct Clients(DashMap<String, Instant>);

/// How far a session is stored.
#[derive(Debug, Default)]
pub(crate) struct Standing(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// When the session may be stored again.
    waits_until: Option<Instant>,
    /// The size of the newest snapshot.
    snapshot_bytes: usize,
    /// When the oldest change happened that is not stored.
    stale_since: Option<Instant>,
    told_overdue: bool,
    is_too_large: bool,
}

impl Standing {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that the session has changed.
    pub(super) fn mark_stale(&self) {
        self.lock().stale_since.get_or_insert_with(Instant::now);
    }

    /// Records that the session is stored.
    pub(super) fn mark_stored(&self, session: &str) {
        let mut state = self.lock();
        let since = state.stale_since.take();
        let was_overdue = std::mem::take(&mut state.told_overdue);
        drop(state);
        if let Some(since) = since.filter(|_| was_overdue) {
            tracing::info!(
                monotonic_counter.bowline_checkpoints_caught_up = 1_u64,
                session,
                overdue_for = ?since.elapsed(),
                "session stored again after it was overdue"
            );
        }
    }

    /// Returns whether the newest snapshot was too large to be stored.
    pub(super) fn is_too_large(&self) -> bool {
        self.lock().is_too_large
    }

    /// Returns how long the session has had changes that are not stored, if that exceeds `most`.
    /// Reports each case once.
    fn take_overdue(&self, most: Duration) -> Option<Duration> {
        let mut state = self.lock();
        let overdue = state.stale_since?.elapsed();
        (overdue > most && !std::mem::replace(&mut state.told_overdue, true)).then_some(overdue)
    }
}

fn cost(bytes: usize, bytes_per_second: usize) -> Duration {
    let seconds = bytes as f64 / bytes_per_second.max(1) as f64;
    Duration::from_secs_f64(seconds.min(WAIT_MAX.as_secs_f64()))
}

impl Keeper {
    /// Returns how much may be stored for a client.
    pub(super) fn quota(&self, account: Option<&String>) -> Option<Quota> {
        account.map(|account| Quota { account: account.clone(), bytes: self.bounds.stored_bytes })
    }

    /// Takes the session's turn to be stored.
    ///
    /// # Errors
    /// Returns when to try again.
    fn take_turn(&self, kept: &Kept) -> Result<(), Instant> {
        let now = Instant::now();
        let state = kept.standing.lock();
        if let Some(until) = state.waits_until.filter(|until| *until > now) {
            return Err(until);
        }
        let Some(account) = &kept.account else { return Ok(()) };
        let mut until = self.clients.0.entry(account.clone()).or_insert(now);
        if *until > now {
            return Err(*until);
        }
        // Reserves the size of the last snapshot, so that only one of the waiting sessions of the
        // client continues now.
        *until = now + cost(state.snapshot_bytes, self.bounds.client_bytes_per_second);
        Ok(())
    }

    /// Counts a snapshot, and returns whether it may be stored.
    pub(super) fn admits(&self, session: &str, kept: &Kept, bytes: usize) -> bool {
        let StoredBounds { snapshot_bytes: bytes_max, session_bytes_per_second, client_bytes_per_second, .. } =
            self.bounds;
        let now = Instant::now();
        let mut state = kept.standing.lock();
        state.waits_until = Some(now + cost(bytes, session_bytes_per_second));
        let more = bytes.saturating_sub(std::mem::replace(&mut state.snapshot_bytes, bytes));
        let is_too_large = self.store.is_some() && bytes > bytes_max;
        let was_too_large = std::mem::replace(&mut state.is_too_large, is_too_large);
        drop(state);
        if let Some(account) = &kept.account {
            let mut until = self.clients.0.entry(account.clone()).or_insert(now);
            *until = (*until).max(now) + cost(more, client_bytes_per_second);
        }
        if self.clients.0.len() > CLIENTS_MAX {
            self.clients.0.retain(|_, until| *until > now);
        }
        if is_too_large && !was_too_large {
            tracing::warn!(
                monotonic_counter.bowline_snapshots_too_large = 1_u64,
                session,
                bytes,
                bytes_max,
                "the session is not stored: its snapshot exceeds Recovery::snapshot_bytes"
            );
        }
        !is_too_large
    }
}

/// Waits until a session may be stored again. Returns `false` if the session ended meanwhile.
pub(super) async fn wait_for_turn(registry: &Weak<Registry>, entry: &Entry) -> bool {
    loop {
        let until = {
            let registry = registry.upgrade();
            let keeper = registry.as_ref().and_then(|registry| registry.keeper.as_ref());
            let (Some(keeper), Some(kept)) = (keeper, &entry.kept) else { return true };
            match keeper.take_turn(kept) {
                Ok(()) => return true,
                Err(until) => until,
            }
        };
        tokio::select! {
            () = sleep_until(until) => {}
            _ = entry.connection.closed() => return false,
        }
    }
}

impl Registry {
    /// Logs sessions that have had changes for too long that are not stored.
    pub(crate) fn report_overdue(&self) {
        let Some(keeper) = &self.keeper else { return };
        for entry in self.kept() {
            let overdue = entry.kept.as_ref().and_then(|kept| kept.standing.take_overdue(keeper.bounds.overdue));
            if let Some(overdue_for) = overdue {
                tracing::warn!(
                    monotonic_counter.bowline_checkpoints_overdue = 1_u64,
                    session = entry.id,
                    ?overdue_for,
                    "the session has changes that are not stored and would be lost with the process"
                );
            }
        }
    }

    /// Returns how long a session may have changes that are not stored.
    pub(crate) fn overdue(&self) -> Duration {
        self.keeper.as_ref().map_or(Duration::MAX, |keeper| keeper.bounds.overdue)
    }
}
