//! Recovery of a session from a snapshot by another process; see docs/link.md, "Checkpoints and
//! recovery".
//!
//! Data, objects with a recipe, and calls that may be repeated are preserved. Everything else is
//! rejected with an error that says so, and whatever depends on it follows by the usual rules.
//! Nothing runs before the peer has reconciled.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::ErrorCode;
use crate::id::{ExportId, Ids, ImportId, PromiseId, TargetId};
use crate::session::recovery::audit::Audit;
use crate::session::recovery::reconcile::lost_text;
use crate::session::state::account::{Account, Delivered, decoded_bytes};
use crate::session::state::gathers::Then;
use crate::session::state::promises::{Found, PromiseState, Queued, Waiter};
use crate::session::state::{Answer, CloseReason, ImportState, Kind, Recipe, Ref, Rerun, Session};
use crate::value::Payload;
use crate::wire::WireError;

/// How far the ids in a peer's report may be ahead of a snapshot. No peer assigns more between two
/// snapshots.
pub(crate) const AHEAD_MAX: i64 = 1 << 32;

/// The ids that a peer knows to be assigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// From a peer that was present all the time: it knows all ids that it has assigned.
    Whole(Ids),
    /// From a peer that was itself restored from an earlier state.
    Partial(Ids),
}

/// What remains of a session that was restored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revived {
    /// Exports that still exist or can be restored.
    pub restored: Vec<i64>,
    /// Exports that are lost, and why.
    pub lost: Vec<(i64, ErrorCode)>,
    /// Exports that are results of calls that may have run.
    pub unknown: Vec<i64>,
    /// Imports, with their reference counts.
    pub imports: Vec<(i64, i64)>,
    /// The local objects that the session still refers to.
    pub targets: Vec<TargetId>,
}

/// What a peer holds and awaits of a session that was restored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The exports that it holds, once each. All others are dropped.
    pub hold: Vec<i64>,
    /// Those among them whose answers it awaits.
    pub pull: Vec<i64>,
}

impl Session {
    /// Removes what does not outlive a process from a session that was just restored. The ids in
    /// `report` are not assigned again. `lives` decides whether a local object can be restored, by
    /// its recipe and kind.
    ///
    /// # Errors
    /// Fails if the report contradicts the session.
    pub fn revive(
        &mut self,
        report: Report,
        lives: impl Fn(Option<&Recipe>, Kind) -> Result<(), ErrorCode>,
    ) -> Result<Revived, CloseReason> {
        self.raise_counters(report)?;
        self.budget.is_sliced = false;
        self.recovery.revived_below = self.next.promise;
        self.recovery.is_unreconciled = true;
        self.recovery.sent.clear();
        let waited_for = self.unsettled_exports();
        self.forget_application();
        self.reset_exports();
        self.break_off();
        self.run();
        self.drop_unheld();
        self.transmit.clear();
        self.recovery.withheld.releases.clear();
        self.outputs.clear();
        let revived = self.account(&waited_for, lives);
        for &id in &revived.targets {
            if let Some(target) = self.targets.get_mut(id) {
                // Streams end with their process. Their objects remain, and reject every call.
                target.kind = Kind::Object;
            }
        }
        self.account = Account::of(self);
        Ok(revived)
    }

    /// Handles the peer's report of what it holds, and then delivers the calls that may be
    /// repeated.
    pub fn reconcile(&mut self, wanted: &Wanted) {
        if self.closed.is_some() {
            return;
        }
        match self.try_reconcile(wanted) {
            Ok(()) => self.run(),
            Err(error) => self.fail(error),
        }
    }

    /// Skips ids that the peer has given up. Its next push is `next_positive`.
    pub fn skip(&mut self, next_positive: i64) {
        if self.closed.is_some() {
            return;
        }
        let ahead = next_positive.saturating_sub(self.next.answer);
        if (1..=AHEAD_MAX).contains(&ahead) {
            self.next.answer = next_positive;
        } else {
            self.fail(WireError::error(format!("cannot skip to id {next_positive} after {}", self.next.answer)));
        }
    }

    /// Returns `true` if the session was restored and the peer has not reconciled yet.
    pub fn is_unreconciled(&self) -> bool {
        self.recovery.is_unreconciled
    }

    /// Returns `true` if the session was ever restored.
    pub(crate) fn was_revived(&self) -> bool {
        self.recovery.revived_below > 0
    }

