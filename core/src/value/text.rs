//! A cursor over JSON text.
//!
//! Bowline keeps values as text until they are needed, so it has to know where a value in a message
//! begins and ends. Parsers that build or visit values do not report that. Escapes are left to
//! serde_json, and doubles to the standard library. The text of a peer is validated by `check`, but the
//! cursor itself never panics on any input.

use std::borrow::Cow;

use memchr::memchr2;

use super::payload::PLACEHOLDER_BYTE;

/// An error in JSON text, or JSON other than what is expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {at}")]
pub(crate) struct TextError {
    pub(crate) what: &'static str,
    pub(crate) at: usize,
}

/// A visitor of [`Cursor::walk`].
pub(crate) trait Watch<'a> {
    type Error: From<TextError>;
    /// Called at the beginning of a value inside of `depth` brackets.
    fn value(&mut self, depth: usize) -> Result<(), Self::Error>;
    /// Called at the beginning of an object that is not empty.
    fn object(&mut self);
    /// Called for a key of the innermost object, with its quotes.
    fn key(&mut self, raw: &'a str, escaped: bool) -> Result<(), Self::Error>;
    /// Called at the end of the innermost object.
    fn object_end(&mut self);
}

/// Returns a hash of the name of a member. A peer can choose names with equal hashes.
pub(crate) fn hash_name(name: &str) -> u32 {
    let mut hash = name.len() as u64;
    for chunk in name.as_bytes().chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        hash = (hash.rotate_left(5) ^ u64::from_le_bytes(word)).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
    (hash >> 32) as u32
}

/// A visitor that does nothing.
struct Blind;

impl Watch<'_> for Blind {
    type Error = TextError;
    fn value(&mut self, _: usize) -> Result<(), TextError> {
        Ok(())
    }
    fn object(&mut self) {}
    fn key(&mut self, _: &str, _: bool) -> Result<(), TextError> {
        Ok(())
    }
    fn object_end(&mut self) {}
}

/// The stack of open brackets, one bit for each: set for an object. The first 64 need no allocation.
#[derive(Default)]
struct Nesting {
    depth: usize,
    bits: u64,
    /// The bits of the lower levels, 64 in each word.
    full: Vec<u64>,
}

impl Nesting {
    fn push(&mut self, object: bool) {
        if self.depth.is_multiple_of(64) && self.depth > 0 {
            self.full.push(self.bits);
        }
        self.bits = self.bits << 1 | u64::from(object);
        self.depth += 1;
    }

    fn innermost(&self) -> Option<bool> {
        (self.depth > 0).then_some(self.bits & 1 == 1)
    }

    fn pop(&mut self) {
        self.depth -= 1;
        self.bits >>= 1;
        if self.depth.is_multiple_of(64) && self.depth > 0 {
            self.bits = self.full.pop().unwrap_or_default();
        }
    }
}

/// A position in JSON text. Reading advances it. White space before a token is skipped.
#[derive(Clone, Debug)]
pub(crate) struct Cursor<'a> {
    text: &'a str,
    at: usize,
    /// Whether a placeholder counts as a value. `false` for text from outside.
    placeholders: bool,
}

