//! Outgoing messages: payloads with their holes filled in.

use std::fmt::Write as _;

use super::promise::Found;
use super::{Answer, Export, Import, ImportState, Kind, Outgoing, Ref, Session, Step};
use crate::id::{ExportId, ImportId, TargetId};
use crate::value::{HOLE, Payload};
use crate::wire::push_path;

/// A reference in a payload that is being written.
pub(super) trait Mention {
    fn of(&self) -> Ref;
    fn path(&self) -> &[Step];
}

impl Mention for Ref {
    fn of(&self) -> Ref {
        *self
    }
    fn path(&self) -> &[Step] {
        &[]
    }
}

impl Mention for Outgoing {
    fn of(&self) -> Ref {
        self.of
    }
    fn path(&self) -> &[Step] {
        &self.path
    }
}

/// A message that is being written.
pub(super) struct Writing {
    pub(super) text: String,
    /// Promises exported for it; once it is sent, they are to be answered.
    pub(super) promised: Vec<ExportId>,
    /// Results that have arrived are written as what they are. Inside of answers they go out as
    /// promises that are resolved at once, which is what the official package does.
    inline: bool,
}

impl Writing {
    /// A message that answers.
    pub(super) fn results(room: usize) -> Self {
        Self { text: String::with_capacity(room), promised: Vec::new(), inline: false }
    }

    /// A message that calls.
    fn arguments(room: usize) -> Self {
        Self { inline: true, ..Self::results(room) }
    }
}

impl Session {
    /// Sends a call on, or a read of, something of the peer's. The result is held once.
    pub(super) fn push<M: Mention>(&mut self, on: ImportId, path: &[Step], args: Option<&Payload<M>>) -> ImportId {
        let message = self.call_message("push", on, path, args);
        let id = self.add_import(ImportState::Pending { pulled: false, waiters: Vec::new() });
        self.send(message.text);
        self.answer_promised(message.promised);
        id
    }

    pub(super) fn call_message<M: Mention>(
        &mut self,
        tag: &str,
        on: ImportId,
        path: &[Step],
        args: Option<&Payload<M>>,
    ) -> Writing {
        let mut message = Writing::arguments(args.map_or(0, |args| args.text.len()) + 48);
        // Writing to a String cannot fail.
        let _ = write!(message.text, "[\"{tag}\",[\"pipeline\",{on},");
        push_path(&mut message.text, path);
        if let Some(args) = args {
            message.text.push(',');
            self.fill(&mut message, args);
        }
        message.text.push_str("]]");
        message
    }

    /// Our next import, held once: what the message that is sent next results in.
    pub(super) fn add_import(&mut self, state: ImportState) -> ImportId {
        let id = ImportId(self.next.import);
        self.next.import += 1;
        self.imports.insert(id, Import::new(state));
        id
    }

    /// Appends what a mapper function uses from outside.
    pub(super) fn write_capture(&mut self, out: &mut String, capture: Ref) {
        let _ = match self.follow(capture) {
            Found::Stub(id) | Found::Awaited(id) => write!(out, "[\"import\",{id}]"),
            _ => {
                let what = self.held(capture);
                let id = self.export(what, Answer::Unasked);
                write!(out, "[\"export\",{id}]")
            }
        };
    }

    /// Appends `payload` with every hole filled in.
    pub(super) fn fill<M: Mention>(&mut self, message: &mut Writing, payload: &Payload<M>) {
        let mut rest = payload.text.as_str();
        for mention in &payload.refs {
            let (before, after) = rest.split_once(HOLE).unwrap_or((rest, ""));
            message.text.push_str(before);
            self.mention(message, mention.of(), mention.path());
            rest = after;
        }
        message.text.push_str(rest);
    }

    fn mention(&mut self, message: &mut Writing, of: Ref, path: &[Step]) {
        let out = &mut message.text;
        let _ = match self.follow(of) {
            Found::Awaited(id) | Found::Stub(id) if !path.is_empty() => {
                let _ = write!(out, "[\"pipeline\",{id},");
                push_path(out, path);
                out.write_str("]")
            }
            Found::Awaited(id) => write!(out, "[\"pipeline\",{id}]"),
            Found::Stub(id) => write!(out, "[\"import\",{id}]"),
            Found::Target(target) if path.is_empty() => self.mention_target(out, target),
            Found::Value(at) if message.inline && path.is_empty() && self.plain_at(at).is_some() => {
                out.write_str(self.plain_at(at).unwrap_or_default())
            }
            _ => {
                let what = self.own_one(&Outgoing { of, path: path.to_vec() });
                let id = self.export(what, Answer::Owed);
                message.promised.push(id);
                write!(out, "[\"promise\",{id}]")
            }
        };
    }

    fn mention_target(&mut self, out: &mut String, target: TargetId) -> std::fmt::Result {
        let kind = self.kind(Ref::Target(target));
        if kind == Kind::Readable {
            let pipe = self.open_pipe(target);
            return write!(out, "[\"readable\",{pipe}]");
        }
        let what = self.held(Ref::Target(target));
        let id = self.export(what, Answer::Unasked);
        let tag = if kind == Kind::Writable { "writable" } else { "export" };
        write!(out, "[\"{tag}\",{id}]")
    }

    /// The text of a value that mentions nothing.
    fn plain_at(&self, at: Ref) -> Option<&str> {
        match self.settled_at(at) {
            Some(Ok(value)) if value.refs.is_empty() => Some(&value.text),
            _ => None,
        }
    }

    fn export(&mut self, what: Ref, answer: Answer) -> ExportId {
        let id = ExportId(self.next.export);
        self.next.export -= 1;
        self.answers_owed += usize::from(answer == Answer::Owed);
        self.exports.insert(id, Export { answer, ..Export::new(what) });
        id
    }

    pub(super) fn send(&mut self, text: String) {
        self.transmit_bytes += text.len();
        self.transmit.push_back(text);
    }
}
