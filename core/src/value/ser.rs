//! The serde serializer: encodes typed data as wire text. Compound values and object keys are in
//! `ser_parts.rs`.

use base64_simd::STANDARD_NO_PAD;
use serde::ser::{self, Serialize};

use super::bigint::EXACT_MAX;
use super::scope::Scope;
use super::ser_parts::{Items, Map};
use super::writer::Writer;
use super::{Cap, DEPTH_MAX, EncodeError, Payload, special};

/// The largest integer up to which all integers are distinct as doubles.
const INTEGER_MAX: u128 = 1 << 53;

/// The maximum nesting of the plain JSON inside of headers, requests, and responses.
pub(super) const JSON_DEPTH_MAX: usize = 64;

/// Encodes `value` as one expression.
///
/// # Errors
/// The value, or a type in it, cannot be encoded. The capabilities that were collected are then
/// dropped.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Payload<Cap>, EncodeError> {
    run(value, Mode::Wire)
}

/// Encodes `value` as an argument list: a tuple is the list of its elements, `()` is the empty list, and
/// anything else is a single argument.
///
/// # Errors
/// Those of [`encode`].
pub fn encode_args<T: Serialize + ?Sized>(value: &T) -> Result<Payload<Cap>, EncodeError> {
    run(value, Mode::Args)
}

fn run<T: Serialize + ?Sized>(value: &T, mode: Mode) -> Result<Payload<Cap>, EncodeError> {
    let scope = Scope::writing();
    let mut out = Writer::new();
    let args = mode == Mode::Args;
    if args {
        out.text.push('[');
    }
    let depth = usize::from(args);
    value.serialize(Serializer { out: &mut out, depth, mode })?;
    if args {
        out.text.push(']');
    }
    out.finish(scope.journal())
}

/// The syntax at the position that is being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// The whole argument list.
    Args,
    /// An expression.
    Wire,
    /// Plain JSON, as inside of headers.
    Json,
    /// Plain JSON except for the member `body`.
    Init,
    /// The properties of an error.
    Props,
}

/// Returns a number as JavaScript formats it.
pub(crate) fn number_text(number: f64) -> String {
    ryu_js::Buffer::new().format(number).to_owned()
}

/// Writes one value.
#[derive(Debug)]
pub(super) struct Serializer<'w> {
    pub(super) out: &'w mut Writer,
    pub(super) depth: usize,
    pub(super) mode: Mode,
}

impl<'w> Serializer<'w> {
    fn plain(&self) -> bool {
        matches!(self.mode, Mode::Json | Mode::Init)
    }

    fn literal(self, text: &str) -> Result<(), EncodeError> {
        self.out.text.push_str(text);
        Ok(())
    }

    fn integer(self, magnitude: u128, kind: &'static str, n: impl itoa::Integer) -> Result<(), EncodeError> {
        let mut buffer = itoa::Buffer::new();
        let text = buffer.format(n);
        if magnitude > INTEGER_MAX {
            return Err(EncodeError::IntegerTooLarge { kind, value: text.into() });
        }
        self.literal(text)
    }

    fn capability(self, ticket: u32) -> Result<(), EncodeError> {
        if self.plain() || self.out.in_error {
            return Err(EncodeError::LostCapability);
        }
        self.out.capability(ticket);
        Ok(())
    }

    fn items(self, open: &str, close: &'static str) -> Items<'w> {
        self.out.text.push_str(open);
        let mode = if self.plain() { Mode::Json } else { Mode::Wire };
        Items::new(self.out, self.depth, mode, close)
    }

    fn array(self) -> Items<'w> {
        if self.plain() { self.items("[", "]") } else { self.items("[[", "]]") }
    }

    /// Writes `{"variant":` and returns a serializer for the data, one level deeper.
    fn variant(self, variant: &str) -> Result<Self, EncodeError> {
        self.out.text.push('{');
        self.out.string(variant)?;
        self.out.text.push(':');
        let depth = self.depth + 1;
        if depth >= DEPTH_MAX {
            return Err(EncodeError::TooDeep);
        }
        let mode = if self.plain() { Mode::Json } else { Mode::Wire };
        Ok(Self { depth, mode, ..self })
    }
}

macro_rules! integers {
    ($($method:ident $int:ident $magnitude:expr;)*) => {$(
        fn $method(self, n: $int) -> Result<(), EncodeError> {
            let magnitude: fn($int) -> u128 = $magnitude;
            self.integer(magnitude(n), stringify!($int), n)
        }
    )*};
}

impl<'w> ser::Serializer for Serializer<'w> {
    type Ok = ();
    type Error = EncodeError;
    type SerializeSeq = Items<'w>;
    type SerializeTuple = Items<'w>;
    type SerializeTupleStruct = Items<'w>;
    type SerializeTupleVariant = Items<'w>;
    type SerializeMap = Map<'w>;
    type SerializeStruct = Map<'w>;
    type SerializeStructVariant = Map<'w>;

