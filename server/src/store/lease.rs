//! What an owner knows of its own lease.

use std::time::Duration;

use bowline_core::time::Time;

/// A lease as its owner counts it: by its own clock, from when it asked for it, and shorter than
/// the store does. So an owner that was paused knows, when it wakes, that it may not go on, and
/// whoever waits for the lease to end in the store is alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    length: Duration,
    asked_at: Time,
}

impl Lease {
    /// How long a lease is unless there is reason to choose otherwise: renewed every 3 s, and not
    /// relied upon after 8 s.
    pub const LENGTH: Duration = Duration::from_secs(10);

    /// A lease that was asked for at `asked_at` and then granted.
    pub fn new(length: Duration, asked_at: Time) -> Self {
        Self { length, asked_at }
    }

    /// It was asked for once more, and granted. Answers may arrive out of order.
    pub fn renewed(&mut self, asked_at: Time) {
        self.asked_at = self.asked_at.max(asked_at);
    }

    /// When to ask for it again.
    pub fn renew_at(&self) -> Time {
        self.asked_at + self.length / 10 * 3
    }

    /// When to stop, unless it was renewed by then.
    pub fn stop_at(&self) -> Time {
        self.asked_at + self.length / 10 * 8
    }

    /// Whether the owner may go on at `now`.
    pub fn is_good(&self, now: Time) -> bool {
        now < self.stop_at()
    }
}
