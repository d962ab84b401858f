//! Objects with several members of the same name. JavaScript keeps the last value at the first
//! position, and so does the text that is read.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use crate::value::text::{Cursor, TextError};

/// The names of larger objects are found with a hash table.
const PAIRWISE_MAX: usize = 16;

/// Returns a copy of a validated text. Of members with the same name, it has the last value at the
/// first position.
///
/// The text is read once, and each byte is copied at most once, regardless of nesting.
pub(super) fn without_repeats(text: &str) -> Result<String, TextError> {
    let mut repeats = Repeats::default();
    find(&mut Cursor::new(text), &mut repeats)?;
    let mut out = String::with_capacity(text.len());
    copy(text, 0..text.len(), &repeats, &mut out);
    Ok(out)
}

/// The objects with repeated names, by their start.
type Repeats<'a> = BTreeMap<usize, Object<'a>>;

/// An object with only the members that are kept.
struct Object<'a> {
    end: usize,
    members: Vec<Member<'a>>,
}

struct Member<'a> {
    /// The name, quotes included.
    name: &'a str,
    value: Range<usize>,
}

/// Reads the value at the cursor, and records the objects in it that have repeated names.
fn find<'a>(cursor: &mut Cursor<'a>, repeats: &mut Repeats<'a>) -> Result<(), TextError> {
    match cursor.peek() {
        Some(b'[') => find_in_array(cursor, repeats),
        Some(b'{') => find_in_object(cursor, repeats),
        _ => cursor.skip().map(drop),
    }
}

fn find_in_array<'a>(cursor: &mut Cursor<'a>, repeats: &mut Repeats<'a>) -> Result<(), TextError> {
    cursor.expect(b'[')?;
    if cursor.take(b']') {
        return Ok(());
    }
    loop {
        find(cursor, repeats)?;
        if !cursor.take(b',') {
            return cursor.expect(b']');
        }
    }
}

fn find_in_object<'a>(cursor: &mut Cursor<'a>, repeats: &mut Repeats<'a>) -> Result<(), TextError> {
    let start = cursor.at();
    let mut names = Names::default();
    let mut members: Vec<Member<'a>> = Vec::new();
    let mut has_repeats = false;
    cursor.expect(b'{')?;
    if cursor.take(b'}') {
        return Ok(());
    }
    loop {
        let unescaped = cursor.clone().string()?;
        let (name, _) = cursor.raw_string()?;
        cursor.expect(b':')?;
        cursor.peek();
        let from = cursor.at();
        find(cursor, repeats)?;
        let value = from..cursor.at();
        match names.place_of(unescaped, members.len()) {
            Some(place) => {
                has_repeats = true;
                members[place].value = value;
            }
            None => members.push(Member { name, value }),
        }
        if !cursor.take(b',') {
            break;
        }
    }
    cursor.expect(b'}')?;
    if has_repeats {
        repeats.insert(start, Object { end: cursor.at(), members });
    }
    Ok(())
}

/// The names of an object so far.
#[derive(Default)]
struct Names<'a> {
    few: Vec<Cow<'a, str>>,
    many: HashMap<Cow<'a, str>, usize>,
}

impl<'a> Names<'a> {
    /// Returns the position of `name`. Adds a new name at position `next` and returns `None`.
    fn place_of(&mut self, name: Cow<'a, str>, next: usize) -> Option<usize> {
        if next < PAIRWISE_MAX {
            let place = self.few.iter().position(|known| *known == name);
            if place.is_none() {
                self.few.push(name);
            }
            return place;
        }
        if self.many.is_empty() {
            self.many.extend(self.few.drain(..).enumerate().map(|(place, name)| (name, place)));
        }
        let place = *self.many.entry(name).or_insert(next);
        (place < next).then_some(place)
    }
}

/// Appends a part of the text without the members that are left out.
fn copy(text: &str, part: Range<usize>, repeats: &Repeats<'_>, out: &mut String) {
    let mut at = part.start;
    while let Some((&start, object)) = repeats.range(at..part.end).next() {
        out.push_str(text.get(at..start).unwrap_or_default());
        out.push('{');
        for (n, member) in object.members.iter().enumerate() {
            out.push_str(if n > 0 { "," } else { "" });
            out.push_str(member.name);
            out.push(':');
            copy(text, member.value.clone(), repeats, out);
        }
        out.push('}');
        at = object.end;
    }
    out.push_str(text.get(at..part.end).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_value_is_at_the_first_position() {
        for (text, read) in [
            (r#"{"a":1,"b":2,"a":[3,{"c":1,"c":2}]}"#, r#"{"a":[3,{"c":2}],"b":2}"#),
            (r#"{"a":{"x":1,"x":2},"a":3}"#, r#"{"a":3}"#),
            (r#"[{"a":1,"\u0061":{"b":1,"b":{"c":1,"c":2}}}, 7 ]"#, r#"[{"a":{"b":{"c":2}}}, 7 ]"#),
        ] {
            assert_eq!(without_repeats(text).expect("it is JSON"), read);
        }
    }

    #[test]
    fn repeats_among_many_members_are_resolved() {
        let members: Vec<String> = (0..100).chain([50, 3]).map(|n| format!("\"k{n}\":{n}")).collect();
        let read = without_repeats(&format!("{{{}}}", members.join(","))).expect("it is JSON");
        assert_eq!(read, format!("{{{}}}", members[..100].join(",")));
    }

    #[test]
    fn repeats_at_every_level_copy_each_byte_once() {
        let (levels, long) = (250, "x".repeat(1 << 20));
        let text = format!("{}\"{long}\"{}", r#"{"a":0,"a":"#.repeat(levels), "}".repeat(levels));
        let read = without_repeats(&text).expect("it is JSON");
        assert_eq!(read, format!("{}\"{long}\"{}", r#"{"a":"#.repeat(levels), "}".repeat(levels)));
        assert!(read.capacity() <= text.len(), "the copy is made in one string");
    }
}