impl<'a> Cursor<'a> {
    /// Creates a cursor at the start of JSON text, in which a placeholder is an error.
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, at: 0, placeholders: false }
    }

    /// Creates a cursor at the start of the text of a payload.
    pub(super) fn with_placeholders(text: &'a str) -> Self {
        Self { text, at: 0, placeholders: true }
    }

    /// Skips a placeholder if it comes next.
    pub(super) fn take_placeholder(&mut self) -> bool {
        self.placeholders && self.take(PLACEHOLDER_BYTE)
    }

    /// Returns the next byte after white space, and moves the cursor to it.
    #[inline]
    pub(crate) fn peek(&mut self) -> Option<u8> {
        match self.byte() {
            Some(byte) if byte > b' ' => Some(byte),
            _ => self.peek_behind_space(),
        }
    }

    #[cold]
    fn peek_behind_space(&mut self) -> Option<u8> {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        self.at += rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count();
        self.byte()
    }

    /// Skips `byte` if it comes next.
    pub(crate) fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// Skips `byte`, which must come next.
    pub(crate) fn expect(&mut self, byte: u8) -> Result<(), TextError> {
        if self.take(byte) { Ok(()) } else { Err(self.error("unexpected character")) }
    }

    /// Returns the position of the cursor in bytes.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// Returns the text from `start` to the cursor.
    pub(crate) fn since(&self, start: usize) -> &'a str {
        self.text.get(start..self.at).unwrap_or_default()
    }

    /// Moves to a position at which a value or a name begins.
    pub(crate) fn move_to(&mut self, at: usize) {
        self.at = at.min(self.text.len());
    }

    /// Returns the text after the cursor.
    pub(crate) fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Returns the whole text.
    pub(crate) fn text(&self) -> &'a str {
        self.text
    }

    /// Checks that only white space follows.
    pub(crate) fn end(&mut self) -> Result<(), TextError> {
        if self.peek().is_none() { Ok(()) } else { Err(self.error("unexpected text after the value")) }
    }

    /// Skips `true`, `false`, or `null`, whichever `word` is, if it comes next.
    pub(crate) fn literal(&mut self, word: &str) -> bool {
        self.peek();
        let found = self.text.as_bytes()[self.at..].starts_with(word.as_bytes());
        if found {
            self.at += word.len();
        }
        found
    }

    /// Reads a string. Lone surrogates become U+FFFD.
    pub(crate) fn string(&mut self) -> Result<Cow<'a, str>, TextError> {
        self.peek();
        let start = self.at;
        if self.short_string() {
            return Ok(Cow::Borrowed(self.text.get(start + 1..self.at - 1).unwrap_or_default()));
        }
        let (raw, escaped) = self.raw_string()?;
        if !escaped {
            return Ok(Cow::Borrowed(&raw[1..raw.len() - 1]));
        }
        match serde_json::from_str(raw) {
            Ok(text) => Ok(Cow::Owned(text)),
            Err(_) => lossy_string(raw).map(Cow::Owned).ok_or(TextError { what: "bad escape in a string", at: start }),
        }
    }

    /// Skips a string if it comes next, contains no escape, and is as short as most names.
    #[inline]
    fn short_string(&mut self) -> bool {
        let Some([b'"', rest @ ..]) = self.text.as_bytes().get(self.at..) else { return false };
        let plain = match rest.as_chunks() {
            ([first, second, ..], _) => first_special(first).or_else(|| Some(8 + first_special(second)?)),
            ([first], _) => first_special(first),
            _ => None,
        };
        match plain {
            Some(plain) if rest[plain] == b'"' => {
                self.at += plain + 2;
                true
            }
            _ => false,
        }
    }

    /// Skips a string. Returns it with its quotes, and whether it contains an escape.
    pub(crate) fn raw_string(&mut self) -> Result<(&'a str, bool), TextError> {
        self.expect(b'"').map_err(|e| TextError { what: "expected a string", ..e })?;
        let start = self.at - 1;
        let mut escaped = false;
        loop {
            let rest = &self.text.as_bytes()[self.at..];
            match plain_bytes(rest) {
                Some(plain) => self.at += plain,
                None => return Err(self.error("unfinished string")),
            }
            match self.byte() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok((self.since(start), escaped));
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                _ => return Err(self.error("control character in a string")),
            }
        }
    }

    fn escape(&mut self) -> Result<(), TextError> {
        let rest = &self.text.as_bytes()[self.at + 1..];
        let len = match rest.first() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 1,
            Some(b'u') if rest.len() >= 5 && rest[1..5].iter().all(u8::is_ascii_hexdigit) => 5,
            _ => return Err(self.error("bad escape in a string")),
        };
        self.at += 1 + len;
        Ok(())
    }

    /// Skips a number and returns its text.
    pub(crate) fn number(&mut self) -> Result<&'a str, TextError> {
        self.peek();
        let start = self.at;
        self.at += usize::from(self.byte() == Some(b'-'));
        let first = self.byte();
        let digits = self.digits();
        if digits == 0 || (first == Some(b'0') && digits > 1) {
            return Err(TextError { what: "expected a number", at: start });
        }
        if matches!(self.byte(), Some(b'.' | b'e' | b'E')) {
            self.fraction()?;
        }
        Ok(self.since(start))
    }

    /// Skips digits if they are the whole number. The first byte is known to be a digit other than 0.
    #[inline]
    fn short_integer(&mut self) -> bool {
        let start = self.at;
        self.digits();
        let whole = matches!(self.byte(), Some(b',' | b']' | b'}'));
        if !whole {
            self.at = start;
        }
        whole
    }

    /// Skips the fraction and the exponent of a number.
    fn fraction(&mut self) -> Result<(), TextError> {
        if self.byte() == Some(b'.') {
            self.at += 1;
            if self.digits() == 0 {
                return Err(self.error("expected a digit"));
            }
        }
        if matches!(self.byte(), Some(b'e' | b'E')) {
            self.at += 1;
            self.at += usize::from(matches!(self.byte(), Some(b'+' | b'-')));
            if self.digits() == 0 {
                return Err(self.error("expected a digit"));
            }
        }
        Ok(())
    }

    /// Skips a whole value, which must be valid JSON, and returns its text.
    pub(crate) fn skip(&mut self) -> Result<&'a str, TextError> {
        self.walk(&mut Blind)
    }

    /// Skips a whole value and reports its parts to `watch`. Does not recurse, however deep the value is.
    pub(crate) fn walk<W: Watch<'a>>(&mut self, watch: &mut W) -> Result<&'a str, W::Error> {
        self.peek();
        let start = self.at;
        let mut open = Nesting::default();
        loop {
            watch.value(open.depth)?;
            match self.peek() {
                Some(b'"') if self.short_string() => {}
                Some(b'"') => {
                    self.raw_string()?;
                }
                Some(b'1'..=b'9') if self.short_integer() => {}
                Some(b'[') => {
                    self.at += 1;
                    if !self.take(b']') {
                        open.push(false);
                        continue;
                    }
                }
                Some(b'{') => {
                    self.at += 1;
                    if !self.take(b'}') {
                        open.push(true);
                        watch.object();
                        self.key(watch)?;
                        continue;
                    }
                }
                _ => self.scalar()?,
            }
            if self.close(&mut open, watch)? {
                return Ok(self.since(start));
            }
        }
    }

    /// Closes the brackets that end after a value, and moves to the next value. Returns `true` at the end of
    /// the outermost value.
    fn close<W: Watch<'a>>(&mut self, open: &mut Nesting, watch: &mut W) -> Result<bool, W::Error> {
        while let Some(in_object) = open.innermost() {
            if self.take(b',') {
                if in_object {
                    self.key(watch)?;
                }
                return Ok(false);
            }
            if !self.take(if in_object { b'}' } else { b']' }) {
                return Err(self.error("expected a comma or a bracket").into());
            }
            if in_object {
                watch.object_end();
            }
            open.pop();
        }
        Ok(true)
    }

    fn key<W: Watch<'a>>(&mut self, watch: &mut W) -> Result<(), W::Error> {
        let (raw, escaped) = self.raw_string()?;
        watch.key(raw, escaped)?;
        Ok(self.expect(b':')?)
    }

    /// Skips null, true, false, a number, or a placeholder in the text of a payload.
    pub(crate) fn scalar(&mut self) -> Result<(), TextError> {
        match self.peek() {
            Some(b'1'..=b'9') if self.short_integer() => Ok(()),
            Some(b'-' | b'0'..=b'9') => self.number().map(drop),
            Some(_) if self.literal("null") || self.literal("true") || self.literal("false") => Ok(()),
            Some(PLACEHOLDER_BYTE) if self.take_placeholder() => Ok(()),
            Some(_) => Err(self.error("expected a value")),
            None => Err(self.error("unexpected end")),
        }
    }

    #[inline]
    fn digits(&mut self) -> usize {
        let bytes = self.text.as_bytes();
        let mut at = self.at;
        while bytes.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        at - std::mem::replace(&mut self.at, at)
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    pub(crate) fn error(&self, what: &'static str) -> TextError {
        TextError { what, at: self.at }
    }
}

