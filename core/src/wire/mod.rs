//! The grammar of Cap'n Web messages as text, without any knowledge of sessions; see docs/wire.md.

mod check;
mod data;
mod message;
mod repeats;
mod write;

pub(crate) use check::{check, check_payload};
pub(crate) use data::{Data, DataError, check_data, header_pairs, is_blocked_name, parse_url};
pub(crate) use message::{CALL, Message, integer, parse, parse_integers, path};
pub(crate) use write::{
    coded_error_text, error_text, integer_len, path_len, push_integer, push_integers, push_path, string_text,
};

use crate::value::PlaceholderMismatch;
use crate::value::text::TextError;

/// An error that ends the session, or fails the call that contains the value.
#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {message}")]
pub(crate) struct WireError {
    pub(crate) name: &'static str,
    pub(crate) message: String,
}

impl WireError {
    pub(crate) fn error(message: impl Into<String>) -> Self {
        Self { name: "Error", message: message.into() }
    }

    pub(crate) fn type_error(message: impl Into<String>) -> Self {
        Self { name: "TypeError", message: message.into() }
    }

    /// Creates the error of a known message whose fields are missing or of the wrong kind.
    pub(crate) fn bad_message(text: &str) -> Self {
        Self::error(format!("bad RPC message: {}", excerpt(text)))
    }

    /// Creates the error of an array that is not a known expression.
    pub(crate) fn unknown_value(text: &str) -> Self {
        Self::type_error(format!("unknown special value: {}", excerpt(text)))
    }

    /// Creates the error of a value that is nested too deep, in the words of the official package.
    pub(crate) fn too_deep(depth_max: usize) -> Self {
        Self::type_error(format!("Deserialization exceeded maximum allowed message depth of {depth_max}."))
    }

    pub(crate) fn limit(what: &str, most: usize) -> Self {
        Self { name: "RangeError", message: format!("limit: {what} (at most {most})") }
    }
}

impl From<TextError> for WireError {
    fn from(error: TextError) -> Self {
        Self { name: "SyntaxError", message: error.to_string() }
    }
}

/// An internal error, which ends the session.
impl From<PlaceholderMismatch> for WireError {
    fn from(mismatch: PlaceholderMismatch) -> Self {
        Self::error(format!("internal error: {mismatch}"))
    }
}

/// Returns the beginning of a peer's text, for an error message.
fn excerpt(text: &str) -> String {
    const CHARS_MAX: usize = 200;
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}
