//! The payload that is built from the text of a message during its evaluation.

use super::Names;
use crate::session::state::Ref;
use crate::value::text::Cursor;
use crate::value::{Payload, PayloadBuilder};
use crate::wire::WireError;

/// A payload that is being built from a part of a message. The text is copied as it is, except for
/// what is replaced or left out.
pub(super) struct Evaluation<'a, 'n> {
    source: &'a str,
    /// The source before this position has been copied, replaced, or left out.
    done: usize,
    pub(super) made: PayloadBuilder<Ref>,
    pub(super) names: Names<'n>,
    /// The error of the first malformed part. The rest is still evaluated, so that the references
    /// in it are counted and released.
    pub(super) malformed: Option<Box<WireError>>,
}

/// The context of an object.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Place {
    Value,
    /// The properties of an error.
    Error,
}

/// Leaves members out of an object while it is read.
pub(super) struct Members {
    /// The end of the last member that was read.
    before: usize,
    kept_any: bool,
}

impl Members {
    /// Starts before the first member.
    pub(super) fn new(cursor: &Cursor<'_>) -> Self {
        Self { before: cursor.at(), kept_any: false }
    }

    /// Ends a member. Leaves it out, together with a comma, unless it is `kept`. Returns `true` if
    /// another member follows.
    pub(super) fn next(&mut self, cursor: &mut Cursor<'_>, out: &mut Evaluation<'_, '_>, kept: bool) -> bool {
        if kept {
            self.kept_any = true;
            cursor.peek();
            self.before = cursor.at();
            return cursor.take(b',');
        }
        // The first members are left out with the comma that follows, later ones with the comma
        // before.
        let more = cursor.take(b',');
        let end = cursor.at() - usize::from(more && self.kept_any);
        out.leave_out(self.before, end);
        self.before = end;
        more
    }
}

impl<'a, 'n> Evaluation<'a, 'n> {
    pub(super) fn new(cursor: &mut Cursor<'a>, names: Names<'n>) -> Self {
        cursor.peek();
        Self { source: cursor.text(), done: cursor.at(), made: PayloadBuilder::new(), names, malformed: None }
    }

    /// Replaces the text between `from` and `to` by a capability.
    pub(super) fn capability(&mut self, from: usize, to: usize, of: Ref) {
        self.leave_out(from, to);
        self.made.push_capability(of);
    }

    pub(super) fn leave_out(&mut self, from: usize, to: usize) {
        self.made.push_json(self.source.get(self.done..from).unwrap_or_default());
        self.done = to;
    }

    /// Replaces the text between `from` and `to` by `json`.
    pub(super) fn replace(&mut self, from: usize, to: usize, json: &str) {
        self.leave_out(from, to);
        self.made.push_json(json);
    }

    /// Marks the value as malformed.
    pub(super) fn refuse(&mut self, refusal: WireError) {
        self.malformed.get_or_insert_with(|| Box::new(refusal));
    }

    pub(super) fn finish(mut self, end: usize) -> Result<Payload<Ref>, WireError> {
        self.leave_out(end, end);
        Ok(self.made.finish()?)
    }
}
