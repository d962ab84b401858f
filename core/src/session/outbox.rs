//! Messages that wait to be sent.

use std::borrow::Cow;
use std::collections::VecDeque;

use crate::wire::push_integers;

/// The tag of a message that gives something back.
pub(super) const RELEASE: &str = "release";

/// Messages up to so many bytes lie one behind the other, so that they need no string of their own.
const SHORT_BYTES_MAX: usize = 1 << 10;

/// Room for short messages that is kept while there are none.
const SPARE_BYTES: usize = 1 << 10;

/// The messages, in the order in which they will be sent.
#[derive(Clone, Debug, Default)]
pub(super) struct Outbox {
    queue: VecDeque<Queued>,
    /// Of all in the queue.
    bytes: usize,
    /// How many in the queue are no releases.
    unlike_releases: usize,
    short: String,
    /// Where the next short one begins.
    at: usize,
    /// What the last message was written in.
    spare: String,
}

#[derive(Clone, Debug)]
enum Queued {
    /// Of so many bytes.
    Short(usize),
    /// The same: a tag and integers.
    Integers {
        len: usize,
        releases: bool,
    },
    Long(String),
}

/// A message that is taken.
pub(crate) struct Taken<'a> {
    pub(crate) text: Cow<'a, str>,
    /// It is a tag and integers, with nothing else in it.
    pub(crate) is_integers: bool,
}

impl Outbox {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// How many bytes they have.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// A string with room for so many bytes, to write a message in.
    pub(super) fn blank(&mut self, room: usize) -> String {
        let mut text = std::mem::take(&mut self.spare);
        text.reserve_exact(room);
        text
    }

    /// Whether all are releases.
    pub(super) fn only_releases(&self) -> bool {
        self.unlike_releases == 0
    }

    pub(super) fn push(&mut self, mut text: String) {
        self.bytes += text.len();
        self.unlike_releases += 1;
        if text.len() > SHORT_BYTES_MAX {
            return self.queue.push_back(Queued::Long(text));
        }
        self.make_room();
        self.short.push_str(&text);
        self.queue.push_back(Queued::Short(text.len()));
        if text.capacity() <= SPARE_BYTES {
            text.clear();
            self.spare = text;
        }
    }

    /// A message of a tag and integers.
    pub(super) fn push_integers<const N: usize>(&mut self, tag: &str, integers: [i64; N]) {
        self.make_room();
        let begin = self.short.len();
        push_integers(&mut self.short, tag, integers);
        let len = self.short.len() - begin;
        self.bytes += len;
        let releases = tag == RELEASE;
        self.unlike_releases += usize::from(!releases);
        self.queue.push_back(Queued::Integers { len, releases });
    }

    pub(super) fn pop(&mut self) -> Option<Taken<'_>> {
        let Some(queued) = self.queue.pop_front() else {
            self.make_room();
            return None;
        };
        let (len, is_integers, releases) = match queued {
            Queued::Short(len) => (len, false, false),
            Queued::Integers { len, releases } => (len, true, releases),
            Queued::Long(text) => {
                self.bytes -= text.len();
                self.unlike_releases -= 1;
                return Some(Taken { text: Cow::Owned(text), is_integers: false });
            }
        };
        self.unlike_releases -= usize::from(!releases);
        self.bytes -= len;
        let begin = self.at;
        self.at += len;
        Some(Taken { text: Cow::Borrowed(&self.short[begin..self.at]), is_integers })
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        let mut at = self.at;
        self.queue.iter().map(move |queued| match queued {
            Queued::Short(len) | Queued::Integers { len, .. } => {
                at += len;
                &self.short[at - len..at]
            }
            Queued::Long(text) => text,
        })
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Forgets short messages that were taken, when they are all, or most.
    fn make_room(&mut self) {
        if self.at == self.short.len() {
            self.short.clear();
            self.short.shrink_to(SPARE_BYTES);
        } else if self.at > SPARE_BYTES.max(self.short.len() / 2) {
            self.short.drain(..self.at);
        } else {
            return;
        }
        self.at = 0;
    }
}

impl PartialEq for Outbox {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl FromIterator<String> for Outbox {
    fn from_iter<I: IntoIterator<Item = String>>(texts: I) -> Self {
        let mut outbox = Self::default();
        texts.into_iter().for_each(|text| outbox.push(text));
        outbox
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_what_was_pushed_and_room_is_given_back() {
        let mut outbox = Outbox::default();
        let mut expected = VecDeque::new();
        for n in 0..20_000_i64 {
            let text = match n % 7 {
                0 => "x".repeat(SHORT_BYTES_MAX + 1),
                1 => "x".repeat(SHORT_BYTES_MAX),
                _ => format!("[\"push\",{n}]"),
            };
            outbox.push(text.clone());
            outbox.push_integers("pull", [n, -n]);
            expected.extend([text, format!("[\"pull\",{n},{}]", -n)]);
            for _ in 0..(n % 5) {
                assert_eq!(outbox.pop().map(|taken| taken.text).as_deref(), expected.pop_front().as_deref());
            }
            assert_eq!((outbox.len(), outbox.bytes()), (expected.len(), expected.iter().map(String::len).sum()));
            assert!(outbox.short.len() <= 2 * (outbox.bytes() + 2 * SPARE_BYTES), "{}", outbox.short.len());
        }
        assert!(outbox.iter().eq(&expected));
        assert_eq!(outbox, expected.into_iter().collect());
        while outbox.pop().is_some() {}
        assert!(outbox.short.capacity() <= SPARE_BYTES && outbox.spare.capacity() <= SPARE_BYTES);
    }
}
