//! The session machine: plain data, text in and text out.
//!
//! Inputs are `handle_*` (what the transport brings) and the commands (what the application
//! wants). After any of them the caller takes `poll_output` and `poll_transmit` until both are
//! empty. Nothing here waits, locks, reads a clock or knows an object: a session is its tables,
//! and those are ids, counts and text.

mod account;
mod answer;
mod audit;
mod budget;
mod call;
mod close;
mod durable;
mod eval;
mod gather;
mod index;
mod io;
mod kept;
mod listing;
mod map;
mod message;
mod outbox;
mod path;
mod promise;
mod reattach;
mod reference;
mod replan;
mod revive;
mod sent;
mod snapshot;
mod state;
mod stream;
mod table;
mod walk;
mod window;
mod write;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

pub use io::{Closed, ClosedBy, Delivery, Kind, Outcome, Outgoing, Output, Recipe, Ref, Stats};
pub use listing::{Entry, EntryState};
pub use path::{Name, Path, Step};
pub use replan::{Adjustment, Remembered, Replanned};
pub use revive::{Report, Revived, Wanted};
pub use snapshot::{Snapshot, SnapshotError};
pub use window::{Sent, Window, units};

use crate::id::{ExportId, ImportId, PromiseId, TargetId, WaitId};
use crate::limits::Limits;
use crate::value::Payload;
use account::{Account, decoded_bytes};
use budget::Budget;
use gather::{Gather, GatherId};
use index::Indexes;
use map::Mapper;
use outbox::Outbox;
pub(crate) use outbox::Taken;
use promise::{Promise, Waiter, Work};
use sent::SentLog;
use state::{Answer, Counters, Export, Import, ImportState, Rerun, Target, Withheld};
pub(crate) use table::Table;

/// Releases that may wait for other messages to go with.
const RELEASES_WAIT_MAX: usize = 1024;

/// One end of a Cap'n Web session.
#[derive(Clone, Debug, PartialEq)]
pub struct Session {
    limits: Arc<Limits>,
    exports: Table<ExportId, Export>,
    imports: Table<ImportId, Import>,
    promises: Table<PromiseId, Promise>,
    targets: Table<TargetId, Target>,
    gathers: Table<GatherId, Gather>,
    /// Maps that wait for their input, by their result.
    maps: Table<PromiseId, Mapper>,
    /// What the application waits for; each holds its result.
    waits: Table<WaitId, Ref>,
    /// How objects are made again in another process.
    recipes: Table<TargetId, Recipe>,
    /// Deliveries that may be handed out again in another process; each holds its target.
    reruns: Table<PromiseId, Rerun>,
    /// What the application wants to have again in another process, by its name; each is held.
    kept: BTreeMap<String, Ref>,
    next: Counters,
    /// Calls that may have to be sent again.
    sent: SentLog,
    /// Releases that wait for a snapshot that covers them.
    withheld: Withheld,
    /// Results below this were asked for in another process.
    revived_below: i64,
    /// Made from a snapshot, and the peer has not said yet what it holds.
    is_unreconciled: bool,
    /// Consequences still to be drawn; empty between inputs, unless they take more than a slice.
    work: VecDeque<Work>,
    /// What is put off until the next slice, in its order; empty between inputs.
    later: Vec<Work>,
    /// What was spent on the input whose consequences are drawn.
    budget: Budget,
    /// A message is being evaluated whose calls may be put off.
    is_evaluating: bool,
    /// Where the parts of large values are.
    indexes: Indexes,
    /// Holds still to be given back; empty between inputs.
    garbage: Vec<Ref>,
    /// Deliveries beyond `limits.running_calls`.
    ready: VecDeque<Delivery>,
    /// Deliveries handed out and not settled.
    running: usize,
    /// Streams that the peer has open towards us.
    pipes: usize,
    /// Answers that were asked for and are not written.
    answers_owed: usize,
    /// What is held for the peer, in bytes.
    account: Account,
    outputs: VecDeque<Output>,
    transmit: Outbox,
    closed: Option<Closed>,
}

impl Session {
    /// The main object of this side, when there is one.
    pub const MAIN: TargetId = TargetId(0);

