//! Decoding of the parts of compound values: elements, entries, keys, variants, and fields of specials.

use std::borrow::Cow;

use serde::de::value::CowStrDeserializer;
use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, Unexpected, VariantAccess,
    Visitor,
};

use super::de::Decoder;
use super::ser::JSON_DEPTH_MAX;
use super::shape::Tag;
use super::{DEPTH_MAX, DecodeError, special};

/// The elements of an array whose opening has been read. The owner reads the closing.
#[derive(Debug)]
pub(super) struct Elements<'a, 'de> {
    decoder: &'a mut Decoder<'de>,
    read: usize,
}

impl<'a, 'de> Elements<'a, 'de> {
    pub(super) fn new(decoder: &'a mut Decoder<'de>) -> Self {
        Self { decoder, read: 0 }
    }
}

impl<'de> SeqAccess<'de> for Elements<'_, 'de> {
    type Error = DecodeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, DecodeError> {
        if self.decoder.cursor.peek() == Some(b']') {
            return Ok(None);
        }
        if self.read > 0 {
            self.decoder.cursor.expect(b',')?;
        }
        let index = self.read;
        self.read += 1;
        self.decoder.deeper(|inner| seed.deserialize(inner)).map(Some).map_err(|e| e.in_index(index))
    }
}

/// The entries of an object whose opening has been read. The owner reads the closing.
#[derive(Debug)]
pub(super) struct Entries<'a, 'de> {
    decoder: &'a mut Decoder<'de>,
    first: bool,
    /// Whether these are the members of an `init`: plain JSON except for `body`.
    init: bool,
    /// The position of the key.
    key: usize,
}

impl<'a, 'de> Entries<'a, 'de> {
    pub(super) fn new(decoder: &'a mut Decoder<'de>) -> Self {
        Self { decoder, first: true, init: false, key: 0 }
    }

    fn plain_value<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, DecodeError> {
        let value = self.decoder.plain(|inner| seed.deserialize(inner));
        value.map_err(|e| e.in_key(self.key()))
    }

    /// Reads the key a second time, which is rarely needed.
    fn key(&self) -> Cow<'de, str> {
        let mut cursor = super::text::Cursor::new(&self.decoder.cursor.text()[self.key..]);
        cursor.string().unwrap_or_default()
    }
}

impl<'de> MapAccess<'de> for Entries<'_, 'de> {
    type Error = DecodeError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, DecodeError> {
        let cursor = &mut self.decoder.cursor;
        if cursor.peek() == Some(b'}') {
            return Ok(None);
        }
        if !std::mem::take(&mut self.first) {
            cursor.expect(b',')?;
            cursor.peek();
        }
        self.key = cursor.at();
        let key = cursor.string()?;
        cursor.expect(b':')?;
        seed.deserialize(Key(key)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, DecodeError> {
        if self.init && self.key() != "body" {
            return self.plain_value(seed);
        }
        let value = self.decoder.deeper(|inner| seed.deserialize(inner));
        value.map_err(|e| e.in_key(self.key()))
    }
}

impl<'de> Decoder<'de> {
    /// Runs `read` on plain JSON, whose nesting has a limit of its own.
    fn plain<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, DecodeError>) -> Result<T, DecodeError> {
        let outer = (self.depth, self.json);
        self.depth = self.depth.min(DEPTH_MAX - JSON_DEPTH_MAX);
        self.json = true;
        let value = read(self);
        (self.depth, self.json) = outer;
        value
    }
}

/// An object key: text, or a type that can be parsed from text.
struct Key<'de>(Cow<'de, str>);

