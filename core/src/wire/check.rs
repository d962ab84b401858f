//! Validation of incoming text, before any of it is evaluated: that it is JSON and within the
//! limits.

use std::borrow::Cow;

use super::WireError;
use super::repeats::without_repeats;
use crate::limits::Limits;
use crate::value::Payload;
use crate::value::text::{Cursor, Watch, hash_name};

/// A validated text.
#[derive(Debug)]
pub(crate) struct Checked<'a> {
    /// The text to read: the original, or a copy in which only the last of several members with the
    /// same name is left, as JavaScript reads it.
    pub(crate) text: Cow<'a, str>,
    /// The number of JSON values in the original.
    pub(crate) nodes: usize,
}

/// Checks that `text` is one JSON value within `limits`.
pub(crate) fn check<'a>(text: &'a str, limits: &Limits) -> Result<Checked<'a>, WireError> {
    let Walked { nodes, repeats } = walk(&mut Cursor::new(text), limits)?;
    let text = if repeats { Cow::Owned(without_repeats(text)?) } else { Cow::Borrowed(text) };
    Ok(Checked { text, nodes })
}

/// Checks that the text of a payload is one JSON value within `limits`.
pub(crate) fn check_payload<R>(payload: &Payload<R>, limits: &Limits) -> Result<(), WireError> {
    walk(&mut payload.cursor(), limits).map(drop)
}

/// What was found in a text.
struct Walked {
    /// The number of JSON values.
    nodes: usize,
    /// An object has several members with the same name, or may have.
    repeats: bool,
}

/// Reads the one value of a text within `limits`.
fn walk<'a>(cursor: &mut Cursor<'a>, limits: &Limits) -> Result<Walked, WireError> {
    let text = cursor.text();
    if text.len() > limits.message_bytes {
        return Err(WireError::limit("bytes of a message", limits.message_bytes));
    }
    // No text has more units than bytes, so most texts need not be counted.
    if text.len() > limits.message_units && text.encode_utf16().count() > limits.message_units {
        return Err(WireError::limit("UTF-16 units of a message", limits.message_units));
    }
    let mut bounds = Bounds { limits, nodes: 0, keys: Vec::new(), objects: Vec::new(), repeats: false };
    cursor.walk(&mut bounds)?;
    cursor.end()?;
    Ok(Walked { nodes: bounds.nodes, repeats: bounds.repeats })
}

/// Returns the maximum number of nested brackets. An array takes two on the wire, and a message
/// adds a few around a value.
fn brackets_max(value_depth: usize) -> usize {
    2 * value_depth + 8
}

/// Larger objects are searched for repeated names by their hashes.
const PAIRWISE_MAX: usize = 16;

struct Bounds<'a, 'l> {
    limits: &'l Limits,
    nodes: usize,
    /// The names in the open objects, innermost last.
    keys: Vec<&'a str>,
    /// The start of each open object in `keys`.
    objects: Vec<usize>,
    repeats: bool,
}

impl<'a> Watch<'a> for Bounds<'a, '_> {
    type Error = WireError;

    fn value(&mut self, depth: usize) -> Result<(), WireError> {
        self.nodes += 1;
        if self.nodes > self.limits.message_nodes {
            return Err(WireError::limit("values in a message", self.limits.message_nodes));
        }
        if depth > brackets_max(self.limits.value_depth) {
            return Err(WireError::too_deep(self.limits.value_depth));
        }
        Ok(())
    }

    fn object(&mut self) {
        self.objects.push(self.keys.len());
    }

    fn key(&mut self, raw: &'a str, escaped: bool) -> Result<(), WireError> {
        if raw.len() > self.limits.key_bytes {
            return Err(WireError::limit("bytes of an object key", self.limits.key_bytes));
        }
        let own = &self.keys[self.objects.last().copied().unwrap_or_default()..];
        // A name with an escape may equal one without.
        self.repeats |= escaped || (own.len() <= PAIRWISE_MAX && own.contains(&raw));
        self.keys.push(raw);
        Ok(())
    }

