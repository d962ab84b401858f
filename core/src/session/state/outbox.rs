//! The queue of outgoing messages.

use std::borrow::Cow;
use std::collections::VecDeque;

use crate::id::ImportId;
use crate::wire::{CALL, integer_len, push_integers};

/// Messages up to this length are stored one behind the other in one string, without an allocation
/// of their own.
const SHORT_BYTES_MAX: usize = 1 << 10;

/// The capacity that is kept for short messages while there are none.
const SPARE_BYTES: usize = 1 << 10;

/// The queue of outgoing messages.
///
/// Short messages are stored in `short` in the order of the queue, starting at `at`; everything
/// before `at` has been taken. A call is preceded by one byte for [`CALL`], so that it can be taken together
/// with its pull without a copy. Pulls and releases are numbers until they are taken.
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
    /// The text of the pull or release that was taken last.
    integers: String,
}

/// What an outgoing message is, as far as messages are treated differently on their way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MessageKind {
    Call,
    /// A chunk of a stream.
    Chunk,
    /// The opening of a stream.
    Pipe,
    Pull,
    Release,
    /// The resolution or rejection of an export.
    Answer,
    Abort,
    /// An adjustment after another process took over, which is a frame of the link.
    Adjustment,
}

impl MessageKind {
    /// Returns `true` if the message creates an import.
    pub(crate) fn creates_import(self) -> bool {
        matches!(self, Self::Call | Self::Chunk | Self::Pipe)
    }

    /// Returns `true` if the message contains a value of the application or an error.
    pub(crate) fn has_value(self) -> bool {
        matches!(self, Self::Call | Self::Chunk | Self::Answer | Self::Abort)
    }

    /// Returns the kind of a message in a snapshot.
    fn of_snapshot(text: &str) -> Self {
        match text.strip_prefix("[\"").and_then(|rest| rest.split('"').next()) {
            Some("push") => Self::Call,
            Some("stream") => Self::Chunk,
            Some("pipe") => Self::Pipe,
            Some("pull") => Self::Pull,
            Some("release") => Self::Release,
            Some("abort") => Self::Abort,
            Some(_) => Self::Answer,
            None => Self::Adjustment,
        }
    }
}

#[derive(Clone, Debug)]
enum Queued {
    /// A message of this many bytes.
    Short(MessageKind, usize),
    /// A call of this many bytes, preceded by a byte for [`CALL`], and the id of its result.
    Call(usize, ImportId),
    Pull {
        id: ImportId,
        /// It follows directly on the call whose result it pulls.
        of_call: bool,
    },
    Release {
        id: i64,
        count: i64,
    },
    Long(MessageKind, String),
}

