//! What encoding and decoding fail with.

use std::fmt;

use super::payload::PlaceholderMismatch;
use super::text::TextError;

/// Why a value could not be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The value is nested deeper than [`DEPTH_MAX`](super::DEPTH_MAX).
    #[error("Serialization exceeded maximum allowed depth. (Does the message contain cycles?)")]
    TooDeep,
    /// An integer that a double, JavaScript's number, cannot hold.
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
    /// A map key that is not text, an integer or a boolean.
    #[error("an object key must be a string, an integer or a boolean, not {0}")]
    Key(&'static str),
    /// A capability was met that does not become part of the message: it went into another
    /// serializer, came out of another message, or stands where only plain data may.
    #[error("a capability was serialized where no message could carry it")]
    LostCapability,
    /// A value that the place in which it stands does not allow.
    #[error("{what} cannot stand {place}")]
    Misplaced {
        /// The value.
        what: &'static str,
        /// The place, with its preposition.
        place: &'static str,
    },
    /// Said by the type that was serialized.
    #[error("{0}")]
    Custom(Box<str>),
}

impl serde::ser::Error for EncodeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Custom(message.to_string().into())
    }
}

/// Why text could not be read as the type that was asked for, and where in the value.
///
/// Displays as ``at `args[1].user.id`: expected u8, found a string``.
#[derive(Clone, PartialEq, Eq)]
pub struct DecodeError(Box<Detail>);

#[derive(Clone, PartialEq, Eq)]
struct Detail {
    message: String,
    /// The innermost step first.
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

    /// What is wrong, without the place.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Where it is wrong, such as `args[1].user.id`; empty for the value itself.
    ///
    /// Inside `flatten`, `untagged` and internally tagged enums this is as far as serde lets us
    /// see: the place where they begin.
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
