//! Detects that a session is idle, so that it frees memory that was needed only briefly. A busy session
//! would only allocate it again.

use super::batching::BATCHING;
use crate::time::Time;

/// Whether anything has happened since the last check.
#[derive(Debug, Default)]
pub(crate) struct IdleDetector {
    look_at: Option<Time>,
    is_calm: bool,
    is_over: bool,
}

impl IdleDetector {
    /// Returns the time of the next check, or `None` while a detected pause continues.
    pub(crate) fn due(&mut self, now: impl FnOnce() -> Time) -> Option<Time> {
        (!self.is_over).then(|| *self.look_at.get_or_insert_with(|| now() + BATCHING.idle_check))
    }

    /// Records that something has happened.
    pub(crate) fn record_activity(&mut self) {
        (self.is_calm, self.is_over) = (false, false);
    }

    /// Checks whether the session is idle. Returns `true` once for each idle.
    pub(crate) fn check(&mut self, now: Time) -> bool {
        if self.look_at.is_none_or(|look_at| now < look_at) {
            return false;
        }
        self.look_at = None;
        self.is_over = self.is_calm;
        self.is_calm = true;
        self.is_over
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(ms: u64) -> Time {
        Time(Duration::from_millis(ms))
    }

    #[test]
    fn pause_is_detected_once() {
        let mut idle = IdleDetector::default();
        assert_eq!(idle.due(|| at(0)), Some(at(100)));
        assert!(!idle.check(at(50)));
        idle.record_activity();
        assert_eq!(idle.due(|| at(60)), Some(at(100)), "activity does not move the check");
        assert!(!idle.check(at(100)), "there was activity");
        assert_eq!(idle.due(|| at(101)), Some(at(201)));
        assert!(idle.check(at(201)));
        assert_eq!(idle.due(|| at(202)), None);
        assert!(!idle.check(at(500)));
        idle.record_activity();
        assert_eq!(idle.due(|| at(600)), Some(at(700)));
    }
}
