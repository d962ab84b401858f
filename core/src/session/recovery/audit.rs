//! Consistency checks of a session's tables, for snapshots, which are not trusted: reference
//! counts, and every other invariant that the state machine relies on without checking.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::id::{ExportId, ID_MAX, ImportId};
use crate::session::recovery::snapshot::SnapshotError;
use crate::session::state::account::{Account, Delivered, Held};
use crate::session::state::gathers::{GatherId, Then};
use crate::session::state::promises::{Promise, PromiseState, Queued, Waiter};
use crate::session::state::{Delivery, ImportState, Ref, Session};
use crate::value::{Payload, has_placeholder, placeholders};
use crate::wire::{check, check_payload};

/// The maximum reference count. It leaves room for counting further without overflow.
const HOLDS_MAX: u32 = u32::MAX / 2;

/// The counts collected from the tables.
#[derive(Default)]
pub(crate) struct Audit {
    /// How often each reference is held by entries of the tables.
    pub(crate) held: BTreeMap<Ref, u32>,
    /// How often each gather is waited for.
    gathering: BTreeMap<GatherId, usize>,
}

impl Audit {
    /// Checks a session that was made from an untrusted snapshot.
    pub(crate) fn of(session: &Session) -> Result<(), SnapshotError> {
        let audit = Self::holds(session);
        audit.mains(session)?;
        audit.numbers(session)?;
        audit.counts(session)?;
        audit.texts(session)?;
        audit.account(session)?;
        bounds(session)?;
        one_source(session)?;
        no_cycle(session)?;
        session.check_room().map_err(|error| SnapshotError(error.message))
    }

    /// Counts the references that the entries of the tables hold.
    pub(crate) fn holds(session: &Session) -> Self {
        let mut audit = Self::default();
        for (_, export) in session.exports.iter() {
            audit.hold(export.what);
            export.unclaimed.iter().for_each(|of| audit.hold(**of));
        }
        for (_, import) in session.imports.iter() {
            match &import.state {
                ImportState::Stub => {}
                ImportState::Pending { waiters, .. } => audit.wait(waiters),
                ImportState::Settled(Ok(value) | Err(value)) => audit.hold_all(value),
            }
        }
        session.promises.iter().for_each(|(_, promise)| audit.promise(promise));
        for (_, gather) in session.gathers.iter() {
            audit.hold_all(&gather.value);
            if let Then::Deliver { target, .. } = gather.then {
                audit.hold(Ref::Target(target));
            }
        }
        for (_, mapper) in session.maps.iter() {
            mapper.captures.iter().chain(&mapper.input).for_each(|&of| audit.hold(of));
        }
        session.waits.iter().for_each(|(_, &of)| audit.hold(of));
        session.recovery.kept.values().for_each(|&of| audit.hold(of));
        session.recovery.recipes.iter().for_each(|(_, recipe)| audit.hold_all(&recipe.params));
        for (_, rerun) in session.recovery.reruns.iter() {
            audit.hold(Ref::Target(rerun.target));
            rerun.args.iter().for_each(|args| audit.hold_all(args));
        }
        for delivery in &session.ready {
            audit.hold(Ref::Target(delivery.target));
            delivery.args.iter().for_each(|args| audit.hold_all(args));
        }
        audit
    }

    fn promise(&mut self, promise: &Promise) {
        match &promise.state {
            PromiseState::Pending { calls, waiters, via, .. } => {
                self.wait(waiters);
                via.iter().for_each(|&via| self.hold(Ref::Target(via)));
                for queued in calls {
                    if let Queued::Call(_, call) = queued {
                        call.args.iter().for_each(|args| self.hold_all(args));
                    }
                }
            }
            PromiseState::Forwarded(to) => self.hold(*to),
            PromiseState::Settled(Ok(value) | Err(value)) => self.hold_all(value),
        }
    }

    fn hold(&mut self, of: Ref) {
        *self.held.entry(of).or_default() += 1;
    }

    fn hold_all(&mut self, payload: &Payload<Ref>) {
        payload.refs().iter().for_each(|&of| self.hold(of));
    }

    fn wait(&mut self, waiters: &[Waiter]) {
        for waiter in waiters {
            if let Waiter::Gather(id) = waiter {
                *self.gathering.entry(*id).or_default() += 1;
            }
        }
    }

