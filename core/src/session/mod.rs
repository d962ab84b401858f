//! The session state machine: tables of ids, counts, and text, without I/O, locks, or a clock.
//! The calling contract is documented on [`Session`]; the messages are those of docs/wire.md.

mod account;
mod answer;
mod audit;
mod budget;
mod call;
mod call_log;
mod close;
mod depth;
mod durable;
mod eval;
mod gather;
mod index;
mod io;
mod kept_references;
mod listing;
mod map;
mod message;
mod outbox;
mod path;
mod promise;
mod reattach;
mod reconcile;
mod recovery;
mod reference;
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
pub use reconcile::{Adjustment, Remembered, Replanned};
pub use recovery::{Report, Revived, Wanted};
pub use snapshot::{Snapshot, SnapshotError};
pub use window::{Sent, Window, units};

use crate::id::{ExportId, ImportId, PromiseId, TargetId, WaitId};
use crate::limits::Limits;
use crate::value::Payload;
use account::{Account, decoded_bytes};
use budget::Budget;
use call_log::SentLog;
use gather::{Gather, GatherId};
use index::Indexes;
use map::Mapper;
use outbox::Outbox;
pub(crate) use outbox::Taken;
use promise::{Promise, Waiter, Work};
use state::{Answer, Counters, Export, Import, ImportState, Rerun, Target, Withheld};
pub(crate) use table::Table;

/// The number of queued releases that may wait to share a write with other messages.
const RELEASES_WAIT_MAX: usize = 1024;

/// One end of a Cap'n Web session.
///
/// A `Session` does no I/O and reads no clock. Its caller moves messages and performs the outputs.
/// There are four kinds of methods:
///
/// - **Inputs** take what the connection brings: [`handle_message`](Self::handle_message),
///   [`handle_invalid`](Self::handle_invalid), and [`handle_disconnect`](Self::handle_disconnect).
/// - **Commands** do what the application wants, such as [`call`](Self::call),
///   [`pull`](Self::pull), [`settle`](Self::settle), and [`close`](Self::close).
/// - **Outputs** are polled: [`poll_output`](Self::poll_output) returns what the application is to
///   do, and [`poll_transmit`](Self::poll_transmit) returns messages to send.
/// - **Getters** such as [`stats`](Self::stats) change nothing.
///
/// After each input or command, poll `poll_output` until it returns `None`, then `poll_transmit`.
/// Performing an output may queue further outputs and messages, so repeat until both return `None`.
/// Outputs and messages must be handled in the order in which they are returned. A session that has
/// ended still returns its remaining outputs and messages, the `abort` for its peer included; its
/// last output is [`Output::Closed`].
///
/// References are counted. A [`Ref`] that a command returns, or that is in an output, counts once
/// and must be released with [`release`](Self::release). Commands do not take over the references
/// in their arguments.
///
/// ```
/// use bowline_core::limits::Limits;
/// use bowline_core::session::{Outcome, Output, Session, Step};
/// use bowline_core::value::Payload;
///
/// /// Performs the outputs of `session`, hands its messages to `peer`, and returns the result of its pull.
/// fn drain(session: &mut Session, peer: &mut Session) -> Option<String> {
///     let mut result = None;
///     loop {
///         while let Some(output) = session.poll_output() {
///             match output {
///                 // A call on the main object. Every delivery must be settled.
///                 Output::Deliver(delivery) => session.settle(delivery.call, Ok(Payload::plain(r#""hello""#))),
///                 Output::Settled { outcome: Outcome::Resolved(value), .. } => result = Some(value.text().to_owned()),
///                 _ => {}
///             }
///         }
///         let Some(message) = session.poll_transmit() else { return result };
///         peer.handle_message(&message);
///     }
/// }
///
/// let (mut client, mut server) = (Session::new(Limits::default(), false), Session::new(Limits::default(), true));
/// let greeting = client.call(client.main(), &[Step::Name("greet".into())], Some(Payload::plain("[]")));
/// client.pull(greeting, &[]);
/// client.release(greeting);
/// assert_eq!(drain(&mut client, &mut server), None);
/// assert_eq!(drain(&mut server, &mut client), None);
/// assert_eq!(drain(&mut client, &mut server).as_deref(), Some(r#""hello""#));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Session {
    limits: Arc<Limits>,
    exports: Table<ExportId, Export>,
    imports: Table<ImportId, Import>,
    promises: Table<PromiseId, Promise>,
    targets: Table<TargetId, Target>,
    gathers: Table<GatherId, Gather>,
    /// Maps whose input has not arrived, by the promise of their result.
    maps: Table<PromiseId, Mapper>,
    /// Waits of the application. Each holds its result once.
    waits: Table<WaitId, Ref>,
    /// Recipes from which another process restores local objects.
    recipes: Table<TargetId, Recipe>,
    /// Deliveries that another process may repeat. Each holds its target once.
    reruns: Table<PromiseId, Rerun>,
    /// References that the application keeps by name for its next process. Each is held once.
    kept: BTreeMap<String, Ref>,
    next: Counters,
    /// Calls that may have to be retransmitted to a recovered server.
    sent: SentLog,
    /// Releases that are withheld until a snapshot covers them.
    withheld: Withheld,
    /// Promises below this id belong to calls that another process received.
    revived_below: i64,
    /// Restored from a snapshot, and the peer has not sent what it holds yet.
    is_unreconciled: bool,
    /// Work that remains to be done. Empty between inputs, unless it exceeds a slice.
    work: VecDeque<Work>,
    /// Work deferred to the next slice, in order. Empty between inputs.
    later: Vec<Work>,
    /// The work done for the current input.
    budget: Budget,
    /// A message is being evaluated; calls in it may be deferred.
    is_evaluating: bool,
    /// Indexes into large values.
    indexes: Indexes,
    /// References to release. Empty between inputs.
    garbage: Vec<Ref>,
    /// Deliveries that wait because `limits.running_calls` are running.
    ready: VecDeque<Delivery>,
    /// Deliveries that were handed out and are not settled.
    running: usize,
    /// Streams that the peer has open toward this side.
    pipes: usize,
    /// Pulled results that have not been sent.
    answers_owed: usize,
    /// Bytes held for the peer.
    account: Account,
    outputs: VecDeque<Output>,
    transmit: Outbox,
    /// Boxed, because most sessions never have it.
    closed: Option<Box<Closed>>,
}

