//! Encoding of the parts of compound values: items, entries, fields of specials, and keys.

use serde::ser::{self, Impossible, Serialize};

use super::ser::{JSON_DEPTH_MAX, Mode, Serializer};
use super::writer::Writer;
use super::{DEPTH_MAX, EncodeError};

/// The fields of an error that are not in `props`.
const ERROR_FIELDS: [&str; 3] = ["\"name\"", "\"message\"", "\"stack\""];

/// A list that is being written: an array, or a special with its fields.
#[derive(Debug)]
pub(super) struct Items<'w> {
    out: &'w mut Writer,
    depth: usize,
    mode: Mode,
    written: usize,
    close: &'static str,
    /// The tag of a special; empty for an array.
    special: &'static str,
}

impl<'w> Items<'w> {
    pub(super) fn new(out: &'w mut Writer, depth: usize, mode: Mode, close: &'static str) -> Self {
        Self { out, depth, mode, written: 0, close, special: "" }
    }

    pub(super) fn special(out: &'w mut Writer, depth: usize, tag: &'static str) -> Self {
        out.text.push_str("[\"");
        out.text.push_str(tag);
        out.text.push('"');
        Self { out, depth, mode: Mode::Json, written: 1, close: "]", special: tag }
    }

    fn item<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        if self.written > 0 {
            self.out.text.push(',');
        }
        let (depth, mode) = match (self.special, self.written) {
            ("", _) | ("response", 1) | ("blob", 2) => (self.depth + 1, self.mode_of_items()),
            ("error", 4) => (self.depth, Mode::Props),
            ("request", 2) => (self.depth, Mode::Init),
            _ => (self.depth.min(DEPTH_MAX - JSON_DEPTH_MAX), Mode::Json),
        };
        self.written += 1;
        if depth >= DEPTH_MAX {
            return Err(EncodeError::TooDeep);
        }
        let out = &mut *self.out;
        value.serialize(Serializer { out, depth, mode })
    }

    fn mode_of_items(&self) -> Mode {
        if self.special.is_empty() { self.mode } else { Mode::Wire }
    }

    fn finish(self) {
        let text = &mut self.out.text;
        if self.special == "error" && text.ends_with(",{}") {
            // All properties were omitted, so use the short form. The text before them is the stack or
            // the message, which is a string, or the null of a missing stack.
            text.truncate(text.len() - ",{}".len());
            if text.ends_with(",null") {
                text.truncate(text.len() - ",null".len());
            }
        }
        text.push_str(self.close);
    }
}

macro_rules! items {
    ($($part:ident $method:ident)*) => {$(
        impl ser::$part for Items<'_> {
            type Ok = ();
            type Error = EncodeError;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
                self.item(value)
            }

            fn end(self) -> Result<(), EncodeError> {
                self.finish();
                Ok(())
            }
        }
    )*};
}
items! {
    SerializeSeq serialize_element
    SerializeTuple serialize_element
    SerializeTupleStruct serialize_field
    SerializeTupleVariant serialize_field
}

/// An object that is being written.
#[derive(Debug)]
pub(super) struct Map<'w> {
    out: &'w mut Writer,
    depth: usize,
    mode: Mode,
    close: &'static str,
    empty: bool,
    /// The position of the current entry, its comma included.
    entry: usize,
    /// The position of the current key.
    key: usize,
}

impl<'w> Map<'w> {
    pub(super) fn new(out: &'w mut Writer, depth: usize, mode: Mode, close: &'static str) -> Self {
        out.text.push('{');
        Self { out, depth, mode, close, empty: true, entry: 0, key: 0 }
    }

    fn begin_entry(&mut self) {
        self.entry = self.out.text.len();
        if !self.empty {
            self.out.text.push(',');
        }
        self.key = self.out.text.len();
    }

    fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        let key = &self.out.text[self.key..];
        if self.mode == Mode::Props {
            if ERROR_FIELDS.contains(&key) {
                self.out.left_out = true;
                self.out.text.truncate(self.entry);
                return Ok(());
            }
            return self.property(value);
        }
        let (depth, mode) = match self.mode {
            Mode::Init if key == "\"body\"" => (self.depth + 1, Mode::Wire),
            Mode::Init => (self.depth.min(DEPTH_MAX - JSON_DEPTH_MAX), Mode::Json),
            Mode::Json => (self.depth + 1, Mode::Json),
            Mode::Args | Mode::Wire | Mode::Props => (self.depth + 1, Mode::Wire),
        };
        self.write(value, depth, mode)?;
        self.empty = false;
        Ok(())
    }

    fn write<T: Serialize + ?Sized>(&mut self, value: &T, depth: usize, mode: Mode) -> Result<(), EncodeError> {
        if depth >= DEPTH_MAX {
            return Err(EncodeError::TooDeep);
        }
        self.out.text.push(':');
        let out = &mut *self.out;
        value.serialize(Serializer { out, depth, mode })
    }

    /// Writes a property of an error, or omits it if it cannot be encoded.
    fn property<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        let outer = std::mem::replace(&mut self.out.in_error, true);
        let written = self.write(value, self.depth + 1, Mode::Wire);
        self.out.in_error = outer;
        if written.is_ok() {
            self.empty = false;
        } else {
            self.out.left_out = true;
            self.out.text.truncate(self.entry);
        }
        Ok(())
    }
}

impl ser::SerializeMap for Map<'_> {
    type Ok = ();
    type Error = EncodeError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), EncodeError> {
        self.begin_entry();
        key.serialize(Key(self.out))
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        self.value(value)
    }

    fn end(self) -> Result<(), EncodeError> {
        self.out.text.push_str(self.close);
        Ok(())
    }
}

macro_rules! structs {
    ($($part:ident)*) => {$(
        impl ser::$part for Map<'_> {
            type Ok = ();
            type Error = EncodeError;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                key: &'static str,
                value: &T,
            ) -> Result<(), EncodeError> {
                self.begin_entry();
                self.out.string(key)?;
                self.value(value)
            }

            fn end(self) -> Result<(), EncodeError> {
                self.out.text.push_str(self.close);
                Ok(())
            }
        }
    )*};
}
structs!(SerializeStruct SerializeStructVariant);

/// Writes an object key.
struct Key<'w>(&'w mut Writer);

macro_rules! keys {
    ($($method:ident $ty:ty)*) => {$(
        fn $method(self, key: $ty) -> Result<(), EncodeError> {
            self.0.string(&key.to_string())
        }
    )*};
}

macro_rules! no_keys {
    ($($what:literal $method:ident($($arg:ty),*) -> $ok:ty;)*) => {$(
        fn $method(self, $(_: $arg),*) -> Result<$ok, EncodeError> {
            Err(EncodeError::Key($what))
        }
    )*};
}

type No = Impossible<(), EncodeError>;

impl ser::Serializer for Key<'_> {
    type Ok = ();
    type Error = EncodeError;
    type SerializeSeq = No;
    type SerializeTuple = No;
    type SerializeTupleStruct = No;
    type SerializeTupleVariant = No;
    type SerializeMap = No;
    type SerializeStruct = No;
    type SerializeStructVariant = No;

    keys! {
        serialize_bool bool
        serialize_i8 i8 serialize_i16 i16 serialize_i32 i32 serialize_i64 i64 serialize_i128 i128
        serialize_u8 u8 serialize_u16 u16 serialize_u32 u32 serialize_u64 u64 serialize_u128 u128
        serialize_char char
    }

    fn serialize_str(self, key: &str) -> Result<(), EncodeError> {
        self.0.string(key)
    }

    fn serialize_unit_variant(self, name: &'static str, _: u32, variant: &'static str) -> Result<(), EncodeError> {
        if name == super::special::CAP {
            return Err(EncodeError::Key("a capability"));
        }
        self.0.string(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, key: &T) -> Result<(), EncodeError> {
        key.serialize(self)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, key: &T) -> Result<(), EncodeError> {
        key.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<(), EncodeError> {
        Err(EncodeError::Key("an enum with data"))
    }

    no_keys! {
        "a float" serialize_f32(f32) -> ();
        "a float" serialize_f64(f64) -> ();
        "bytes" serialize_bytes(&[u8]) -> ();
        "None" serialize_none() -> ();
        "a unit" serialize_unit() -> ();
        "a unit" serialize_unit_struct(&'static str) -> ();
        "a list" serialize_seq(Option<usize>) -> No;
        "a tuple" serialize_tuple(usize) -> No;
        "a tuple" serialize_tuple_struct(&'static str, usize) -> No;
        "a tuple" serialize_tuple_variant(&'static str, u32, &'static str, usize) -> No;
        "a map" serialize_map(Option<usize>) -> No;
        "a struct" serialize_struct(&'static str, usize) -> No;
        "a struct" serialize_struct_variant(&'static str, u32, &'static str, usize) -> No;
    }
}
