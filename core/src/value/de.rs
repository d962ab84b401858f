//! The serde deserializer: decodes typed data from wire text.
//!
//! Strings, keys, and numbers are taken directly from the text. Compound values are in `de_parts.rs`, and
//! the head of a value in `shape.rs`.

use serde::de::{self, DeserializeOwned, Expected, Visitor};

use super::de_numbers::{double, visit_integer, visit_number};
use super::de_parts::{Elements, Entries, Special, Ticket, Variant};
use super::scope::Scope;
use super::shape::{Shape, Tag};
use super::text::{Cursor, TextError};
use super::{Cap, DEPTH_MAX, DecodeError, Payload, placeholders, special};

/// Decodes an expression as a `T`.
///
/// # Errors
/// The text is not an expression, is not a `T`, or contains more capabilities than the payload has
/// references.
pub fn decode<T: DeserializeOwned>(payload: Payload<Cap>) -> Result<T, DecodeError> {
    run(payload, |decoder| T::deserialize(decoder))
}

/// Decodes an argument list as a `T`. A tuple takes as many arguments as it has elements; missing ones
/// are `undefined`, and extra ones are ignored. `()` takes none, and anything else takes the first.
///
/// # Errors
/// Those of [`decode`].
pub fn decode_args<T: DeserializeOwned>(payload: Payload<Cap>) -> Result<T, DecodeError> {
    run(payload, |decoder| T::deserialize(super::args::Args(decoder)).map_err(DecodeError::in_args))
}

fn run<T>(
    payload: Payload<Cap>,
    read: impl FnOnce(&mut Decoder<'_>) -> Result<T, DecodeError>,
) -> Result<T, DecodeError> {
    let caps = payload.refs().len();
    let (text, refs) = payload.into_parts();
    let (_scope, first_ticket) = Scope::reading(refs);
    let cursor = Cursor::with_placeholders(&text);
    let mut decoder = Decoder { cursor, depth: 0, json: false, caps, first_ticket, capabilities: 0 };
    let value = read(&mut decoder)?;
    decoder.cursor.end()?;
    Ok(value)
}

/// A position in wire text.
#[derive(Debug)]
pub(super) struct Decoder<'de> {
    pub(super) cursor: Cursor<'de>,
    pub(super) depth: usize,
    /// Whether arrays are plain, as inside of headers. Otherwise they are escaped.
    pub(super) json: bool,
    /// The number of capabilities of the payload.
    caps: usize,
    first_ticket: u64,
    /// The number of capabilities before the cursor.
    pub(super) capabilities: usize,
}

impl<'de> Decoder<'de> {
    /// Creates a decoder of `undefined`, for missing arguments.
    pub(super) fn undefined() -> Self {
        Self {
            cursor: Cursor::new("[\"undefined\"]"),
            depth: 0,
            json: false,
            caps: 0,
            first_ticket: 0,
            capabilities: 0,
        }
    }

