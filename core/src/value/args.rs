//! Decoding of argument lists: which arguments a type takes.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, SeqAccess, Visitor};

use super::DecodeError;
use super::de::Decoder;

/// The name of a tuple struct that takes all arguments of a list. Arguments that were not sent are
/// undefined.
pub(super) const ALL_ARGS: &str = "$bowline::args";

/// A decoder positioned before an argument list, `[a,b]`.
pub(super) struct Args<'a, 'de>(pub(super) &'a mut Decoder<'de>);

impl<'de> Args<'_, 'de> {
    /// Reads the first argument.
    fn first<T>(self, read: impl FnOnce(&mut Decoder<'de>) -> Result<T, DecodeError>) -> Result<T, DecodeError> {
        self.0.cursor.expect(b'[')?;
        let value =
            if self.0.cursor.peek() == Some(b']') { read(&mut Decoder::undefined()) } else { self.0.deeper(read) };
        let value = value.map_err(|e| e.in_index(0))?;
        self.0.end_special()?;
        Ok(value)
    }

    /// Reads `len` arguments. If `open` is true, reads all further ones too.
    fn list<V: Visitor<'de>>(self, len: usize, open: bool, visitor: V) -> Result<V::Value, DecodeError> {
        self.0.cursor.expect(b'[')?;
        let mut list = List { decoder: &mut *self.0, read: 0, len, open };
        let value = visitor.visit_seq(&mut list)?;
        list.end()?;
        Ok(value)
    }
}

macro_rules! first {
    ($($method:ident($($name:ident: $ty:ty),*))*) => {$(
        fn $method<V: Visitor<'de>>(
            self,
            $($name: $ty,)*
            visitor: V,
        ) -> Result<V::Value, DecodeError> {
            self.first(|argument| argument.$method($($name,)* visitor))
        }
    )*};
}

impl<'de> Deserializer<'de> for Args<'_, 'de> {
    type Error = DecodeError;

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, DecodeError> {
        self.list(len, false, visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        if name == ALL_ARGS {
            return self.list(len, true, visitor);
        }
        self.first(|argument| argument.deserialize_tuple_struct(name, len, visitor))
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_tuple(0, Nothing)?;
        visitor.visit_unit()
    }

    first! {
        deserialize_any() deserialize_bool()
        deserialize_i8() deserialize_i16() deserialize_i32() deserialize_i64() deserialize_i128()
        deserialize_u8() deserialize_u16() deserialize_u32() deserialize_u64() deserialize_u128()
        deserialize_f32() deserialize_f64()
        deserialize_char() deserialize_str() deserialize_string()
        deserialize_bytes() deserialize_byte_buf()
        deserialize_option() deserialize_seq() deserialize_map()
        deserialize_identifier() deserialize_ignored_any()
        deserialize_unit_struct(name: &'static str)
        deserialize_newtype_struct(name: &'static str)
        deserialize_struct(name: &'static str, fields: &'static [&'static str])
        deserialize_enum(name: &'static str, variants: &'static [&'static str])
    }
}

/// Takes no argument.
struct Nothing;

impl<'de> Visitor<'de> for Nothing {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no arguments")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        Ok(())
    }
}

/// The arguments of a tuple.
struct List<'a, 'de> {
    decoder: &'a mut Decoder<'de>,
    read: usize,
    /// The minimum number of arguments. Those that were not sent are undefined.
    len: usize,
    /// Whether further arguments are taken too.
    open: bool,
}

impl List<'_, '_> {
    /// Advances to the next argument. Returns `false` if there is none.
    fn advance(&mut self) -> Result<bool, DecodeError> {
        let more = self.decoder.cursor.peek() != Some(b']');
        if more && self.read > 0 {
            self.decoder.cursor.expect(b',')?;
        }
        Ok(more)
    }

    /// Skips the remaining arguments.
    fn end(&mut self) -> Result<(), DecodeError> {
        while self.advance()? {
            self.decoder.skip()?;
            self.read += 1;
        }
        Ok(self.decoder.cursor.expect(b']')?)
    }
}

impl<'de> SeqAccess<'de> for &mut List<'_, 'de> {
    type Error = DecodeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, DecodeError> {
        let index = self.read;
        let more = self.open && self.decoder.cursor.peek() != Some(b']');
        if index >= self.len && !more {
            return Ok(None);
        }
        let value = if self.advance()? {
            self.decoder.deeper(|argument| seed.deserialize(argument))
        } else {
            seed.deserialize(&mut Decoder::undefined())
        };
        self.read += 1;
        value.map(Some).map_err(|e| e.in_index(index))
    }
}
