//! Payloads: the form of calls, arguments, and results inside of Bowline, as wire text in which a
//! placeholder stands for each capability.
//!
//! Everything that writes, counts, or finds placeholders is in this module, so that the text and the
//! references of a payload always agree. The values between them are read by `text::Cursor`.

use compact_str::CompactString;
use memchr::{memchr, memchr_iter};
use serde::{Deserialize, Serialize};

use super::text::Cursor;

/// The placeholder of a capability in the text of a [`Payload`]: the control character U+001A,
/// "substitute", where a value would stand.
///
/// JSON allows no control character inside a string, and outside of strings only white space. A
/// peer therefore cannot write a placeholder: the reader refuses the byte everywhere in incoming
/// text, and every serializer escapes it inside strings. One search for a byte finds exactly the
/// placeholders.
pub const PLACEHOLDER: &str = "\u{1a}";

/// The one byte of [`PLACEHOLDER`].
pub(crate) const PLACEHOLDER_BYTE: u8 = PLACEHOLDER.as_bytes()[0];

/// The JSON escape of the character U+001A.
const ESCAPED: &str = "\\u001a";

/// The text of a [`Payload`]. Up to 24 bytes, which suffice for many arguments and results, are stored
/// inline.
pub type Text = CompactString;

/// A wire expression with a [`PLACEHOLDER`] for each capability, and the references that the
/// placeholders stand for, in the order of the text.
///
/// There are as many placeholders as references, which every constructor ensures.
///
/// Inside of a session, `R` is a [`Ref`](crate::session::Ref), which is plain data. For an
/// application, it is a [`Cap`](crate::value::Cap), which is live.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked<R>", bound(deserialize = "R: Deserialize<'de>"))]
pub struct Payload<R> {
    /// A complete expression, or for arguments the list of expressions (`[a,b]`).
    #[serde(rename = "t")]
    text: Text,
    /// One reference for each placeholder.
    #[serde(rename = "r", skip_serializing_if = "Vec::is_empty")]
    refs: Vec<R>,
}

/// A payload as it was stored, before it is checked.
#[derive(Deserialize)]
struct Unchecked<R> {
    #[serde(rename = "t")]
    text: Text,
    #[serde(rename = "r", default = "Vec::new")]
    refs: Vec<R>,
}

impl<R> TryFrom<Unchecked<R>> for Payload<R> {
    type Error = PlaceholderMismatch;

    fn try_from(stored: Unchecked<R>) -> Result<Self, PlaceholderMismatch> {
        Self::new(stored.text, stored.refs)
    }
}

/// The error of a text that has more or fewer placeholders than there are references.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a payload has {placeholders} placeholders for {references} capabilities")]
pub struct PlaceholderMismatch {
    placeholders: usize,
    references: usize,
}

impl<R> Payload<R> {
    /// Creates a payload from a text and the references that its placeholders stand for.
    ///
    /// # Errors
    /// The text does not have one [`PLACEHOLDER`] for each reference.
    pub fn new(text: impl Into<Text>, refs: Vec<R>) -> Result<Self, PlaceholderMismatch> {
        let text = text.into();
        match placeholders(&text) {
            placeholders if placeholders == refs.len() => Ok(Self { text, refs }),
            placeholders => Err(PlaceholderMismatch { placeholders, references: refs.len() }),
        }
    }

    /// Creates a payload from a text that this crate wrote. Without references the text is not searched: a
    /// stray placeholder would be an error for its reader, and could not move a capability.
    ///
    /// # Errors
    /// Those of [`Payload::new`].
    pub(super) fn assembled(text: Text, refs: Vec<R>) -> Result<Self, PlaceholderMismatch> {
        if refs.is_empty() { Ok(Self { text, refs }) } else { Self::new(text, refs) }
    }

    /// Creates a payload without capabilities.
    ///
    /// A raw control character, which no JSON text contains, is escaped if it could be mistaken for a
    /// placeholder.
    pub fn plain(text: impl Into<Text>) -> Self {
        let text = text.into();
        let text = if has_placeholder(&text) { text.replace(PLACEHOLDER, ESCAPED).into() } else { text };
        Self { text, refs: Vec::new() }
    }

    /// Creates a payload that is `undefined`.
    pub const fn undefined() -> Self {
        Self { text: Text::const_new("[\"undefined\"]"), refs: Vec::new() }
    }

    /// Creates a payload that consists of one capability.
    pub fn capability(of: R) -> Self {
        Self { text: Text::const_new(PLACEHOLDER), refs: vec![of] }
    }

    /// Returns the capability, if the whole payload is one.
    pub fn as_capability(&self) -> Option<&R> {
        match self.refs.as_slice() {
            [of] if self.text.len() == PLACEHOLDER.len() => Some(of),
            _ => None,
        }
    }

    /// Returns the text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the number of bytes of the text.
    pub fn text_len(&self) -> usize {
        self.text.len()
    }

    /// Returns the references that the placeholders stand for, in the order of the text.
    pub fn refs(&self) -> &[R] {
        &self.refs
    }

    /// Returns the text and the references.
    pub fn into_parts(self) -> (Text, Vec<R>) {
        (self.text, self.refs)
    }

    /// Returns the text.
    pub fn into_text(self) -> Text {
        self.text
    }

    /// Returns the references.
    pub fn into_refs(self) -> Vec<R> {
        self.refs
    }