    /// Runs `read` on a part, one level deeper.
    pub(super) fn deeper<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        if self.depth + 1 >= DEPTH_MAX {
            return Err(DecodeError::new("Deserialization exceeded maximum allowed message depth of 256."));
        }
        self.depth += 1;
        let value = read(self);
        self.depth -= 1;
        value
    }

    /// Skips a value and counts the capabilities in it.
    pub(super) fn skip(&mut self) -> Result<(), TextError> {
        let text = self.cursor.skip()?;
        if self.caps > 0 {
            self.capabilities += placeholders(text);
        }
        Ok(())
    }

    /// Returns the ticket of a capability by its index.
    pub(super) fn ticket(&self, capability: usize) -> Result<u64, DecodeError> {
        if capability < self.caps {
            Ok(self.first_ticket + capability as u64)
        } else {
            Err(DecodeError::new("the text has more capabilities than the payload"))
        }
    }

    fn visit_array<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, DecodeError> {
        let value = visitor.visit_seq(Elements::new(self))?;
        self.end_array()?;
        Ok(value)
    }

    fn end_array(&mut self) -> Result<(), DecodeError> {
        if self.cursor.peek() == Some(b',') {
            return Err(DecodeError::new("the array has more elements than expected"));
        }
        self.cursor.expect(b']')?;
        if !self.json {
            self.cursor.expect(b']')?;
        }
        Ok(())
    }

    fn visit_object<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, DecodeError> {
        let value = visitor.visit_map(Entries::new(self))?;
        self.cursor.expect(b'}')?;
        Ok(value)
    }

    /// Skips the rest of a special.
    pub(super) fn end_special(&mut self) -> Result<(), DecodeError> {
        while self.cursor.take(b',') {
            self.skip()?;
        }
        Ok(self.cursor.expect(b']')?)
    }

    fn visit_special<V: Visitor<'de>>(&mut self, tag: Tag, visitor: V) -> Result<V::Value, DecodeError> {
        let value = match tag {
            Tag::Undefined => visitor.visit_unit(),
            Tag::Double(n) => visitor.visit_f64(n),
            Tag::Bytes => self.visit_bytes(visitor),
            _ => visitor.visit_newtype_struct(Special::new(self, tag, Vec::new())),
        }?;
        self.end_special()?;
        Ok(value)
    }

    fn visit_bytes<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, DecodeError> {
        let (data, marked) = self.bytes()?;
        if marked {
            visitor.visit_newtype_struct(Special::new(self, Tag::Bytes, data))
        } else {
            visitor.visit_byte_buf(data)
        }
    }

    fn visit_shape<V: Visitor<'de>>(&mut self, shape: Shape<'de>, visitor: V) -> Result<V::Value, DecodeError> {
        match shape {
            Shape::Null => visitor.visit_none(),
            Shape::Bool(b) => visitor.visit_bool(b),
            Shape::Number(text) => visit_number(text, visitor),
            Shape::Text(text) => visit_text(text, visitor),
            Shape::Array => self.visit_array(visitor),
            Shape::Object => self.visit_object(visitor),
            Shape::Capability(index) => self.visit_capability(index, visitor),
            Shape::Special(tag) => self.visit_special(tag, visitor),
        }
    }

    fn visit_capability<V: Visitor<'de>>(&mut self, index: usize, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_newtype_struct(Ticket(self.ticket(index)?))
    }

    fn integer<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.open()? {
            Shape::Number(text) => visit_integer(text, visitor),
            Shape::Special(Tag::BigInt) => {
                self.cursor.expect(b',')?;
                let digits = self.cursor.string()?;
                self.end_special()?;
                visit_integer(&digits, visitor)
            }
            other => Err(other.mismatch(&visitor)),
        }
    }

    fn float<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.open()? {
            Shape::Number(text) => visitor.visit_f64(double(text)?),
            Shape::Special(tag @ Tag::Double(_)) => self.visit_special(tag, visitor),
            other => Err(other.mismatch(&visitor)),
        }
    }
}

fn visit_text<'de, V: Visitor<'de>>(text: std::borrow::Cow<'de, str>, visitor: V) -> Result<V::Value, DecodeError> {
    match text {
        std::borrow::Cow::Borrowed(text) => visitor.visit_borrowed_str(text),
        std::borrow::Cow::Owned(text) => visitor.visit_string(text),
    }
}

macro_rules! by {
    ($how:ident: $($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
            self.$how(visitor)
        }
    )*};
}

impl<'de> de::Deserializer<'de> for &mut Decoder<'de> {
    type Error = DecodeError;

    by!(integer: deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128);
    by!(integer: deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128);
    by!(float: deserialize_f32 deserialize_f64);
    by!(deserialize_str: deserialize_string deserialize_char deserialize_identifier);
    by!(deserialize_byte_buf: deserialize_bytes);

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let shape = self.open()?;
        self.visit_shape(shape, visitor)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.open()? {
            Shape::Bool(b) => visitor.visit_bool(b),
            other => Err(other.mismatch(&visitor)),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.open()? {
            Shape::Text(text) => visit_text(text, visitor),
            other => Err(other.mismatch(&visitor)),
        }
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.open()? {
            Shape::Special(Tag::Bytes) => {
                let (data, _) = self.bytes()?;
                self.end_special()?;
                visitor.visit_byte_buf(data)
            }
            other => Err(other.mismatch(&visitor)),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        if self.take_nullish()? { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        if self.take_nullish()? { visitor.visit_unit() } else { Err(self.open()?.mismatch(&visitor)) }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        if name == special::ANY { self.deserialize_any(visitor) } else { visitor.visit_newtype_struct(self) }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.open()? {
            Shape::Array => self.visit_array(visitor),
            other => Err(other.mismatch(&visitor)),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.open()? {
            Shape::Object => self.visit_object(visitor),
            other => Err(other.mismatch(&visitor)),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        match self.open()? {
            Shape::Text(name) => visitor.visit_enum(Variant::unit(name)),
            Shape::Object => {
                let name = self.cursor.string()?;
                self.cursor.expect(b':')?;
                let value = self.deeper(|inner| visitor.visit_enum(Variant::new(name, inner)))?;
                self.cursor.expect(b'}')?;
                Ok(value)
            }
            other => Err(other.mismatch(&visitor)),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.skip()?;
        visitor.visit_unit()
    }
}

impl Shape<'_> {
    /// Returns the error of a type that expected something else.
    pub(super) fn mismatch(&self, expected: &dyn Expected) -> DecodeError {
        DecodeError::new(format_args!("expected {expected}, found {self}"))
    }
}
