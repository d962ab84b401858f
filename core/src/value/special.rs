//! How values outside of serde's data model pass through serde, including its buffers.
//!
//! Writing: each is a tuple struct with a private name that identifies it (a capability is a unit
//! variant whose index is its ticket). The buffers behind `flatten` and `tag` keep names. Reading: those
//! buffers discard names, so each is a newtype around the sequence `(char tag, fields…)`. No wire value
//! ever yields a `char`, so no peer can forge one.
//!
//! Other formats than Bowline's get a plain form instead: a date is its milliseconds, and a bigint its
//! digits.

use serde::de::{Deserializer, Error, SeqAccess};

use super::value_serde::ValueVisitor;
use super::{BigInt, Blob, Bytes, Date, ErrorValue, Headers, Request, Response, Url, Value, scope};

/// The prefix of the names of special tuple structs. The rest of the name is the tag on the wire.
pub(super) const PREFIX: &str = "$bowline::";
pub(super) const CAP: &str = "$bowline::@";
pub(super) const BIGINT: &str = "$bowline::bigint";
pub(super) const DATE: &str = "$bowline::date";
pub(super) const BYTES: &str = "$bowline::bytes";
pub(super) const ERROR: &str = "$bowline::error";
pub(super) const URL: &str = "$bowline::url";
pub(super) const HEADERS: &str = "$bowline::headers";
pub(super) const BLOB: &str = "$bowline::blob";
pub(super) const REQUEST: &str = "$bowline::request";
pub(super) const RESPONSE: &str = "$bowline::response";

/// The tag of a capability, whose only field is its ticket.
pub(super) const CAPABILITY_TAG: char = 'c';

/// The newtype name with which a reader requests a special.
pub(super) const ANY: &str = "$bowline::any";

/// Reads any value, specials included.
pub(super) fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
    deserializer.deserialize_newtype_struct(ANY, ValueVisitor::default())
}

/// Returns the error of a type that found `found`.
pub(super) fn unexpected<E: Error>(found: &Value, expected: &str) -> E {
    E::custom(format_args!("expected {expected}, found {}", found.kind()))
}

/// Returns `true` if the plain forms of other formats may be read.
pub(super) fn takes_plain_forms() -> bool {
    !scope::is_reading()
}

/// Reads the fields that follow `tag`. There is one function for each tag: errors and responses nest, and
/// in a single function the locals of every tag would be on the stack for each level.
pub(super) fn read_fields<'de, A: SeqAccess<'de>>(tag: char, seq: A) -> Result<Value, A::Error> {
    let mut fields = Fields(seq);
    match tag {
        CAPABILITY_TAG => fields.cap(),
        'n' => fields.bigint(),
        'd' => fields.date(),
        'b' => fields.bytes(),
        'e' => fields.error(),
        'u' => fields.only_url(),
        'h' => fields.headers(),
        'o' => fields.blob(),
        'q' => fields.request(),
        'r' => fields.response(),
        _ => Err(A::Error::custom("unknown special value")),
    }
}

struct Fields<A>(A);

impl<'de, A: SeqAccess<'de>> Fields<A> {
    fn cap(&mut self) -> Result<Value, A::Error> {
        scope::redeem(self.next()?)
            .map(Value::Cap)
            .ok_or_else(|| A::Error::custom("this capability belongs to another message"))
    }

    fn bigint(&mut self) -> Result<Value, A::Error> {
        let n = BigInt::parse(&self.next::<String>()?).map_err(A::Error::custom)?;
        Ok(Value::BigInt(n))
    }

    fn date(&mut self) -> Result<Value, A::Error> {
        Ok(Value::Date(Date::from_ms_or_invalid(self.next()?)))
    }

    fn bytes(&mut self) -> Result<Value, A::Error> {
        let data: Bytes = self.next()?;
        let kind = self.next::<String>()?.parse().map_err(A::Error::custom)?;
        let bytes = Bytes::with_kind(kind, data.into_vec()).map_err(A::Error::custom)?;
        Ok(Value::Bytes(bytes))
    }

    fn error(&mut self) -> Result<Value, A::Error> {
        let mut error = self.error_without_props()?;
        error.props = self.optional()?.unwrap_or_default();
        for key in ["name", "message", "stack"] {
            error.props.remove(key);
        }
        Ok(Value::Error(error))
    }

    fn error_without_props(&mut self) -> Result<Box<ErrorValue>, A::Error> {
        let mut error = Box::new(ErrorValue::new(self.next::<String>()?, self.next::<String>()?));
        error.stack = self.optional()?.flatten();
        Ok(error)
    }

    fn url(&mut self) -> Result<Url, A::Error> {
        Url::parse(&self.next::<String>()?).map_err(A::Error::custom)
    }

    fn only_url(&mut self) -> Result<Value, A::Error> {
        self.url().map(Value::Url)
    }

    fn headers(&mut self) -> Result<Value, A::Error> {
        let pairs = self.next::<Vec<(String, String)>>()?;
        let headers = Headers::try_from(pairs).map_err(A::Error::custom)?;
        Ok(Value::Headers(headers))
    }

    fn blob(&mut self) -> Result<Value, A::Error> {
        match (self.next()?, self.next()?) {
            (mime, Value::Cap(content)) => Ok(Value::Blob(Blob::from_cap(mime, content))),
            (_, other) => Err(unexpected(&other, "the stream of a blob")),
        }
    }

    fn request(&mut self) -> Result<Value, A::Error> {
        let request = Request::from_init(self.url()?, self.next()?).map_err(A::Error::custom)?;
        Ok(Value::Request(Box::new(request)))
    }

    fn response(&mut self) -> Result<Value, A::Error> {
        let response = Response::from_init(self.next()?, self.next()?).map_err(A::Error::custom)?;
        Ok(Value::Response(Box::new(response)))
    }

    fn next<T: serde::Deserialize<'de>>(&mut self) -> Result<T, A::Error> {
        self.optional()?.ok_or_else(|| A::Error::custom("a special value is incomplete"))
    }

    fn optional<T: serde::Deserialize<'de>>(&mut self) -> Result<Option<T>, A::Error> {
        self.0.next_element()
    }
}
