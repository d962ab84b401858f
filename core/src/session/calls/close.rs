//! The end of a session, by either side.

use crate::session::state::account::Account;
use crate::session::state::outbox::MessageKind;
use crate::session::state::promises::PromiseState;
use crate::session::state::{CloseReason, ClosedBy, Outcome, Output, Session};
use crate::wire::{WireError, error_text};

impl Session {
    /// Ends the session because its connection is lost.
    pub fn handle_disconnect(&mut self, closed: CloseReason) {
        self.end(closed);
    }

    /// Ends the session because the connection carried something other than a message, such as a
    /// binary frame. Sends an `abort`.
    pub fn handle_invalid(&mut self, name: &str, message: &str) {
        self.abort(CloseReason::new(ClosedBy::Protocol, name.to_owned(), message));
    }

    /// Ends the session from this side.
    pub fn close(&mut self, closed: CloseReason) {
        self.end(closed);
    }

    /// Ends the session from this side, and sends the peer an `abort` with the reason.
    pub fn abort(&mut self, closed: CloseReason) {
        if self.closed.is_none() {
            let abort = format!("[\"abort\",{}]", error_text(closed.cause.name(), &closed.message));
            self.send(MessageKind::Abort, abort);
            self.end(closed);
        }
    }

    /// Ends the session because the peer violated the protocol or a limit.
    pub(in crate::session) fn fail(&mut self, error: WireError) {
        self.abort(CloseReason::new(ClosedBy::Protocol, error.name, error.message));
    }

    /// Ends all waits, drops all objects, and clears the tables.
    pub(in crate::session) fn end(&mut self, closed: CloseReason) {
        if self.closed.is_some() {
            return;
        }
        self.work.clear();
        self.later.clear();
        self.indexes.clear();
        self.budget.begin_input();
        self.garbage.clear();
        // Calls that have not begun never begin.
        self.ready.clear();
        self.outputs.retain(|output| !matches!(output, Output::Deliver(_)));
        let waits = std::mem::take(&mut self.waits);
        for (wait, _) in waits.iter() {
            self.outputs.push_back(Output::Settled { wait, outcome: Outcome::Lost(closed.clone()) });
        }
        let promises = std::mem::take(&mut self.promises);
        for (id, promise) in promises.iter() {
            if promise.awaited && matches!(promise.state, PromiseState::Pending { running: true, .. }) {
                self.outputs.push_back(Output::Cancel(id));
            }
        }
        let targets = std::mem::take(&mut self.targets);
        for (target, _) in targets.iter() {
            self.outputs.push_back(Output::DropTarget(target));
        }
        self.imports = Default::default();
        self.exports = Default::default();
        self.recovery.recipes = Default::default();
        self.recovery.reruns = Default::default();
        self.recovery.kept = Default::default();
        self.gathers = Default::default();
        self.maps = Default::default();
        self.pipes = 0;
        self.answers_owed = 0;
        self.account = Account::default();
        self.running = 0;
        self.outputs.push_back(Output::Closed(closed.clone()));
        self.closed = Some(Box::new(closed));
    }
}
