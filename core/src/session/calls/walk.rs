//! Walking property paths through the text of a settled value.

use crate::session::state::index::Index;
use crate::session::state::{Ref, Step};
use crate::value::text::{Cursor, TextError};
use crate::value::{PLACEHOLDER, Payload};
use crate::wire::is_blocked_name;

/// The result of walking a path.
#[derive(Debug, PartialEq)]
pub(crate) enum Walk {
    /// A capability, after `steps` steps. The rest of the path applies to it.
    Capability { of: Ref, steps: usize },
    /// A part of the value. The references in it are not held yet.
    Part(Payload<Ref>),
    /// A property of `undefined`, which is an error with this text.
    OfUndefined { text: String },
}

/// A walk in progress.
struct Walker<'v> {
    value: &'v Payload<Ref>,
    cursor: Cursor<'v>,
    index: Option<&'v Index>,
    /// The number of bytes read.
    read: usize,
}

/// Walks `path` from the root of `value`, using its index if there is one. By the rules of
/// JavaScript, only own properties are found: members of objects by name, and elements of arrays by
/// number. Returns what was found, and the number of bytes read and copied.
pub(crate) fn walk(value: &Payload<Ref>, path: &[Step], index: Option<&Index>) -> (Walk, Walked) {
    let mut walker = Walker { value, cursor: value.cursor(), index, read: 0 };
    let walk = walker.walk(path);
    let copied = if let Walk::Part(part) = &walk { part.text_len() } else { 0 };
    (walk, Walked { read: walker.read, copied })
}

/// The cost of a walk, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Walked {
    pub(crate) read: usize,
    pub(crate) copied: usize,
}

impl Walker<'_> {
    fn walk(&mut self, path: &[Step]) -> Walk {
        for (n, step) in path.iter().enumerate() {
            if self.cursor.peek() == Some(PLACEHOLDER.as_bytes()[0]) {
                return self.capability(n);
            }
            if self.cursor.rest().starts_with("[\"undefined\"]") {
                return of_undefined(step);
            }
            if !matches!(self.enter(step), Ok(true)) {
                return match path.get(n + 1) {
                    Some(next) => of_undefined(next),
                    None => Walk::Part(Payload::undefined()),
                };
            }
        }
        if self.cursor.peek() == Some(PLACEHOLDER.as_bytes()[0]) {
            return self.capability(path.len());
        }
        self.part()
    }

    /// Returns the value at the cursor.
    fn part(&mut self) -> Walk {
        let at = self.cursor.at();
        if self.skip().is_err() {
            return Walk::Part(Payload::undefined());
        }
        let text = self.cursor.since(at);
        Walk::Part(match self.index {
            Some(index) => {
                let part = self.value.parts(index.placeholders_before(at), [text]).next();
                part.unwrap_or_else(Payload::undefined)
            }
            None => self.value.part(at, text),
        })
    }

    /// Returns the capability at the cursor, which was reached after `steps` steps.
    fn capability(&self, steps: usize) -> Walk {
        let at = self.cursor.at();
        let of = match self.index {
            Some(index) => self.value.refs().get(index.placeholders_before(at)),
            None => self.value.ref_at(at),
        };
        match of {
            Some(&of) => Walk::Capability { of, steps },
            None => Walk::Part(Payload::undefined()),
        }
    }

    /// Moves the cursor to a property of the value at the cursor. Returns `false` if there is none.
    fn enter(&mut self, step: &Step) -> Result<bool, TextError> {
        match (self.cursor.peek(), step) {
            (Some(b'{'), Step::Name(name)) => self.enter_object(name),
            (Some(b'{'), Step::Index(index)) => self.enter_object(&index.to_string()),
            (Some(b'['), Step::Index(index)) => self.enter_list(*index),
            _ => Ok(false),
        }
    }

    fn enter_object(&mut self, name: &str) -> Result<bool, TextError> {
        if is_blocked_name(name) {
            return Ok(false);
        }
        let start = self.cursor.at();
        if let Some(members) = self.index.and_then(|index| index.members(start, name)) {
            for at in members {
                self.cursor.move_to(at);
                if self.is_member(name)? {
                    return Ok(true);
                }
            }
            return Ok(false);
        }
        self.cursor.expect(b'{')?;
        if self.cursor.take(b'}') {
            return Ok(false);
        }
        loop {
            if self.is_member(name)? {
                return Ok(true);
            }
            self.skip()?;
            if !self.cursor.take(b',') {
                return Ok(false);
            }
        }
    }

    /// Returns `true` if the member at the cursor has this name. Moves the cursor to its value.
    fn is_member(&mut self, name: &str) -> Result<bool, TextError> {
        let at = self.cursor.at();
        let is_it = self.cursor.string()? == name;
        self.cursor.expect(b':')?;
        self.cursor.peek();
        self.read += self.cursor.at() - at;
        Ok(is_it)
    }

    fn enter_list(&mut self, index: u64) -> Result<bool, TextError> {
        self.cursor.expect(b'[')?;
        self.cursor.peek();
        let start = self.cursor.at();
        // Only a list has a second bracket. Any other array is a special value.
        if !self.cursor.take(b'[') || self.cursor.peek() == Some(b']') {
            return Ok(false);
        }
        let mut at = 0;
        if let Some((number, place)) = self.index.and_then(|places| places.element(start, index)) {
            at = number;
            self.cursor.move_to(place);
        }
        for _ in at..index {
            self.skip()?;
            if !self.cursor.take(b',') {
                return Ok(false);
            }
        }
        self.cursor.peek();
        Ok(true)
    }

    /// Skips the value at the cursor.
    fn skip(&mut self) -> Result<(), TextError> {
        self.cursor.peek();
        let at = self.cursor.at();
        if let Some(end) = self.index.and_then(|index| index.end_of(at)) {
            self.cursor.move_to(end);
            return Ok(());
        }
        self.cursor.skip()?;
        self.read += self.cursor.at() - at;
        Ok(())
    }
}

