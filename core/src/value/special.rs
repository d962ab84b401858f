//! How values outside serde's model pass through serde, buffering included.
//!
//! Writing: each is a tuple struct with a private name that says what it is (a capability is a
//! unit variant whose index is its ticket); the buffers behind `flatten` and `tag` keep names.
//! Reading: those buffers forget names, so each is a newtype around the sequence
//! `(char tag, fields…)`. No wire value ever yields a `char`, so no peer can forge one.
//!
//! Other formats than Bowline's get a plain form instead: a date is its milliseconds, a bigint
//! its digits.

use serde::de::{Deserializer, Error, SeqAccess};

use super::value_serde::ValueVisitor;
use super::{BigInt, Bytes, Date, ErrorValue, Headers, Request, Response, Url, Value, scope};

/// What the names of special tuple structs begin with; the rest is the tag on the wire.
pub(super) const PREFIX: &str = "$bowline::";
pub(super) const CAP: &str = "$bowline::@";
pub(super) const BIGINT: &str = "$bowline::bigint";
pub(super) const DATE: &str = "$bowline::date";
pub(super) const BYTES: &str = "$bowline::bytes";
pub(super) const ERROR: &str = "$bowline::error";
pub(super) const URL: &str = "$bowline::url";
pub(super) const HEADERS: &str = "$bowline::headers";
pub(super) const REQUEST: &str = "$bowline::request";
pub(super) const RESPONSE: &str = "$bowline::response";

/// The newtype name under which a reader asks for a special.
pub(super) const ANY: &str = "$bowline::any";

/// Reads whatever comes next, specials included.
pub(super) fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
    deserializer.deserialize_newtype_struct(ANY, ValueVisitor::default())
}

/// The error of a type that met `found`.
pub(super) fn unexpected<E: Error>(found: &Value, expected: &str) -> E {
    E::custom(format_args!("expected {expected}, found {}", found.kind()))
}

/// True where the plain forms of other formats may be read.
pub(super) fn takes_plain_forms() -> bool {
    !scope::is_reading()
}

/// Reads the fields that follow `tag`.
pub(super) fn read_fields<'de, A: SeqAccess<'de>>(tag: char, seq: A) -> Result<Value, A::Error> {
    let mut fields = Fields(seq);
    Ok(match tag {
        'c' => Value::Cap(
            scope::redeem(fields.next()?)
                .ok_or_else(|| A::Error::custom("this capability belongs to another message"))?,
        ),
        'n' => Value::BigInt(BigInt::parse(&fields.next::<String>()?).map_err(A::Error::custom)?),
        'd' => Value::Date(Date::from_ms_or_invalid(fields.next()?)),
        'b' => {
            let data: Bytes = fields.next()?;
            let kind = fields.next::<String>()?.parse().map_err(A::Error::custom)?;
            Value::Bytes(Bytes::with_kind(kind, data.into_vec()).map_err(A::Error::custom)?)
        }
        'e' => {
            let mut error = ErrorValue::new(fields.next::<String>()?, fields.next::<String>()?);
            error.stack = fields.optional()?.flatten();
            error.props = fields.optional()?.unwrap_or_default();
            for key in ["name", "message", "stack"] {
                error.props.remove(key);
            }
            Value::Error(Box::new(error))
        }
        'u' => Value::Url(Url::parse(&fields.next::<String>()?).map_err(A::Error::custom)?),
        'h' => {
            let pairs = fields.next::<Vec<(String, String)>>()?;
            Value::Headers(Headers::try_from(pairs).map_err(A::Error::custom)?)
        }
        'q' => {
            let url = Url::parse(&fields.next::<String>()?).map_err(A::Error::custom)?;
            let request = Request::from_init(url, fields.next()?).map_err(A::Error::custom)?;
            Value::Request(Box::new(request))
        }
        'r' => {
            let response = Response::from_init(fields.next()?, fields.next()?);
            Value::Response(Box::new(response.map_err(A::Error::custom)?))
        }
        _ => return Err(A::Error::custom("unknown special value")),
    })
}

struct Fields<A>(A);

impl<'de, A: SeqAccess<'de>> Fields<A> {
    fn next<T: serde::Deserialize<'de>>(&mut self) -> Result<T, A::Error> {
        self.optional()?.ok_or_else(|| A::Error::custom("a special value lacks a part"))
    }

    fn optional<T: serde::Deserialize<'de>>(&mut self) -> Result<Option<T>, A::Error> {
        self.0.next_element()
    }
}
