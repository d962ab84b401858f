//! A store that several processes share: it keeps checkpoints for the process with the newest claim, takes
//! its time, and has a clock of its own.

use std::collections::BTreeMap;

use bowline_core::resume::Jti;

use super::dice::Dice;

/// How long a claim is valid unless it is renewed, and how long its owner may rely on it.
pub(crate) const LEASE_MS: u64 = 10_000;
pub(crate) const RELIES_MS: u64 = 8_000;

/// What became of a claim or a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Done,
    /// Another process has the session.
    Fenced,
    /// Whether it was done is unknown.
    Silent,
    /// It was not done.
    Refused,
}

/// A checkpoint, and the tokens that count once it is stored.
pub(crate) struct Put {
    pub(crate) number: u64,
    pub(crate) bytes: Vec<u8>,
    /// The number of the transport for which its token was minted.
    pub(crate) transport: u64,
    pub(crate) tokens: Vec<Jti>,
}

pub(crate) struct Store {
    checkpoints: BTreeMap<u64, Vec<u8>>,
    /// Counts the claims.
    pub(crate) epoch: u64,
    leased_until_ms: u64,
    /// Writes on their way, each with its claim.
    late: Vec<(u64, Put)>,
    /// The newest checkpoint of the newest claim.
    newest: u64,
    /// The transport of the newest checkpoint, and the tokens that counted then.
    known: (u64, Vec<Jti>),
    /// How far its clock is from everybody's.
    jumped_ms: i64,
    /// Writes are refused to those whose claim is not the newest.
    fences: bool,
    /// It accepts nothing, from any process.
    pub(crate) is_away: bool,
}

impl Store {
    pub(crate) fn new(fences: bool) -> Self {
        let checkpoints = BTreeMap::new();
        let (late, known) = (Vec::new(), (0, Vec::new()));
        Self {
            checkpoints,
            epoch: 1,
            leased_until_ms: LEASE_MS,
            late,
            newest: 0,
            known,
            jumped_ms: 0,
            fences,
            is_away: false,
        }
    }

    fn clock(&self, now_ms: u64) -> u64 {
        now_ms.saturating_add_signed(self.jumped_ms)
    }

    /// Whether its clock has always been everybody's.
    pub(crate) fn is_on_time(&self) -> bool {
        self.jumped_ms == 0
    }

    /// Returns the epoch of a claim, above every one that was `seen`, unless the session is owned.
    pub(crate) fn claim(&mut self, now_ms: u64, seen: u64) -> Option<u64> {
        let clock = self.clock(now_ms);
        if clock < self.leased_until_ms {
            return None;
        }
        self.epoch = self.epoch.max(self.known.0).max(seen) + 1;
        self.newest = 0;
        self.leased_until_ms = clock + LEASE_MS;
        Some(self.epoch)
    }

    pub(crate) fn renew(&mut self, epoch: u64, now_ms: u64) -> bool {
        if epoch == self.epoch {
            self.leased_until_ms = self.clock(now_ms) + LEASE_MS;
        }
        epoch == self.epoch
    }

    /// Releases the session for its owner.
    pub(crate) fn release(&mut self, epoch: u64) {
        if epoch == self.epoch {
            self.leased_until_ms = 0;
        }
    }

    pub(crate) fn put(&mut self, epoch: u64, put: Put, dice: &mut Dice) -> Answer {
        if self.is_away {
            return Answer::Refused;
        }
        if dice.one_in(10) {
            self.late.push((epoch, put));
            return Answer::Silent;
        }
        if epoch != self.epoch && self.fences {
            return Answer::Fenced;
        }
        self.insert(put);
        Answer::Done
    }

    /// Later checkpoints are not followed by earlier ones.
    fn insert(&mut self, put: Put) {
        let Put { number, bytes, transport, tokens } = put;
        if number >= self.newest {
            self.newest = number;
            self.known = (self.known.0.max(transport), tokens);
            self.checkpoints.insert(number, bytes);
        }
    }

    /// The transport of the newest checkpoint, and the tokens that counted then.
    pub(crate) fn known(&self) -> (u64, Vec<Jti>) {
        self.known.clone()
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
            let (epoch, put) = self.late.swap_remove(dice.below(self.late.len()));
            if epoch == self.epoch || !self.fences {
                self.insert(put);
            }
        }
        if dice.one_in(40) {
            self.jumped_ms += [-20_000, 20_000][dice.below(2)];
        }
    }
}
