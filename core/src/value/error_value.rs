//! Errors as values: what JavaScript throws, as it crosses the wire.

use std::fmt;

use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, SerializeStruct, SerializeTupleStruct, Serializer};

use super::{Object, Value, scope, special};

/// An error: a class name, a message for people, and properties for programs.
///
/// An official peer knows the class names of JavaScript and takes any other for `Error`, so a
/// code that programs test belongs into `props`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ErrorValue {
    /// The class, such as `TypeError`.
    pub name: String,
    /// What happened, for people.
    pub message: String,
    /// The stack of the peer that threw it. Written only if set.
    pub stack: Option<String>,
    /// The other properties, `cause` and the `errors` of an `AggregateError` among them. What
    /// cannot be written, capabilities included, is left out, and so are the names `name`,
    /// `message` and `stack`.
    pub props: Object,
}

impl ErrorValue {
    /// An error without properties.
    pub fn new(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self { name: name.into(), message: message.into(), ..Self::default() }
    }

    /// Adds a property.
    #[must_use]
    pub fn with_prop(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.props.insert(key, value);
        self
    }
}

impl fmt::Display for ErrorValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.name.as_str(), self.message.as_str()) {
            (name, "") => f.write_str(name),
            ("", message) => f.write_str(message),
            (name, message) => write!(f, "{name}: {message}"),
        }
    }
}

impl std::error::Error for ErrorValue {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self.props.get("cause") {
            Some(Value::Error(cause)) => Some(&**cause),
            _ => None,
        }
    }
}

impl Serialize for ErrorValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !scope::is_writing() {
            let mut fields = serializer.serialize_struct("ErrorValue", 4)?;
            fields.serialize_field("name", &self.name)?;
            fields.serialize_field("message", &self.message)?;
            fields.serialize_field("stack", &self.stack)?;
            fields.serialize_field("props", &self.props)?;
            return fields.end();
        }
        let mut fields = serializer.serialize_tuple_struct(special::ERROR, 4)?;
        fields.serialize_field(&self.name)?;
        fields.serialize_field(&self.message)?;
        if self.stack.is_some() || !self.props.is_empty() {
            fields.serialize_field(&self.stack)?;
        }
        if !self.props.is_empty() {
            fields.serialize_field(&self.props)?;
        }
        fields.end()
    }
}

impl<'de> Deserialize<'de> for ErrorValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match special::read(deserializer)? {
            Value::Error(error) => Ok(*error),
            other => Err(special::unexpected(&other, "an error")),
        }
    }
}
