//! Reconciling with a peer whose process was replaced; see docs/link.md, "Checkpoints and
//! recovery".
//!
//! The peer has reported which of its exports still exist, what it holds of this side, and which
//! pushes it has received. Calls that it has not received are retransmitted under their old ids,
//! unless they may have run or follow such a call on the same object. Those fail with an error that
//! says so, so that calls never run out of order. No id is assigned twice.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::ErrorCode;
use crate::id::{ExportId, ImportId};
use crate::session::state::call_log::Sent;
use crate::session::state::outbox::MessageKind;
use crate::session::state::promises::Waiter;
use crate::session::state::{Answer, CloseReason, ImportState, Kind, Ref, Session, Step};
use crate::value::Payload;
use crate::wire::coded_error_text;

/// What a peer whose process was replaced still has of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remembered {
    /// The id that it will assign to the next push of this side.
    pub next_positive: i64,
    /// Its exports that still exist or can be restored.
    pub restored: BTreeSet<i64>,
    /// Its exports that are lost, and why.
    pub lost: BTreeMap<i64, ErrorCode>,
    /// Calls of this side that were running, and may have run.
    pub unknown: BTreeSet<i64>,
    /// Its imports, with their reference counts.
    pub imports: BTreeMap<i64, i64>,
}

/// A message that reconciles the two sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Adjustment {
    /// What this side holds of the peer, and what it awaits. The peer releases everything else.
    Reconcile {
        /// The exports of the peer that are held.
        hold: Vec<i64>,
        /// Those among them whose answers are awaited.
        pull: Vec<i64>,
    },
    /// The next push of this side has this id; the ids before it are skipped.
    Skip {
        /// The id of the next push.
        next_positive: i64,
    },
}

/// What happened to the calls and references of this side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replanned {
    /// The number of calls that are retransmitted.
    pub resent: usize,
    /// The number of calls that may have run.
    pub unknown: usize,
    /// The number of calls that did not run and will not.
    pub not_attempted: usize,
    /// The number of references that are lost.
    pub lost: usize,
}

/// What happens to a call that the peer has not received.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Resend,
    Unknown,
    NotAttempted,
}

impl Session {
    /// Reconciles with a peer that still has `theirs`. Replaces all queued messages; `write`
    /// returns the text of an [`Adjustment`].
    ///
    /// # Errors
    /// Fails if the peer holds something that it was never sent, or that it has released. The
    /// session cannot continue then.
    pub fn replan(
        &mut self,
        theirs: &Remembered,
        write: impl Fn(Adjustment) -> String,
    ) -> Result<Replanned, CloseReason> {
        self.fail_lost_imports(theirs);
        let given = |id: i64| id == 0 || self.exports.get(ExportId(id)).is_some_and(|_| id < 0);
        if let Some(id) = theirs.imports.keys().find(|&&id| !given(id)) {
            let message = format!("the peer holds {id}, which was never sent to it or was released");
            return Err(CloseReason::gap(message));
        }
        self.reconcile_with(theirs);
        let mut became = Replanned::default();
        self.transmit.clear();
        let resent = self.decide(theirs, &mut became);
        became.resent = resent.len();
        let (mut hold, pull) = self.settle_imports(theirs, &resent, &mut became);
        let borrowed = self.borrowed(&resent, &hold);
        hold.extend(&borrowed);
        self.send(MessageKind::Adjustment, write(Adjustment::Reconcile { hold: hold.into_iter().collect(), pull }));
        self.send_again(theirs.next_positive, &resent, &write);
        for id in borrowed {
            self.transmit.push_release(id, 1);
        }
        self.settle_exports(theirs, &resent);
        self.run();
        Ok(became)
    }

    /// Settles the calls that are not retransmitted. Returns those that are, oldest first.
    fn decide(&mut self, theirs: &Remembered, became: &mut Replanned) -> BTreeSet<ImportId> {
        let mut resent = BTreeSet::new();
        // The targets of calls that may have run: no later call on them may run.
        let mut blocked = BTreeSet::new();
        let mut given_up = Vec::new();
        for (id, sent) in self.recovery.sent.iter() {
            if id.0 < theirs.next_positive {
                if theirs.unknown.contains(&id.0) {
                    blocked.insert(sent.on);
                }
                continue;
            }
            match fate(sent, theirs, &resent, &blocked) {
                Fate::Resend => {
                    resent.insert(id);
                }
                fate => {
                    if sent.transmitted && !sent.idempotent {
                        blocked.insert(sent.on);
                    }
                    given_up.push((id, fate));
                }
            }
        }
        for (id, fate) in given_up {
            self.recovery.sent.remove(id);
            let (code, count) = match fate {
                Fate::NotAttempted => (ErrorCode::CallNotAttempted, &mut became.not_attempted),
                _ => (ErrorCode::CallOutcomeUnknown, &mut became.unknown),
            };
            *count += 1;
            self.break_import(id, &code);
        }
        resent
    }