impl Session {
    /// The main object of this side, if there is one.
    pub const MAIN: TargetId = TargetId(0);

    /// Creates a session. Without a main object, the peer's calls on it are rejected.
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

    /// Does work in slices of about a millisecond from now on. After an input,
    /// [`has_work`](Self::has_work) returns `true` until [`resume_work`](Self::resume_work) has
    /// done the rest.
    pub fn work_in_slices(&mut self) {
        self.budget.is_sliced = true;
    }

    /// Returns `true` if work remains that did not fit into a slice. The next message is handled
    /// only after that work is done.
    #[inline]
    pub fn has_work(&self) -> bool {
        !self.work.is_empty()
    }

    /// Does the next slice of the remaining work.
    pub fn resume_work(&mut self) {
        self.budget.begin_slice();
        self.run();
    }

    /// Does all remaining work.
    pub fn finish_work(&mut self) {
        while self.has_work() {
            self.resume_work();
        }
    }

    /// Shrinks the tables and queues to what they contain.
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

    /// Returns the peer's main object, which need not be retained or released.
    pub fn main(&self) -> Ref {
        Ref::Import(ImportId::MAIN)
    }

    /// Calls a function or method with `args`, or reads a property if `args` is `None`. Calls are
    /// made in order. Returns the result, held once. References in `args` remain the caller's.
    pub fn call(&mut self, on: Ref, path: &[Step], args: Option<Payload<Outgoing>>) -> Ref {
        let result = self.invoke_outgoing(on, path, args);
        self.run();
        result
    }

    /// Applies a recorded function to a result, or to each of its elements if it is an array.
    /// `instructions` is the list of expressions of a `remap` message. Returns the result, held
    /// once. References in `captures` remain the caller's.
    pub fn map(&mut self, on: Ref, path: &[Step], captures: &[Outgoing], instructions: String) -> Ref {
        let result = self.map_outgoing(on, path, captures, instructions);
        self.run();
        result
    }

    /// Waits for a result and for every promise in it. Ends in exactly one [`Output::Settled`],
    /// unless [`forget`](Self::forget) is called first.
    pub fn pull(&mut self, of: Ref, path: &[Step]) -> WaitId {
        let wait = WaitId(self.next.wait);
        self.next.wait += 1;
        if let Some(closed) = self.closed.as_deref() {
            self.outputs.push_back(Output::Settled { wait, outcome: Outcome::Lost(closed.clone()) });
            return wait;
        }
        let result = if path.is_empty() { self.held(of) } else { self.invoke_outgoing(of, path, None) };
        self.waits.insert(wait, result);
        self.subscribe(result, Waiter::Wait(wait));
        self.run();
        wait
    }

