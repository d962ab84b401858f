//! The queue of outgoing messages.

use std::borrow::Cow;
use std::collections::VecDeque;

use crate::id::ImportId;
use crate::wire::{CALL, push_integers};

/// Messages up to this length are stored one behind the other in one string, without an allocation
/// of their own.
const SHORT_BYTES_MAX: usize = 1 << 10;

/// The capacity that is kept for short messages while there are none.
const SPARE_BYTES: usize = 1 << 10;

/// The queue of outgoing messages.
///
/// Short messages are stored in `short` in the order of the queue, starting at `at`; everything
/// before `at` has been taken. A call is preceded by one byte for [`CALL`], and its pull follows
/// directly, so that both can be taken as one joined text without a copy.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outbox {
    queue: VecDeque<Queued>,
    /// The number of bytes in all queued messages.
    bytes: usize,
    /// The number of queued messages other than releases.
    urgent_len: usize,
    short: String,
    /// The start of the next short message in `short`.
    at: usize,
    /// The buffer of a message that was copied to `short`, to be reused.
    spare: String,
    /// The text of releases that were joined last.
    joint: String,
}

#[derive(Clone, Debug)]
enum Queued {
    /// A message of this many bytes.
    Short(usize),
    /// A call, preceded by a byte for [`CALL`].
    Call {
        len: usize,
        /// The id of its result.
        id: ImportId,
    },
    /// A message that consists of a tag and integers.
    Integers {
        len: usize,
        what: Integers,
    },
    Long(String),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Integers {
    Pull,
    /// The pull of the result of the call directly before.
    PullOfCall,
    Release {
        id: i64,
        count: i64,
    },
}

/// A message that was taken from the queue.
pub(crate) struct Taken<'a> {
    pub(crate) text: Cow<'a, str>,
    /// The message consists of a tag and integers.
    pub(crate) is_integers: bool,
    /// The text joins several messages, for a peer that supports that.
    pub(crate) is_joint: bool,
}

impl Outbox {
    /// Returns the number of messages.
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Returns the number of bytes in all messages.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the memory that the messages take, in bytes.
    pub(crate) fn held_bytes(&self) -> usize {
        self.bytes + self.queue.len() * size_of::<Queued>()
    }

    /// Returns an empty string with a capacity of `room` bytes, to write a message into.
    pub(crate) fn blank(&mut self, room: usize) -> String {
        let mut text = std::mem::take(&mut self.spare);
        text.reserve_exact(room);
        text
    }

    /// Returns `true` if all messages are releases.
    pub(crate) fn only_releases(&self) -> bool {
        self.urgent_len == 0
    }

    pub(crate) fn push(&mut self, text: String) {
        let len = text.len();
        if len > SHORT_BYTES_MAX {
            return self.queue(len, Queued::Long(text));
        }
        self.make_room();
        self.short.push_str(&text);
        self.queue(len, Queued::Short(len));
        self.reuse(text);
    }

    /// Queues a call whose result has this id.
    pub(crate) fn push_call(&mut self, text: String, id: ImportId) {
        if text.len() > SHORT_BYTES_MAX {
            return self.push(text);
        }
        self.make_room();
        self.short.push(CALL);
        self.short.push_str(&text);
        self.queue(text.len(), Queued::Call { len: text.len(), id });
        self.reuse(text);
    }

    pub(crate) fn push_pull(&mut self, id: ImportId) {
        let of_call = matches!(self.queue.back(), Some(Queued::Call { id: call, .. }) if *call == id);
        self.push_integers("pull", [id.0], if of_call { Integers::PullOfCall } else { Integers::Pull });
    }

    pub(crate) fn push_release(&mut self, id: i64, count: i64) {
        self.push_integers("release", [id, count], Integers::Release { id, count });
    }

    fn push_integers<const N: usize>(&mut self, tag: &str, integers: [i64; N], what: Integers) {
        self.make_room();
        let begin = self.short.len();
        push_integers(&mut self.short, tag, integers);
        let len = self.short.len() - begin;
        self.queue(len, Queued::Integers { len, what });
    }

    fn queue(&mut self, len: usize, queued: Queued) {
        self.bytes += len;
        self.urgent_len += usize::from(!queued.is_release());
        self.queue.push_back(queued);
    }

    /// Keeps the buffer of a text that was copied.
    fn reuse(&mut self, mut text: String) {
        if text.capacity() <= SPARE_BYTES {
            text.clear();
            self.spare = text;
        }
    }

