//! The traits of objects that a session can call: generated ones and dynamic ones, and the types of a
//! call. Delivery is in `deliver`.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::peer::interface::description::Member;
use crate::peer::interface::error::{RpcError, type_error};
use crate::session::Path;
use crate::value::{self, Cap, ErrorValue, Payload, Value};

/// An object whose methods a peer can call. `#[bowline::interface]` implements it. A manual
/// implementation is needed only to test this layer.
pub trait Object: Send + Sync + 'static {
    /// Returns the name of the interface, for logs.
    fn interface(&self) -> &'static str;

    /// Returns all members that a peer can reach, with their names on the wire.
    fn members(&self) -> &'static [Member];

    /// Starts a method. Returns `None` if there is no such method. What runs before the first await runs
    /// before the next message is handled.
    fn call(self: Arc<Self>, method: &str, args: Args) -> Option<Reply>;

    /// Reads a property. Returns `None` if there is no such property.
    fn get(self: Arc<Self>, property: &str) -> Option<Reply>;
}

/// A target that handles every name itself, such as a gateway, a proxy, or a script.
///
/// Capabilities in arguments and results are [`Value::Cap`]; see `Stub::from_value`.
#[async_trait]
pub trait DynTarget: Send + Sync + 'static {
    /// Calls the method at `path`. An empty path calls the target itself.
    async fn call(&self, path: Path, args: Vec<Value>) -> Result<Value, Value>;

    /// Reads the property at `path`, which is not empty.
    async fn get(&self, path: Path) -> Result<Value, Value>;
}

/// The outcome of a call: an encoded result or an encoded rejection.
pub type Answer = Result<Payload<Cap>, Payload<Cap>>;

/// A call that has started. Dropping it cancels the call.
pub type Reply = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// The encoded arguments of a call. Capabilities in them are released when this value, or what was
/// decoded from it, is dropped.
pub struct Args(Payload<Cap>);

impl Args {
    pub(crate) fn new(payload: Payload<Cap>) -> Self {
        Self(payload)
    }

    /// Decodes the arguments: into a tuple for several, `()` for none, and anything else for the first.
    /// Missing arguments read as undefined, and further ones are ignored.
    ///
    /// # Errors
    /// A `TypeError` that names the argument that does not fit.
    pub fn decode<T: DeserializeOwned>(self) -> Result<T, ErrorValue> {
        value::decode_args(self.0).map_err(|error| type_error(error.to_string()))
    }

    /// Decodes all arguments that were sent, as values.
    ///
    /// # Errors
    /// A `TypeError` if an argument cannot be represented in Rust.
    pub fn values(self) -> Result<Vec<Value>, ErrorValue> {
        value::decode(self.into_array()).map_err(|error| type_error(error.to_string()))
    }

    /// Returns the number of arguments that were sent.
    pub fn len(&self) -> usize {
        value::decode::<Vec<IgnoredAny>>(Self(self.0.clone()).into_array()).map_or(0, |list| list.len())
    }

    /// Returns `true` if no arguments were sent.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Converts the argument list, which has no brackets of its own, into an array.
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

/// Encodes the rejection of a call that failed with `value`.
pub(crate) fn rejection(value: &Value) -> Payload<Cap> {
    value::encode(value).unwrap_or_else(|error| error_payload("TypeError", &error.to_string()))
}

/// Encodes an error without properties.
pub(crate) fn error_payload<R>(name: &str, message: &str) -> Payload<R> {
    let text = serde_json::json!(["error", name, message]).to_string();
    Payload::plain(text)
}

fn encode_or_reject<T: Serialize>(value: &T) -> Answer {
    value::encode(value).map_err(|error| error_payload("TypeError", &error.to_string()))
}