    /// Raises the id counters above the ids that the peer knows to be assigned.
    ///
    /// # Errors
    /// Fails if the report contradicts the session.
    pub fn raise_counters(&mut self, report: Report) -> Result<(), CloseReason> {
        let (peer, contradicts) = match report {
            Report::Whole(peer) => (peer, peer.next_positive < self.next.answer),
            Report::Partial(peer) => (peer, false),
        };
        let import = self.next.import.max(peer.peer_next_positive);
        let export = self.next.export.min(peer.peer_next_negative);
        let introduced = self.next.peer_export.min(peer.next_negative.saturating_add(1));
        let ahead = [
            import.saturating_sub(self.next.import),
            self.next.export.saturating_sub(export),
            self.next.peer_export.saturating_sub(introduced),
            peer.next_positive.saturating_sub(self.next.answer),
        ];
        if ahead.iter().any(|&ahead| ahead > AHEAD_MAX) || contradicts {
            let message = format!("the ids in {peer:?} were never assigned");
            return Err(CloseReason::gap(message));
        }
        (self.next.import, self.next.export, self.next.peer_export) = (import, export, introduced);
        self.next.answer_floor = self.next.answer_floor.max(peer.next_positive);
        Ok(())
    }

    fn unsettled_exports(&mut self) -> BTreeSet<i64> {
        let exports: Vec<(ExportId, Ref)> = self.exports.iter().map(|(id, export)| (id, export.what)).collect();
        let mut is_unsettled = |what| matches!(self.follow_through(what), Found::Pending(_) | Found::Awaited(_));
        exports.into_iter().filter(|&(_, what)| is_unsettled(what)).map(|(id, _)| id.0).collect()
    }

    /// Removes the waits and holds of the previous application.
    fn forget_application(&mut self) {
        self.waits = Default::default();
        for id in self.gathers.ids() {
            if self.gathers.get(id).is_some_and(|gather| matches!(gather.then, Then::Wait(_)))
                && let Some(gather) = self.gathers.remove(id)
            {
                self.account.remove(&gather);
            }
        }
        self.running = 0;
        // A delivery that was queued in the snapshot may have been returned since.
        for delivery in std::mem::take(&mut self.ready) {
            let rerun = Rerun { target: delivery.target, path: delivery.path, args: delivery.args };
            self.recovery.reruns.insert(delivery.call, rerun);
        }
    }

    /// Resets exports to the state before their results were pulled. Drops streams.
    fn reset_exports(&mut self) {
        for id in self.exports.ids() {
            let Some(export) = self.exports.get_mut(id) else { continue };
            if export.pipe || export.transient {
                self.exports.remove(id);
            } else if id.0 > 0 {
                export.answer = Answer::Unasked;
            } else if export.answer == Answer::Given {
                export.answer = Answer::Owed;
            }
        }
        self.pipes = 0;
        self.answers_owed = self.exports.iter().filter(|(_, export)| export.answer == Answer::Owed).count();
        let gathers: BTreeSet<_> = self.gathers.ids().into_iter().collect();
        let stays = |waiter: &mut Waiter| matches!(waiter, Waiter::Gather(id) if gathers.contains(id));
        for id in self.promises.ids() {
            if let Some(PromiseState::Pending { running, waiters, via, delivered, .. }) =
                self.promises.get_mut(id).map(|promise| &mut promise.state)
            {
                (*running, *via, *delivered) = (false, None, Delivered::default());
                waiters.retain(stays);
            }
        }
        for id in self.imports.ids() {
            if let Some(ImportState::Pending { waiters, .. }) = self.imports.get_mut(id).map(|import| &mut import.state)
            {
                waiters.retain(stays);
            }
        }
        self.account = Account::of(self);
    }

    /// Rejects imports and promises that will never be settled.
    fn break_off(&mut self) {
        for id in self.imports.ids() {
            let Some(import) = self.imports.get_mut(id) else { continue };
            let is_stream = import.writable || (id.0 > 0 && import.state == ImportState::Stub);
            let code = match &import.state {
                ImportState::Settled(_) => continue,
                _ if is_stream => ErrorCode::StreamInterrupted,
                // Calls to the peer, made by the previous process.
                _ if id.0 > 0 => ErrorCode::CallOutcomeUnknown,
                _ => continue,
            };
            import.mentions = 0;
            self.settle_import(id, Err(Payload::plain(lost_text(&code))));
        }
        for id in self.unsettleable() {
            if let Some(mapper) = self.maps.remove(id) {
                self.account.remove(&mapper);
            }
            self.finish(id, Err(Payload::plain(lost_text(&ErrorCode::CallOutcomeUnknown))));
        }
    }

    /// Returns the pending promises that no call in the session will settle. Results of maps are
    /// among them, because calls of the map may have run.
    fn unsettleable(&self) -> Vec<PromiseId> {
        let mut settleable: BTreeSet<PromiseId> = self.recovery.reruns.iter().map(|(id, _)| id).collect();
        for (_, promise) in self.promises.iter() {
            if let PromiseState::Pending { calls, .. } = &promise.state {
                settleable.extend(calls.iter().filter_map(|queued| match queued {
                    Queued::Call(result, _) => Some(*result),
                    Queued::Map(_) => None,
                }));
            }
        }
        settleable.extend(self.gathers.iter().filter_map(|(_, gather)| match gather.then {
            Then::Deliver { result, .. } => Some(result),
            Then::Wait(_) => None,
        }));
        let pending = self.promises.ids().into_iter().filter(|&id| self.is_pending(id));
        pending.filter(|id| !settleable.contains(id)).collect()
    }