    /// A session in its first moment. Without a main object, the peer's calls on it are rejected.
    pub fn new(limits: impl Into<Arc<Limits>>, has_main: bool) -> Self {
        let mut session = Self {
            limits: limits.into(),
            exports: Table::default(),
            imports: Table::default(),
            promises: Table::default(),
            targets: Table::default(),
            gathers: Table::default(),
            maps: Table::default(),
            waits: Table::default(),
            recipes: Table::default(),
            reruns: Table::default(),
            kept: BTreeMap::new(),
            next: Counters {
                export: -1,
                answer: 1,
                import: 1,
                peer_export: 0,
                promise: 1,
                target: 1,
                gather: 1,
                wait: 1,
                answer_floor: 0,
            },
            sent: SentLog::default(),
            withheld: Withheld::default(),
            revived_below: 0,
            is_unreconciled: false,
            work: VecDeque::new(),
            later: Vec::new(),
            budget: Budget::default(),
            is_evaluating: false,
            indexes: Indexes::default(),
            garbage: Vec::new(),
            ready: VecDeque::new(),
            running: 0,
            pipes: 0,
            answers_owed: 0,
            account: Account::default(),
            outputs: VecDeque::new(),
            transmit: Outbox::default(),
            closed: None,
        };
        let what = if has_main {
            session.targets.insert(Self::MAIN, Target { holds: 1, kind: Kind::Object });
            Ref::Target(Self::MAIN)
        } else {
            session.rejected("Error", "This connection has no main object.")
        };
        session.exports.insert(ExportId::MAIN, Export::new(what));
        session.imports.insert(ImportId::MAIN, Import::new(ImportState::Stub));
        session
    }

    /// Does work in slices from now on. After an input, there may be more to do (`has_work`).
    pub fn work_in_slices(&mut self) {
        self.budget.is_sliced = true;
    }

    /// Whether there is work left that did not fit into a slice. A message that is handed in is
    /// carried out behind it.
    #[inline]
    pub fn has_work(&self) -> bool {
        !self.work.is_empty()
    }

    /// Does the next slice of the work that is left.
    pub fn resume_work(&mut self) {
        self.budget.begin_slice();
        self.run();
    }

    /// Does all the work that is left.
    pub fn finish_work(&mut self) {
        while self.has_work() {
            self.resume_work();
        }
    }

    /// Gives back room that was wanted for a moment. Changes nothing else.
    pub(crate) fn shrink(&mut self) {
        self.exports.shrink();
        self.imports.shrink();
        self.promises.shrink();
        self.targets.shrink();
        self.waits.shrink();
        self.work.shrink_to_fit();
        self.garbage.shrink_to_fit();
        self.ready.shrink_to_fit();
        self.outputs.shrink_to_fit();
        self.transmit.shrink();
    }

    /// The peer's main object. Needs no `retain` and no `release`.
    pub fn main(&self) -> Ref {
        Ref::Import(ImportId::MAIN)
    }

    /// Calls something (`args`) or reads a property of it (`None`), at once and in order. The
    /// references in `args` stay the caller's. The result is held once.
    pub fn call(&mut self, on: Ref, path: &[Step], args: Option<Payload<Outgoing>>) -> Ref {
        let result = self.invoke_outgoing(on, path, args);
        self.run();
        result
    }

    /// Applies a recorded function to a result, or to each of its elements if it is an array:
    /// `instructions` is the list of expressions of a `remap` message. The references in
    /// `captures` stay the caller's. The result is held once.
    pub fn map(&mut self, on: Ref, path: &[Step], captures: &[Outgoing], instructions: String) -> Ref {
        let result = self.map_outgoing(on, path, captures, instructions);
        self.run();
        result
    }

    /// Asks for a result, every promise in it awaited. Ends in exactly one [`Output::Settled`],
    /// unless the wait is forgotten first.
    pub fn pull(&mut self, of: Ref, path: &[Step]) -> WaitId {
        let wait = WaitId(self.next.wait);
        self.next.wait += 1;
        if let Some(closed) = &self.closed {
            self.outputs.push_back(Output::Settled { wait, outcome: Outcome::Lost(closed.clone()) });
            return wait;
        }
        let result = if path.is_empty() { self.held(of) } else { self.invoke_outgoing(of, path, None) };
        self.waits.insert(wait, result);
        self.subscribe(result, Waiter::Wait(wait));
        self.run();
        wait
    }

    /// Nobody waits any more.
    pub fn forget(&mut self, wait: WaitId) {
        if let Some(result) = self.waits.remove(wait) {
            self.release(result);
        }
    }

    /// A new local object, held once.
    pub fn new_target(&mut self, kind: Kind) -> TargetId {
        let target = TargetId(self.next.target);
        self.next.target += 1;
        if self.closed.is_none() {
            let entry = Target { holds: 1, kind };
            self.account.add(&entry);
            self.targets.insert(target, entry);
        } else {
            self.outputs.push_back(Output::DropTarget(target));
        }
        target
    }

    /// A new local result, held once, for which one [`settle`](Self::settle) is owed.
    pub fn new_promise(&mut self) -> PromiseId {
        self.pending(1)
    }

    /// Ends a delivery or a promise of the application: `Err` is a rejection. The references in
    /// `result` stay the caller's.
    pub fn settle(&mut self, call: PromiseId, result: Result<Payload<Outgoing>, Payload<Outgoing>>) {
        if !self.is_pending(call) {
            return;
        }
        let result = match result {
            Ok(value) => Ok(self.own(value)),
            Err(reason) => Err(self.own(reason)),
        };
        self.no_longer_running(call);
        self.finish(call, result);
        self.run();
    }

