//! Handling of incoming messages.

use crate::id::{ExportId, ImportId, PromiseId};
use crate::session::messages::eval::Names;
use crate::session::state::promises::{Found, Settled};
use crate::session::state::{CloseCause, CloseReason, ClosedBy, ImportState, Output, Ref, Session};
use crate::value::Payload;
use crate::value::text::Cursor;
use crate::wire::{CALL, Message, WireError, check, error_text, parse, parse_integers};

/// The maximum length of the class and the text of a peer's `abort`, in bytes. Each call that is
/// pending when the session ends gets a copy.
const NAME_BYTES: usize = 256;
const REASON_BYTES: usize = 4 << 10;

impl Session {
    /// Handles one message. A message that violates the protocol or a limit ends the session with
    /// an `abort`. Messages after the end are ignored.
    pub fn handle_message(&mut self, text: &str) {
        self.handle(text, false);
    }

    /// Handles one message of a peer that may join several in one: [`CALL`] before a push adds the
    /// pull of its result, and a `release` with a third number releases all ids from the first
    /// number to that one.
    pub(crate) fn handle_joint(&mut self, text: &str) {
        self.handle(text, true);
    }

    fn handle(&mut self, text: &str, joint: bool) {
        if self.closed.is_some() {
            return;
        }
        if self.has_work() {
            self.finish_work();
        }
        self.is_evaluating = true;
        let read = self.read(text, joint);
        self.is_evaluating = false;
        match read {
            Ok(()) => {
                if !self.later.is_empty() {
                    self.work.extend(self.later.drain(..));
                }
                self.run();
            }
            Err(error) => self.fail(error),
        }
    }

    fn read(&mut self, text: &str, joint: bool) -> Result<(), WireError> {
        if self.recovery.is_unreconciled {
            return Err(WireError::error("the session is not reconciled yet"));
        }
        // Half of all messages are pulls and releases. They consist of integers and are read
        // without a full parse.
        if let Some(message) = parse_integers(text, joint) {
            return self.act(message, 0);
        }
        let call = text.strip_prefix(CALL).filter(|_| joint);
        let checked = check(call.unwrap_or(text), &self.limits)?;
        match (parse(&checked.text, joint)?, call) {
            (message, None) => self.act(message, checked.nodes),
            (Message::Push(expr), Some(_)) => self.act(Message::Call(expr), checked.nodes),
            (_, Some(_)) => Err(WireError::bad_message(text)),
        }
    }

    /// Handles a message that contains `nodes` JSON values.
    fn act(&mut self, message: Message<'_>, nodes: usize) -> Result<(), WireError> {
        match message {
            Message::Push(mut expr) => self.handle_push(&mut expr, nodes).map(drop),
            Message::Call(mut expr) => {
                let id = self.handle_push(&mut expr, nodes)?;
                self.handle_pull(id)
            }
            Message::Stream(mut expr) => {
                let what = self.evaluate(&mut expr, nodes)?;
                let id = self.add_answer(what, true);
                self.check_room()?;
                self.handle_pull(id)
            }
            Message::Pull(id) => self.handle_pull(ExportId(id)),
            Message::Resolve(id, expr) => self.handle_answer(ImportId(id), expr, true, nodes),
            Message::Reject(id, expr) => self.handle_answer(ImportId(id), expr, false, nodes),
            Message::Release(id, count) => self.handle_release(ExportId(id), count),
            Message::ReleaseAll { first, count, last } => {
                (first..=last).try_for_each(|id| self.handle_release(ExportId(id), count))
            }
            Message::Pipe => {
                self.add_pipe();
                self.check_room()
            }
            Message::Abort(reason) => {
                self.handle_abort(reason);
                Ok(())
            }
        }
    }

    fn handle_push(&mut self, expr: &mut Cursor<'_>, nodes: usize) -> Result<ExportId, WireError> {
        let before = self.outputs.len();
        let what = self.evaluate(expr, nodes)?;
        let id = self.add_answer(what, false);
        if let Ref::Promise(result) = what {
            self.name_push(result, id, before);
        }
        self.check_room()?;
        Ok(id)
    }

    /// Assigns the id of a push to its result, and to its delivery if that is already among the
    /// outputs, after `before`.
    fn name_push(&mut self, result: PromiseId, id: ExportId, before: usize) {
        if let Some(promise) = self.promises.get_mut(result) {
            promise.push = id;
        }
        for output in self.outputs.iter_mut().skip(before) {
            if let Output::Deliver(delivery) = output
                && delivery.call == result
            {
                delivery.id = id;
            }
        }
    }

