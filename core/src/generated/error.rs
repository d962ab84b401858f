//! How `#[derive(RpcError)]` takes an error apart and puts it together again: as name, message and
//! properties, one of which may be the cause.

use std::fmt::Display;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::peer::RpcError;
use crate::value::{self, ErrorValue, Object, Value};

/// An error of ours on its way to the wire.
#[derive(Clone, Debug)]
pub struct ErrorParts {
    name: &'static str,
    props: Object,
}

impl ErrorParts {
    /// An error of this name without properties.
    pub fn new(name: &'static str) -> Self {
        Self { name, props: Object::default() }
    }

    /// Adds a property. What can not be encoded is left out, as JavaScript peers do: an error
    /// must not fail to be reported for want of a detail.
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

    /// The whole, with what `error` displays as its message.
    pub fn into_value(self, error: &impl Display) -> Value {
        let Self { name, props } = self;
        let (name, message) = (name.to_owned(), error.to_string());
        Value::Error(Box::new(ErrorValue { name, message, stack: None, props }))
    }
}

/// An error that arrived.
#[derive(Clone, Copy, Debug)]
pub struct ErrorView<'v>(&'v ErrorValue);

impl<'v> ErrorView<'v> {
    /// The error in a value; `None` if it is something else that was thrown.
    pub fn of(value: &'v Value) -> Option<Self> {
        match value {
            Value::Error(error) => Some(Self(error)),
            _ => None,
        }
    }

    /// Its name.
    pub fn name(&self) -> &'v str {
        &self.0.name
    }

    /// Its message.
    pub fn message(&self) -> &'v str {
        &self.0.message
    }

    /// A property; one that is not there reads as undefined. `None` if it is of another type.
    pub fn property<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        value::from_value(self.0.props.get(key).unwrap_or(&Value::Undefined)).ok()
    }

    /// The cause, if there is one and it is of this type.
    pub fn cause<E: RpcError>(&self) -> Option<E> {
        E::from_value(self.0.props.get("cause")?)
    }
}
