//! Errors as values: what JavaScript throws.

use std::fmt;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, SerializeStruct, SerializeTupleStruct, Serializer};

use super::{Object, Value, scope, special};

/// An error: a class name, a message for people, and properties for programs.
///
/// An official peer knows the class names of JavaScript and reads any other as `Error`. So put codes
/// that programs test into `props`.
///
/// ```
/// # mod bowline { pub mod error { pub use bowline_core::value::ErrorValue; } }
/// use bowline::error::ErrorValue;
///
/// let cause = ErrorValue::new("Error", "the disk is full");
/// let error = ErrorValue::new("RangeError", "cannot save").with_prop("code", "FULL").with_cause(cause);
/// assert_eq!(error.to_string(), "RangeError: cannot save");
/// assert_eq!(error.cause().unwrap().message, "the disk is full");
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ErrorValue {
    /// The class, such as `TypeError`.
    pub name: String,
    /// The message, for people.
    pub message: String,
    /// The stack, if the peer that threw the error sent it. Sessions do not send stacks, unless
    /// `on_send_error` adds one.
    pub stack: Option<String>,
    /// The other properties, including `cause` and the `errors` of an `AggregateError`. When the error is
    /// sent, properties that cannot be encoded, such as capabilities, are omitted, and so are those named
    /// `name`, `message`, and `stack`.
    pub props: Object,
}

impl ErrorValue {
    /// Creates an error without properties.
    pub fn new(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self { name: name.into(), message: message.into(), ..Self::default() }
    }

    /// Creates an `AggregateError` of several errors.
    pub fn aggregate<E: Into<Value>>(message: impl Into<String>, errors: impl IntoIterator<Item = E>) -> Self {
        let errors: Vec<Value> = errors.into_iter().map(Into::into).collect();
        Self::new(ErrorKind::AggregateError.as_str(), message).with_prop("errors", errors)
    }

    /// Sets the cause, which is usually another error.
    #[must_use]
    pub fn with_cause(self, cause: impl Into<Value>) -> Self {
        self.with_prop("cause", cause)
    }

    /// Returns the JavaScript class of the error, or `None` for any other name, which an official peer
    /// reads as [`ErrorKind::Error`].
    pub fn kind(&self) -> Option<ErrorKind> {
        self.name.parse().ok()
    }

    /// Returns the cause, if it is an error. JavaScript allows any value: see [`props`](Self::props).
    pub fn cause(&self) -> Option<&Self> {
        self.props.get("cause")?.as_error()
    }

    /// Returns the errors of an `AggregateError`. Values that are not errors are skipped.
    pub fn errors(&self) -> impl Iterator<Item = &Self> {
        let errors = self.props.get("errors").and_then(Value::as_array).unwrap_or_default();
        errors.iter().filter_map(Value::as_error)
    }

    /// Adds a property.
    #[must_use]
    pub fn with_prop(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.props.insert(key, value);
        self
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident)*) => {
        /// The error classes that every JavaScript peer knows.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ErrorKind {
            $($(#[$doc])* $kind,)*
        }

        impl ErrorKind {
            /// Returns the JavaScript name of the class.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$kind => stringify!($kind),)*
                }
            }
        }

        impl FromStr for ErrorKind {
            type Err = UnknownErrorKind;

            fn from_str(name: &str) -> Result<Self, UnknownErrorKind> {
                match name {
                    $(stringify!($kind) => Ok(Self::$kind),)*
                    _ => Err(UnknownErrorKind),
                }
            }
        }
    };
}

kinds! {
    /// Any error.
    Error
    /// Several errors at once.
    AggregateError
    /// About `eval`; no longer thrown.
    EvalError
    /// A value is out of range.
    RangeError
    /// A name is not defined.
    ReferenceError
    /// Text that cannot be parsed.
    SyntaxError
    /// A value is not of the expected type.
    TypeError
    /// A malformed URI.
    URIError
}

/// The error of a name that is not one of [`ErrorKind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an error class of JavaScript")]
pub struct UnknownErrorKind;

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
        self.cause().map(|cause| cause as _)
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
