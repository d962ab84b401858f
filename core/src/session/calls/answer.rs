//! Exports: pulls of the peer, the answers to them, and releases.

use crate::id::ExportId;
use crate::session::state::outbox::MessageKind;
use crate::session::state::promises::{Found, Settled, Waiter, gone};
use crate::session::state::{Answer, Export, Ref, Session};
use crate::value::Payload;
use crate::wire::{WireError, error_text, integer_len, push_integer};

impl Session {
    /// Adds the result of a push of the peer, under the next id that the peer counts.
    pub(in crate::session) fn add_answer(&mut self, what: Ref, transient: bool) -> ExportId {
        let id = ExportId(self.next.answer);
        self.next.answer += 1;
        self.exports.insert(id, Export { transient, ..Export::new(what) });
        id
    }

    pub(in crate::session) fn handle_pull(&mut self, id: ExportId) -> Result<(), WireError> {
        let export = self.exports.get_mut(id).ok_or_else(|| no_such_export(id))?;
        if export.answer == Answer::Unasked {
            export.answer = Answer::Owed;
            let what = export.what;
            self.answers_owed += 1;
            self.subscribe(what, Waiter::Answer(id));
        }
        Ok(())
    }

    pub(in crate::session) fn handle_release(&mut self, id: ExportId, count: u64) -> Result<(), WireError> {
        let export = self.exports.get_mut(id).ok_or_else(|| no_such_export(id))?;
        if count > export.mentions {
            let message = format!("refcount would go negative: {} < {count}", export.mentions);
            return Err(WireError::error(message));
        }
        export.mentions -= count;
        if export.mentions == 0 {
            self.drop_export(id);
        }
        Ok(())
    }

    pub(in crate::session) fn drop_export(&mut self, id: ExportId) {
        if let Some(export) = self.exports.remove(id) {
            self.answers_owed -= usize::from(export.answer == Answer::Owed);
            self.pipes -= usize::from(export.pipe);
            self.let_go(export.what);
            export.unclaimed.into_iter().for_each(|source| self.let_go(*source));
        }
    }

    /// Answers the promises that the message just sent exported. The peer does not pull them.
    pub(in crate::session) fn answer_promised(&mut self, promised: Vec<ExportId>) {
        for id in promised {
            if let Some(what) = self.exports.get(id).map(|export| export.what) {
                self.subscribe(what, Waiter::Answer(id));
            }
        }
    }

    /// Queues the answer to an export, if it is still owed.
    pub(in crate::session) fn answer(&mut self, id: ExportId, with: Ref) {
        let Some(export) = self.exports.get_mut(id) else { return };
        if export.answer != Answer::Owed {
            return;
        }
        export.answer = Answer::Given;
        self.answers_owed -= 1;
        let transient = export.transient;
        let (what, is_pipe) = (export.what, export.pipe);
        let (text, promised) = match self.follow_through(with) {
            Found::Target(_) if is_pipe => self.answer_error(id, "Cannot pull a WritableStream stub"),
            Found::Target(_) if id.0 < 0 && matches!(what, Ref::Target(_)) => {
                self.answer_error(id, "Tried to resolve a non-promise stub.")
            }
            Found::Target(target) => self.answer_text(id, &Ok(Payload::capability(Ref::Target(target)))),
            Found::Stub(import) => self.answer_text(id, &Ok(Payload::capability(Ref::Import(import)))),
            Found::Value(at) | Found::Failed(at) => self.answer_from(id, at),
            Found::Awaited(_) | Found::Pending(_) | Found::Gone => self.answer_text(id, &Err(gone())),
        };
        self.send(MessageKind::Answer, text);
        self.answer_promised(promised);
        if transient {
            self.drop_export(id);
        }
    }

    /// Writes the answer from the value at `at` without copying it: the value is taken out of its
    /// entry and put back, because `answer_text` needs the session mutably.
    fn answer_from(&mut self, id: ExportId, at: Ref) -> (String, Vec<ExportId>) {
        let taken = self.settled_at_mut(at).map(|settled| std::mem::replace(settled, Ok(Payload::default())));
        let settled = taken.unwrap_or_else(|| Err(gone()));
        let answer = self.answer_text(id, &settled);
        if let Some(place) = self.settled_at_mut(at) {
            *place = settled;
        }
        answer
    }

    fn answer_error(&mut self, id: ExportId, message: &str) -> (String, Vec<ExportId>) {
        self.answer_text(id, &Err(Payload::plain(error_text("Error", message))))
    }

    fn answer_text(&mut self, id: ExportId, settled: &Settled) -> (String, Vec<ExportId>) {
        let (tag, payload) = match settled {
            Ok(payload) => ("[\"resolve\",", payload),
            Err(payload) => ("[\"reject\",", payload),
        };
        let mut message = self.new_answer(tag.len() + integer_len(id.0) + payload.text_len() + 2);
        message.text.push_str(tag);
        push_integer(&mut message.text, id.0);
        message.text.push(',');
        self.fill(&mut message, payload);
        message.text.push(']');
        (message.text, message.promised)
    }
}

fn no_such_export(id: ExportId) -> WireError {
    WireError::error(format!("no such export ID: {id}"))
}
