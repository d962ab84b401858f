//! Forms that are plain data, such as bytes, dates, and bigints. A session keeps them as text. They
//! are checked when they arrive, so that a malformed one is refused there.

use std::borrow::Cow;

use super::{WireError, string_text};
use crate::limits::Limits;
use crate::value::text::{Cursor, TextError};
use crate::value::{BytesKind, InvalidUrl, Url, headers};

/// Returns `true` for names that JavaScript objects inherit. Such a name never refers to a
/// property, and members with such a name are dropped from incoming objects, as is `toJSON`.
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

/// How a form of plain data is passed on.
pub(crate) enum Data {
    /// As it is written.
    AsIs,
    /// With `text` in place of its bytes from `from` to `to`.
    Instead { from: usize, to: usize, text: String },
}

/// Reads the fields of the form `tag`, from behind the tag to behind the last field that matters.
///
/// Values that official peers accept in several spellings are converted to the one that they write,
/// because some official peers read no other. [`DataError::Shape`] has no message: the caller names
/// the whole expression.
pub(crate) fn check_data(tag: &str, cursor: &mut Cursor<'_>, limits: &Limits) -> Result<Data, DataError> {
    match tag {
        "undefined" => only_the_tag(cursor)?,
        "inf" | "-inf" | "nan" => {}
        "bigint" => bigint(cursor, limits)?,
        "date" => date(cursor)?,
        "bytes" => return bytes(cursor),
        "url" => return url(cursor),
        "headers" => {
            cursor.expect(b',')?;
            if cursor.peek() != Some(b'[') {
                return Err(DataError::Shape);
            }
            let pairs = header_pairs(cursor)?;
            only_the_tag(cursor)?;
            pairs.map_err(DataError::Malformed)?;
        }
        _ => return Err(DataError::Shape),
    }
    Ok(Data::AsIs)
}

/// The reason for refusing a form.
#[derive(Debug)]
pub(crate) enum DataError {
    /// The form has the wrong shape.
    Shape,
    /// The shape is right, but the value is invalid. The call that contains it fails.
    Malformed(WireError),
    /// The form violates the protocol or a limit. The session ends.
    Breach(WireError),
}

impl From<TextError> for DataError {
    fn from(_: TextError) -> Self {
        Self::Shape
    }
}