    /// Converts each reference with `map`. The text stays the same.
    pub fn map_refs<S>(self, map: impl FnMut(R) -> S) -> Payload<S> {
        // Most payloads have no references, and collecting an empty list in place costs a hundred
        // instructions.
        let refs = if self.refs.is_empty() { Vec::new() } else { self.refs.into_iter().map(map).collect() };
        Payload { text: self.text, refs }
    }

    /// Returns a copy whose references are converted with `map`.
    ///
    /// # Errors
    /// The first error of `map`.
    pub fn try_map_refs<S, E>(&self, map: impl FnMut(&R) -> Result<S, E>) -> Result<Payload<S>, E> {
        Ok(Payload { refs: self.refs.iter().map(map).collect::<Result<_, _>>()?, text: self.text.clone() })
    }

    /// Puts the payload in brackets: a value becomes an argument list of one, and arguments an array.
    pub(crate) fn in_brackets(self) -> Self {
        let mut text = Text::with_capacity(self.text.len() + 2);
        text.push('[');
        text.push_str(&self.text);
        text.push(']');
        Self { text, refs: self.refs }
    }

    /// Returns a cursor at the start of the text.
    pub(crate) fn cursor(&self) -> Cursor<'_> {
        Cursor::with_placeholders(&self.text)
    }

    /// Returns the text before each placeholder together with its reference, and finally the text after the
    /// last placeholder without one.
    pub(crate) fn segments(&self) -> impl Iterator<Item = (&str, Option<&R>)> {
        let mut refs = self.refs.iter();
        let mut rest = Some(self.text.as_str());
        std::iter::from_fn(move || {
            let text = rest.take()?;
            let Some(of) = refs.next() else { return Some((text, None)) };
            // A placeholder is one ASCII byte, so both slices end at character boundaries.
            let (before, behind) = match memchr(PLACEHOLDER_BYTE, text.as_bytes()) {
                Some(at) => (&text[..at], &text[at + 1..]),
                None => (text, ""),
            };
            rest = Some(behind);
            Some((before, Some(of)))
        })
    }

    /// Returns the reference of the placeholder at byte `at` of the text.
    pub(crate) fn ref_at(&self, at: usize) -> Option<&R> {
        self.refs.get(placeholders(self.text.get(..at)?))
    }
}

impl<R: Copy> Payload<R> {
    /// Returns a part of the payload: `text`, which begins at byte `at`, with its references.
    pub(crate) fn part(&self, at: usize, text: &str) -> Self {
        let before = if self.refs.is_empty() { 0 } else { self.text.get(..at).map_or(0, placeholders) };
        self.parts(before, [text]).next().unwrap_or_else(Self::undefined)
    }

    /// Returns the parts of the payload with these texts. They must be in order and contain all
    /// placeholders but the first `before`.
    pub(crate) fn parts<'t>(
        &self,
        before: usize,
        texts: impl IntoIterator<Item = &'t str>,
    ) -> impl Iterator<Item = Self> {
        let mut refs = self.refs.iter().copied().skip(before);
        texts.into_iter().map(move |text| {
            // If no references are left, the text need not be searched.
            let count = if refs.len() == 0 { 0 } else { placeholders(text) };
            Self { text: text.into(), refs: refs.by_ref().take(count).collect() }
        })
    }
}

impl<R> Default for Payload<R> {
    fn default() -> Self {
        Self { text: Text::const_new(""), refs: Vec::new() }
    }
}

/// A builder of a payload.
#[derive(Debug)]
pub(crate) struct PayloadBuilder<R> {
    text: Text,
    refs: Vec<R>,
}

impl<R> PayloadBuilder<R> {
    pub(crate) const fn new() -> Self {
        Self { text: Text::const_new(""), refs: Vec::new() }
    }

    /// Creates a builder with room for a text of `bytes` bytes.
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self { text: Text::with_capacity(bytes), refs: Vec::new() }
    }

    /// Appends text without placeholders: JSON that a cursor has read, or a constant.
    pub(crate) fn push_json(&mut self, json: &str) {
        debug_assert!(!has_placeholder(json), "JSON has no placeholders");
        self.text.push_str(json);
    }

    /// Appends a capability.
    pub(crate) fn push_capability(&mut self, of: R) {
        self.text.push_str(PLACEHOLDER);
        self.refs.push(of);
    }

    /// Returns the number of bytes of the text so far.
    pub(crate) fn text_len(&self) -> usize {
        self.text.len()
    }

    /// Returns the references that were appended.
    pub(crate) fn into_refs(self) -> Vec<R> {
        self.refs
    }

    /// Returns the payload.
    ///
    /// # Errors
    /// A text that was appended as JSON contains a placeholder.
    pub(crate) fn finish(self) -> Result<Payload<R>, PlaceholderMismatch> {
        Payload::assembled(self.text, self.refs)
    }
}

/// Returns the number of placeholders in the text of a payload or a part of it.
pub(crate) fn placeholders(text: &str) -> usize {
    memchr_iter(PLACEHOLDER_BYTE, text.as_bytes()).count()
}

/// Returns `true` if the text of a payload, or a part of it, contains placeholders.
pub(crate) fn has_placeholder(text: &str) -> bool {
    memchr(PLACEHOLDER_BYTE, text.as_bytes()).is_some()
}
