//! The value model: the values that can cross the wire, their serde implementation, and their text.
//!
//! [`encode`] and [`decode`] convert any serde type to wire text and back. [`Value`] is for data
//! whose type is not known. Which capabilities a session holds is not decided here.

mod args;
pub mod bigint;
mod blob;
mod bytes;
mod cap;
pub mod date;
mod de;
mod de_numbers;
mod de_parts;
mod error_value;
mod errors;
mod fetch;
pub(crate) mod headers;
mod http;
pub(crate) mod init;
mod object;
mod payload;
mod scope;
mod ser;
mod ser_parts;
mod shape;
mod special;
mod spread;
pub(crate) mod text;
mod value_serde;
mod web_url;
mod writer;

pub use bigint::{BIGINT_CHARS_MAX, BigInt, BigIntOutOfRange, InvalidBigInt};
pub use blob::Blob;
pub(crate) use blob::Content;
pub use bytes::{Bytes, BytesKind, InvalidBytes};
pub use cap::{Cap, Capability};
pub use date::{Date, InvalidDate};
pub use de::{decode, decode_args};
pub use error_value::{ErrorKind, ErrorValue, UnknownErrorKind};
pub use errors::{DecodeError, EncodeError};
pub(crate) use fetch::check_target;
pub use fetch::{Body, InvalidFetch, Request, Response};
pub use headers::{Headers, InvalidHeader};
pub use object::Object;
pub use payload::{PLACEHOLDER, Payload, PlaceholderMismatch, Text};
pub(crate) use payload::{PayloadBuilder, has_placeholder, placeholders};
pub(crate) use ser::number_text;
pub use ser::{encode, encode_args};
pub use spread::Spread;
pub use value_serde::{from_value, to_value};
pub use web_url::{InvalidUrl, Url};

/// The maximum nesting of a value, counted as in Cap'n Web: the root is level 0, and each array item or
/// object value is one level deeper. Deeper values are neither written nor read.
pub const DEPTH_MAX: usize = 256;

/// Any value that can cross the wire.
///
/// Numbers are compared as in JavaScript's `SameValueZero`: a NaN equals itself.
///
/// ```
/// # mod bowline { pub use bowline_core::value::Value; pub mod value { pub use bowline_core::value::Object; } }
/// use bowline::Value;
/// use bowline::value::Object;
///
/// let user = Value::from(Object::from([("name", "Ann")]));
/// assert_eq!(user.get("name").and_then(Value::as_str), Some("Ann"));
/// assert!(user.get("age").is_none());
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Value {
    /// JavaScript's `undefined`, and `()` in Rust.
    #[default]
    Undefined,
    /// JavaScript's `null`, and `None` in Rust.
    Null,
    /// A boolean.
    Bool(bool),
    /// A number. Integers are exact up to 2^53.
    Number(f64),
    /// A string.
    String(String),
    /// An integer of any size.
    BigInt(BigInt),
    /// A point in time.
    Date(Date),
    /// Binary data.
    Bytes(Bytes),
    /// An error.
    Error(Box<ErrorValue>),
    /// A URL.
    Url(Url),
    /// HTTP headers.
    Headers(Headers),
    /// Binary data with a MIME type.
    Blob(Blob),
    /// An HTTP request.
    Request(Box<Request>),
    /// An HTTP response.
    Response(Box<Response>),
    /// A list.
    Array(Vec<Self>),
    /// An object with named values.
    Object(Object),
    /// A capability: a reference, a promise, or a stream.
    Cap(Cap),
}

impl Value {
    /// Returns a description of the kind of value, with an article, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Undefined => "undefined",
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::String(_) => "a string",
            Self::BigInt(_) => "a bigint",
            Self::Date(_) => "a date",
            Self::Bytes(_) => "bytes",
            Self::Error(_) => "an error",
            Self::Url(_) => "a URL",
            Self::Headers(_) => "headers",
            Self::Blob(_) => "a blob",
            Self::Request(_) => "a request",
            Self::Response(_) => "a response",
            Self::Array(_) => "an array",
            Self::Object(_) => "an object",
            Self::Cap(_) => "a capability",
        }
    }

    /// Returns `true` for `null` and `undefined`.
    pub fn is_nullish(&self) -> bool {
        matches!(self, Self::Undefined | Self::Null)
    }

    /// Returns the boolean, if the value is one.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(b) => Some(*b),
            _ => None,
        }
    }

    /// Returns the number, if the value is one.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Number(n) => Some(*n),
            _ => None,
        }
    }

    /// Returns the text, if the value is a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// Returns the binary data, if the value is that.
    pub fn as_bytes(&self) -> Option<&Bytes> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// Returns the error, if the value is one.
    pub fn as_error(&self) -> Option<&ErrorValue> {
        match self {
            Self::Error(error) => Some(error),
            _ => None,
        }
    }

    /// Returns the items, if the value is an array.
    pub fn as_array(&self) -> Option<&[Self]> {
        match self {
            Self::Array(items) => Some(items),
            _ => None,
        }
    }

    /// Returns the object, if the value is one.
    pub fn as_object(&self) -> Option<&Object> {
        match self {
            Self::Object(object) => Some(object),
            _ => None,
        }
    }

    /// Returns the capability, if the value is one.
    pub fn as_cap(&self) -> Option<&Cap> {
        match self {
            Self::Cap(cap) => Some(cap),
            _ => None,
        }
    }

    /// Returns the value under `key`, if this is an object that has it.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.as_object()?.get(key)
    }

    /// Returns the item at `index`, if this is an array that has it.
    pub fn at(&self, index: usize) -> Option<&Self> {
        self.as_array()?.get(index)
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Undefined, Self::Undefined) | (Self::Null, Self::Null) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Number(a), Self::Number(b)) => a == b || (a.is_nan() && b.is_nan()),
            (Self::String(a), Self::String(b)) => a == b,
            (Self::BigInt(a), Self::BigInt(b)) => a == b,
            (Self::Date(a), Self::Date(b)) => a == b,
            (Self::Bytes(a), Self::Bytes(b)) => a == b,
            (Self::Error(a), Self::Error(b)) => a == b,
            (Self::Url(a), Self::Url(b)) => a == b,
            (Self::Headers(a), Self::Headers(b)) => a == b,
            (Self::Blob(a), Self::Blob(b)) => a == b,
            (Self::Request(a), Self::Request(b)) => a == b,
            (Self::Response(a), Self::Response(b)) => a == b,
            (Self::Array(a), Self::Array(b)) => a == b,
            (Self::Object(a), Self::Object(b)) => a == b,
            (Self::Cap(a), Self::Cap(b)) => a == b,
            _ => false,
        }
    }
}

macro_rules! from {
    ($($variant:ident: $($ty:ty)*;)*) => {$($(
        impl From<$ty> for Value {
            fn from(value: $ty) -> Self {
                Self::$variant(value.into())
            }
        }
    )*)*};
}
from! {
    Bool: bool;
    Number: i8 i16 i32 u8 u16 u32 f32 f64;
    String: String &str;
    BigInt: BigInt;
    Date: Date std::time::SystemTime;
    Bytes: Bytes;
    Error: ErrorValue Box<ErrorValue>;
    Url: Url;
    Headers: Headers;
    Blob: Blob;
    Request: Request Box<Request>;
    Response: Response Box<Response>;
    Array: Vec<Value>;
    Object: Object;
    Cap: Cap;
}

impl From<()> for Value {
    fn from((): ()) -> Self {
        Self::Undefined
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}
