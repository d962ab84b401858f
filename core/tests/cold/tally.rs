//! What was seen in histories, so that a run in which something never happened is noticed.

use std::collections::BTreeMap;

use super::client::End;

/// What was seen.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) crashes: u64,
    pub(super) restores: u64,
    pub(super) warm: u64,
    /// The client's process was another: the server's was the same, or was another too.
    pub(super) reattached: (u64, u64),
    /// Processes that woke when another had the session, and tried to go on.
    pub(super) fenced: u64,
    /// Leases that were renewed after the process had stopped to rely on them.
    pub(super) renewed_late: u64,
    pub(super) ends: BTreeMap<End, u64>,
    pub(super) callbacks: u64,
    /// Chunks of streams that a restart interrupted.
    pub(super) interrupted: u64,
    /// Drains, and those among them in which calls ran that were not awaited.
    pub(super) drains: (u64, u64),
    /// Recorded calls that were answered from the log, and those whose end the log does not know.
    pub(super) recorded: (u64, u64),
    /// The longest row of checkpoints that the store did not take.
    pub(super) failed_in_a_row: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        self.crashes += other.crashes;
        self.restores += other.restores;
        self.warm += other.warm;
        self.callbacks += other.callbacks;
        self.fenced += other.fenced;
        self.renewed_late += other.renewed_late;
        self.interrupted += other.interrupted;
        self.failed_in_a_row = self.failed_in_a_row.max(other.failed_in_a_row);
        for (sum, more) in [
            (&mut self.reattached, other.reattached),
            (&mut self.drains, other.drains),
            (&mut self.recorded, other.recorded),
        ] {
            *sum = (sum.0 + more.0, sum.1 + more.1);
        }
        for (end, count) in &other.ends {
            *self.ends.entry(end.clone()).or_default() += count;
        }
    }

    /// A run in which something never happened shows nothing of it.
    pub(crate) fn assert_seen_everything(&self) {
        let failed = |code: &str| self.ends.contains_key(&End::Failed(code.to_owned()));
        if self.restores < 500 {
            return;
        }
        assert!(self.warm > 0 && self.callbacks > 0, "{self:?}");
        assert!(self.fenced > 0 && self.renewed_late > 0 && self.interrupted > 0, "{self:?}");
        for (what, seen) in [("reattached", self.reattached), ("drains", self.drains), ("recorded", self.recorded)] {
            assert!(seen.0 > 0 && seen.1 > 0, "{what}: {self:?}");
        }
        assert!(self.failed_in_a_row > 16, "{self:?}");
        for code in ["CALL_OUTCOME_UNKNOWN", "CALL_NOT_ATTEMPTED", "CAPABILITY_LOST", "PERMISSION_DENIED"] {
            assert!(failed(code), "no call ended with {code}: {self:?}");
        }
    }
}
