//! The payload that an evaluation makes of the text of a message.

use super::Names;
use crate::session::Ref;
use crate::value::text::Cursor;
use crate::value::{Payload, PayloadBuilder};
use crate::wire::WireError;

/// The payload being made of a part of a message: the text as it is, but for what is replaced or
/// left out. What is kept is copied in runs.
pub(super) struct Evaluation<'a, 'n> {
    source: &'a str,
    /// Up to where the source is dealt with.
    done: usize,
    pub(super) made: PayloadBuilder<Ref>,
    pub(super) names: Names<'n>,
    /// Why the value cannot be, by the first of its parts that cannot. The rest is evaluated all the
    /// same, so that what is counted for it is given back.
    pub(super) malformed: Option<Box<WireError>>,
}

/// Where an object stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Place {
    Value,
    /// It holds the properties of an error.
    Error,
}

/// Leaves members out of an object while it is read.
pub(super) struct Members {
    /// Behind the last member that was dealt with.
    before: usize,
    kept_any: bool,
}

impl Members {
    /// Begins before the first member.
    pub(super) fn new(cursor: &Cursor<'_>) -> Self {
        Self { before: cursor.at(), kept_any: false }
    }

    /// Ends a member; one that is not `kept` is left out with a comma. Returns whether another follows.
    pub(super) fn next(&mut self, cursor: &mut Cursor<'_>, out: &mut Evaluation<'_, '_>, kept: bool) -> bool {
        if kept {
            self.kept_any = true;
            cursor.peek();
            self.before = cursor.at();
            return cursor.take(b',');
        }
        // With the comma behind it if it is the first, else with the one before it.
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

    /// Puts a capability in the place of what stands between `from` and `to`.
    pub(super) fn capability(&mut self, from: usize, to: usize, of: Ref) {
        self.leave_out(from, to);
        self.made.push_capability(of);
    }

    pub(super) fn leave_out(&mut self, from: usize, to: usize) {
        self.made.push_json(self.source.get(self.done..from).unwrap_or_default());
        self.done = to;
    }

    /// Puts `json` in the place of what stands between `from` and `to`.
    pub(super) fn replace(&mut self, from: usize, to: usize, json: &str) {
        self.leave_out(from, to);
        self.made.push_json(json);
    }

    /// Notes that a part of the value cannot be.
    pub(super) fn refuse(&mut self, refusal: WireError) {
        self.malformed.get_or_insert_with(|| Box::new(refusal));
    }

    pub(super) fn finish(mut self, end: usize) -> Result<Payload<Ref>, WireError> {
        self.leave_out(end, end);
        Ok(self.made.finish()?)
    }
}