    /// Cancels a wait. There will be no [`Output::Settled`] for it.
    pub fn forget(&mut self, wait: WaitId) {
        if let Some(result) = self.waits.remove(wait) {
            self.release(result);
        }
    }

    /// Creates a local object, held once.
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

    /// Creates a local promise, held once. It must be settled once with [`settle`](Self::settle).
    pub fn new_promise(&mut self) -> PromiseId {
        self.pending(1)
    }

    /// Settles a delivery or a local promise; `Err` rejects it. References in `result` remain the
    /// caller's. Does nothing if `call` is settled already.
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

    /// Settles a delivery with what the rest of its path leads to. The first `walked` steps of
    /// `path` led to `value`. The session walks the rest from there, and calls what it finds if
    /// `args` is `Some`.
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

    /// Delivers calls on the result of `call` to `to` until `call` is settled, those that are
    /// already waiting first. A proxy that forwarded `call` uses this to forward pipelined calls
    /// before the result arrives: `to` stands for the result at the other end.
    pub fn redirect(&mut self, call: PromiseId, to: TargetId) {
        self.redirect_calls(call, to);
        self.run();
    }

    /// Returns what `of` is on the wire.
    pub fn kind(&self, of: Ref) -> Kind {
        match of {
            Ref::Target(id) => self.targets.get(id).map_or(Kind::Object, |target| target.kind),
            Ref::Import(id) if self.imports.get(id).is_some_and(|import| import.writable) => Kind::Writable,
            _ => Kind::Object,
        }
    }

    /// Increments the reference count of `of`.
    pub fn retain(&mut self, of: Ref) {
        self.hold(of);
    }

    /// Decrements the reference count of `of`.
    pub fn release(&mut self, of: Ref) {
        self.let_go(of);
        self.admit();
    }

    /// Returns the next thing for the caller to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Returns `true` if an output is queued.
    pub(crate) fn has_output(&self) -> bool {
        !self.outputs.is_empty()
    }

    /// Returns the next message to send.
    pub fn poll_transmit(&mut self) -> Option<String> {
        self.next_transmit(false).map(|taken| taken.text.into_owned())
    }

    /// Returns the next message to send, borrowed if it is complete in its buffer. If `joint`, the
    /// text may join several messages, which the peer reads with `handle_joint`.
    pub(crate) fn next_transmit(&mut self, joint: bool) -> Option<Taken<'_>> {
        let taken = self.transmit.pop(joint)?;
        if self.sent.is_on() {
            self.sent.note_handed(&taken.text);
        }
        Some(taken)
    }

    /// Returns the number of bytes in messages that wait to be sent.
    pub fn transmit_bytes(&self) -> usize {
        self.transmit.bytes()
    }

    /// Returns the number of messages that wait to be sent.
    pub fn transmit_len(&self) -> usize {
        self.transmit.len()
    }

    /// Returns `true` if only releases wait to be sent, and few enough of them to wait longer.
    pub(crate) fn only_releases(&self) -> bool {
        self.transmit.len() <= RELEASES_WAIT_MAX && self.transmit.only_releases()
    }

    /// Returns `true` if the next message to send is a new call.
    pub(crate) fn calls_next(&self) -> bool {
        self.transmit.iter().next().is_some_and(|text| text.starts_with(r#"["push""#))
    }

    /// Returns the number of results that the peer has pulled and that have not been sent.
    pub fn answers_owed(&self) -> usize {
        self.answers_owed
    }

    /// Returns the sizes of the tables.
    pub fn stats(&self) -> Stats {
        let released = self.imports.iter().filter(|(_, import)| import.mentions == 0).count();
        Stats { imports: self.imports.len() - released, exports: self.exports.len() }
    }

    /// Returns `true` if nothing is held, awaited, or running apart from the main objects.
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

    /// Returns `true` if the session has ended.
    pub fn is_closed(&self) -> bool {
        self.closed.is_some()
    }

    /// Returns why the session ended, if it has.
    pub fn closed(&self) -> Option<&Closed> {
        self.closed.as_deref()
    }

    /// Returns the limits of the session.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }
}
