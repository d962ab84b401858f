//! A peer whose application was started anew, and a session that was made again for such an
//! application. Both then go on as with any peer that remembers an earlier state; what is special
//! is that this one may remember what was given back since.

use std::collections::BTreeMap;

use super::replan::lost_text;
use super::revive::AHEAD_MAX;
use super::{Answer, Closed, Export, Ref, Remembered, Session, Wanted};
use crate::error::ErrorCode;
use crate::id::{ExportId, ImportId};
use crate::value::Payload;

impl Session {
    /// What is there of what a peer remembers to hold, each with how often it was told of it; the
    /// ids of what is not come second.
    ///
    /// # Errors
    /// It was never told of one so often.
    pub(crate) fn still_held(&self, theirs: &[(i64, i64)]) -> Result<(BTreeMap<i64, i64>, Vec<i64>), Closed> {
        let (mut held, mut gone) = (BTreeMap::new(), Vec::new());
        for &(id, mentions) in theirs {
            let Some(export) = self.exports.get(ExportId(id)).filter(|_| id < 0) else {
                gone.push(id);
                continue;
            };
            if !u64::try_from(mentions).is_ok_and(|mentions| (1..=export.mentions).contains(&mentions)) {
                let message = format!("the peer was told of {id} less than {mentions} times");
                return Err(Closed::gap(message));
            }
            held.insert(id, mentions);
        }
        Ok((held, gone))
    }

    /// The peer has given up ids that it may have given: its next push results in `next_positive`,
    /// if that is not behind already, or comes so much later.
    ///
    /// # Errors
    /// Nobody gives so many.
    pub(crate) fn leave_out(&mut self, next_positive: i64, gap: i64) -> Result<(), Closed> {
        let known = self.next.answer.max(self.next.answer_floor);
        let next = known.max(next_positive).saturating_add(gap);
        if next - self.next.answer > AHEAD_MAX {
            let message = format!("a push that results in {next_positive} was never sent");
            return Err(Closed::gap(message));
        }
        self.next.answer = next;
        Ok(())
    }

    /// Releases that wait are not sent: the peer will hear what is held, not what is given back.
    pub(crate) fn forget_withheld(&mut self) {
        self.withheld.releases.clear();
    }

    /// What the peer says is not there any more fails from now on.
    pub(crate) fn break_imports(&mut self, lost: &[(i64, ErrorCode)]) {
        for (id, code) in lost.iter().filter(|(id, _)| *id != 0) {
            self.break_import(ImportId(*id), code);
        }
        self.run();
    }

    /// A session that was itself made again learns from a peer that was made again what it would
    /// have learnt from one that was not.
    pub(crate) fn reconcile_with(&mut self, theirs: &Remembered) {
        if self.is_unreconciled() {
            let hold = theirs.imports.keys().copied().filter(|&id| id != 0).collect();
            self.reconcile(&Wanted { hold, pull: Vec::new() });
        }
    }

    /// In a session that was made again, what the one before had exported may be gone, and a peer
    /// that is itself made again may still hold it: it is told so, as of a promise that failed.
    pub(super) fn mourn(&mut self, theirs: &Remembered) {
        if !self.was_revived() {
            return;
        }
        let given = self.next.export + 1..0;
        for &id in theirs.imports.keys().filter(|id| given.contains(id)) {
            if self.exports.get(ExportId(id)).is_none() {
                let lost = self.settled(Err(Payload::plain(lost_text(&ErrorCode::CapabilityLost))));
                let export = Export { answer: Answer::Given, ..Export::new(Ref::Promise(lost)) };
                self.exports.insert(ExportId(id), export);
            }
        }
    }
}
