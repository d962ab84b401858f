//! The eight messages of Cap'n Web, parsed up to their expression.

use super::WireError;
use crate::id::ID_MAX;
use crate::session::{Path, Step};
use crate::value::number_text;
use crate::value::text::{Cursor, TextError};

/// The prefix of a push that is joined with the pull of its result, between peers that support
/// joined messages.
pub(crate) const CALL: char = '+';

/// A message. In one with an expression, the cursor is at the expression.
#[derive(Debug)]
pub(crate) enum Message<'a> {
    Push(Cursor<'a>),
    /// A push joined with the pull of its result.
    Call(Cursor<'a>),
    Pull(i64),
    Resolve(i64, Cursor<'a>),
    Reject(i64, Cursor<'a>),
    Release(i64, u64),
    /// The releases of each id from `first` to `last`.
    ReleaseAll {
        first: i64,
        count: u64,
        last: i64,
    },
    Stream(Cursor<'a>),
    Pipe,
    Abort(Option<Cursor<'a>>),
}

/// An id that is in no table. It stands for a number in an answer that is not an id.
const UNUSED_ID: i64 = i64::MIN;

/// Parses a message that [`check`](super::check()) has validated. Further elements are ignored, as in
/// the official package, except in a release if messages may be `joint`.
pub(crate) fn parse(text: &str, joint: bool) -> Result<Message<'_>, WireError> {
    read(text, joint).map_err(|_| WireError::bad_message(text))
}

/// Parses a `pull` or `release` in the spelling that peers write. Such a text needs no
/// [`check`](super::check()). Returns `None` for anything else, which is left to `check` and
/// [`parse`].
pub(crate) fn parse_integers(text: &str, joint: bool) -> Option<Message<'static>> {
    let text = text.strip_suffix(']')?;
    if let Some(id) = text.strip_prefix("[\"pull\",") {
        return Some(Message::Pull(plain_integer(id)?));
    }
    let (id, count) = text.strip_prefix("[\"release\",")?.split_once(',')?;
    let first = plain_integer(id)?;
    let count_of = |count| u64::try_from(plain_integer(count)?).ok();
    match count.split_once(',') {
        Some((count, last)) if joint => {
            let last = plain_integer(last).filter(|last| *last >= first)?;
            Some(Message::ReleaseAll { first, count: count_of(count)?, last })
        }
        _ => Some(Message::Release(first, count_of(count)?)),
    }
}

/// Parses an integer in the spelling that peers write, with so few digits that it is within
/// `ID_MAX`.
fn plain_integer(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.len() > 15 || matches!(digits.as_bytes(), [] | [b'0', ..]) {
        return None;
    }
    let number = digits
        .bytes()
        .try_fold(0, |number, digit| digit.is_ascii_digit().then(|| 10 * number + i64::from(digit - b'0')))?;
    Some(if digits.len() < text.len() { -number } else { number })
}

fn read(text: &str, joint: bool) -> Result<Message<'_>, TextError> {
    let mut cursor = Cursor::new(text);
    cursor.expect(b'[')?;
    let tag = cursor.string()?;
    Ok(match &*tag {
        "push" => Message::Push(field(cursor)?),
        "pull" => Message::Pull(id_field(&mut cursor)?),
        "resolve" => Message::Resolve(answered(&mut cursor)?, field(cursor)?),
        "reject" => Message::Reject(answered(&mut cursor)?, field(cursor)?),
        "release" => {
            let (first, count) = (id_field(&mut cursor)?, count_field(&mut cursor)?);
            if joint && cursor.peek() == Some(b',') {
                let last = id_field(&mut cursor)?;
                if last < first {
                    return Err(cursor.error("expected an id that is not before the first"));
                }
                Message::ReleaseAll { first, count, last }
            } else {
                Message::Release(first, count)
            }
        }
        "stream" => Message::Stream(field(cursor)?),
        "pipe" => Message::Pipe,
        "abort" => Message::Abort(field(cursor).ok()),
        _ => return Err(cursor.error("unknown message")),
    })
}

fn field(mut cursor: Cursor<'_>) -> Result<Cursor<'_>, TextError> {
    cursor.expect(b',')?;
    Ok(cursor)
}

fn id_field(cursor: &mut Cursor<'_>) -> Result<i64, TextError> {
    cursor.expect(b',')?;
    integer(cursor)
}

/// Reads the id in a `resolve` or `reject`. A number that is not an id was never assigned, and an
/// answer to it is ignored.
fn answered(cursor: &mut Cursor<'_>) -> Result<i64, TextError> {
    cursor.expect(b',')?;
    Ok(integer_of(cursor.number()?).unwrap_or(UNUSED_ID))
}

fn count_field(cursor: &mut Cursor<'_>) -> Result<u64, TextError> {
    cursor.expect(b',')?;
    u64::try_from(integer(cursor)?).map_err(|_| cursor.error("expected a count that is not negative"))
}

/// Reads an integer that a JavaScript number represents exactly, in any spelling: `5`, `5.0`,
/// `50e-1`.
pub(crate) fn integer(cursor: &mut Cursor<'_>) -> Result<i64, TextError> {
    let text = cursor.number()?;
    integer_of(text).ok_or_else(|| cursor.error("expected an integer"))
}

fn integer_of(text: &str) -> Option<i64> {
    let number = text.parse::<i64>().ok().or_else(|| {
        let number = text.parse::<f64>().ok()?;
        // The cast is exact in the range of ids, and saturates beyond it.
        (number.fract() == 0.0).then_some(number as i64)
    });
    number.filter(|id| (-ID_MAX..=ID_MAX).contains(id))
}

/// Reads a property path: a list of names and indexes.
pub(crate) fn path(cursor: &mut Cursor<'_>) -> Result<Path, TextError> {
    let mut path = Path::new();
    cursor.expect(b'[')?;
    if cursor.take(b']') {
        return Ok(path);
    }
    loop {
        path.push(match cursor.peek() {
            Some(b'"') => Step::Name(cursor.string()?.into()),
            _ => number_step(cursor.number()?),
        });
        if !cursor.take(b',') {
            cursor.expect(b']')?;
            return Ok(path);
        }
    }
}

/// Returns the step for a number. -1 and 1.5 are not elements, but may be members of an object,
/// whose name is the number as JavaScript writes it.
fn number_step(text: &str) -> Step {
    match integer_of(text).map(u64::try_from) {
        Some(Ok(index)) => Step::Index(index),
        _ => Step::Name(text.parse().map_or_else(|_| text.into(), number_text).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_read_in_every_spelling() {
        for text in ["5", "5.0", "5e0", "5E+0", "50e-1", "0.5e1", "0.0000005e7"] {
            assert_eq!(integer(&mut Cursor::new(text)), Ok(5), "{text}");
        }
        for text in ["0", "-0", "-0.0", "0e5", "-0e-5"] {
            assert_eq!(integer(&mut Cursor::new(text)), Ok(0), "{text}");
        }
        assert_eq!(integer(&mut Cursor::new("-9007199254740992")), Ok(-ID_MAX));
        for text in ["1.5", "5e-1", "9007199254740993", "-9007199254740994", "1e16", "1e400", "-1e400", "\"5\"", "true"]
        {
            assert!(integer(&mut Cursor::new(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn numbers_in_paths_are_indexes_or_names() {
        let steps = path(&mut Cursor::new(r#"["1",1,1.0,1e1,-0,-1,1.50,1e21,1e400,-5e-7]"#)).expect("a path");
        let name = |name: &str| Step::Name(name.into());
        let expected = [
            name("1"),
            Step::Index(1),
            Step::Index(1),
            Step::Index(10),
            Step::Index(0),
            name("-1"),
            name("1.5"),
            name("1e+21"),
            name("Infinity"),
            name("-5e-7"),
        ];
        assert_eq!(*steps, expected);
    }

    #[test]
    fn short_and_long_messages_are_read_alike() {
        for text in [
            "[\"pull\",1]",
            "[\"pull\",-12]",
            "[\"pull\",0]",
            "[\"pull\",01]",
            "[\"pull\",+1]",
            "[\"pull\",--1]",
            "[\"pull\",1.0]",
            "[\"pull\",1,2]",
            "[\"pull\", 1]",
            "[\"pull\",9007199254740993]",
            "[\"pull\",]",
            "[\"release\",1,1]",
            "[\"release\",-3,2]",
            "[\"release\",1,0]",
            "[\"release\",1.0,1e0]",
            "[\"release\",1,-1]",
            "[\"release\",1]",
            "[\"release\",1,1,1]",
            "[\"release\",1,1,0]",
            "[\"release\",2,1,17,5]",
        ] {
            for joint in [false, true] {
                if let Some(short) = parse_integers(text, joint) {
                    let long = parse(text, joint).map(|message| format!("{message:?}"));
                    assert_eq!(Ok(format!("{short:?}")), long, "{text}");
                }
            }
        }
        for text in ["[\"pull\",1]", "[\"release\",-3,2]"] {
            assert!(parse_integers(text, false).is_some() && parse_integers(text, true).is_some());
        }
        assert!(parse_integers("[\"release\",3,2,9]", false).is_none());
        let joint = parse_integers("[\"release\",3,2,9]", true);
        assert!(matches!(joint, Some(Message::ReleaseAll { first: 3, count: 2, last: 9 })));
    }
}