    /// Checks the limits that end the session. Calls beyond a limit are rejected one by one, so only
    /// a peer that continues regardless reaches twice the limit.
    pub(in crate::session) fn check_room(&self) -> Result<(), WireError> {
        let entries = self.exports.len().max(self.imports.len()).max(self.promises.len());
        if entries > 2 * self.limits.table_entries {
            return Err(WireError::limit("table entries of a session", self.limits.table_entries));
        }
        // The message that is too much is held as well, and all of it is less than twice the bound.
        if self.held_bytes() > self.limits.held_bytes + self.limits.held_bytes / 2 {
            return Err(WireError::limit("bytes held by a session", self.limits.held_bytes));
        }
        if self.transmit.held_bytes() > self.limits.outbound_bytes {
            let most = self.limits.outbound_bytes;
            return Err(WireError::error(format!("more than {most} bytes wait to be sent; the peer does not read")));
        }
        Ok(())
    }

    /// Evaluates the expression of a push. Returns the reference itself if it is one call or
    /// reference, and otherwise a settled promise.
    fn evaluate(&mut self, expr: &mut Cursor<'_>, nodes: usize) -> Result<Ref, WireError> {
        if let Some(of) = self.call_of(expr, Names::Exports { nodes })? {
            return Ok(of);
        }
        let settled = self.value_of(expr, Names::Exports { nodes })?;
        Ok(match settled.as_ref().ok().and_then(Payload::as_capability) {
            Some(&of) => of,
            None => Ref::Promise(self.settled(settled)),
        })
    }

    fn handle_answer(
        &mut self,
        id: ImportId,
        mut expr: Cursor<'_>,
        resolved: bool,
        nodes: usize,
    ) -> Result<(), WireError> {
        let known = self
            .imports
            .get(id)
            .is_some_and(|import| import.mentions > 0 || matches!(import.state, ImportState::Pending { .. }));
        if !known {
            // The import was released meanwhile. Release the references in its answer. Official
            // peers do not read a rejection then, so a malformed one does not end the session.
            match self.value_of(&mut expr, Names::Exports { nodes }) {
                Ok(Ok(value) | Err(value)) => self.let_go_all(value),
                Err(error) if resolved => return Err(error),
                Err(_) => {}
            }
            return Ok(());
        }
        let value = self.value_of(&mut expr, Names::Exports { nodes })?;
        self.settle_import(id, if resolved { value } else { Err(value.unwrap_or_else(|refusal| refusal)) });
        self.check_room()
    }

    pub(in crate::session) fn settle_import(&mut self, id: ImportId, mut settled: Settled) {
        if let Ok(value) = &settled
            && let Some(&to) = value.as_capability()
            && matches!(self.follow_through(to), Found::Awaited(own) | Found::Stub(own) if own == id)
        {
            self.let_go(to);
            let message = "Chaining cycle detected: a promise resolves to itself.";
            settled = Err(Payload::plain(error_text("TypeError", message)));
        }
        if self.recovery.sent.is_on() {
            self.recovery.sent.remove(id);
        }
        let Some(import) = self.imports.get_mut(id) else { return };
        self.account.add(&settled);
        let mentions = std::mem::take(&mut import.mentions);
        let before = std::mem::replace(&mut import.state, ImportState::Settled(settled));
        self.give_back(id, mentions);
        if let ImportState::Pending { waiters, .. } = before {
            self.account.remove(&waiters);
            for waiter in waiters {
                self.subscribe(Ref::Import(id), waiter);
            }
        }
    }

    fn handle_abort(&mut self, reason: Option<Cursor<'_>>) {
        let (name, message) = reason.and_then(abort_reason).unwrap_or_else(|| ("Error".into(), "undefined".into()));
        let (name, message) = (cut(name, NAME_BYTES), cut(message, REASON_BYTES));
        self.end(CloseReason { by: ClosedBy::Peer, cause: CloseCause::of_name(name), message });
    }
}

/// Truncates a text to at most `most` bytes of whole characters.
fn cut(mut text: String, most: usize) -> String {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

/// Returns the class and text of the error in an `abort`, or the text of any other value.
fn abort_reason(reason: Cursor<'_>) -> Option<(String, String)> {
    let mut cursor = reason.clone();
    let error = (|| {
        cursor.expect(b'[')?;
        let tag = cursor.string()?;
        cursor.expect(b',')?;
        let name = cursor.string()?;
        cursor.expect(b',')?;
        Ok::<_, crate::value::text::TextError>((tag, name.into_owned(), cursor.string()?.into_owned()))
    })();
    match error {
        Ok((tag, name, message)) if tag == "error" => Some((name, message)),
        _ => {
            let mut cursor = reason;
            let text = cursor.clone().string().map(|text| text.into_owned());
            Some(("Error".to_owned(), text.or_else(|_| cursor.skip().map(str::to_owned)).ok()?))
        }
    }
}
