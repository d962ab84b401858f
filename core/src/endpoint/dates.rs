//! Creation times, to about a second. Because ids are counters, it is enough to record now and then
//! how far they have come, and no entry needs a date.

use std::collections::VecDeque;
use std::time::Duration;

use crate::session::Session;
use crate::time::Time;

/// The minimum time between two notes.
const APART: Duration = Duration::from_secs(1);

/// The maximum number of notes. When it is reached, every second note is dropped.
const NOTES_MAX: usize = 256;

#[derive(Clone, Copy, Debug, PartialEq)]
struct Note {
    at: Time,
    next_result: i64,
    next_export: i64,
}

/// The next ids of a session's exports at various times.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Dates {
    /// The wall-clock time at [`Time`] 0, in milliseconds since 1970. Nothing is recorded before it
    /// is set.
    zero: Option<u64>,
    notes: VecDeque<Note>,
}

impl Dates {
    pub(super) fn start(&mut self, unix_ms: u64, now: Time) {
        self.zero = Some(unix_ms.saturating_sub(millis(now.0)));
    }

    pub(super) fn note(&mut self, now: Time, session: &Session) {
        if self.zero.is_none() || self.notes.back().is_some_and(|last| now.since(last.at) < APART) {
            return;
        }
        if self.notes.len() == NOTES_MAX {
            let mut place = 0;
            self.notes.retain(|_| {
                place += 1;
                place % 2 == 1
            });
        }
        let ids = session.ids();
        self.notes.push_back(Note { at: now, next_result: ids.peer_next_positive, next_export: ids.next_negative });
    }

    /// Returns the latest time at which an export is known not to have existed yet, in milliseconds
    /// since 1970.
    pub(super) fn of(&self, export: i64) -> Option<u64> {
        let not_yet = |note: &&Note| if export > 0 { note.next_result <= export } else { note.next_export >= export };
        let count = self.notes.partition_point(|note| not_yet(&note));
        let note = self.notes.get(count.checked_sub(1)?)?;
        Some(self.zero? + millis(note.at.0))
    }
}

fn millis(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX / 2)
}
