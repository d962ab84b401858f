//! Reattaching: the peer's process was replaced by one that restored an earlier state. Both sides
//! then reconcile as after a recovery, except that the peer may remember references that were
//! released since.

use std::collections::BTreeMap;

use crate::error::ErrorCode;
use crate::id::{ExportId, ImportId};
use crate::session::recovery::reconcile::Remembered;
use crate::session::recovery::reconcile::lost_text;
use crate::session::recovery::revive::AHEAD_MAX;
use crate::session::recovery::revive::Wanted;
use crate::session::state::{Answer, CloseReason, Export, Ref, Session};
use crate::value::Payload;

impl Session {
    /// Splits the imports of a peer into those that still exist, with their reference counts, and
    /// the ids of those that do not.
    ///
    /// # Errors
    /// Fails if a reference count is higher than what was sent.
    pub(crate) fn still_held(&self, theirs: &[(i64, i64)]) -> Result<(BTreeMap<i64, i64>, Vec<i64>), CloseReason> {
        let (mut held, mut gone) = (BTreeMap::new(), Vec::new());
        for &(id, mentions) in theirs {
            let Some(export) = self.exports.get(ExportId(id)).filter(|_| id < 0) else {
                gone.push(id);
                continue;
            };
            if !u64::try_from(mentions).is_ok_and(|mentions| (1..=export.mentions).contains(&mentions)) {
                let message = format!("the peer claims {mentions} references to {id}, more than it was sent");
                return Err(CloseReason::gap(message));
            }
            held.insert(id, mentions);
        }
        Ok((held, gone))
    }

    /// Skips ids that the peer may have assigned: its next push is `next_positive`, if that is not
    /// past already, plus `gap`.
    ///
    /// # Errors
    /// Fails if the id is out of range.
    pub(crate) fn leave_out(&mut self, next_positive: i64, gap: i64) -> Result<(), CloseReason> {
        let known = self.next.answer.max(self.next.answer_floor);
        let next = known.max(next_positive).saturating_add(gap);
        if next - self.next.answer > AHEAD_MAX {
            let message = format!("push {next_positive} was never sent");
            return Err(CloseReason::gap(message));
        }
        self.next.answer = next;
        Ok(())
    }

    /// Drops withheld releases. The peer learns what is held instead.
    pub(crate) fn forget_withheld(&mut self) {
        self.recovery.withheld.releases.clear();
    }

    /// Rejects imports that the peer has reported as lost.
    pub(crate) fn break_imports(&mut self, lost: &[(i64, ErrorCode)]) {
        for (id, code) in lost.iter().filter(|(id, _)| *id != 0) {
            self.break_import(ImportId(*id), code);
        }
        self.run();
    }

    /// Reconciles a session that was itself restored, with what a restored peer reports to hold.
    pub(crate) fn reconcile_with(&mut self, theirs: &Remembered) {
        if self.is_unreconciled() {
            let hold = theirs.imports.keys().copied().filter(|&id| id != 0).collect();
            self.reconcile(&Wanted { hold, pull: Vec::new() });
        }
    }

    /// Exports rejected promises in place of objects that are lost with an earlier process and that
    /// the peer may still hold. Without them, the peer would hold ids that do not exist.
    pub(in crate::session) fn fail_lost_imports(&mut self, theirs: &Remembered) {
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
