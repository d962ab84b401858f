//! Special forms that are plain data: bytes, dates, bigints and the like. They stay text inside a
//! session; here they are checked, so that one bad value is refused where it comes in.

use crate::limits::Limits;
use crate::value::text::{Cursor, TextError};
use crate::value::{BytesKind, headers};

use super::WireError;

/// Names that JavaScript objects inherit. They never name a property, and members of incoming
/// objects with such a name are dropped, as is `toJSON` there.
pub(crate) fn is_blocked_name(name: &str) -> bool {
    matches!(
        name,
        "constructor"
            | "__defineGetter__"
            | "__defineSetter__"
            | "hasOwnProperty"
            | "__lookupGetter__"
            | "__lookupSetter__"
            | "isPrototypeOf"
            | "propertyIsEnumerable"
            | "toString"
            | "valueOf"
            | "__proto__"
            | "toLocaleString"
    )
}

/// Reads the fields of the form `tag` from behind the tag to behind the last field that counts.
/// `Ok(false)`: not a form of plain data. A refusal of the form as such has no error of its own:
/// the caller names the whole expression.
pub(crate) fn check_data(tag: &str, cursor: &mut Cursor<'_>, limits: &Limits) -> Result<bool, DataError> {
    match tag {
        "undefined" => only_the_tag(cursor)?,
        "inf" | "-inf" | "nan" => {}
        "bigint" => bigint(cursor, limits)?,
        "date" => date(cursor)?,
        "bytes" => bytes(cursor)?,
        "url" => url(cursor)?,
        "headers" => {
            cursor.expect(b',')?;
            header_pairs(cursor)?;
            only_the_tag(cursor)?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// Why a form was refused.
#[derive(Debug)]
pub(crate) enum DataError {
    /// Not of the form's shape.
    Shape,
    /// Of the right shape, with a value that cannot be.
    Value(WireError),
}

impl From<TextError> for DataError {
    fn from(_: TextError) -> Self {
        Self::Shape
    }
}

impl From<WireError> for DataError {
    fn from(error: WireError) -> Self {
        Self::Value(error)
    }
}

fn only_the_tag(cursor: &mut Cursor<'_>) -> Result<(), DataError> {
    if cursor.peek() == Some(b']') { Ok(()) } else { Err(DataError::Shape) }
}

fn bigint(cursor: &mut Cursor<'_>, limits: &Limits) -> Result<(), DataError> {
    cursor.expect(b',')?;
    let digits = cursor.string()?;
    if digits.len() > limits.bigint_chars {
        let message = format!("Deserialized bigint exceeds maximum length of {} digits.", limits.bigint_chars);
        return Err(WireError::type_error(message).into());
    }
    let unsigned = digits.strip_prefix('-').unwrap_or(&digits);
    if unsigned.is_empty() || !unsigned.bytes().all(|b| b.is_ascii_digit()) {
        let message = format!("Cannot convert {digits} to a BigInt");
        return Err(WireError { name: "SyntaxError", message }.into());
    }
    Ok(())
}

fn date(cursor: &mut Cursor<'_>) -> Result<(), DataError> {
    cursor.expect(b',')?;
    if !cursor.literal("null") {
        cursor.number()?;
    }
    Ok(())
}

fn bytes(cursor: &mut Cursor<'_>) -> Result<(), DataError> {
    cursor.expect(b',')?;
    let text = cursor.string()?;
    let len =
        base64_len(&text).ok_or_else(|| WireError { name: "SyntaxError", message: "bytes are not base64".into() })?;
    if cursor.take(b',') {
        let name = cursor.string()?;
        let kind: BytesKind = name.parse().map_err(|_| {
            WireError::type_error(format!("Unknown bytes type marker: {}", name.chars().take(64).collect::<String>()))
        })?;
        let element = kind.element_size();
        if len % element != 0 {
            let message = format!("Invalid byte length {len} for {name}; expected a multiple of {element}");
            return Err(WireError { name: "RangeError", message }.into());
        }
    }
    Ok(())
}

/// How many bytes base64 text stands for: either alphabet, padded or not.
fn base64_len(text: &str) -> Option<usize> {
    let digits = text.trim_end_matches('=');
    // How official peers write it is looked at by wide instructions, where there are some.
    let is_usual = || base64_simd::STANDARD_NO_PAD.check(digits.as_bytes()).is_ok();
    // Without an early end within a block, so that the compiler takes many bytes for one.
    let is_digit = |b: u8| {
        (b.wrapping_sub(b'0') < 10)
            | ((b | 0x20).wrapping_sub(b'a') < 26)
            | (b == b'+')
            | (b == b'/')
            | (b == b'-')
            | (b == b'_')
    };
    let are_digits = |block: &[u8]| block.iter().fold(true, |valid, &b| valid & is_digit(b));
    let valid = is_usual() || digits.as_bytes().chunks(64).all(are_digits);
    (valid && digits.len() % 4 != 1 && text.len() - digits.len() <= 2)
        .then_some(digits.len() / 4 * 3 + (digits.len() % 4 * 3) / 4)
}

fn url(cursor: &mut Cursor<'_>) -> Result<(), DataError> {
    cursor.expect(b',')?;
    let href = cursor.string()?;
    only_the_tag(cursor)?;
    check_url(&href)?;
    Ok(())
}

/// Refuses what is not an absolute URL.
pub(crate) fn check_url(href: &str) -> Result<(), WireError> {
    match url::Url::parse(href) {
        Ok(_) => Ok(()),
        Err(error) => Err(WireError::type_error(format!("Invalid URL: {error}"))),
    }
}

/// Reads a list of `[name, value]` pairs.
pub(crate) fn header_pairs(cursor: &mut Cursor<'_>) -> Result<(), DataError> {
    cursor.expect(b'[')?;
    if cursor.take(b']') {
        return Ok(());
    }
    loop {
        cursor.expect(b'[')?;
        let name = cursor.string()?;
        cursor.expect(b',')?;
        let value = cursor.string()?;
        cursor.expect(b']')?;
        if headers::check(&name, &value).is_err() {
            return Err(WireError::type_error(format!(
                "Invalid header: {}",
                name.chars().take(64).collect::<String>()
            ))
            .into());
        }
        if !cursor.take(b',') {
            cursor.expect(b']')?;
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_in_either_alphabet_and_nothing_else() {
        let lens = ["", "AA", "AAA", "AAAA", "AA==", "AAA=", "-_+/", "aGk="].map(base64_len);
        assert_eq!(lens, [Some(0), Some(1), Some(2), Some(3), Some(1), Some(2), Some(3), Some(2)]);
        assert_eq!(["A", "AA===", "A A", "!!", "=A", "AA=A"].map(base64_len), [None; 6]);
    }
}
