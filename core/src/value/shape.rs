//! The head of a value on the wire: its kind.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::DecodeError;
use super::de::Decoder;

/// The head of a value. The cursor is behind it, inside of the brackets that it opens.
#[derive(Debug)]
pub(super) enum Shape<'de> {
    Null,
    Bool(bool),
    Number(&'de str),
    Text(Cow<'de, str>),
    Array,
    Object,
    /// A capability, by its index among those of the payload.
    Capability(usize),
    Special(Tag),
}

/// The meaning of an array, according to its first element.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Tag {
    Undefined,
    Double(f64),
    BigInt,
    Date,
    Bytes,
    Error,
    Url,
    Headers,
    Blob,
    Request,
    Response,
}

impl Tag {
    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "undefined" => Self::Undefined,
            "inf" => Self::Double(f64::INFINITY),
            "-inf" => Self::Double(f64::NEG_INFINITY),
            "nan" => Self::Double(f64::NAN),
            "bigint" => Self::BigInt,
            "date" => Self::Date,
            "bytes" => Self::Bytes,
            "error" => Self::Error,
            "url" => Self::Url,
            "headers" => Self::Headers,
            "blob" => Self::Blob,
            "request" => Self::Request,
            "response" => Self::Response,
            _ => return None,
        })
    }

    /// Returns the tag by which `special::read_fields` identifies it.
    pub(super) fn letter(self) -> char {
        match self {
            Self::Undefined | Self::Double(_) => '?',
            Self::BigInt => 'n',
            Self::Date => 'd',
            Self::Bytes => 'b',
            Self::Error => 'e',
            Self::Url => 'u',
            Self::Headers => 'h',
            Self::Blob => 'o',
            Self::Request => 'q',
            Self::Response => 'r',
        }
    }
}

impl fmt::Display for Shape<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(text) => return write!(f, "the number {text:.40}"),
            Self::Text(_) => "a string",
            Self::Array => "an array",
            Self::Object => "an object",
            Self::Capability(_) => "a capability",
            Self::Special(tag) => match tag {
                Tag::Undefined => "undefined",
                Tag::Double(n) => return write!(f, "the number {n}"),
                Tag::BigInt => "a bigint",
                Tag::Date => "a date",
                Tag::Bytes => "bytes",
                Tag::Error => "an error",
                Tag::Url => "a URL",
                Tag::Headers => "headers",
                Tag::Blob => "a blob",
                Tag::Request => "a request",
                Tag::Response => "a response",
            },
        })
    }
}

impl<'de> Decoder<'de> {
    /// Reads the head of the next value.
    pub(super) fn open(&mut self) -> Result<Shape<'de>, DecodeError> {
        let cursor = &mut self.cursor;
        Ok(match cursor.peek() {
            Some(b'"') => Shape::Text(cursor.string()?),
            Some(b'-' | b'0'..=b'9') => Shape::Number(cursor.number()?),
            Some(b'{') => {
                cursor.expect(b'{')?;
                Shape::Object
            }
            Some(b'[') => self.open_array()?,
            Some(b'n') if cursor.literal("null") => Shape::Null,
            Some(b't') if cursor.literal("true") => Shape::Bool(true),
            Some(b'f') if cursor.literal("false") => Shape::Bool(false),
            _ if cursor.take_placeholder() => self.open_capability()?,
            _ => return Err(cursor.error("expected a value").into()),
        })
    }

    fn open_capability(&mut self) -> Result<Shape<'de>, DecodeError> {
        if self.json {
            return Err(DecodeError::new("a capability is not allowed in plain JSON"));
        }
        self.capabilities += 1;
        Ok(Shape::Capability(self.capabilities - 1))
    }

    fn open_array(&mut self) -> Result<Shape<'de>, DecodeError> {
        let cursor = &mut self.cursor;
        cursor.expect(b'[')?;
        if self.json || cursor.take(b'[') {
            return Ok(Shape::Array);
        }
        if cursor.peek() != Some(b'"') {
            return Err(cursor.error("an array must be escaped or tagged").into());
        }
        let name = cursor.string()?;
        match Tag::parse(&name) {
            Some(tag) => Ok(Shape::Special(tag)),
            None => Err(DecodeError::new(format_args!("unknown special value {name:.40?}"))),
        }
    }

    /// Skips `null` or `undefined` if it comes next.
    pub(super) fn take_nullish(&mut self) -> Result<bool, DecodeError> {
        match self.cursor.peek() {
            Some(b'n') => Ok(self.cursor.literal("null")),
            Some(b'[') if !self.json => {
                let start = self.cursor.clone();
                self.cursor.expect(b'[')?;
                let undefined =
                    self.cursor.peek() == Some(b'"') && self.cursor.string().is_ok_and(|tag| tag == "undefined");
                if undefined {
                    self.end_special()?;
                } else {
                    self.cursor = start;
                }
                Ok(undefined)
            }
            _ => Ok(false),
        }
    }

    /// Reads the data of bytes whose tag has been read. Returns `true` if the kind follows.
    pub(super) fn bytes(&mut self) -> Result<(Vec<u8>, bool), DecodeError> {
        self.cursor.expect(b',')?;
        let text = self.cursor.string()?;
        // Nearly all bytes are in the form that official peers write.
        let data = base64_simd::STANDARD_NO_PAD.decode_to_vec(text.as_bytes()).or_else(|_| lax(&text))?;
        Ok((data, self.cursor.peek() == Some(b',')))
    }
}

/// Decodes base64 in any form that a peer may write.
fn lax(text: &str) -> Result<Vec<u8>, DecodeError> {
    // The URL-safe alphabet is tried if the text has characters of it.
    let decoded = LAX_STANDARD
        .decode(text.as_bytes())
        .or_else(|error| if text.contains(['-', '_']) { LAX_URL_SAFE.decode(text.as_bytes()) } else { Err(error) });
    decoded.map_err(|e| DecodeError::new(format_args!("bad base64: {e}")))
}

/// Accepts any padding and trailing bits, like official peers. Other invalid characters are rejected, as
/// by their browser version.
const LAX: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const LAX_STANDARD: GeneralPurpose = GeneralPurpose::new(&STANDARD, LAX);
const LAX_URL_SAFE: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, LAX);