impl From<WireError> for DataError {
    fn from(error: WireError) -> Self {
        Self::Breach(error)
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
        return Err(DataError::Malformed(WireError { name: "SyntaxError", message }));
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

fn bytes(cursor: &mut Cursor<'_>) -> Result<Data, DataError> {
    cursor.expect(b',')?;
    cursor.peek();
    let from = cursor.at();
    let text = cursor.string()?;
    let to = cursor.at();
    let malformed = |name, message: String| DataError::Malformed(WireError { name, message });
    let is_usual = is_usual_base64(&text);
    let len = if is_usual { Some(text.len() / 4 * 3 + (text.len() % 4 * 3) / 4) } else { base64_len(&text) };
    let len = len.ok_or_else(|| malformed("SyntaxError", "bytes are not base64".into()))?;
    if cursor.take(b',') {
        if cursor.peek() != Some(b'"') {
            return Err(malformed("TypeError", "Unknown bytes type marker".into()));
        }
        let name = cursor.string()?;
        let kind: BytesKind = name.parse().map_err(|_| {
            let name = name.chars().take(64).collect::<String>();
            malformed("TypeError", format!("Unknown bytes type marker: {name}"))
        })?;
        let element = kind.element_size();
        if len % element != 0 {
            let message = format!("Invalid byte length {len} for {name}; expected a multiple of {element}");
            return Err(malformed("TypeError", message));
        }
    }
    let respelled = if is_usual { None } else { usual_base64(&text) };
    Ok(match respelled {
        None => Data::AsIs,
        Some(text) => Data::Instead { from, to, text: string_text(&text) },
    })
}

/// Converts a text to the alphabet without padding that browsers require. Returns `None` if it is
/// in that form.
fn usual_base64(text: &str) -> Option<String> {
    let digits = text.trim_end_matches('=');
    let reads_alike = digits.len() == text.len() && !text.contains(['-', '_']);
    (!reads_alike).then(|| digits.replace('-', "+").replace('_', "/"))
}

/// Returns the number of bytes that a base64 text encodes, in either alphabet, with or without
/// padding.
fn base64_len(text: &str) -> Option<usize> {
    let digits = text.trim_end_matches('=');
    // There is no early exit within a block, so that the compiler vectorizes the check.
    let is_digit = |b: u8| {
        (b.wrapping_sub(b'0') < 10)
            | ((b | 0x20).wrapping_sub(b'a') < 26)
            | (b == b'+')
            | (b == b'/')
            | (b == b'-')
            | (b == b'_')
    };
    let are_digits = |block: &[u8]| block.iter().fold(true, |valid, &b| valid & is_digit(b));
    let valid = digits.as_bytes().chunks(64).all(are_digits);
    (valid && digits.len() % 4 != 1 && text.len() - digits.len() <= 2)
        .then_some(digits.len() / 4 * 3 + (digits.len() % 4 * 3) / 4)
}

/// Returns `true` if the text is in the form that official peers write. Uses SIMD instructions
/// where available.
fn is_usual_base64(text: &str) -> bool {
    base64_simd::STANDARD_NO_PAD.check(text.as_bytes()).is_ok()
}

fn url(cursor: &mut Cursor<'_>) -> Result<Data, DataError> {
    cursor.expect(b',')?;
    cursor.peek();
    let from = cursor.at();
    let href = cursor.string()?;
    let to = cursor.at();
    only_the_tag(cursor)?;
    let url = parse_url(&href).map_err(DataError::Malformed)?;
    if url.as_str() == href {
        return Ok(Data::AsIs);
    }
    Ok(Data::Instead { from, to, text: string_text(url.as_str()) })
}

/// Parses an absolute URL.
pub(crate) fn parse_url(href: &str) -> Result<Url, WireError> {
    Url::parse(href).map_err(|InvalidUrl(error)| WireError::type_error(format!("Invalid URL: {error}")))
}

/// Reads the list of `[name, value]` pairs at the cursor to its end. The inner error says why they
/// are not valid headers.
pub(crate) fn header_pairs(cursor: &mut Cursor<'_>) -> Result<Result<(), WireError>, TextError> {
    let mut list = cursor.clone();
    cursor.skip()?;
    let refusal = match each_pair(&mut list) {
        Ok(None) => return Ok(Ok(())),
        Ok(Some(name)) => format!("Invalid header: {}", name.chars().take(64).collect::<String>()),
        Err(_) => "headers must be an array of pairs of strings".to_owned(),
    };
    Ok(Err(WireError::type_error(refusal)))
}

/// Reads pairs of strings, up to the first that HTTP does not allow. Returns the name in that one.
fn each_pair<'a>(cursor: &mut Cursor<'a>) -> Result<Option<Cow<'a, str>>, TextError> {
    cursor.expect(b'[')?;
    if cursor.take(b']') {
        return Ok(None);
    }
    loop {
        cursor.expect(b'[')?;
        let name = cursor.string()?;
        cursor.expect(b',')?;
        let value = cursor.string()?;
        cursor.expect(b']')?;
        if headers::check(&name, &value).is_err() {
            return Ok(Some(name));
        }
        if !cursor.take(b',') {
            cursor.expect(b']')?;
            return Ok(None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_converted_to_the_spelling_of_browsers() {
        let spelled = ["aGk", "aGk=", "-_+/", "AA==", ""].map(usual_base64);
        assert_eq!(spelled, [None, Some("aGk".to_owned()), Some("+/+/".to_owned()), Some("AA".to_owned()), None]);
    }

    #[test]
    fn base64_in_either_alphabet_and_nothing_else() {
        let lens = ["", "AA", "AAA", "AAAA", "AA==", "AAA=", "-_+/", "aGk="].map(base64_len);
        assert_eq!(lens, [Some(0), Some(1), Some(2), Some(3), Some(1), Some(2), Some(3), Some(2)]);
        assert_eq!(["A", "AA===", "A A", "!!", "=A", "AA=A"].map(base64_len), [None; 6]);
    }
}
