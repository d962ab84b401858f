//! Binary data, with the kind of typed array that JavaScript uses for it.

use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Serialize, SerializeTupleStruct, Serializer};

use super::{Value, scope, special};

/// Binary data. On the wire it is base64; in JavaScript it is an array of its kind.
///
/// For serde, and so for Bowline, a bare `Vec<u8>` is an array of numbers: use this type or
/// `serde_bytes` instead.
///
/// ```
/// # mod bowline { pub use bowline_core::value::Bytes; pub mod value { pub use bowline_core::value::BytesKind; } }
/// use bowline::Bytes;
/// use bowline::value::BytesKind;
///
/// let bytes = Bytes::new([1, 2, 3]);
/// assert_eq!(&bytes[..2], [1, 2]);
/// // JavaScript receives a `Uint16Array` of one element.
/// let array = Bytes::with_kind(BytesKind::Uint16Array, 500_u16.to_le_bytes()).unwrap();
/// assert_eq!(array.len(), 2);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Bytes {
    kind: BytesKind,
    data: Vec<u8>,
}

/// The error of data whose length is not a multiple of its element size, or of an unknown kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBytes {
    /// The length is not a multiple of the element size.
    #[error("{len} bytes are no whole number of elements of {kind:?}")]
    Length {
        /// The length of the data, in bytes.
        len: usize,
        /// The kind that was requested.
        kind: BytesKind,
    },
    /// No kind has this name.
    #[error("unknown kind of bytes")]
    UnknownKind,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident $size:literal)*) => {
        /// The JavaScript class of [`Bytes`]. Elements are little-endian.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        pub enum BytesKind {
            $($(#[$doc])* $kind,)*
        }

        impl BytesKind {
            /// Returns the JavaScript name of the kind.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$kind => stringify!($kind),)*
                }
            }

            /// Returns the size of one element in bytes.
            pub fn element_size(self) -> usize {
                match self {
                    $(Self::$kind => $size,)*
                }
            }
        }

        impl FromStr for BytesKind {
            type Err = InvalidBytes;

            fn from_str(name: &str) -> Result<Self, InvalidBytes> {
                match name {
                    $(stringify!($kind) => Ok(Self::$kind),)*
                    _ => Err(InvalidBytes::UnknownKind),
                }
            }
        }

        #[cfg(test)]
        const KINDS: &[BytesKind] = &[$(BytesKind::$kind),*];
    };
}

kinds! {
    /// Plain bytes.
    #[default]
    Uint8Array 1
    /// A buffer without a view.
    ArrayBuffer 1
    /// A view on raw bytes.
    DataView 1
    /// Elements are `i8`.
    Int8Array 1
    /// Elements are `u8`, clamped on writing.
    Uint8ClampedArray 1
    /// Elements are `i16`.
    Int16Array 2
    /// Elements are `u16`.
    Uint16Array 2
    /// Elements are `i32`.
    Int32Array 4
    /// Elements are `u32`.
    Uint32Array 4
    /// Elements are `i64`.
    BigInt64Array 8
    /// Elements are `u64`.
    BigUint64Array 8
    /// Elements are `f32`.
    Float32Array 4
    /// Elements are `f64`.
    Float64Array 8
}

impl Bytes {
    /// Creates plain bytes, of kind `Uint8Array`.
    pub fn new(data: impl Into<Vec<u8>>) -> Self {
        Self { kind: BytesKind::Uint8Array, data: data.into() }
    }

    /// Creates a typed array from its elements, each little-endian.
    ///
    /// # Errors
    /// The last element is incomplete.
    pub fn with_kind(kind: BytesKind, data: impl Into<Vec<u8>>) -> Result<Self, InvalidBytes> {
        let data = data.into();
        let len = data.len();
        if len % kind.element_size() != 0 {
            return Err(InvalidBytes::Length { len, kind });
        }
        Ok(Self { kind, data })
    }

    /// Returns the kind of array that JavaScript uses.
    pub fn kind(&self) -> BytesKind {
        self.kind
    }

    /// Returns the data.
    pub fn as_slice(&self) -> &[u8] {
        &self.data
    }

    /// Returns the data, without its kind.
    pub fn into_vec(self) -> Vec<u8> {
        self.data
    }
}

impl std::ops::Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.data
    }
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(data: Vec<u8>) -> Self {
        Self::new(data)
    }
}

impl From<&[u8]> for Bytes {
    fn from(data: &[u8]) -> Self {
        Self::new(data)
    }
}

impl<const N: usize> From<&[u8; N]> for Bytes {
    fn from(data: &[u8; N]) -> Self {
        Self::new(data)
    }
}

impl From<Bytes> for Vec<u8> {
    fn from(bytes: Bytes) -> Self {
        bytes.data
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.kind == BytesKind::Uint8Array || !scope::is_writing() {
            return serializer.serialize_bytes(&self.data);
        }
        let mut fields = serializer.serialize_tuple_struct(special::BYTES, 2)?;
        fields.serialize_field(&Raw(&self.data))?;
        fields.serialize_field(self.kind.as_str())?;
        fields.end()
    }
}

/// Bytes that are serialized as serde's bytes instead of a sequence.
struct Raw<'a>(&'a [u8]);

impl Serialize for Raw<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match special::read(deserializer)? {
            Value::Bytes(bytes) => Ok(bytes),
            Value::Array(items) if special::takes_plain_forms() => items
                .iter()
                .map(|item| match item.as_f64() {
                    Some(n) if (0.0..=255.0).contains(&n) && n.fract() == 0.0 => Ok(n as u8),
                    _ => Err(D::Error::custom("expected a byte")),
                })
                .collect::<Result<Vec<u8>, _>>()
                .map(Self::new),
            other => Err(special::unexpected(&other, "bytes")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_named_as_in_javascript() {
        assert_eq!(KINDS.len(), 13);
        for kind in KINDS {
            assert_eq!(kind.as_str().parse(), Ok(*kind));
        }
        assert_eq!("Nope".parse::<BytesKind>(), Err(InvalidBytes::UnknownKind));
    }

    #[test]
    fn incomplete_elements_are_rejected() {
        assert!(Bytes::with_kind(BytesKind::Int16Array, [1, 2]).is_ok());
        assert_eq!(
            Bytes::with_kind(BytesKind::Int16Array, [1, 2, 3]),
            Err(InvalidBytes::Length { len: 3, kind: BytesKind::Int16Array })
        );
    }
}
