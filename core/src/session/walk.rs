//! Following a property path into a settled value, on its text.

use super::{Ref, Step};
use crate::value::text::{Cursor, TextError};
use crate::value::{PLACEHOLDER, Payload};
use crate::wire::is_blocked_name;

/// Where a path leads inside a value.
#[derive(Debug, PartialEq)]
pub(super) enum Walk {
    /// To a capability, after `steps` steps; the rest of the path is for that one.
    Capability { of: Ref, steps: usize },
    /// To a part of the value. Its references are not held yet.
    Part(Payload<Ref>),
    /// Past `undefined`, which is an error with this text.
    OfUndefined { text: String },
}

/// Walks `path` from the root of `value`. Only own properties are seen, by the rules of
/// JavaScript: members of objects by name, elements of arrays by number, nothing else.
pub(super) fn walk(value: &Payload<Ref>, path: &[Step]) -> Walk {
    let mut cursor = value.cursor();
    for (n, step) in path.iter().enumerate() {
        let here = cursor.clone().skip().unwrap_or_default();
        if here == PLACEHOLDER {
            return capability(value, &mut cursor, n);
        }
        if here == "[\"undefined\"]" {
            return of_undefined(step);
        }
        if !matches!(enter(&mut cursor, step), Ok(true)) {
            return match path.get(n + 1) {
                Some(next) => of_undefined(next),
                None => Walk::Part(Payload::undefined()),
            };
        }
    }
    cursor.peek();
    let text = cursor.clone().skip().unwrap_or_default();
    if text == PLACEHOLDER {
        return capability(value, &mut cursor, path.len());
    }
    Walk::Part(value.part(cursor.at(), text))
}

/// What reading `step` of `undefined` comes to.
pub(super) fn of_undefined(step: &Step) -> Walk {
    Walk::OfUndefined { text: format!("Cannot read properties of undefined (reading '{step}')") }
}

/// Where the path leads if the capability before the cursor is reached after `steps` steps.
fn capability(value: &Payload<Ref>, cursor: &mut Cursor<'_>, steps: usize) -> Walk {
    cursor.peek();
    match value.ref_at(cursor.at()) {
        Some(&of) => Walk::Capability { of, steps },
        None => Walk::Part(Payload::undefined()),
    }
}

/// Moves the cursor to a property of the value it stands before. False: there is none.
fn enter(cursor: &mut Cursor<'_>, step: &Step) -> Result<bool, TextError> {
    match cursor.peek() {
        Some(b'{') => enter_object(cursor, &step.to_string()),
        Some(b'[') => match step {
            Step::Index(index) => enter_list(cursor, *index),
            Step::Name(_) => Ok(false),
        },
        _ => Ok(false),
    }
}

fn enter_object(cursor: &mut Cursor<'_>, name: &str) -> Result<bool, TextError> {
    cursor.expect(b'{')?;
    if is_blocked_name(name) || cursor.take(b'}') {
        return Ok(false);
    }
    loop {
        let found = cursor.string()? == name;
        cursor.expect(b':')?;
        if found {
            cursor.peek();
            return Ok(true);
        }
        cursor.skip()?;
        if !cursor.take(b',') {
            return Ok(false);
        }
    }
}

fn enter_list(cursor: &mut Cursor<'_>, index: u64) -> Result<bool, TextError> {
    cursor.expect(b'[')?;
    // Only a list has a second bracket; every other array is a special value.
    if !cursor.take(b'[') || cursor.peek() == Some(b']') {
        return Ok(false);
    }
    for _ in 0..index {
        cursor.skip()?;
        if !cursor.take(b',') {
            return Ok(false);
        }
    }
    cursor.peek();
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::TargetId;

    fn at(path: &[Step]) -> Walk {
        let text = r#"{"a":[[1, [[2]], {"b":$,"c":"[\"@\"]","e":[["@"]]},$]],"d":["date",5],"n":null,"u":["undefined"],"1":7}"#;
        let refs = vec![Ref::Target(TargetId(1)), Ref::Target(TargetId(2))];
        walk(&Payload::new(text.replace('$', PLACEHOLDER), refs).expect("two placeholders"), path)
    }

    fn name(name: &str) -> Step {
        Step::Name(name.into())
    }

    fn part(text: &str) -> Walk {
        Walk::Part(Payload::plain(text))
    }

    #[test]
    fn parts_keep_their_own_references() {
        assert_eq!(at(&[name("a"), Step::Index(1)]), part("[[2]]"));
        assert_eq!(at(&[name("a"), Step::Index(1), Step::Index(0)]), part("2"));
        assert_eq!(at(&[Step::Index(1)]), part("7"), "a number names a member of an object");
        let Walk::Part(whole) = at(&[name("a"), Step::Index(2)]) else { panic!("a part") };
        assert_eq!(whole.refs(), [Ref::Target(TargetId(1))]);
    }

    #[test]
    fn a_capability_takes_the_rest_of_the_path() {
        let path = [name("a"), Step::Index(2), name("b"), name("x")];
        assert_eq!(at(&path), Walk::Capability { of: Ref::Target(TargetId(1)), steps: 3 });
        assert_eq!(at(&[name("a"), Step::Index(3)]), Walk::Capability { of: Ref::Target(TargetId(2)), steps: 2 });
    }

    #[test]
    fn what_is_not_an_own_property_is_undefined() {
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
}