    /// Takes the next message. If `joint`, takes a call together with its pull, and consecutive
    /// releases together.
    pub(crate) fn pop(&mut self, joint: bool) -> Option<Taken<'_>> {
        let Some(queued) = self.queue.pop_front() else {
            self.make_room();
            return None;
        };
        self.urgent_len -= usize::from(!queued.is_release());
        match queued {
            Queued::Short(len) => Some(Taken::plain(self.take(len), false)),
            Queued::Call { len, .. } => {
                if joint && let Some(Queued::Integers { len: pull, what: Integers::PullOfCall }) = self.queue.front() {
                    let pull = *pull;
                    self.queue.pop_front();
                    self.urgent_len -= 1;
                    self.bytes -= len + pull;
                    let begin = self.at;
                    self.at += 1 + len + pull;
                    let text = Cow::Borrowed(&self.short[begin..=begin + len]);
                    return Some(Taken { text, is_integers: false, is_joint: true });
                }
                self.at += 1;
                Some(Taken::plain(self.take(len), false))
            }
            Queued::Integers { len, what: Integers::Release { id, count } } if joint && id > 0 => {
                Some(self.take_releases(len, id, count))
            }
            Queued::Integers { len, .. } => Some(Taken::plain(self.take(len), true)),
            Queued::Long(text) => {
                self.bytes -= text.len();
                Some(Taken::plain(Cow::Owned(text), false))
            }
        }
    }

    fn take(&mut self, len: usize) -> Cow<'_, str> {
        self.bytes -= len;
        let begin = self.at;
        self.at += len;
        Cow::Borrowed(&self.short[begin..self.at])
    }

    /// Takes the release of `first`, together with the releases of consecutive ids behind it that
    /// have the same count.
    fn take_releases(&mut self, len: usize, first: i64, count: i64) -> Taken<'_> {
        let (mut last, mut more) = (first, 0);
        while let Some(&Queued::Integers { len, what: Integers::Release { id, count: times } }) = self.queue.front()
            && (id, times) == (last + 1, count)
        {
            self.queue.pop_front();
            last = id;
            more += len;
        }
        if more == 0 {
            return Taken::plain(self.take(len), true);
        }
        self.bytes -= len + more;
        self.at += len + more;
        self.joint.clear();
        push_integers(&mut self.joint, "release", [first, count, last]);
        Taken { text: Cow::Borrowed(&self.joint), is_integers: true, is_joint: true }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        let mut at = self.at;
        self.queue.iter().map(move |queued| match queued {
            Queued::Short(len) | Queued::Call { len, .. } | Queued::Integers { len, .. } => {
                at += len + usize::from(matches!(queued, Queued::Call { .. }));
                &self.short[at - len..at]
            }
            Queued::Long(text) => text,
        })
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Drops the buffers if no message is queued.
    pub(crate) fn shrink(&mut self) {
        if self.queue.is_empty() {
            self.clear();
        }
    }

    /// Drops the short messages that were taken, once they are all of `short` or more than half of
    /// it, so that each byte is moved at most once on average.
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

impl Queued {
    fn is_release(&self) -> bool {
        matches!(self, Self::Integers { what: Integers::Release { .. }, .. })
    }
}

impl<'a> Taken<'a> {
    fn plain(text: Cow<'a, str>, is_integers: bool) -> Self {
        Self { text, is_integers, is_joint: false }
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
    fn messages_are_taken_in_order_and_buffers_are_freed() {
        let mut outbox = Outbox::default();
        let mut expected = VecDeque::new();
        for n in 0..20_000_i64 {
            let text = match n % 7 {
                0 => "x".repeat(SHORT_BYTES_MAX + 1),
                1 => "x".repeat(SHORT_BYTES_MAX),
                _ => format!("[\"push\",{n}]"),
            };
            if n % 3 == 0 {
                outbox.push(text.clone())
            } else {
                outbox.push_call(text.clone(), ImportId(n))
            }
            outbox.push_pull(ImportId(n));
            outbox.push_release(n, 2);
            expected.extend([text, format!("[\"pull\",{n}]"), format!("[\"release\",{n},2]")]);
            for _ in 0..(n % 7) {
                assert_eq!(outbox.pop(false).map(|taken| taken.text).as_deref(), expected.pop_front().as_deref());
            }
            assert_eq!((outbox.len(), outbox.bytes()), (expected.len(), expected.iter().map(String::len).sum()));
            assert!(outbox.short.len() <= 2 * (outbox.bytes() + 2 * SPARE_BYTES), "{}", outbox.short.len());
        }
        assert!(outbox.iter().eq(&expected));
        assert_eq!(outbox, expected.into_iter().collect());
        while outbox.pop(false).is_some() {}
        assert!(outbox.short.capacity() <= SPARE_BYTES && outbox.spare.capacity() <= SPARE_BYTES);
    }

    #[test]
    fn calls_with_pulls_and_consecutive_releases_are_taken_together() {
        let mut outbox = Outbox::default();
        for n in 5..8 {
            outbox.push_release(n, 1);
        }
        assert!(outbox.only_releases());
        outbox.push_release(9, 1);
        outbox.push_release(10, 2);
        outbox.push_release(-3, 1);
        outbox.push_release(-2, 1);
        outbox.push_call("[\"push\",1]".to_owned(), ImportId(11));
        outbox.push_pull(ImportId(11));
        outbox.push_call("[\"push\",2]".to_owned(), ImportId(12));
        outbox.push_pull(ImportId(11));
        outbox.push_call("x".repeat(SHORT_BYTES_MAX + 1), ImportId(13));
        outbox.push_pull(ImportId(13));
        let mut taken = Vec::new();
        while let Some(next) = outbox.pop(true) {
            taken.push((next.text.chars().take(20).collect::<String>(), next.is_joint));
        }
        let taken: Vec<_> = taken.iter().map(|(text, is_joint)| (text.as_str(), *is_joint)).collect();
        assert_eq!(
            taken,
            [
                ("[\"release\",5,1,7]", true),
                ("[\"release\",9,1]", false),
                ("[\"release\",10,2]", false),
                ("[\"release\",-3,1]", false),
                ("[\"release\",-2,1]", false),
                ("+[\"push\",1]", true),
                ("[\"push\",2]", false),
                ("[\"pull\",11]", false),
                ("xxxxxxxxxxxxxxxxxxxx", false),
                ("[\"pull\",13]", false),
            ]
        );
        assert_eq!((outbox.len(), outbox.bytes(), outbox.only_releases()), (0, 0, true));
    }
}
