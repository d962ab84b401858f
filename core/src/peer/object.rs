//! What an object of ours looks like to a session: the traits behind `#[bowline::interface]` and
//! behind untyped targets, and the shape of a call. Delivery lives in `deliver`.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::peer::error::{RpcError, type_error};
use crate::peer::interface::Member;
use crate::session::Path;
use crate::value::{self, Cap, ErrorValue, Payload, Value};

/// An object whose methods a peer may call. `#[bowline::interface]` implements it; write it by
/// hand only to test the layer itself.
pub trait Object: Send + Sync + 'static {
    /// Name of the interface, for logs.
    fn interface(&self) -> &'static str;

    /// Everything that a peer can reach, under the names it uses.
    fn members(&self) -> &'static [Member];

    /// Starts a method; `None` when there is no such method. What happens before the first
    /// await happens before the next message is looked at.
    fn call(self: Arc<Self>, method: &str, args: Args) -> Option<Reply>;

    /// Reads a property; `None` when there is no such property.
    fn get(self: Arc<Self>, property: &str) -> Option<Reply>;
}

/// A target that takes whatever is asked of it: gateways, proxies, scripts.
///
/// Capabilities in arguments and results are [`Value::Cap`]; see `Stub::from_value`.
#[async_trait]
pub trait DynTarget: Send + Sync + 'static {
    /// A call of the method at `path`; an empty path calls the target itself.
    async fn call(&self, path: Path, args: Vec<Value>) -> Result<Value, Value>;

    /// A read of the property at `path`, which is not empty.
    async fn get(&self, path: Path) -> Result<Value, Value>;
}

/// The end of a call: an encoded result, or an encoded rejection.
pub type Answer = Result<Payload<Cap>, Payload<Cap>>;

/// A call that has been started. Dropping it cancels the call.
pub type Reply = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// The arguments of a call, as they came. Capabilities among them are released when this, or
/// what was decoded from it, is dropped.
pub struct Args(Payload<Cap>);

impl Args {
    pub(crate) fn new(payload: Payload<Cap>) -> Self {
        Self(payload)
    }

    /// The arguments as one type: a tuple for several, `()` for none, anything else for the
    /// first. Missing ones read as undefined, further ones are ignored.
    ///
    /// # Errors
    /// A `TypeError` that says which argument does not fit.
    pub fn decode<T: DeserializeOwned>(self) -> Result<T, ErrorValue> {
        value::decode_args(self.0).map_err(|error| type_error(error.to_string()))
    }

    /// The arguments as values, as many as were sent.
    ///
    /// # Errors
    /// A `TypeError` when a value has no form in Rust.
    pub fn values(self) -> Result<Vec<Value>, ErrorValue> {
        value::decode(self.into_array()).map_err(|error| type_error(error.to_string()))
    }

    /// How many arguments were sent.
    pub fn len(&self) -> usize {
        value::decode::<Vec<IgnoredAny>>(Self(self.0.clone()).into_array()).map_or(0, |list| list.len())
    }

    /// Whether no arguments were sent.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// An argument list is the inner part of an array, which the wire writes in two brackets.
    fn into_array(self) -> Payload<Cap> {
        self.0.in_brackets()
    }
}

impl fmt::Debug for Args {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Args").field(&self.0.text()).finish()
    }
}

/// Encodes what a method returned. A result that cannot be encoded becomes a `TypeError`.
pub fn reply<T: Serialize, E: RpcError>(result: Result<T, E>) -> Answer {
    match result {
        Ok(value) => encode_or_reject(&value),
        Err(error) => Err(rejection(&error.to_value())),
    }
}

/// The answer of a call that failed with `value`.
pub(crate) fn rejection(value: &Value) -> Payload<Cap> {
    value::encode(value).unwrap_or_else(|error| error_payload("TypeError", &error.to_string()))
}

/// The wire text of an error without properties.
pub(crate) fn error_payload<R>(name: &str, message: &str) -> Payload<R> {
    let text = serde_json::json!(["error", name, message]).to_string();
    Payload::plain(text)
}

fn encode_or_reject<T: Serialize>(value: &T) -> Answer {
    value::encode(value).map_err(|error| error_payload("TypeError", &error.to_string()))
}
