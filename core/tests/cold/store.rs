//! A store that several processes have: it keeps checkpoints for whoever has the newest claim, takes
//! its time, and has a clock of its own.

use std::collections::BTreeMap;

use super::dice::Dice;

/// How long a claim counts unless it is renewed, and how long whoever made it may rely on it.
pub(crate) const LEASE_MS: u64 = 10_000;
pub(crate) const RELIES_MS: u64 = 8_000;

/// What became of a claim or a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Done,
    /// Somebody else has the session.
    Fenced,
    /// Nobody knows whether it was done.
    Silent,
}

struct Write {
    epoch: u64,
    number: u64,
    bytes: Vec<u8>,
}

pub(crate) struct Store {
    checkpoints: BTreeMap<u64, Vec<u8>>,
    /// Counts the claims.
    pub(crate) epoch: u64,
    leased_until_ms: u64,
    /// Writes on their way.
    late: Vec<Write>,
    /// How far its clock is from everybody's.
    jumped_ms: i64,
    /// Writes are refused to those whose claim is not the newest.
    fences: bool,
}

impl Store {
    pub(crate) fn new(fences: bool) -> Self {
        let checkpoints = BTreeMap::new();
        Self { checkpoints, epoch: 1, leased_until_ms: LEASE_MS, late: Vec::new(), jumped_ms: 0, fences }
    }

    fn clock(&self, now_ms: u64) -> u64 {
        now_ms.saturating_add_signed(self.jumped_ms)
    }

    /// Whether its clock has always been everybody's.
    pub(crate) fn is_on_time(&self) -> bool {
        self.jumped_ms == 0
    }

    /// The epoch of a claim, unless somebody has the session.
    pub(crate) fn claim(&mut self, now_ms: u64) -> Option<u64> {
        let clock = self.clock(now_ms);
        if clock < self.leased_until_ms {
            return None;
        }
        self.epoch += 1;
        self.leased_until_ms = clock + LEASE_MS;
        Some(self.epoch)
    }

    pub(crate) fn renew(&mut self, epoch: u64, now_ms: u64) -> bool {
        if epoch == self.epoch {
            self.leased_until_ms = self.clock(now_ms) + LEASE_MS;
        }
        epoch == self.epoch
    }

    /// Whoever has the session does not need it any more.
    pub(crate) fn release(&mut self, epoch: u64) {
        if epoch == self.epoch {
            self.leased_until_ms = 0;
        }
    }

    pub(crate) fn put(&mut self, epoch: u64, number: u64, bytes: Vec<u8>, dice: &mut Dice) -> Answer {
        if dice.one_in(10) {
            self.late.push(Write { epoch, number, bytes });
            return Answer::Silent;
        }
        if epoch != self.epoch && self.fences {
            return Answer::Fenced;
        }
        self.checkpoints.insert(number, bytes);
        Answer::Done
    }

    /// Those before are not needed any more.
    pub(crate) fn forget_before(&mut self, epoch: u64, number: u64) {
        if epoch == self.epoch {
            self.checkpoints.retain(|&kept, _| kept >= number);
        }
    }

    pub(crate) fn get(&self, number: u64) -> Option<&[u8]> {
        self.checkpoints.get(&number).map(Vec::as_slice)
    }

    /// A write that was on its way arrives, and the clock may jump.
    pub(crate) fn time_passes(&mut self, dice: &mut Dice) {
        if !self.late.is_empty() {
            let Write { epoch, number, bytes } = self.late.swap_remove(dice.below(self.late.len()));
            if epoch == self.epoch || !self.fences {
                self.checkpoints.insert(number, bytes);
            }
        }
        if dice.one_in(40) {
            self.jumped_ms += [-20_000, 20_000][dice.below(2)];
        }
    }
}
