//! A lease as its owner measures it.

use std::time::Duration;

use bowline_core::time::Time;

/// A lease as its owner measures it: by its own clock, from when it requested the lease, and
/// shorter than the store does. So an owner that was suspended notices when it wakes up that the
/// lease has ended, and a process that waits for the end of the lease in the store does not overlap
/// with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    length: Duration,
    asked_at: Time,
}

impl Lease {
    /// The usual length of a lease. It is renewed every 3 s, and not relied on after 8 s.
    pub const LENGTH: Duration = Duration::from_secs(10);

    /// Creates a lease that was requested at `asked_at` and granted.
    pub fn new(length: Duration, asked_at: Time) -> Self {
        Self { length, asked_at }
    }

    /// Records that the lease was requested again at `asked_at` and granted. Answers may arrive out
    /// of order.
    pub fn renewed(&mut self, asked_at: Time) {
        self.asked_at = self.asked_at.max(asked_at);
    }

    /// Returns when to renew the lease.
    pub fn renew_at(&self) -> Time {
        self.asked_at + self.length / 10 * 3
    }

    /// Returns when to stop relying on the lease, unless it is renewed.
    pub fn stop_at(&self) -> Time {
        self.asked_at + self.length / 10 * 8
    }

    /// Returns whether the owner may rely on the lease at `now`.
    pub fn is_good(&self, now: Time) -> bool {
        now < self.stop_at()
    }
}