/// A message that was taken from the queue.
pub(crate) struct Taken<'a> {
    pub(crate) text: Cow<'a, str>,
    pub(crate) kind: MessageKind,
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

    /// Returns the kind of the next message.
    pub(crate) fn next_kind(&self) -> Option<MessageKind> {
        self.queue.front().map(Queued::kind)
    }

    /// Returns `true` if all messages are releases.
    pub(crate) fn only_releases(&self) -> bool {
        self.urgent_len == 0
    }

    pub(crate) fn push(&mut self, kind: MessageKind, text: String) {
        let len = text.len();
        if len > SHORT_BYTES_MAX {
            return self.queue(Queued::Long(kind, text), len);
        }
        self.make_room();
        self.short.push_str(&text);
        self.queue(Queued::Short(kind, len), len);
        self.reuse(text);
    }

    /// Queues a call whose result has this id.
    pub(crate) fn push_call(&mut self, text: String, id: ImportId) {
        let len = text.len();
        if len > SHORT_BYTES_MAX {
            return self.push(MessageKind::Call, text);
        }
        self.make_room();
        self.short.push(CALL);
        self.short.push_str(&text);
        self.queue(Queued::Call(len, id), len);
        self.reuse(text);
    }

    pub(crate) fn push_pull(&mut self, id: ImportId) {
        let of_call = matches!(self.queue.back(), Some(Queued::Call(_, call)) if *call == id);
        self.queue(Queued::Pull { id, of_call }, integers_len("pull", [id.0]));
    }

    pub(crate) fn push_release(&mut self, id: i64, count: i64) {
        self.queue(Queued::Release { id, count }, integers_len("release", [id, count]));
    }

    fn queue(&mut self, queued: Queued, len: usize) {
        self.bytes += len;
        self.urgent_len += usize::from(queued.kind() != MessageKind::Release);
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
        self.urgent_len -= usize::from(queued.kind() != MessageKind::Release);
        match queued {
            Queued::Short(kind, len) => Some(self.take_short(kind, len)),
            Queued::Call(len, _) => {
                if joint && let Some(&Queued::Pull { id, of_call: true }) = self.queue.front() {
                    self.queue.pop_front();
                    self.urgent_len -= 1;
                    self.bytes -= len + integers_len("pull", [id.0]);
                    let begin = self.at;
                    self.at += 1 + len;
                    let text = Cow::Borrowed(&self.short[begin..self.at]);
                    return Some(Taken { text, kind: MessageKind::Call, is_joint: true });
                }
                self.at += 1;
                Some(self.take_short(MessageKind::Call, len))
            }
            Queued::Pull { id, .. } => Some(self.take_integers(MessageKind::Pull, "pull", [id.0])),
            Queued::Release { id, count } => {
                let last = if joint && id > 0 { self.take_releases(id, count) } else { id };
                if last == id {
                    return Some(self.take_integers(MessageKind::Release, "release", [id, count]));
                }
                self.bytes -= integers_len("release", [id, count]);
                self.write_integers("release", [id, count, last]);
                Some(Taken { text: Cow::Borrowed(&self.integers), kind: MessageKind::Release, is_joint: true })
            }
            Queued::Long(kind, text) => {
                self.bytes -= text.len();
                Some(Taken { text: Cow::Owned(text), kind, is_joint: false })
            }
        }
    }

    fn take_short(&mut self, kind: MessageKind, len: usize) -> Taken<'_> {
        self.bytes -= len;
        let begin = self.at;
        self.at += len;
        Taken { text: Cow::Borrowed(&self.short[begin..self.at]), kind, is_joint: false }
    }

    fn take_integers<const N: usize>(&mut self, kind: MessageKind, tag: &str, integers: [i64; N]) -> Taken<'_> {
        self.write_integers(tag, integers);
        self.bytes -= self.integers.len();
        Taken { text: Cow::Borrowed(&self.integers), kind, is_joint: false }
    }

    fn write_integers<const N: usize>(&mut self, tag: &str, integers: [i64; N]) {
        self.integers.clear();
        push_integers(&mut self.integers, tag, integers);
    }

    /// Removes the releases of consecutive ids after `first` that have the same count, and returns the last id.
    fn take_releases(&mut self, first: i64, count: i64) -> i64 {
        let mut last = first;
        while let Some(&Queued::Release { id, count: times }) = self.queue.front()
            && (id, times) == (last + 1, count)
        {
            self.queue.pop_front();
            self.bytes -= integers_len("release", [id, count]);
            last = id;
        }
        last
    }

    /// Returns the texts of all messages.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Cow<'_, str>> {
        let mut at = self.at;
        self.queue.iter().map(move |queued| match queued {
            Queued::Short(_, len) => {
                at += len;
                Cow::Borrowed(&self.short[at - len..at])
            }
            Queued::Call(len, _) => {
                at += 1 + len;
                Cow::Borrowed(&self.short[at - len..at])
            }
            Queued::Pull { id, .. } => Cow::Owned(integers_text("pull", [id.0])),
            Queued::Release { id, count } => Cow::Owned(integers_text("release", [*id, *count])),
            Queued::Long(_, text) => Cow::Borrowed(text.as_str()),
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
    fn kind(&self) -> MessageKind {
        match self {
            Self::Short(kind, _) | Self::Long(kind, _) => *kind,
            Self::Call(..) => MessageKind::Call,
            Self::Pull { .. } => MessageKind::Pull,
            Self::Release { .. } => MessageKind::Release,
        }
    }
}

/// Returns the length of a list of a tag and integers.
fn integers_len<const N: usize>(tag: &str, integers: [i64; N]) -> usize {
    tag.len() + 4 + integers.into_iter().map(|integer| 1 + integer_len(integer)).sum::<usize>()
}

fn integers_text<const N: usize>(tag: &str, integers: [i64; N]) -> String {
    let mut text = String::new();
    push_integers(&mut text, tag, integers);
    text
}

impl PartialEq for Outbox {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl FromIterator<String> for Outbox {
    fn from_iter<I: IntoIterator<Item = String>>(texts: I) -> Self {
        let mut outbox = Self::default();
        texts.into_iter().for_each(|text| outbox.push(MessageKind::of_snapshot(&text), text));
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
                outbox.push(MessageKind::Answer, text.clone())
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
        assert!(outbox.iter().eq(expected.iter().map(String::as_str)));
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
