//! Writing of outgoing messages: payloads with their placeholders filled in.

use crate::id::{ExportId, ImportId, TargetId};
use crate::session::state::call_log::Mentioned;
use crate::session::state::outbox::MessageKind;
use crate::session::state::promises::{Found, Waiters};
use crate::session::state::{Answer, Export, Import, ImportState, Kind, Outgoing, Ref, Session, Step};
use crate::value::Payload;
use crate::wire::{integer_len, path_len, push_integer, push_integers, push_path};

/// A reference in a payload that is being written.
pub(crate) trait Mention {
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
pub(crate) struct Writing {
    pub(crate) text: String,
    /// The promises that it exports. They are answered once it is queued.
    pub(crate) promised: Vec<ExportId>,
    /// Write results that have arrived by value. In answers they are written as promises that are
    /// resolved at once, as the official package does.
    inline: bool,
    /// What the message mentions, if the log of calls is enabled.
    pub(crate) mentioned: Option<Mentioned>,
}

impl Writing {
    /// Records the mention of an export.
    fn introduce(&mut self, id: ExportId) {
        if let Some(mentioned) = &mut self.mentioned {
            mentioned.introduces.push(id);
        }
    }
}

impl Session {
    /// Sends a call of, or a read on, an import. Returns the result, held once.
    pub(in crate::session) fn push<M: Mention>(
        &mut self,
        on: ImportId,
        path: &[Step],
        args: Option<&Payload<M>>,
    ) -> Ref {
        if let Some(refused) = self.refuse_deep(args) {
            return refused;
        }
        let message = self.call_message("[\"push\",[\"pipeline\",", on, path, args);
        // Reads of properties are idempotent.
        Ref::Import(self.send_call(on, message, args.is_none()))
    }

    /// Sends a call whose message is complete. Returns the result, held once.
    pub(in crate::session) fn send_call(&mut self, on: ImportId, message: Writing, idempotent: bool) -> ImportId {
        let id = self.add_import(ImportState::Pending { pulled: false, waiters: Waiters::new() });
        if let Some(mentioned) = message.mentioned {
            self.note_sent(id, on, idempotent, &message.text, mentioned);
        }
        self.transmit.push_call(message.text, id);
        self.answer_promised(message.promised);
        id
    }

    /// Starts a call, with a capacity of `room` bytes.
    pub(in crate::session) fn new_call(&mut self, room: usize) -> Writing {
        Writing {
            inline: true,
            mentioned: self.recovery.sent.is_on().then(Mentioned::default),
            ..self.new_answer(room)
        }
    }

    /// Starts an answer, with a capacity of `room` bytes.
    pub(in crate::session) fn new_answer(&mut self, room: usize) -> Writing {
        Writing { text: self.transmit.blank(room), promised: Vec::new(), inline: false, mentioned: None }
    }

    pub(in crate::session) fn call_message<M: Mention>(
        &mut self,
        head: &str,
        on: ImportId,
        path: &[Step],
        args: Option<&Payload<M>>,
    ) -> Writing {
        // Exact unless names have escapes or arguments have placeholders.
        let room = head.len() + integer_len(on.0) + path_len(path) + args.map_or(0, |args| args.text_len() + 1) + 3;
        let mut message = self.new_call(room);
        message.text.push_str(head);
        push_integer(&mut message.text, on.0);
        message.text.push(',');
        push_path(&mut message.text, path);
        if let Some(args) = args {
            message.text.push(',');
            self.fill(&mut message, args);
        }
        message.text.push_str("]]");
        message
    }

    /// Adds the import that the next message creates, held once.
    pub(in crate::session) fn add_import(&mut self, state: ImportState) -> ImportId {
        let id = ImportId(self.next.import);
        self.next.import += 1;
        self.imports.insert(id, Import::new(state));
        id
    }

    /// Appends a capture of a mapper function.
    pub(in crate::session) fn write_capture(&mut self, message: &mut Writing, capture: Ref) {
        match self.follow_through(capture) {
            Found::Stub(id) | Found::Awaited(id) => {
                message.mentioned.iter_mut().for_each(|mentioned| mentioned.refs.push(id));
                push_form(&mut message.text, "import", id.0);
            }
            _ => {
                let what = self.held(capture);
                let id = self.export(what, Answer::Unasked);
                message.introduce(id);
                push_form(&mut message.text, "export", id.0);
            }
        }
    }

    /// Appends `payload` with its placeholders filled in.
    pub(in crate::session) fn fill<M: Mention>(&mut self, message: &mut Writing, payload: &Payload<M>) {
        for (json, mention) in payload.segments() {
            message.text.push_str(json);
            if let Some(mention) = mention {
                self.mention(message, mention.of(), mention.path());
            }
        }
    }

    fn mention(&mut self, message: &mut Writing, of: Ref, path: &[Step]) {
        let found = self.follow_through(of);
        if let (Some(mentioned), Found::Awaited(id) | Found::Stub(id)) = (&mut message.mentioned, found) {
            mentioned.refs.push(id);
        }
        let out = &mut message.text;
        match found {
            Found::Awaited(id) | Found::Stub(id) if !path.is_empty() => {
                out.push_str("[\"pipeline\",");
                push_integer(out, id.0);
                out.push(',');
                push_path(out, path);
                out.push(']');
            }
            Found::Awaited(id) => push_form(out, "pipeline", id.0),
            Found::Stub(id) => push_form(out, "import", id.0),
            Found::Target(target) if path.is_empty() => self.mention_target(message, target),
            Found::Value(at) if message.inline && path.is_empty() && self.plain_at(at).is_some() => {
                out.push_str(self.plain_at(at).unwrap_or_default());
            }
            _ => {
                let what = self.own_one(&Outgoing { of, path: path.into() });
                let id = self.export(what, Answer::Owed);
                message.promised.push(id);
                message.introduce(id);
                push_form(&mut message.text, "promise", id.0);
            }
        }
    }

    fn mention_target(&mut self, message: &mut Writing, target: TargetId) {
        let kind = self.kind(Ref::Target(target));
        if kind != Kind::Object
            && let Some(mentioned) = &mut message.mentioned
        {
            mentioned.streams = true;
        }
        if kind == Kind::Readable {
            let pipe = self.open_pipe(target);
            return push_form(&mut message.text, "readable", pipe.0);
        }
        let what = self.held(Ref::Target(target));
        let id = self.export(what, Answer::Unasked);
        message.introduce(id);
        push_form(&mut message.text, if kind == Kind::Writable { "writable" } else { "export" }, id.0);
    }

    /// Returns the text of a value without references.
    pub(in crate::session) fn plain_at(&self, at: Ref) -> Option<&str> {
        match self.settled_at(at) {
            Some(Ok(value)) if value.refs().is_empty() => Some(value.text()),
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

    pub(in crate::session) fn send(&mut self, kind: MessageKind, text: String) {
        self.transmit.push(kind, text);
    }
}

/// Appends an expression that consists of a tag and an id.
fn push_form(out: &mut String, tag: &str, id: i64) {
    push_integers(out, tag, [id]);
}