    /// Recomputes the reference counts, and drops what is no longer held.
    fn drop_unheld(&mut self) {
        let held = Audit::holds(self).held;
        let holds = |of: Ref| held.get(&of).copied().unwrap_or_default();
        let mut unheld = Vec::new();
        for id in self.promises.ids() {
            if let Some(promise) = self.promises.get_mut(id) {
                promise.holds = holds(Ref::Promise(id));
                if promise.holds == 0 {
                    unheld.push(Ref::Promise(id));
                }
            }
        }
        for id in self.targets.ids() {
            if let Some(target) = self.targets.get_mut(id) {
                target.holds = holds(Ref::Target(id));
                if target.holds == 0 {
                    unheld.push(Ref::Target(id));
                }
            }
        }
        for id in self.imports.ids() {
            if let Some(import) = self.imports.get_mut(id) {
                let main = u32::from(id == ImportId::MAIN);
                import.holds = holds(Ref::Import(id)).max(main);
                if import.holds == 0 {
                    unheld.push(Ref::Import(id));
                }
            }
        }
        // Take one hold each, so that dropping it releases the rest. Pending promises remain until
        // they are settled.
        unheld.iter().for_each(|&of| self.hold(of));
        unheld.into_iter().for_each(|of| self.let_go(of));
    }

    fn account(
        &self,
        waited_for: &BTreeSet<i64>,
        lives: impl Fn(Option<&Recipe>, Kind) -> Result<(), ErrorCode>,
    ) -> Revived {
        let mut revived = Revived::default();
        for id in self.exports.ids().into_iter().filter(|&id| id != ExportId::MAIN) {
            let Some(what) = self.exports.get(id).map(|export| export.what) else { continue };
            match self.follow(what) {
                Found::Target(target) => {
                    if let Err(code) = lives(self.recovery.recipes.get(target), self.kind(Ref::Target(target))) {
                        revived.lost.push((id.0, code));
                        continue;
                    }
                }
                Found::Failed(_) if id.0 > 0 && waited_for.contains(&id.0) => revived.unknown.push(id.0),
                _ => {}
            }
            revived.restored.push(id.0);
        }
        let imports = self.imports.ids().into_iter().filter(|id| id.0 < 0);
        let counts: BTreeMap<i64, i64> =
            imports.filter_map(|id| Some((id.0, self.imports.get(id)?.mentions))).collect();
        revived.imports = counts.into_iter().filter(|&(_, mentions)| mentions > 0).collect();
        revived.targets = self.targets.ids();
        revived
    }

    fn try_reconcile(&mut self, wanted: &Wanted) -> Result<(), WireError> {
        if !std::mem::replace(&mut self.recovery.is_unreconciled, false) {
            return Err(WireError::error("the session is reconciled already"));
        }
        let hold: BTreeSet<i64> = wanted.hold.iter().copied().collect();
        let unknown = hold.iter().find(|&&id| self.exports.get(ExportId(id)).is_none());
        if let Some(id) = unknown.or_else(|| wanted.pull.iter().find(|id| !hold.contains(id))) {
            return Err(WireError::error(format!("no such export ID: {id}")));
        }
        for id in self.exports.ids() {
            if id != ExportId::MAIN && !hold.contains(&id.0) {
                self.drop_export(id);
            } else if let Some(export) = self.exports.get_mut(id) {
                export.mentions = 1;
                let (what, is_promise) = (export.what, id.0 < 0 && export.answer == Answer::Owed);
                if is_promise {
                    self.subscribe(what, Waiter::Answer(id));
                }
            }
        }
        for id in self.recovery.reruns.ids() {
            self.run_again(id);
        }
        wanted.pull.iter().try_for_each(|&id| self.handle_pull(ExportId(id)))
    }

    /// Repeats a call, unless its result is no longer needed.
    fn run_again(&mut self, id: PromiseId) {
        let wanted = self.promises.get(id).is_some_and(|promise| {
            promise.holds > 0
                || matches!(&promise.state, PromiseState::Pending { calls, waiters, .. }
                    if !(calls.is_empty() && waiters.is_empty()))
        });
        if !wanted {
            self.drop_rerun(id);
            return self.finish(id, Err(Payload::plain(lost_text(&ErrorCode::CallOutcomeUnknown))));
        }
        if let Some(rerun) = self.recovery.reruns.remove(id) {
            self.account.remove(&rerun);
            let Rerun { target, path, args } = rerun;
            let decoded = args.as_ref().map_or(0, |args| decoded_bytes(args, usize::MAX));
            self.enter(id, target, path, args, decoded);
        }
    }
}
