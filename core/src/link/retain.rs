//! The retransmit buffer.

use std::collections::VecDeque;

/// The capacity that is kept for bytes and texts while the buffer is empty.
const SPARE_BYTES: usize = 1 << 10;
const SPARE_TEXTS: usize = 32;

/// Messages by number, from the first that is not acknowledged to the last. Their texts are stored
/// one behind the other in `bytes`, so that adding one costs a copy and no allocation.
///
/// Positions in `begin` and `ends` are counted from the first byte that was ever stored, so that
/// they need not be adjusted when texts are dropped from the front; `position - begin` is the index
/// into `bytes`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Retained {
    bytes: VecDeque<u8>,
    /// The position of the end of each text.
    ends: VecDeque<u64>,
    /// The position of the first byte of `bytes`.
    begin: u64,
    /// The number of the first message.
    first: u64,
}

impl Retained {
    pub(super) fn new() -> Self {
        Self { bytes: VecDeque::new(), ends: VecDeque::new(), begin: 0, first: 1 }
    }

    /// Returns the number of the first message that can be retransmitted.
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// Returns the number of the next message.
    pub(super) fn next(&self) -> u64 {
        self.first + self.ends.len() as u64
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn push(&mut self, text: &str) {
        self.bytes.extend(text.as_bytes());
        self.ends.push_back(self.begin + self.bytes.len() as u64);
    }

    /// Replaces the text of the newest message, if its number is `number`. Returns whether it did.
    pub(super) fn replace_last(&mut self, number: u64, text: &str) -> bool {
        if self.ends.is_empty() || number + 1 != self.next() {
            return false;
        }
        self.ends.pop_back();
        let before = self.ends.back().map_or(self.begin, |end| *end);
        self.bytes.truncate((before - self.begin) as usize);
        self.push(text);
        true
    }

    pub(super) fn get(&self, number: u64) -> Option<String> {
        let index = usize::try_from(number.checked_sub(self.first)?).ok()?;
        let end = self.ends.get(index)?;
        let begin = index.checked_sub(1).map_or(self.begin, |before| self.ends[before]);
        let within = |at: u64| (at - self.begin) as usize;
        let text = self.bytes.range(within(begin)..within(*end)).copied().collect();
        Some(String::from_utf8(text).expect("the bytes between two ends are one pushed text"))
    }

    /// Drops messages up to `number`, which was sent. An older acknowledgment that arrives late
    /// changes nothing.
    pub(super) fn confirm(&mut self, number: u64) {
        let Some(texts) = (number + 1).checked_sub(self.first).filter(|texts| *texts > 0) else { return };
        let texts = texts as usize;
        let end = self.ends[texts - 1];
        self.ends.drain(..texts);
        self.bytes.drain(..(end - self.begin) as usize);
        self.begin = end;
        self.first = number + 1;
        if self.ends.is_empty() {
            self.bytes.shrink_to(SPARE_BYTES);
            self.ends.shrink_to(SPARE_TEXTS);
        }
    }
}
