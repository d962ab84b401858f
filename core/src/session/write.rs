//! Outgoing messages: payloads with their holes filled in.

use std::fmt::Write as _;

use super::promise::Found;
use super::{Answer, Export, Import, ImportState, Outgoing, Ref, Session, Step};
use crate::id::{ExportId, ImportId};
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

impl Session {
    /// Sends a call on, or a read of, something of the peer's. The result is held once.
    pub(super) fn push<M: Mention>(&mut self, on: ImportId, path: &[Step], args: Option<&Payload<M>>) -> ImportId {
        let room = args.map_or(0, |args| args.text.len()) + 48;
        let mut text = String::with_capacity(room);
        let _ = write!(text, "[\"push\",[\"pipeline\",{on},");
        push_path(&mut text, path);
        let mut promised = Vec::new();
        if let Some(args) = args {
            text.push(',');
            self.fill(&mut text, args, &mut promised);
        }
        text.push_str("]]");
        self.send(text);
        let id = ImportId(self.next.import);
        self.next.import += 1;
        let state = ImportState::Pending { pulled: false, waiters: Vec::new() };
        self.imports.insert(id, Import { holds: 1, mentions: 1, state });
        self.answer_promised(promised);
        id
    }

    /// Appends `payload` with every hole filled in. Promises exported for it are added to
    /// `promised`: once the message is sent, they are to be answered.
    pub(super) fn fill<M: Mention>(&mut self, out: &mut String, payload: &Payload<M>, promised: &mut Vec<ExportId>) {
        let mut rest = payload.text.as_str();
        for mention in &payload.refs {
            let (before, after) = rest.split_once(HOLE).unwrap_or((rest, ""));
            out.push_str(before);
            self.mention(out, mention, promised);
            rest = after;
        }
        out.push_str(rest);
    }

    fn mention<M: Mention>(&mut self, out: &mut String, mention: &M, promised: &mut Vec<ExportId>) {
        let (of, path) = (mention.of(), mention.path());
        // Writing to a String cannot fail.
        let _ = match self.follow(of) {
            Found::Awaited(id) | Found::Stub(id) if !path.is_empty() => {
                let _ = write!(out, "[\"pipeline\",{id},");
                push_path(out, path);
                out.write_str("]")
            }
            Found::Awaited(id) => write!(out, "[\"pipeline\",{id}]"),
            Found::Stub(id) => write!(out, "[\"import\",{id}]"),
            Found::Target(target) if path.is_empty() => {
                let what = self.held(Ref::Target(target));
                let id = self.export(what, Answer::Unasked);
                write!(out, "[\"export\",{id}]")
            }
            _ => {
                let what = self.own_one(&Outgoing { of, path: path.to_vec() });
                let id = self.export(what, Answer::Owed);
                promised.push(id);
                write!(out, "[\"promise\",{id}]")
            }
        };
    }

    fn export(&mut self, what: Ref, answer: Answer) -> ExportId {
        let id = ExportId(self.next.export);
        self.next.export -= 1;
        self.answers_owed += usize::from(answer == Answer::Owed);
        self.exports.insert(id, Export { mentions: 1, what, answer, transient: false });
        id
    }

    pub(super) fn send(&mut self, text: String) {
        self.transmit_bytes += text.len();
        self.transmit.push_back(text);
    }
}
