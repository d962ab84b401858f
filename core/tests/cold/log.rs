//! The outcomes of recorded calls, kept for the process that has the newest claim.

use std::collections::BTreeMap;

/// The age at which outcomes are forgotten where a session may live longer than they do.
const SHORT_LIVED_MS: u64 = 600_000;

/// What is known of a recorded call before it is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begun {
    /// It has not begun before.
    Now,
    /// It has begun, in this process or another; how it ended is not known.
    Before,
    /// It has ended with this result.
    Ended(u64),
    /// Another process has the session.
    Fenced,
}

#[derive(Debug)]
struct Recorded {
    at_ms: u64,
    outcome: Option<u64>,
}

/// The log of one session, by the ids of its calls.
#[derive(Debug)]
pub(crate) struct CallLog {
    calls: BTreeMap<i64, Recorded>,
    /// The newest claim.
    claim: u64,
    now_ms: u64,
    lives_as_long_as_session: bool,
}

impl CallLog {
    pub(crate) fn new(lives_as_long_as_session: bool) -> Self {
        Self { calls: BTreeMap::new(), claim: 1, now_ms: 0, lives_as_long_as_session }
    }

    pub(crate) fn claimed(&mut self, claim: u64) {
        self.claim = claim;
    }

    pub(crate) fn time_is(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
        if !self.lives_as_long_as_session {
            self.calls.retain(|_, call| call.at_ms + SHORT_LIVED_MS > now_ms);
        }
    }

    pub(crate) fn begin(&mut self, claim: u64, call: i64) -> Begun {
        if claim != self.claim {
            return Begun::Fenced;
        }
        match self.calls.get(&call) {
            Some(Recorded { outcome: Some(outcome), .. }) => Begun::Ended(*outcome),
            Some(Recorded { outcome: None, .. }) => Begun::Before,
            None => {
                self.calls.insert(call, Recorded { at_ms: self.now_ms, outcome: None });
                Begun::Now
            }
        }
    }

    pub(crate) fn end(&mut self, claim: u64, call: i64, outcome: u64) {
        if let Some(recorded) = self.calls.get_mut(&call).filter(|_| claim == self.claim) {
            *recorded = Recorded { at_ms: self.now_ms, outcome: Some(outcome) };
        }
    }
}