fn is_special(byte: u8) -> bool {
    (byte < 0x20) | (byte == b'"') | (byte == b'\\')
}

/// Returns the number of bytes before the first special byte of a string. Checks 8 bytes first, which is
/// fast for short strings, and then larger blocks.
#[inline]
pub(super) fn plain_bytes(text: &[u8]) -> Option<usize> {
    match text.first_chunk().and_then(first_special) {
        Some(plain) => Some(plain),
        None => plain_bytes_of_many(text),
    }
}

/// Returns the index of the first special byte among eight.
#[inline]
fn first_special(word: &[u8; 8]) -> Option<usize> {
    const ONES: u64 = u64::MAX / 0xff;
    let word = u64::from_le_bytes(*word);
    // Sets the top bit of each byte that is less than `below`, which is at most 0x80. A borrow can
    // only set bits above the first correct one, and only the first one is used.
    let less = |bytes: u64, below: u64| bytes.wrapping_sub(ONES * below) & !bytes & (ONES << 7);
    let is = |byte: u8| less(word ^ (ONES * u64::from(byte)), 1);
    let special = less(word, 0x20) | is(b'"') | is(b'\\');
    (special != 0).then_some(special.trailing_zeros() as usize / 8)
}

/// The first `NEAR_BYTES` are checked in a single pass. After that, each piece is scanned in two passes;
/// if the first pass goes too far, at most one piece is scanned in excess.
const NEAR_BYTES: usize = 256;
const PIECE_BYTES: usize = 4 << 10;

