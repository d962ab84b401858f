//! What was sent and may have to be sent again.

use std::collections::VecDeque;

/// Messages by number, from the first that the peer has not confirmed to the last there is.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Retained {
    texts: VecDeque<String>,
    /// The number of the first text.
    first: u64,
    bytes: usize,
}

impl Retained {
    pub(super) fn new() -> Self {
        Self { texts: VecDeque::new(), first: 1, bytes: 0 }
    }

    /// The number of the first message that can be sent again.
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// The number that the next message will have.
    pub(super) fn next(&self) -> u64 {
        self.first + self.texts.len() as u64
    }

    pub(super) fn len(&self) -> usize {
        self.texts.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn push(&mut self, text: String) {
        self.bytes += text.len();
        self.texts.push_back(text);
    }

    pub(super) fn get(&self, number: u64) -> Option<&String> {
        let index = number.checked_sub(self.first)?;
        self.texts.get(usize::try_from(index).ok()?)
    }

    /// Everything up to `number`, which was sent, need not be sent again. Acks may be late: an
    /// older one changes nothing.
    pub(super) fn confirm(&mut self, number: u64) {
        while self.first <= number {
            let text = self.texts.pop_front().expect("numbers below `next` are those of texts");
            self.bytes -= text.len();
            self.first += 1;
        }
    }
}
