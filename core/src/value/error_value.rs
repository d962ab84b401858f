//! Errors as values: what JavaScript throws, as it crosses the wire.

use std::fmt;
use std::str::FromStr;

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
    /// The stack, if the peer that threw it told. Sessions send none, unless `on_send_error` says
    /// otherwise.
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

    /// An `AggregateError` of several.
    pub fn aggregate<E: Into<Value>>(message: impl Into<String>, errors: impl IntoIterator<Item = E>) -> Self {
        let errors: Vec<Value> = errors.into_iter().map(Into::into).collect();
        Self::new(ErrorKind::AggregateError.as_str(), message).with_prop("errors", errors)
    }

    /// Sets the cause, most often an error too.
    #[must_use]
    pub fn with_cause(self, cause: impl Into<Value>) -> Self {
        self.with_prop("cause", cause)
    }

    /// Which of JavaScript's classes it is; `None` for a name of somebody's own, which an official
    /// peer would have taken for [`ErrorKind::Error`].
    pub fn kind(&self) -> Option<ErrorKind> {
        self.name.parse().ok()
    }

    /// The cause, if it is an error. JavaScript allows any value: see [`props`](Self::props).
    pub fn cause(&self) -> Option<&Self> {
        self.props.get("cause")?.as_error()
    }

    /// What an `AggregateError` consists of: what is not an error is passed over.
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
        /// The classes of errors that every JavaScript peer knows.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ErrorKind {
            $($(#[$doc])* $kind,)*
        }

        impl ErrorKind {
            /// JavaScript's name for it.
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
    /// About `eval`; nobody throws it any more.
    EvalError
    /// A value is out of range.
    RangeError
    /// A name that means nothing.
    ReferenceError
    /// Text that cannot be parsed.
    SyntaxError
    /// A value is not of the kind that is due.
    TypeError
    /// A malformed URI.
    URIError
}

/// A name that is none of [`ErrorKind`]'s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a class of errors that JavaScript has")]
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
