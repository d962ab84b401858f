//! The output of an encode: text, and the tickets of its capabilities.

use std::cell::Cell;
use std::collections::BTreeMap;

use super::scope::Journal;
use super::text::plain_bytes;
use super::{Cap, EncodeError, PLACEHOLDER, Payload, Text};

/// Texts of up to this many bytes are copied out of the buffer, which is then reused.
const SPARE_BYTES: usize = 1 << 10;

thread_local! {
    static SPARE: Cell<String> = const { Cell::new(String::new()) };
}

/// The text and tickets written so far.
#[derive(Debug, Default)]
pub(super) struct Writer {
    pub(super) text: String,
    /// The tickets of the placeholders, in the order of the text.
    tickets: Vec<u32>,
    /// Whether the position is inside of the properties of an error, which cannot contain capabilities.
    pub(super) in_error: bool,
    /// Whether a property of an error was omitted, perhaps with capabilities in it.
    pub(super) left_out: bool,
}

impl Writer {
    /// Creates an empty writer with some capacity.
    pub(super) fn new() -> Self {
        Self { text: SPARE.try_with(Cell::take).unwrap_or_default(), ..Self::default() }
    }

    /// Returns the payload, with the capabilities from the journal for its placeholders.
    pub(super) fn finish(mut self, journal: Journal) -> Result<Payload<Cap>, EncodeError> {
        let refs = self.refs(journal)?;
        let text = self.take_text();
        Payload::assembled(text, refs).map_err(|_| EncodeError::LostCapability)
    }

    /// Returns the text, without excess capacity.
    fn take_text(&mut self) -> Text {
        if self.text.len() > SPARE_BYTES {
            return std::mem::take(&mut self.text).into();
        }
        let text = Text::from(&self.text);
        self.text.clear();
        let spare_text = std::mem::take(&mut self.text);
        // Fails only during the destruction of thread-locals.
        let _gone = SPARE.try_with(|spare| spare.set(spare_text));
        text
    }

    /// Returns the references of the placeholders. They need not be in the order of the journal: a type may
    /// serialize its parts into a buffer and emit them later.
    fn refs(&self, journal: Journal) -> Result<Vec<Cap>, EncodeError> {
        // Most values contain none, and collecting nothing in place costs a hundred instructions.
        if journal.is_empty() && self.tickets.is_empty() {
            return Ok(Vec::new());
        }
        let in_order = journal.iter().map(|(ticket, _)| ticket).eq(&self.tickets);
        if in_order {
            return Ok(journal.into_iter().map(|(_, cap)| cap).collect());
        }
        let mut unused: BTreeMap<_, _> = journal.into_iter().map(|(ticket, cap)| (ticket, (cap, false))).collect();
        let mut refs = Vec::with_capacity(self.tickets.len());
        for ticket in &self.tickets {
            let (cap, used) = unused.get_mut(ticket).ok_or(EncodeError::LostCapability)?;
            *used = true;
            refs.push(cap.clone());
        }
        if self.left_out || unused.values().all(|(_, used)| *used) {
            Ok(refs)
        } else {
            Err(EncodeError::LostCapability)
        }
    }

    /// Writes the placeholder of a capability.
    pub(super) fn capability(&mut self, ticket: u32) {
        self.tickets.push(ticket);
        self.text.push_str(PLACEHOLDER);
    }

    /// Writes a string as `JSON.stringify` does.
    pub(super) fn string(&mut self, text: &str) -> Result<(), EncodeError> {
        // Without an early exit, so that the compiler can vectorize the loop.
        let plain = |plain, b| plain & (b >= 0x20) & (b != b'"') & (b != b'\\');
        self.text.push('"');
        if text.bytes().fold(true, plain) {
            self.text.push_str(text);
        } else {
            self.escaped(text);
        }
        self.text.push('"');
        Ok(())
    }

    fn escaped(&mut self, text: &str) {
        let mut rest = text;
        while let Some(plain) = plain_bytes(rest.as_bytes()) {
            // Special bytes are ASCII, so both parts consist of whole characters.
            let (before, after) = rest.split_at(plain);
            self.text.push_str(before);
            let byte = after.as_bytes()[0];
            match byte {
                b'"' => self.text.push_str("\\\""),
                b'\\' => self.text.push_str("\\\\"),
                8 => self.text.push_str("\\b"),
                9 => self.text.push_str("\\t"),
                10 => self.text.push_str("\\n"),
                12 => self.text.push_str("\\f"),
                13 => self.text.push_str("\\r"),
                _ => {
                    self.text.push_str(if byte < 0x10 { "\\u000" } else { "\\u001" });
                    self.text.push(char::from(b"0123456789abcdef"[usize::from(byte % 16)]));
                }
            }
            rest = &after[1..];
        }
        self.text.push_str(rest);
    }
}
