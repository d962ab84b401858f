//! When a session has paused for long enough that it gives back the room for what was there for a
//! moment. Busy ones would only want it again.

use std::time::Duration;

use crate::time::Time;

/// How often is looked. A session at rest is found within twice that.
const PAUSE: Duration = Duration::from_millis(100);

/// Whether something has happened since it was last looked.
#[derive(Debug, Default)]
pub(crate) struct Pause {
    look_at: Option<Time>,
    is_calm: bool,
    is_over: bool,
}

impl Pause {
    /// When to look next; not at all after a pause that goes on.
    pub(crate) fn due(&mut self, now: impl FnOnce() -> Time) -> Option<Time> {
        (!self.is_over).then(|| *self.look_at.get_or_insert_with(|| now() + PAUSE))
    }

    /// Something happens.
    pub(crate) fn disturb(&mut self) {
        (self.is_calm, self.is_over) = (false, false);
    }

    /// True once in a pause, when it has been one for long enough.
    pub(crate) fn look(&mut self, now: Time) -> bool {
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
    use super::*;

    fn at(ms: u64) -> Time {
        Time(Duration::from_millis(ms))
    }

    #[test]
    fn room_is_given_back_once_in_each_pause() {
        let mut pause = Pause::default();
        assert_eq!(pause.due(|| at(0)), Some(at(100)));
        assert!(!pause.look(at(50)));
        pause.disturb();
        assert_eq!(pause.due(|| at(60)), Some(at(100)), "what happens does not move it");
        assert!(!pause.look(at(100)), "something has happened");
        assert_eq!(pause.due(|| at(101)), Some(at(201)));
        assert!(pause.look(at(201)));
        assert_eq!(pause.due(|| at(202)), None);
        assert!(!pause.look(at(500)));
        pause.disturb();
        assert_eq!(pause.due(|| at(600)), Some(at(700)));
    }
}
