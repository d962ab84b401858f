//! Wire text with holes: what calls, arguments and results are made of inside Bowline.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

/// How a hole is written in the text of a [`Payload`].
///
/// No peer can write one (as an expression it is an unknown tag, which is refused), and the
/// five bytes cannot occur inside a JSON string, where the quotes would be escaped. So a plain
/// substring search finds exactly the holes.
pub const HOLE: &str = "[\"@\"]";

/// The text of a [`Payload`]: up to 24 bytes, which many arguments and results are, lie in place.
pub type Text = CompactString;

/// A wire expression in which every capability is a [`HOLE`]; `refs` says, in the order of the
/// text, what each hole stands for.
///
/// Inside a session `R` is a [`Ref`](crate::session::Ref), plain data; in the hands of an
/// application it is a [`Cap`](crate::value::Cap), a live handle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payload<R> {
    /// A complete expression, or for arguments the list of expressions (`[a,b]`).
    #[serde(rename = "t")]
    pub text: Text,
    /// One for each hole.
    #[serde(rename = "r", default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    pub refs: Vec<R>,
}

impl<R> Payload<R> {
    /// A payload without capabilities.
    pub fn plain(text: impl Into<Text>) -> Self {
        Self { text: text.into(), refs: Vec::new() }
    }

    /// A payload that is one capability and nothing else.
    pub fn hole(of: R) -> Self {
        Self { text: Text::const_new(HOLE), refs: vec![of] }
    }

    /// The capability, when the whole payload is one.
    pub fn as_hole(&self) -> Option<&R> {
        if self.text == HOLE { self.refs.first() } else { None }
    }
}

impl<R> Default for Payload<R> {
    fn default() -> Self {
        Self::plain("")
    }
}