    /// Checks the running count of bytes.
    fn account(&self, session: &Session) -> Result<(), SnapshotError> {
        require(Account::of(session) == session.account, || "the bytes held are miscounted".to_owned())?;
        let counts_too_little = |delivery: &Delivery| {
            let promise = session.promises.get(delivery.call).map(|promise| &promise.state);
            let least = Delivered::of(delivery, 0).held_bytes();
            !matches!(promise, Some(PromiseState::Pending { delivered, .. }) if delivered.held_bytes() >= least)
        };
        require(!session.ready.iter().any(counts_too_little), || "the bytes of a queued call are miscounted".to_owned())
    }

    fn mains(&self, session: &Session) -> Result<(), SnapshotError> {
        require(session.exports.get(ExportId::MAIN).is_some(), || "it has no main object".to_owned())?;
        let main = session.imports.get(ImportId::MAIN);
        require(main.is_some_and(|main| main.state == ImportState::Stub), || "its peer has no main object".to_owned())
    }

    /// Checks that assigned ids are below their counters, and that the counters are in range.
    fn numbers(&self, session: &Session) -> Result<(), SnapshotError> {
        let next = &session.next;
        let (mut highest, mut lowest) = (0, 0);
        for (id, _) in session.exports.iter() {
            (highest, lowest) = (highest.max(id.0), lowest.min(id.0));
        }
        let imports = session.imports.iter().map(|(id, _)| id.0);
        let (pushed, introduced) = imports.fold((0, 0), |(up, down), id| (up.max(id), down.min(id)));
        let fits = next.answer > highest
            && next.export < lowest
            && next.import > pushed
            && next.peer_export <= introduced
            && below(&session.promises, next.promise, |id| id.0)
            && below(&session.targets, next.target, |id| id.0)
            && below(&session.waits, next.wait, |id| id.0)
            && session.gathers.iter().all(|(id, _)| id.number() < next.gather)
            && session.recovery.sent.iter().all(|(id, _)| id.0 < next.import);
        let all = [next.export, next.answer, next.import, next.peer_export, next.promise, next.target, next.gather];
        require(
            fits && all.iter().chain([&next.wait, &next.answer_floor]).all(|id| (-ID_MAX..=ID_MAX).contains(id)),
            || "an assigned id is not below its counter".to_owned(),
        )
    }

    /// Checks that every reference exists, and that its reference count is at least the number of
    /// its holders.
    fn counts(&self, session: &Session) -> Result<(), SnapshotError> {
        for (&of, &held) in &self.held {
            let holds = match of {
                Ref::Import(id) => session.imports.get(id).map(|import| import.holds),
                Ref::Target(id) => session.targets.get(id).map(|target| target.holds),
                Ref::Promise(id) => session.promises.get(id).map(|promise| promise.holds),
            };
            require(holds.is_some_and(|holds| held <= holds && holds <= HOLDS_MAX), || {
                format!("{of:?} is held {held} times, but its reference count is {holds:?}")
            })?;
        }
        for (id, gather) in session.gathers.iter() {
            let waiting = self.gathering.get(&id).copied().unwrap_or_default();
            require(gather.missing == waiting && waiting > 0, || {
                "a value waits for a wrong number of parts".to_owned()
            })?;
        }
        // When one part fails, the gather is removed, but its waiters at other parts remain. So a
        // waiter without a gather is valid.
        require(self.gathering.keys().all(|&id| id.number() < session.next.gather), || {
            "a waiter belongs to a value that was never created".to_owned()
        })?;
        let exports = session.exports.iter().all(|(_, export)| (1..=HOLDS_MAX.into()).contains(&export.mentions));
        let imports = session.imports.iter().all(|(_, import)| (0..=HOLDS_MAX.into()).contains(&import.mentions));
        require(exports && imports, || "a reference count is out of range".to_owned())?;
        require(session.recovery.sent.is_whole(), || "bytes of calls are miscounted".to_owned())
    }

    fn texts(&self, session: &Session) -> Result<(), SnapshotError> {
        let settled = session.imports.iter().filter_map(|(_, import)| match &import.state {
            ImportState::Settled(Ok(value) | Err(value)) => Some(value),
            _ => None,
        });
        let gathers = session.gathers.iter().map(|(_, gather)| &gather.value);
        let params = session.recovery.recipes.iter().map(|(_, recipe)| &recipe.params);
        let reruns = session.recovery.reruns.iter().filter_map(|(_, rerun)| rerun.args.as_ref());
        let ready = session.ready.iter().filter_map(|delivery| delivery.args.as_ref());
        for payload in settled.chain(gathers).chain(params).chain(reruns).chain(ready) {
            text(session, payload)?;
        }
        for (_, promise) in session.promises.iter() {
            match &promise.state {
                PromiseState::Settled(Ok(value) | Err(value)) => text(session, value)?,
                PromiseState::Pending { calls, .. } => queue(session, calls)?,
                PromiseState::Forwarded(_) => {}
            }
        }
        // Messages are queued only when they are complete.
        let mut messages = session.transmit.iter().chain(session.recovery.sent.texts().map(Cow::Borrowed));
        require(!messages.any(|text| has_placeholder(&text)), || "a message has placeholders".to_owned())?;
        for (_, mapper) in session.maps.iter() {
            check(&mapper.instructions, &session.limits).map_err(|error| SnapshotError(error.message))?;
        }
        Ok(())
    }
}

