//! The conversions behind `#[derive(RpcError)]`: an error as a name, a message, and properties, one of
//! which may be the cause.

use std::fmt::Display;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::peer::{ErrorCase, RpcError};
use crate::value::{self, ErrorValue, Object, Value};

/// A local error on its way to the wire.
#[derive(Clone, Debug)]
pub struct ErrorParts {
    name: &'static str,
    props: Object,
}

impl ErrorParts {
    /// Creates an error with this name, and with no properties but its code.
    pub fn new(name: &'static str, code: &'static str) -> Self {
        let mut props = Object::default();
        props.insert("code", Value::String(code.to_owned()));
        Self { name, props }
    }

    /// Adds a property. A value that cannot be encoded is omitted, as in JavaScript peers: an error must
    /// not be lost because of a detail.
    #[must_use]
    pub fn property<T: Serialize + ?Sized>(mut self, key: &'static str, of: &T) -> Self {
        if let Ok(value) = value::to_value(of) {
            self.props.insert(key, value);
        }
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn cause(mut self, cause: &impl RpcError) -> Self {
        self.props.insert("cause", cause.to_value());
        self
    }

    /// Returns the error as a value. The message is the `Display` output of `error`.
    pub fn into_value(self, error: &impl Display) -> Value {
        let Self { name, props } = self;
        let (name, message) = (name.to_owned(), error.to_string());
        Value::Error(Box::new(ErrorValue { name, message, stack: None, props }))
    }
}

/// A received error.
#[derive(Clone, Copy, Debug)]
pub struct ErrorView<'v>(&'v ErrorValue);

impl<'v> ErrorView<'v> {
    /// Returns the error in a value, or `None` if the value is not an error.
    pub fn of(value: &'v Value) -> Option<Self> {
        match value {
            Value::Error(error) => Some(Self(error)),
            _ => None,
        }
    }

    /// Returns the code of the case that the error is: the case with the error's code, or, if the error
    /// has no code, the only case with its name. Peers that construct errors by hand may send names alone.
    pub fn case(&self, cases: &'static [ErrorCase]) -> Option<&'static str> {
        if let Some(code) = self.0.props.get("code") {
            let is_same = |case: &&ErrorCase| matches!(code, Value::String(code) if code == case.code);
            return cases.iter().find(is_same).map(|case| case.code);
        }
        let mut named = cases.iter().filter(|case| case.name == self.0.name);
        named.next().filter(|_| named.next().is_none()).map(|case| case.code)
    }

    /// Returns the message of the error.
    pub fn message(&self) -> &'v str {
        &self.0.message
    }

    /// Returns a property, or `None` if it is not of type `T`. A missing property reads as undefined.
    pub fn property<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        value::from_value(self.0.props.get(key).unwrap_or(&Value::Undefined)).ok()
    }

    /// Returns the cause, if there is one and it is of type `E`.
    pub fn cause<E: RpcError>(&self) -> Option<E> {
        E::from_value(self.0.props.get("cause")?)
    }
}
