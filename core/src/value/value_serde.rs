//! The serde implementation of dynamic values, and conversions between them and typed data.

use std::fmt;

use serde::de::{Deserialize, DeserializeOwned, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};

use super::bigint::EXACT_MAX;
use super::{Bytes, DecodeError, EncodeError, Object, Value, decode, encode, special};

/// Converts typed data into a dynamic value.
///
/// # Errors
/// Those of [`encode`].
pub fn to_value<T: Serialize + ?Sized>(value: &T) -> Result<Value, EncodeError> {
    decode(encode(value)?).map_err(|e| EncodeError::Custom(e.to_string().into()))
}

/// Converts a dynamic value into typed data.
///
/// # Errors
/// Those of [`decode`], and those of [`encode`] as a [`DecodeError`].
pub fn from_value<T: DeserializeOwned>(value: &Value) -> Result<T, DecodeError> {
    decode(encode(value).map_err(DecodeError::new)?)
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Undefined => serializer.serialize_unit(),
            Self::Null => serializer.serialize_none(),
            Self::Bool(b) => serializer.serialize_bool(*b),
            Self::Number(n) if n.fract() == 0.0 && n.abs() <= EXACT_MAX => serializer.serialize_i64(*n as i64),
            Self::Number(n) => serializer.serialize_f64(*n),
            Self::String(text) => serializer.serialize_str(text),
            Self::BigInt(n) => n.serialize(serializer),
            Self::Date(date) => date.serialize(serializer),
            Self::Bytes(bytes) => bytes.serialize(serializer),
            Self::Error(error) => error.serialize(serializer),
            Self::Url(url) => url.serialize(serializer),
            Self::Headers(headers) => headers.serialize(serializer),
            Self::Blob(blob) => blob.serialize(serializer),
            Self::Request(request) => request.serialize(serializer),
            Self::Response(response) => response.serialize(serializer),
            Self::Array(items) => items.serialize(serializer),
            Self::Object(object) => object.serialize(serializer),
            Self::Cap(cap) => cap.serialize(serializer),
        }
    }
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor::default())
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Object(object) => Ok(object),
            other => Err(special::unexpected(&other, "an object")),
        }
    }
}

/// Reads any value. If there is a place for it, also the tag at the head of a special's sequence.
#[derive(Debug, Default)]
pub(super) struct ValueVisitor<'t> {
    tag: Option<&'t mut Option<char>>,
}

impl<'de> DeserializeSeed<'de> for ValueVisitor<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueVisitor<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Undefined)
    }

    fn visit_none<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E: Error>(self, b: bool) -> Result<Value, E> {
        Ok(Value::Bool(b))
    }

    // JavaScript's only numbers are doubles, so larger integers are rounded as there.
    fn visit_i64<E: Error>(self, n: i64) -> Result<Value, E> {
        Ok(Value::Number(n as f64))
    }

    fn visit_u64<E: Error>(self, n: u64) -> Result<Value, E> {
        Ok(Value::Number(n as f64))
    }

    fn visit_f64<E: Error>(self, n: f64) -> Result<Value, E> {
        Ok(Value::Number(n))
    }

    fn visit_char<E: Error>(self, c: char) -> Result<Value, E> {
        match self.tag {
            Some(tag) => {
                *tag = Some(c);
                Ok(Value::Undefined)
            }
            None => Ok(Value::String(c.into())),
        }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Value, E> {
        Ok(Value::String(text))
    }

    fn visit_bytes<E: Error>(self, data: &[u8]) -> Result<Value, E> {
        Ok(Value::Bytes(Bytes::new(data)))
    }

    fn visit_byte_buf<E: Error>(self, data: Vec<u8>) -> Result<Value, E> {
        Ok(Value::Bytes(Bytes::new(data)))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<Value, D::Error> {
        inner.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut tag = None;
        let head = ValueVisitor { tag: Some(&mut tag) };
        let first = seq.next_element_seed(head)?;
        match tag {
            Some(tag) => special::read_fields(tag, &mut seq),
            None => visit_items(first, &mut seq),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries: Vec<(String, Value)> = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        fit(&mut entries);
        Ok(Value::Object(entries.into_iter().collect()))
    }
}

/// Reads the items after the `first` one of an array.
fn visit_items<'de, A: SeqAccess<'de>>(first: Option<Value>, seq: &mut A) -> Result<Value, A::Error> {
    let mut items = Vec::from_iter(first);
    if !items.is_empty() {
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
    }
    fit(&mut items);
    Ok(Value::Array(items))
}

/// Shrinks a list whose capacity is at least twice its length. Many short lists would otherwise take
/// several times the memory that a session counts for them.
fn fit<T>(items: &mut Vec<T>) {
    if items.capacity() >= 2 * items.len() {
        items.shrink_to_fit();
    }
}