    fn serialize_bool(self, b: bool) -> Result<(), EncodeError> {
        self.literal(if b { "true" } else { "false" })
    }

    integers! {
        serialize_i8 i8 |n| n.unsigned_abs().into();
        serialize_i16 i16 |n| n.unsigned_abs().into();
        serialize_i32 i32 |n| n.unsigned_abs().into();
        serialize_i64 i64 |n| n.unsigned_abs().into();
        serialize_i128 i128 i128::unsigned_abs;
        serialize_u8 u8 u128::from;
        serialize_u16 u16 u128::from;
        serialize_u32 u32 u128::from;
        serialize_u64 u64 u128::from;
        serialize_u128 u128 u128::from;
    }

    fn serialize_f32(self, n: f32) -> Result<(), EncodeError> {
        self.serialize_f64(n.into())
    }

    fn serialize_f64(self, n: f64) -> Result<(), EncodeError> {
        if n.fract() == 0.0 && n.abs() <= EXACT_MAX {
            // Most numbers are integers, which are faster to format as such.
            self.literal(itoa::Buffer::new().format(n as i64))
        } else if n.is_finite() {
            self.literal(ryu_js::Buffer::new().format_finite(n))
        } else if self.plain() {
            self.literal("null")
        } else if n.is_nan() {
            self.literal("[\"nan\"]")
        } else if n > 0.0 {
            self.literal("[\"inf\"]")
        } else {
            self.literal("[\"-inf\"]")
        }
    }

    fn serialize_char(self, c: char) -> Result<(), EncodeError> {
        self.out.string(c.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, text: &str) -> Result<(), EncodeError> {
        self.out.string(text)
    }

    fn serialize_bytes(self, data: &[u8]) -> Result<(), EncodeError> {
        let (open, close) = if self.plain() { ("\"", "\"") } else { ("[\"bytes\",\"", "\"]") };
        let text = &mut self.out.text;
        text.push_str(open);
        STANDARD_NO_PAD.encode_append(data, text);
        text.push_str(close);
        Ok(())
    }

    fn serialize_none(self) -> Result<(), EncodeError> {
        self.literal("null")
    }

    fn serialize_some<T: Serialize + ?Sized>(mut self, value: &T) -> Result<(), EncodeError> {
        if self.mode == Mode::Args {
            self.mode = Mode::Wire;
        }
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), EncodeError> {
        match self.mode {
            Mode::Args => Ok(()),
            Mode::Json | Mode::Init => self.literal("null"),
            Mode::Wire | Mode::Props => self.literal("[\"undefined\"]"),
        }
    }

    fn serialize_unit_struct(mut self, _: &'static str) -> Result<(), EncodeError> {
        if self.mode == Mode::Args {
            self.mode = Mode::Wire;
        }
        self.serialize_unit()
    }

    fn serialize_unit_variant(self, name: &'static str, index: u32, variant: &'static str) -> Result<(), EncodeError> {
        if name == special::CAP { self.capability(index) } else { self.out.string(variant) }
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<(), EncodeError> {
        self.serialize_some(value)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), EncodeError> {
        let Serializer { out, depth, mode } = self.variant(variant)?;
        value.serialize(Serializer { out: &mut *out, depth, mode })?;
        out.text.push('}');
        Ok(())
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Items<'w>, EncodeError> {
        Ok(self.array())
    }

    fn serialize_tuple(self, _: usize) -> Result<Items<'w>, EncodeError> {
        Ok(match self.mode {
            // The brackets and the level of the argument list are accounted for already.
            Mode::Args => Items::new(self.out, 0, Mode::Wire, ""),
            _ => self.array(),
        })
    }

    fn serialize_tuple_struct(self, name: &'static str, _: usize) -> Result<Items<'w>, EncodeError> {
        let Some(tag) = name.strip_prefix(special::PREFIX) else {
            return Ok(self.array());
        };
        if self.plain() {
            return Err(EncodeError::Misplaced { what: tag, place: "in the plain JSON of a request or response" });
        }
        Ok(Items::special(self.out, self.depth, tag))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Items<'w>, EncodeError> {
        let inner = self.variant(variant)?;
        Ok(if inner.plain() { inner.items("[", "]}") } else { inner.items("[[", "]]}") })
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Map<'w>, EncodeError> {
        Ok(Map::new(self.out, self.depth, self.mode, "}"))
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Map<'w>, EncodeError> {
        self.serialize_map(None)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Map<'w>, EncodeError> {
        let inner = self.variant(variant)?;
        Ok(Map::new(inner.out, inner.depth, inner.mode, "}}"))
    }
}
