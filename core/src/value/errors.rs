//! The errors of encoding and decoding values.

use std::fmt;

use super::payload::PlaceholderMismatch;
use super::text::TextError;

/// The reason that a value cannot be encoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The value is nested deeper than [`DEPTH_MAX`](super::DEPTH_MAX).
    #[error("Serialization exceeded maximum allowed depth. (Does the message contain cycles?)")]
    TooDeep,
    /// An integer is beyond 2^53, so that a double, JavaScript's number, cannot hold it.
    #[error(
        "the {kind} {value} is beyond 2^53 and would lose digits as a JavaScript number; \
         mark the field with #[serde(with = \"bowline::bigint\")]"
    )]
    IntegerTooLarge {
        /// The Rust type.
        kind: &'static str,
        /// The integer.
        value: Box<str>,
    },
    /// A map key is not text, an integer, or a boolean.
    #[error("an object key must be a string, an integer, or a boolean, not {0}")]
    Key(&'static str),
    /// A capability was serialized that does not become part of the message: by another serializer, in
    /// another message, or in a place for plain data only.
    #[error("a capability can be serialized only as part of a Bowline message")]
    LostCapability,
    /// A value is not allowed in its place.
    #[error("{what} is not allowed {place}")]
    Misplaced {
        /// The value.
        what: &'static str,
        /// The place, with its preposition.
        place: &'static str,
    },
    /// An error from the type that was serialized.
    #[error("{0}")]
    Custom(Box<str>),
}

impl serde::ser::Error for EncodeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Custom(message.to_string().into())
    }
}

/// The reason that text cannot be decoded as a type, with the place in the value.
///
/// Displays as ``at `args[1].user.id`: expected u8, found a string``.
#[derive(Clone, PartialEq, Eq)]
pub struct DecodeError(Box<Detail>);

#[derive(Clone, PartialEq, Eq)]
struct Detail {
    message: String,
    /// The path, innermost step first.
    path: Vec<Step>,
    root: &'static str,
}

#[derive(Clone, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
}

impl DecodeError {
    pub(super) fn new(message: impl fmt::Display) -> Self {
        Self(Box::new(Detail { message: message.to_string(), path: Vec::new(), root: "" }))
    }

    pub(super) fn in_key(mut self, key: impl Into<String>) -> Self {
        self.0.path.push(Step::Key(key.into()));
        self
    }

    pub(super) fn in_index(mut self, index: usize) -> Self {
        self.0.path.push(Step::Index(index));
        self
    }

    pub(super) fn in_args(mut self) -> Self {
        self.0.root = "args";
        self
    }

    /// Returns the message, without the place.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Returns the place of the error, such as `args[1].user.id`. It is empty for the value itself.
    ///
    /// Inside of `flatten`, `untagged`, and internally tagged enums, serde does not report the place, so
    /// this is the place where they begin.
    pub fn path(&self) -> String {
        let mut path = self.0.root.to_owned();
        for step in self.0.path.iter().rev() {
            match step {
                Step::Index(index) => {
                    path.push('[');
                    path.push_str(&index.to_string());
                    path.push(']');
                }
                Step::Key(key) => {
                    if !path.is_empty() {
                        path.push('.');
                    }
                    path.push_str(key);
                }
            }
        }
        path
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.0.path.is_empty() {
            write!(f, "at `{}`: ", self.path())?;
        }
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DecodeError").field("path", &self.path()).field("message", &self.0.message).finish()
    }
}

impl std::error::Error for DecodeError {}

impl serde::de::Error for DecodeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message)
    }
}

impl From<PlaceholderMismatch> for DecodeError {
    fn from(mismatch: PlaceholderMismatch) -> Self {
        Self::new(mismatch)
    }
}

impl From<TextError> for DecodeError {
    fn from(error: TextError) -> Self {
        Self::new(error)
    }
}
