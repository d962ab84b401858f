//! When things were made, to about a second and without a date in every entry: ids are counters,
//! so it is enough to note now and then how far they have come.

use std::collections::VecDeque;
use std::time::Duration;

use crate::session::Session;
use crate::time::Time;

/// The least time between two notes.
const APART: Duration = Duration::from_secs(1);

/// Notes that are kept. Beyond, every second one is left out.
const NOTES_MAX: usize = 256;

#[derive(Clone, Copy, Debug, PartialEq)]
struct Note {
    at: Time,
    next_result: i64,
    next_export: i64,
}

/// How far the ids of a session's exports had come, and when.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Dates {
    /// The wall clock's milliseconds since 1970 at time 0; nothing is noted before it is known.
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

    /// Milliseconds since 1970 when an export cannot have been there yet, the latest that is known.
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