/// Returns the result of reading a property of `undefined`.
pub(crate) fn of_undefined(step: &Step) -> Walk {
    Walk::OfUndefined { text: format!("Cannot read properties of undefined (reading '{step}')") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::TargetId;

    fn at(path: &[Step]) -> Walk {
        let text = r#"{"a":[[1, [[2]], {"b":$,"c":"[\"@\"]","e":[["@"]]},$]],"d":["date",5],"n":null,"u":["undefined"],"1":7}"#;
        let refs = vec![Ref::Target(TargetId(1)), Ref::Target(TargetId(2))];
        let value = Payload::new(text.replace('$', PLACEHOLDER), refs).expect("two placeholders");
        walk(&value, path, None).0
    }

    fn name(name: &str) -> Step {
        Step::Name(name.into())
    }

    fn part(text: &str) -> Walk {
        Walk::Part(Payload::plain(text))
    }

    #[test]
    fn parts_keep_their_references() {
        assert_eq!(at(&[name("a"), Step::Index(1)]), part("[[2]]"));
        assert_eq!(at(&[name("a"), Step::Index(1), Step::Index(0)]), part("2"));
        assert_eq!(at(&[Step::Index(1)]), part("7"), "a number names a member of an object");
        let Walk::Part(whole) = at(&[name("a"), Step::Index(2)]) else { panic!("a part") };
        assert_eq!(whole.refs(), [Ref::Target(TargetId(1))]);
    }

    #[test]
    fn capability_takes_the_rest_of_the_path() {
        let path = [name("a"), Step::Index(2), name("b"), name("x")];
        assert_eq!(at(&path), Walk::Capability { of: Ref::Target(TargetId(1)), steps: 3 });
        assert_eq!(at(&[name("a"), Step::Index(3)]), Walk::Capability { of: Ref::Target(TargetId(2)), steps: 2 });
    }

    #[test]
    fn inherited_and_missing_properties_are_undefined() {
        let undefined = part("[\"undefined\"]");
        for path in [
            vec![name("x")],
            vec![name("toString")],
            vec![name("a"), name("1")],
            vec![name("a"), name("length")],
            vec![name("a"), Step::Index(9)],
            vec![name("d"), Step::Index(1)],
            vec![name("1"), name("x")],
            vec![name("n"), name("x")],
        ] {
            assert_eq!(at(&path), undefined, "{path:?}");
        }
        for (path, text) in [
            ([name("x"), name("y")], "Cannot read properties of undefined (reading 'y')"),
            ([name("u"), name("y")], "Cannot read properties of undefined (reading 'y')"),
            ([name("u"), name("u")], "Cannot read properties of undefined (reading 'u')"),
        ] {
            assert_eq!(at(&path), Walk::OfUndefined { text: text.into() });
        }
    }

    /// An object of many kinds of members, with a text of some 100 KiB.
    fn large() -> Payload<Ref> {
        let members: Vec<String> = (0..2_000)
            .map(|n| match n % 5 {
                0 => format!(r#""k{n}":{n}"#),
                1 => format!(r#""k{n}":[[{}]]"#, vec!["$"; n % 40].join(",")),
                2 => format!(r#""k{n}":[[{}]]"#, (0..n % 300).map(|n| n.to_string()).collect::<Vec<_>>().join(",")),
                3 => format!(r#""k{n}":{{"x":$,"y":"{}","\u007a":[["undefined"]]}}"#, "y".repeat(n % 3_000)),
                _ => format!(r#""k{n}":["date",{n}]"#),
            })
            .collect();
        let text = format!("{{{}}}", members.join(", ")).replace('$', PLACEHOLDER);
        let refs = (0..text.matches(PLACEHOLDER).count() as i64).map(|n| Ref::Target(TargetId(n))).collect();
        Payload::new(text, refs).expect("as many placeholders")
    }

    #[test]
    fn index_agrees_with_reading_from_the_front() {
        let value = large();
        let index = Index::of(&value).expect("it is smaller than the value");
        let mut read = 0;
        for n in (0..2_001).step_by(41) {
            let first = name(&format!("k{n}"));
            for rest in [vec![], vec![Step::Index(0)], vec![Step::Index(37)], vec![Step::Index(299)], vec![name("x")]] {
                let path: Vec<Step> = std::iter::once(first.clone()).chain(rest).collect();
                let (found, walked) = walk(&value, &path, Some(&index));
                assert_eq!(found, walk(&value, &path, None).0, "{path:?}");
                read = read.max(walked.read);
            }
            let path = [first, name("z")];
            assert_eq!(walk(&value, &path, Some(&index)).0, walk(&value, &path, None).0, "{path:?}");
        }
        assert!(read < 8 << 10, "{read} bytes were read for one look-up in {}", value.text_len());
    }

    #[test]
    fn deep_value_is_read_once() {
        let text = format!("{}\"{}\"{}", r#"{"a":"#.repeat(60), "x".repeat(100_000), "}".repeat(60));
        let value = Payload::plain(text);
        let path = vec![name("a"); 60];
        let (found, walked) = walk(&value, &path, None);
        assert!(matches!(found, Walk::Part(part) if part.text_len() == 100_002));
        assert!(walked.read < 110_000, "{walked:?}");
    }
}