    /// Determines which imports still exist, and which of them are awaited. Rejects the others.
    fn settle_imports(
        &mut self,
        theirs: &Remembered,
        resent: &BTreeSet<ImportId>,
        became: &mut Replanned,
    ) -> (BTreeSet<i64>, Vec<i64>) {
        let (mut hold, mut pull, mut broken) = (BTreeSet::new(), Vec::new(), Vec::new());
        for (id, import) in self.imports.iter() {
            let is_stream = import.writable || (id.0 > 0 && import.state == ImportState::Stub);
            let is_chunk = import.mentions == 0 && matches!(import.state, ImportState::Pending { .. });
            match &import.state {
                _ if id == ImportId::MAIN || resent.contains(&id) => {}
                ImportState::Settled(_) => {}
                _ if is_stream || is_chunk => broken.push((id, ErrorCode::StreamInterrupted)),
                _ if theirs.restored.contains(&id.0) => {
                    hold.insert(id.0);
                    if matches!(import.state, ImportState::Pending { pulled: true, .. }) && id.0 > 0 {
                        pull.push(id.0);
                    }
                }
                _ => {
                    let code = theirs.lost.get(&id.0).cloned();
                    let otherwise = if id.0 > 0 { ErrorCode::CallOutcomeUnknown } else { ErrorCode::CapabilityLost };
                    broken.push((id, code.unwrap_or(otherwise)));
                }
            }
        }
        for &id in &hold {
            if let Some(import) = self.imports.get_mut(ImportId(id)) {
                import.mentions = 1;
            }
        }
        for (id, code) in broken {
            became.lost += usize::from(code != ErrorCode::CallOutcomeUnknown);
            became.unknown += usize::from(code == ErrorCode::CallOutcomeUnknown);
            self.break_import(id, &code);
        }
        (hold, pull)
    }

    /// Returns the exports of the peer that retransmitted calls refer to and that this side no
    /// longer holds.
    fn borrowed(&self, resent: &BTreeSet<ImportId>, hold: &BTreeSet<i64>) -> BTreeSet<i64> {
        let calls = self.recovery.sent.iter().filter(|(id, _)| resent.contains(id)).map(|(_, sent)| sent);
        let needed = calls.flat_map(|sent| sent.refs.iter().chain([&sent.on]));
        needed
            .filter(|&&id| id != ImportId::MAIN && !resent.contains(&id) && !hold.contains(&id.0))
            .map(|id| id.0)
            .collect()
    }

    /// Queues the calls under their old ids, with `Skip` messages for the gaps.
    fn send_again(&mut self, next_positive: i64, resent: &BTreeSet<ImportId>, write: &impl Fn(Adjustment) -> String) {
        let texts = self.recovery.sent.iter().filter(|(id, _)| resent.contains(id));
        let texts: Vec<(ImportId, String)> = texts.filter_map(|(id, sent)| Some((id, sent.text.clone()?))).collect();
        self.note_lined_up(texts.iter().map(|&(id, _)| id));
        let mut next = next_positive;
        // Released only behind all calls, because they may refer to these results.
        let mut unheld = Vec::new();
        for (id, text) in texts {
            if id.0 != next {
                self.send(MessageKind::Adjustment, write(Adjustment::Skip { next_positive: id.0 }));
            }
            next = id.0 + 1;
            self.send(MessageKind::Call, text);
            match self.imports.get_mut(id) {
                None => unheld.push(id),
                Some(import) => {
                    import.mentions = 1;
                    if matches!(import.state, ImportState::Pending { pulled: true, .. }) {
                        self.transmit.push_pull(id);
                    }
                }
            }
        }
        if next != self.next.import {
            self.send(MessageKind::Adjustment, write(Adjustment::Skip { next_positive: self.next.import }));
        }
        for id in unheld {
            self.transmit.push_release(id.0, 1);
        }
    }

