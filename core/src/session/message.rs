//! Incoming messages.

use super::eval::Names;
use super::promise::{Found, Settled};
use super::{Closed, ClosedBy, ImportState, Output, Ref, Session};
use crate::id::{ExportId, ImportId, PromiseId};
use crate::value::Payload;
use crate::value::text::Cursor;
use crate::wire::{CALL, Message, WireError, check, error_text, parse, parse_integers};

/// Bytes of class and text of an `abort` of the peer. Whatever waits when a session ends gets a copy.
const NAME_BYTES: usize = 256;
const REASON_BYTES: usize = 4 << 10;

impl Session {
    /// Takes in one message. What breaks the protocol or a bound ends the session with an
    /// `abort`; after the end, messages are ignored.
    pub fn handle_message(&mut self, text: &str) {
        self.handle(text, false);
    }

    /// As [`handle_message`](Self::handle_message), of a peer that may join several in one: behind
    /// [`CALL`] a push with the pull of its result, and a `release` with a third number as that of
    /// all results from the first number to it.
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
                self.work.extend(self.later.drain(..));
                self.run();
            }
            Err(error) => self.fail(error),
        }
    }

    fn read(&mut self, text: &str, joint: bool) -> Result<(), WireError> {
        if self.is_unreconciled {
            return Err(WireError::error("the session is not reconciled yet"));
        }
        // Half of all messages are pulls and releases; they are read in one go.
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

    /// Carries out a message of so many JSON values.
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

    /// A push has its id only now; its delivery may be among the outputs already, after `before`.
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

    /// Calls beyond a bound are rejected one by one; a peer that goes on regardless is cut off.
    pub(super) fn check_room(&self) -> Result<(), WireError> {
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
            return Err(WireError::error(format!("More than {most} bytes wait to be sent; the peer does not read.")));
        }
        Ok(())
    }

    /// The result of a push: the thing itself if it is one call or reference, else a settled promise.
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
            // Released meanwhile. What came with it is given back. Official peers do not look at a
            // rejection then, so what is wrong with one ends no session.
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

    pub(super) fn settle_import(&mut self, id: ImportId, mut settled: Settled) {
        if let Ok(value) = &settled
            && let Some(&to) = value.as_capability()
            && matches!(self.follow_through(to), Found::Awaited(own) | Found::Stub(own) if own == id)
        {
            self.let_go(to);
            let message = "Chaining cycle detected: a promise resolves to itself.";
            settled = Err(Payload::plain(error_text("TypeError", message)));
        }
        if self.sent.is_on() {
            self.sent.remove(id);
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
        self.end(Closed { by: ClosedBy::Peer, name, message });
    }
}

/// Returns the whole characters within the first `most` bytes.
fn cut(mut text: String, most: usize) -> String {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

/// Class and text of the error of an `abort`, or the text of whatever stands there instead.
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