macro_rules! parsed_keys {
    ($($method:ident $visit:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
            match self.0.parse() {
                Ok(key) => visitor.$visit(key),
                Err(_) => Err(de::Error::invalid_value(Unexpected::Str(&self.0), &visitor)),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Key<'de> {
    type Error = DecodeError;

    parsed_keys! {
        deserialize_bool visit_bool
        deserialize_i8 visit_i8 deserialize_i16 visit_i16 deserialize_i32 visit_i32
        deserialize_i64 visit_i64 deserialize_i128 visit_i128
        deserialize_u8 visit_u8 deserialize_u16 visit_u16 deserialize_u32 visit_u32
        deserialize_u64 visit_u64 deserialize_u128 visit_u128
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.0 {
            Cow::Borrowed(key) => visitor.visit_borrowed_str(key),
            Cow::Owned(key) => visitor.visit_string(key),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_enum(Variant::unit(self.0))
    }

    serde::forward_to_deserialize_any! {
        f32 f64 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct
        identifier ignored_any
    }
}

/// An enum: a name, with the data of the variant if there is any.
#[derive(Debug)]
pub(super) struct Variant<'a, 'de> {
    name: Cow<'de, str>,
    data: Option<&'a mut Decoder<'de>>,
}

impl<'a, 'de> Variant<'a, 'de> {
    pub(super) fn unit(name: Cow<'de, str>) -> Self {
        Self { name, data: None }
    }

    pub(super) fn new(name: Cow<'de, str>, data: &'a mut Decoder<'de>) -> Self {
        Self { name, data: Some(data) }
    }
}

impl<'a, 'de> EnumAccess<'de> for Variant<'a, 'de> {
    type Error = DecodeError;
    type Variant = Data<'a, 'de>;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Data<'a, 'de>), DecodeError> {
        let name: CowStrDeserializer<'_, DecodeError> = self.name.into_deserializer();
        Ok((seed.deserialize(name)?, Data(self.data)))
    }
}

/// The data of a variant, if there is any.
#[derive(Debug)]
pub(super) struct Data<'a, 'de>(Option<&'a mut Decoder<'de>>);

impl<'a, 'de> Data<'a, 'de> {
    fn due(self) -> Result<&'a mut Decoder<'de>, DecodeError> {
        self.0.ok_or_else(|| DecodeError::new("expected the data of an enum variant, found only its name"))
    }
}

impl<'de> VariantAccess<'de> for Data<'_, 'de> {
    type Error = DecodeError;

    fn unit_variant(self) -> Result<(), DecodeError> {
        self.0.map_or(Ok(()), de::Deserialize::deserialize)
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, DecodeError> {
        seed.deserialize(self.due()?)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, DecodeError> {
        self.due()?.deserialize_seq(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value, DecodeError> {
        self.due()?.deserialize_map(visitor)
    }
}

/// A special whose tag has been read, as the sequence `(char tag, fields…)`.
#[derive(Debug)]
pub(super) struct Special<'a, 'de> {
    decoder: &'a mut Decoder<'de>,
    tag: Tag,
    read: usize,
    /// The data of bytes, read already.
    data: Vec<u8>,
}

impl<'a, 'de> Special<'a, 'de> {
    pub(super) fn new(decoder: &'a mut Decoder<'de>, tag: Tag, data: Vec<u8>) -> Self {
        Self { decoder, tag, read: 0, data }
    }
}

impl<'de> Deserializer<'de> for Special<'_, 'de> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_seq(self)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier
        ignored_any
    }
}

impl<'de> Special<'_, 'de> {
    fn head<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, DecodeError> {
        seed.deserialize(self.tag.letter().into_deserializer())
    }

    fn data<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, DecodeError> {
        seed.deserialize(ByteBuf(std::mem::take(&mut self.data)))
    }

    /// Reads the stack of an error. Anything but a string means that there is none.
    fn stack<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, DecodeError> {
        if self.decoder.cursor.peek() == Some(b'"') {
            return self.plain(seed);
        }
        self.decoder.skip()?;
        seed.deserialize(().into_deserializer())
    }

    fn plain<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, DecodeError> {
        self.decoder.plain(|inner| seed.deserialize(inner))
    }

    fn body<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, DecodeError> {
        self.decoder.deeper(|inner| seed.deserialize(inner))
    }
}

impl<'de> SeqAccess<'de> for Special<'_, 'de> {
    type Error = DecodeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, DecodeError> {
        let field = self.read;
        self.read += 1;
        let value = match (self.tag, field) {
            (_, 0) => self.head(seed),
            (Tag::Bytes, 1) => self.data(seed),
            _ if !self.decoder.cursor.take(b',') => return Ok(None),
            (Tag::Response, 1) | (Tag::Blob, 2) => self.body(seed),
            (Tag::Error, 3) => self.stack(seed),
            (Tag::Error, 4) => seed.deserialize(Members(self.decoder, false)),
            (Tag::Request | Tag::Response, 2) => seed.deserialize(Members(self.decoder, true)),
            _ => self.plain(seed),
        };
        value.map(Some)
    }
}

/// A capability by its ticket, as the sequence `('c', ticket)`.
pub(super) struct Ticket(pub(super) u64);

impl<'de> Deserializer<'de> for Ticket {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_seq(TicketFields { ticket: self.0, read: 0 })
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier
        ignored_any
    }
}

struct TicketFields {
    ticket: u64,
    read: usize,
}

impl<'de> SeqAccess<'de> for TicketFields {
    type Error = DecodeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, DecodeError> {
        self.read += 1;
        match self.read {
            1 => seed.deserialize(special::CAPABILITY_TAG.into_deserializer()).map(Some),
            2 => seed.deserialize(self.ticket.into_deserializer()).map(Some),
            _ => Ok(None),
        }
    }
}

/// The data of bytes.
struct ByteBuf(Vec<u8>);

impl<'de> Deserializer<'de> for ByteBuf {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_byte_buf(self.0)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier
        ignored_any
    }
}

/// The object in a special: an `init` if the flag is set, otherwise the properties of an error.
struct Members<'a, 'de>(&'a mut Decoder<'de>, bool);

impl<'de> Deserializer<'de> for Members<'_, 'de> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let Members(decoder, init) = self;
        decoder.cursor.expect(b'{')?;
        let mut entries = Entries::new(decoder);
        entries.init = init;
        let value = visitor.visit_map(entries)?;
        decoder.cursor.expect(b'}')?;
        Ok(value)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
        option
    }
}