    /// Goes on with a delivery whose first `walked` steps lead to `value`: the rest of the path
    /// is walked from there, and what it ends at is called if there are `args`.
    pub fn settle_from(
        &mut self,
        call: PromiseId,
        value: Payload<Outgoing>,
        path: Path,
        walked: usize,
        args: Option<Payload<Ref>>,
    ) {
        if !self.is_pending(call) {
            return;
        }
        let value = self.own(value);
        let on = match value.as_capability() {
            Some(&of) => of,
            None => Ref::Promise(self.settled(Ok(value))),
        };
        self.no_longer_running(call);
        let decoded = args.as_ref().map_or(0, |args| decoded_bytes(args, usize::MAX));
        let rest = promise::Call { path, walked, args, decoded };
        self.account.add(&rest);
        self.work.push_back(Work::Perform { result: call, on, call: rest });
        self.run();
    }

    /// Until `call` is settled, calls on its result are delivered to `to` instead of waiting,
    /// those that wait already first. For proxies that have passed `call` on: `to` stands for the
    /// result there, so a chain of calls crosses them without a stop.
    pub fn redirect(&mut self, call: PromiseId, to: TargetId) {
        self.redirect_calls(call, to);
        self.run();
    }

    /// What `of` is when it is read as a value.
    pub fn kind(&self, of: Ref) -> Kind {
        match of {
            Ref::Target(id) => self.targets.get(id).map_or(Kind::Object, |target| target.kind),
            Ref::Import(id) if self.imports.get(id).is_some_and(|import| import.writable) => Kind::Writable,
            _ => Kind::Object,
        }
    }

    /// Holds `of` once more.
    pub fn retain(&mut self, of: Ref) {
        self.hold(of);
    }

    /// Gives one hold back.
    pub fn release(&mut self, of: Ref) {
        self.let_go(of);
        self.admit();
    }

    /// What the layer above should do next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Whether there is an output to be taken.
    pub(crate) fn has_output(&self) -> bool {
        !self.outputs.is_empty()
    }

    /// The next message to send.
    pub fn poll_transmit(&mut self) -> Option<String> {
        self.next_transmit(false).map(|taken| taken.text.into_owned())
    }

    /// As [`poll_transmit`](Self::poll_transmit), where it lies, and perhaps several in one, which the
    /// peer takes by `handle_joint`.
    pub(crate) fn next_transmit(&mut self, joint: bool) -> Option<Taken<'_>> {
        let taken = self.transmit.pop(joint)?;
        if self.sent.is_on() {
            self.sent.note_handed(&taken.text);
        }
        Some(taken)
    }

    /// Bytes of messages waiting to be sent.
    pub fn transmit_bytes(&self) -> usize {
        self.transmit.bytes()
    }

    /// Messages waiting to be sent.
    pub fn transmit_len(&self) -> usize {
        self.transmit.len()
    }

    /// Whether all that waits to be sent are releases, and not too many.
    pub(crate) fn only_releases(&self) -> bool {
        self.transmit.len() <= RELEASES_WAIT_MAX && self.transmit.only_releases()
    }

    /// Whether the next message to be sent is a new call.
    pub(crate) fn calls_next(&self) -> bool {
        self.transmit.iter().next().is_some_and(|text| text.starts_with(r#"["push""#))
    }

    /// Answers that the peer has asked for and that are not written yet.
    pub fn answers_owed(&self) -> usize {
        self.answers_owed
    }

    /// How many entries the tables hold.
    pub fn stats(&self) -> Stats {
        let released = self.imports.iter().filter(|(_, import)| import.mentions == 0).count();
        Stats { imports: self.imports.len() - released, exports: self.exports.len() }
    }

    /// Nothing is held, waited for or running: what is left are the mains.
    pub fn is_idle(&self) -> bool {
        let Stats { imports, exports } = self.stats();
        let mains = self.exports.get(ExportId::MAIN).map(|main| main.what);
        let of_main = |id| mains == Some(Ref::Promise(id));
        imports <= 1
            && exports <= 1
            && self.imports.len() <= 1
            && self.targets.len() <= 1
            && self.promises.iter().all(|(id, _)| of_main(id))
            && self.gathers.len()
                + self.maps.len()
                + self.waits.len()
                + self.ready.len()
                + self.running
                + self.work.len()
                + self.answers_owed
                == 0
    }

    /// The session has ended.
    pub fn is_closed(&self) -> bool {
        self.closed.is_some()
    }

    /// How the session has ended, if it has.
    pub fn closed(&self) -> Option<&Closed> {
        self.closed.as_ref()
    }

    /// The bounds it was made with.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }
}