fn plain_bytes_of_many(text: &[u8]) -> Option<usize> {
    let (near, far) = text.split_at(text.len().min(NEAR_BYTES));
    if let Some(at) = plain_bytes_of_some(near) {
        return Some(at);
    }
    let mut begin = near.len();
    for piece in far.chunks(PIECE_BYTES) {
        // `memchr` selects wider instructions at run time; the compiler vectorizes the remaining check.
        let end = memchr2(b'"', b'\\', piece);
        let plain = &piece[..end.unwrap_or(piece.len())];
        let least = plain.iter().fold(u8::MAX, |least, &b| least.min(b));
        if least < 0x20 {
            return plain.iter().position(|&b| b < 0x20).map(|at| begin + at);
        }
        if let Some(end) = end {
            return Some(begin + end);
        }
        begin += piece.len();
    }
    None
}

fn plain_bytes_of_some(text: &[u8]) -> Option<usize> {
    let (blocks, _) = text.as_chunks::<64>();
    // Without an early exit within a block, so that the compiler can vectorize the loop.
    let is_plain = |block: &&[u8; 64]| !block.iter().fold(false, |special, &b| special | is_special(b));
    let plain = 64 * blocks.iter().take_while(is_plain).count();
    let (words, rest) = text[plain..].as_chunks::<8>();
    if let Some((n, at)) = words.iter().enumerate().find_map(|(n, word)| Some((n, first_special(word)?))) {
        return Some(plain + 8 * n + at);
    }
    let found = rest.iter().position(|&b| is_special(b))?;
    Some(plain + 8 * words.len() + found)
}

/// Unescapes a string that serde_json rejects because of a lone surrogate.
fn lossy_string(raw: &str) -> Option<String> {
    let mut units = Vec::with_capacity(raw.len());
    let mut chars = raw.get(1..raw.len() - 1)?.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            units.extend(c.encode_utf16(&mut [0; 2]).iter());
            continue;
        }
        units.push(match chars.next()? {
            'b' => 8,
            'f' => 12,
            'n' => 10,
            'r' => 13,
            't' => 9,
            'u' => u16::from_str_radix(chars.as_str().get(..4)?, 16).ok().inspect(|_| {
                chars.nth(3);
            })?,
            other => u16::try_from(u32::from(other)).ok()?,
        });
    }
    Some(String::from_utf16_lossy(&units))
}

#[cfg(test)]
mod tests;
