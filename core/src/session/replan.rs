//! What a session does when its peer has lost its memory and was made again from an earlier state:
//! both sides then agree on what there is by saying so, not by repeating what was said.
//!
//! The peer has told which of its exports are there, which of ours it holds, and how far it had
//! come. Calls that it does not know of are sent again under their old ids, unless they may have
//! been carried out, or follow one on the same object that may have been: those are owned up to,
//! and never run out of order. No id that was ever given is given again.

use std::collections::{BTreeMap, BTreeSet};

use super::sent::Sent;
use super::{Answer, Closed, ImportState, Kind, Ref, Session, Step};
use crate::error::ErrorCode;
use crate::id::{ExportId, ImportId};
use crate::session::promise::Waiter;
use crate::value::Payload;
use crate::wire::coded_error_text;

/// What the peer remembers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remembered {
    /// The id that it will give our next push.
    pub next_positive: i64,
    /// Exports of its own that are there.
    pub restored: BTreeSet<i64>,
    /// Exports that are not, and why.
    pub lost: BTreeMap<i64, ErrorCode>,
    /// Calls of ours that were running.
    pub unknown: BTreeSet<i64>,
    /// What it holds of ours, and how often it was told of each.
    pub imports: BTreeMap<i64, i64>,
}

/// A message to the peer that is none of its application's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Adjustment {
    /// What we hold of the peer's, and which of it we wait for. Everything else may go.
    Reconcile {
        /// Ids of exports.
        hold: Vec<i64>,
        /// Those of them whose answers are awaited.
        pull: Vec<i64>,
    },
    /// Our next push results in this id; those before were given up.
    Skip {
        /// The id.
        next_positive: i64,
    },
}

/// What became of what we had.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replanned {
    /// Calls that were sent again.
    pub resent: usize,
    /// Calls that may have been carried out or not.
    pub unknown: usize,
    /// Calls that were not carried out, and are not.
    pub not_attempted: usize,
    /// References that are gone.
    pub lost: usize,
}

/// What is to be done with a call that the peer does not know of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Resend,
    Unknown,
    NotAttempted,
}

impl Session {
    /// Goes on with a peer that remembers this much. Everything that was lined up is lined up
    /// anew, an [`Adjustment`] as `write` has it.
    ///
    /// # Errors
    /// The peer holds what was never given to it, or has let go; the session can not go on.
    pub fn replan(&mut self, theirs: &Remembered, write: impl Fn(Adjustment) -> String) -> Result<Replanned, Closed> {
        self.mourn(theirs);
        let given = |id: i64| id == 0 || self.exports.get(ExportId(id)).is_some_and(|_| id < 0);
        if let Some(id) = theirs.imports.keys().find(|&&id| !given(id)) {
            let message = format!("the peer holds {id}, which was never given to it or was given back");
            return Err(Closed::gap(message));
        }
        self.reconcile_with(theirs);
        let mut became = Replanned::default();
        self.transmit.clear();
        let resent = self.decide(theirs, &mut became);
        became.resent = resent.len();
        let (mut hold, pull) = self.settle_imports(theirs, &resent, &mut became);
        let borrowed = self.borrowed(&resent, &hold);
        hold.extend(&borrowed);
        self.send(write(Adjustment::Reconcile { hold: hold.into_iter().collect(), pull }));
        self.send_again(theirs.next_positive, &resent, &write);
        for id in borrowed {
            self.transmit.push_release(id, 1);
        }
        self.settle_exports(theirs, &resent);
        self.run();
        Ok(became)
    }

