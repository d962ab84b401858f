//! How deeply the values in outgoing arguments are nested. A value that was received goes into them
//! as it is, so arguments can be deeper than each of the values that they are made of.
//! docs/wire.md, "Limits".

use crate::session::messages::write::Mention;
use crate::session::state::promises::Found;
use crate::session::state::promises::payload_of;
use crate::session::state::{Ref, Session};
use crate::value::Payload;
use crate::wire::WireError;

impl Session {
    /// Returns the rejection of a call whose arguments would be nested too deeply once the values that
    /// they refer to are in their places. Arguments without references were checked when they were
    /// encoded or received.
    #[inline]
    pub(in crate::session) fn refuse_deep<M: Mention>(&mut self, args: Option<&Payload<M>>) -> Option<Ref> {
        let args = args.filter(|args| !args.refs().is_empty())?;
        self.is_too_deep(args).then(|| Ref::Promise(self.settled(Err(self.too_deep()))))
    }

    fn is_too_deep<M: Mention>(&self, args: &Payload<M>) -> bool {
        if !args.refs().iter().any(|mention| self.inlined(mention).is_some()) {
            return false;
        }
        let most = self.limits.value_depth;
        let deepest = args.refs().iter().filter_map(|mention| self.inlined(mention)).map(brackets).max();
        if brackets(args.text()) + deepest.unwrap_or_default() < most {
            return false;
        }
        let mut levels = Levels::new(most);
        for (json, mention) in args.segments() {
            levels.read(json);
            match mention.map(|mention| self.inlined(mention)) {
                Some(Some(value)) => levels.read(value),
                Some(None) => levels.value(),
                None => {}
            }
        }
        levels.is_exceeded
    }

    /// Returns the text that is written in the place of a reference, if that is a plain value.
    fn inlined<M: Mention>(&self, mention: &M) -> Option<&str> {
        match self.follow(mention.of()) {
            Found::Value(at) if mention.path().is_empty() => self.plain_at(at),
            _ => None,
        }
    }

    /// Returns the error of a value that is nested too deeply.
    pub(in crate::session) fn too_deep(&self) -> Payload<Ref> {
        payload_of(WireError::limit("levels of nesting of a value", self.limits.value_depth))
    }
}

/// Counts the brackets that open in a text, which is much faster than reading it.
fn brackets(json: &str) -> usize {
    json.bytes().filter(|byte| matches!(byte, b'[' | b'{')).count()
}

/// Returns whether a text has enough brackets to be nested more deeply than `most` levels.
pub(crate) fn may_be_deeper(json: &str, most: usize) -> bool {
    brackets(json) >= most
}

/// Returns whether an argument list is nested more deeply than `most` levels.
pub(crate) fn is_deeper(args: &Payload<Ref>, most: usize) -> bool {
    let mut levels = Levels::new(most);
    for (json, of) in args.segments() {
        levels.read(json);
        if of.is_some() {
            levels.value();
        }
    }
    levels.is_exceeded
}

/// A bracket that is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bracket {
    /// The outer one of the two that a list has.
    Outer,
    /// Elements or members stand in it, one level further down.
    Values,
}

/// The levels of nesting of valid JSON that is read in pieces, none of which ends within a string.
struct Levels {
    open: Vec<Bracket>,
    level: usize,
    most: usize,
    is_exceeded: bool,
}

impl Levels {
    fn new(most: usize) -> Self {
        Self { open: Vec::new(), level: 0, most, is_exceeded: false }
    }

    /// Counts a value that begins here.
    fn value(&mut self) {
        self.is_exceeded |= self.level >= self.most;
    }

    fn read(&mut self, json: &str) {
        let bytes = json.as_bytes();
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            at += 1;
            match byte {
                b'[' | b'{' => self.open(byte, bytes.get(at..).unwrap_or_default()),
                b']' | b'}' => {
                    if self.open.pop() == Some(Bracket::Values) {
                        self.level -= 1;
                    }
                }
                b'"' => {
                    self.value();
                    while let Some(&byte) = bytes.get(at) {
                        at += if byte == b'\\' { 2 } else { 1 };
                        if byte == b'"' {
                            break;
                        }
                    }
                }
                b',' | b':' | b' ' | b'\t' | b'\r' | b'\n' => {}
                _ => self.value(),
            }
        }
    }

    /// The argument list is one bracket, every other list two.
    fn open(&mut self, byte: u8, rest: &[u8]) {
        let is_inner = self.open.last() == Some(&Bracket::Outer);
        if !is_inner {
            self.value();
        }
        let next = rest.iter().find(|byte| !byte.is_ascii_whitespace());
        let is_outer = byte == b'[' && !is_inner && !self.open.is_empty() && next == Some(&b'[');
        self.open.push(if is_outer { Bracket::Outer } else { Bracket::Values });
        self.level += usize::from(!is_outer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn levels(json: &str) -> usize {
        (0..).find(|&most| !is_deeper(&Payload::plain(json), most)).unwrap_or_default()
    }

    #[test]
    fn lists_are_two_brackets_and_one_level() {
        assert_eq!(levels("[]"), 1);
        assert_eq!(levels("[1]"), 2);
        assert_eq!(levels("[[[1]]]"), 3);
        assert_eq!(levels("[[[[[1]]]], 2]"), 4);
        assert_eq!(levels(r#"[{"a":[[{"b":1}]]}]"#), 5);
    }

    #[test]
    fn brackets_in_strings_do_not_count() {
        assert_eq!(levels(r#"["[[{\"[", {"{[[":"\\"}]"#), 3);
    }
}