fn require(holds: bool, why: impl FnOnce() -> String) -> Result<(), SnapshotError> {
    if holds { Ok(()) } else { Err(SnapshotError(why())) }
}

fn below<K: crate::session::state::table::Key, T>(
    table: &crate::session::state::table::Table<K, T>,
    next: i64,
    number: impl Fn(K) -> i64,
) -> bool {
    table.iter().all(|(id, _)| (0..next).contains(&number(id)))
}

fn queue(session: &Session, calls: &[Queued]) -> Result<(), SnapshotError> {
    for queued in calls {
        if let Queued::Call(_, call) = queued {
            require(call.walked <= call.path.len(), || "a path was walked beyond its end".to_owned())?;
            call.args.iter().try_for_each(|args| text(session, args))?;
        }
    }
    Ok(())
}

/// Checks that a value has as many placeholders as references.
fn text(session: &Session, payload: &Payload<Ref>) -> Result<(), SnapshotError> {
    check_payload(payload, &session.limits).map_err(|error| SnapshotError(error.message))?;
    require(placeholders(payload.text()) == payload.refs().len(), || {
        "the placeholders of a value do not match its references".to_owned()
    })
}

/// Checks that budgets do not exceed their limits.
fn bounds(session: &Session) -> Result<(), SnapshotError> {
    let limits = &session.limits;
    require(session.maps.iter().all(|(_, mapper)| mapper.budget <= limits.map_steps), || {
        "the budget of a map exceeds the limit".to_owned()
    })
}

/// Checks that every pending result will come from exactly one source. A call that is settled
/// twice, or never, would be counted as running forever.
fn one_source(session: &Session) -> Result<(), SnapshotError> {
    let queued = session.promises.iter().flat_map(|(_, promise)| match &promise.state {
        PromiseState::Pending { calls, .. } => calls.as_slice(),
        _ => &[],
    });
    let queued = queued.filter_map(|queued| match queued {
        Queued::Call(result, _) => Some(*result),
        Queued::Map(_) => None,
    });
    let gathers = session.gathers.iter().filter_map(|(_, gather)| match gather.then {
        Then::Deliver { result, .. } => Some(result),
        Then::Wait(_) => None,
    });
    let maps = session.maps.iter().map(|(result, _)| result);
    let ready = session.ready.iter().map(|delivery| delivery.call);
    // A call that may be repeated is running, or was running in an earlier process.
    let again = session.recovery.reruns.iter().map(|(result, _)| result);
    let mut sources = BTreeSet::new();
    for result in queued.chain(gathers).chain(maps).chain(ready).chain(again) {
        require(session.is_pending(result), || "the result of a call is not pending".to_owned())?;
        require(sources.insert(result), || "a result has two sources".to_owned())?;
    }
    let is_twice = |id, promise: &Promise| {
        let running = matches!(promise.state, PromiseState::Pending { running: true, .. });
        running && sources.contains(&id) && session.recovery.reruns.get(id).is_none()
    };
    require(!session.promises.iter().any(|(id, promise)| is_twice(id, promise)), || {
        "a result has two sources".to_owned()
    })
}

/// Checks that following references terminates.
fn no_cycle(session: &Session) -> Result<(), SnapshotError> {
    let mut ends: BTreeSet<Ref> = BTreeSet::new();
    let results = session.promises.iter().map(|(id, _)| Ref::Promise(id));
    for start in results.chain(session.imports.iter().map(|(id, _)| Ref::Import(id))) {
        let (mut way, mut at) = (BTreeSet::new(), start);
        while !ends.contains(&at) {
            require(way.insert(at), || "a promise resolves to itself".to_owned())?;
            match session.leads_to(at) {
                Some(next) => at = next,
                None => break,
            }
        }
        ends.append(&mut way);
    }
    Ok(())
}