    /// Sets the reference counts of exports to what the peer has, plus what is retransmitted.
    fn settle_exports(&mut self, theirs: &Remembered, resent: &BTreeSet<ImportId>) {
        let mut mentions = theirs.imports.clone();
        for (_, sent) in self.recovery.sent.iter().filter(|(id, _)| resent.contains(id)) {
            for id in &sent.introduces {
                *mentions.entry(id.0).or_default() += 1;
            }
        }
        let ids: Vec<ExportId> = self.exports.iter().map(|(id, _)| id).filter(|&id| id != ExportId::MAIN).collect();
        for id in ids {
            match mentions.get(&id.0).and_then(|&count| u64::try_from(count).ok()) {
                Some(count) if count > 0 && id.0 < 0 => self.keep_export(id, count),
                _ => {
                    self.interrupt_stream(id);
                    self.drop_export(id);
                }
            }
        }
    }

    /// Sets the reference count of an export. A promise among them is answered again.
    fn keep_export(&mut self, id: ExportId, mentions: u64) {
        let Some(export) = self.exports.get_mut(id) else { return };
        export.mentions = mentions;
        if export.answer == Answer::Given {
            export.answer = Answer::Owed;
            self.answers_owed += 1;
            let what = export.what;
            self.subscribe(what, Waiter::Answer(id));
        }
    }

    /// Aborts the writable end of a stream that this side has exported. Its reader fails with
    /// `STREAM_INTERRUPTED`.
    pub(in crate::session) fn interrupt_stream(&mut self, id: ExportId) {
        self.abort_stream(id, &lost_text(&ErrorCode::StreamInterrupted));
    }

    fn abort_stream(&mut self, id: ExportId, reason: &str) {
        let Some(Ref::Target(sink)) = self.exports.get(id).map(|export| export.what) else { return };
        if self.kind(Ref::Target(sink)) == Kind::Writable {
            let args = Payload::plain(format!("[{reason}]"));
            let result = self.pending(0);
            self.hold(Ref::Target(sink));
            self.enter(result, sink, Step::Name("abort".into()).into(), Some(args), 0);
        }
    }

    /// Returns `true` if there is a stream that the peer writes to.
    pub fn has_streams(&self) -> bool {
        let is_stream = |what| self.kind(what) == Kind::Writable;
        self.exports.iter().any(|(_, export)| is_stream(export.what))
    }

    /// Ends every stream that the peer writes to. Its reader and later writes fail with
    /// `STREAM_INTERRUPTED` and this message.
    pub fn interrupt_streams(&mut self, message: &str) {
        let reason = coded_error_text(ErrorCode::StreamInterrupted.as_str(), message);
        let ids: Vec<ExportId> = self.exports.iter().map(|(id, _)| id).collect();
        for id in ids {
            self.abort_stream(id, &reason);
        }
        self.run();
    }

    /// Rejects an import that is lost.
    pub(in crate::session) fn break_import(&mut self, id: ImportId, code: &ErrorCode) {
        if let Some(import) = self.imports.get_mut(id)
            && !matches!(import.state, ImportState::Settled(_))
        {
            import.mentions = 0;
            self.settle_import(id, Err(Payload::plain(lost_text(code))));
        }
    }
}

fn fate(sent: &Sent, theirs: &Remembered, resent: &BTreeSet<ImportId>, blocked: &BTreeSet<ImportId>) -> Fate {
    let reachable = |of: &ImportId| {
        *of == ImportId::MAIN
            || resent.contains(of)
            || (theirs.restored.contains(&of.0) && !theirs.unknown.contains(&of.0))
    };
    let possible = sent.text.is_some() && reachable(&sent.on) && sent.refs.iter().all(reachable);
    let harmless = !sent.transmitted || sent.idempotent;
    if possible && harmless && !blocked.contains(&sent.on) {
        return Fate::Resend;
    }
    if sent.transmitted { Fate::Unknown } else { Fate::NotAttempted }
}

/// Returns the error of a call or reference that was lost with the peer's process.
pub(crate) fn lost_text(code: &ErrorCode) -> String {
    let message = match code {
        ErrorCode::CallOutcomeUnknown => "The other side was restarted; the call may or may not have run.",
        ErrorCode::CallNotAttempted => "The other side was restarted; the call did not run and may be repeated.",
        ErrorCode::StreamInterrupted => "The other side was restarted, which ends streams.",
        ErrorCode::CapabilityLost => "The other side was restarted, and the object was lost.",
        _ => "The object was not restored.",
    };
    coded_error_text(code.as_str(), message)
}