    fn object_end(&mut self) {
        let start = self.objects.pop().unwrap_or_default();
        let own = &mut self.keys[start..];
        if own.len() > PAIRWISE_MAX && !self.repeats {
            self.repeats = has_repeats(own);
        }
        self.keys.truncate(start);
    }
}

/// Returns `true` if two of these names are equal.
///
/// Hashes are sorted instead of names, because they are compared several times faster. Only names
/// with equal hashes are compared themselves. If a peer has chosen many such names, they are
/// sorted, so the time never exceeds that of sorting all names.
fn has_repeats(names: &[&str]) -> bool {
    let mut hashes: Vec<(u32, u32)> = names.iter().zip(0..).map(|(name, at)| (hash_name(name), at)).collect();
    hashes.sort_unstable();
    hashes.chunk_by(|left, right| left.0 == right.0).filter(|equal| equal.len() > 1).any(|equal| {
        let mut names: Vec<&str> = equal.iter().filter_map(|&(_, at)| names.get(at as usize).copied()).collect();
        names.sort_unstable();
        names.windows(2).any(|pair| pair[0] == pair[1])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, WireError> {
        check(text, &Limits::default()).map(|checked| checked.text.into_owned())
    }

    #[test]
    fn last_of_repeated_members_wins_at_the_first_position() {
        let read = |text| read(text).expect("valid JSON");
        assert_eq!(read(r#"{"a":1,"b":2,"a":[3,{"c":1,"c":2}]}"#), r#"{"a":[3,{"c":2}],"b":2}"#);
        assert_eq!(read(r#"{"a":1,"\u0061":2}"#), r#"{"a":2}"#);
        assert_eq!(read(r#"[ {"a":1}, {"a":2} ]"#), r#"[ {"a":1}, {"a":2} ]"#);
    }

    #[test]
    fn repeats_are_found_among_many_members() {
        let members: Vec<String> = (0..100).chain([50]).map(|n| format!("\"k{n}\":{n}")).collect();
        let text = format!("{{{}}}", members.join(","));
        assert_eq!(read(&text).expect("valid JSON").matches("\"k50\"").count(), 1);
    }

    #[test]
    fn names_with_equal_hashes_are_distinguished() {
        // Some of so many have equal hashes.
        let names: Vec<String> = (1..300_000_u64)
            .map(|n| format!("{:016x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)))
            .collect();
        let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut hashes: Vec<u32> = names.iter().map(|name| hash_name(name)).collect();
        hashes.sort_unstable();
        assert!(hashes.windows(2).any(|pair| pair[0] == pair[1]));
        assert!(!has_repeats(&names));
        names.push(names[7]);
        assert!(has_repeats(&names));
    }

    #[test]
    fn each_limit_is_exact() {
        let limits = Limits { message_nodes: 5, key_bytes: 4, message_bytes: 40, value_depth: 2, ..Limits::default() };
        let ok = |text: &str| check(text, &limits).is_ok();
        assert!(ok("[1,2,3,4]") && !ok("[1,2,3,4,5]"), "nodes");
        assert!(ok(r#"{"ab":1}"#) && !ok(r#"{"abc":1}"#), "key bytes, quotes counted");
        assert!(ok(&format!("\"{}\"", "x".repeat(38))) && !ok(&format!("\"{}\"", "x".repeat(39))), "bytes");
        let limits = Limits { message_units: 6, ..Limits::default() };
        let ok = |text: &str| check(text, &limits).is_ok();
        assert!(ok("\"\u{65e5}\u{1f6a3}x\"") && !ok("\"\u{65e5}\u{1f6a3}xy\""), "units, of which 🚣 has two");
        let limits = Limits { value_depth: 2, ..Limits::default() };
        let nested = |n: usize| "[".repeat(n) + &"]".repeat(n);
        assert!(check(&nested(13), &limits).is_ok() && check(&nested(14), &limits).is_err(), "depth");
    }

    #[test]
    fn deep_message_uses_no_stack_and_names_the_limit() {
        let error = check(&"[".repeat(1_000_000), &Limits::default()).expect_err("too deep");
        assert!(error.message.contains("depth of 256"), "{error}");
    }
}