    /// Settles the calls that are not sent again; returns those that are, oldest first.
    fn decide(&mut self, theirs: &Remembered, became: &mut Replanned) -> BTreeSet<ImportId> {
        let mut resent = BTreeSet::new();
        // What an unknown call was on: nothing may be carried out behind it.
        let mut blocked = BTreeSet::new();
        let mut given_up = Vec::new();
        for (id, sent) in self.sent.iter() {
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
                    if sent.handed && !sent.idempotent {
                        blocked.insert(sent.on);
                    }
                    given_up.push((id, fate));
                }
            }
        }
        for (id, fate) in given_up {
            self.sent.remove(id);
            let (code, count) = match fate {
                Fate::NotAttempted => (ErrorCode::CallNotAttempted, &mut became.not_attempted),
                _ => (ErrorCode::CallOutcomeUnknown, &mut became.unknown),
            };
            *count += 1;
            self.break_import(id, &code);
        }
        resent
    }

    /// What is still there of what we hold, and which of it is awaited; the rest is broken.
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

    /// What calls that are sent again need of the peer's, and we do not hold ourselves.
    fn borrowed(&self, resent: &BTreeSet<ImportId>, hold: &BTreeSet<i64>) -> BTreeSet<i64> {
        let calls = self.sent.iter().filter(|(id, _)| resent.contains(id)).map(|(_, sent)| sent);
        let needed = calls.flat_map(|sent| sent.refs.iter().chain([&sent.on]));
        needed
            .filter(|&&id| id != ImportId::MAIN && !resent.contains(&id) && !hold.contains(&id.0))
            .map(|id| id.0)
            .collect()
    }

    /// Lines the calls up under their old ids.
    fn send_again(&mut self, next_positive: i64, resent: &BTreeSet<ImportId>, write: &impl Fn(Adjustment) -> String) {
        let texts = self.sent.iter().filter(|(id, _)| resent.contains(id));
        let texts: Vec<(ImportId, String)> = texts.filter_map(|(id, sent)| Some((id, sent.text.clone()?))).collect();
        self.note_lined_up(texts.iter().map(|&(id, _)| id));
        let mut next = next_positive;
        // Given back behind the calls that may be on them.
        let mut unheld = Vec::new();
        for (id, text) in texts {
            if id.0 != next {
                self.send(write(Adjustment::Skip { next_positive: id.0 }));
            }
            next = id.0 + 1;
            self.send(text);
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
            self.send(write(Adjustment::Skip { next_positive: self.next.import }));
        }
        for id in unheld {
            self.transmit.push_release(id.0, 1);
        }
    }

    /// Brings what the peer holds of ours to what it says, and what it will be told of again.
    fn settle_exports(&mut self, theirs: &Remembered, resent: &BTreeSet<ImportId>) {
        let mut mentions = theirs.imports.clone();
        for (_, sent) in self.sent.iter().filter(|(id, _)| resent.contains(id)) {
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

    /// Promises among what the peer holds are answered once more.
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

    /// Aborts the writable end of a stream that this side had exported; its reader fails with
    /// `STREAM_INTERRUPTED`.
    pub(super) fn interrupt_stream(&mut self, id: ExportId) {
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

    /// Whether there is a stream that the peer writes to.
    pub fn has_streams(&self) -> bool {
        let is_stream = |what| self.kind(what) == Kind::Writable;
        self.exports.iter().any(|(_, export)| is_stream(export.what))
    }

    /// Ends every stream that the peer writes to. Its reader fails with `STREAM_INTERRUPTED` and
    /// this message, and so do later writes.
    pub fn interrupt_streams(&mut self, message: &str) {
        let reason = coded_error_text(ErrorCode::StreamInterrupted.as_str(), message);
        let ids: Vec<ExportId> = self.exports.iter().map(|(id, _)| id).collect();
        for id in ids {
            self.abort_stream(id, &reason);
        }
        self.run();
    }

    /// Something of the peer's will never be there again.
    pub(super) fn break_import(&mut self, id: ImportId, code: &ErrorCode) {
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
    let harmless = !sent.handed || sent.idempotent;
    if possible && harmless && !blocked.contains(&sent.on) {
        return Fate::Resend;
    }
    if sent.handed { Fate::Unknown } else { Fate::NotAttempted }
}

/// The error of what a peer's loss of memory took away.
pub(super) fn lost_text(code: &ErrorCode) -> String {
    let message = match code {
        ErrorCode::CallOutcomeUnknown => "The other side was restarted; whether the call was carried out is not known.",
        ErrorCode::CallNotAttempted => {
            "The other side was restarted; the call was not carried out and may be made again."
        }
        ErrorCode::StreamInterrupted => "The other side was restarted, and streams do not outlive that.",
        ErrorCode::CapabilityLost => "The other side was restarted, and the object did not outlive that.",
        _ => "The object was not restored.",
    };
    coded_error_text(code.as_str(), message)
}
