//! The session state machine: tables of ids, counts, and text, without I/O, locks, or a clock.
//! The calling contract is documented on [`Session`]; the messages are those of docs/wire.md.

mod calls;
mod messages;
mod recovery;
mod state;

pub use calls::listing::{Entry, EntryState};
pub use calls::window::{Sent, Window, units};
pub use recovery::reconcile::{Adjustment, Remembered, Replanned};
pub use recovery::revive::{Report, Revived, Wanted};
pub use recovery::snapshot::{Snapshot, SnapshotError};
pub use state::{
    CloseCause, CloseReason, ClosedBy, Delivery, Kind, Name, Outcome, Outgoing, Output, Path, Recipe, Ref, Session,
    SessionStats, Step,
};

pub(crate) use state::Table;
pub(crate) use state::outbox::{MessageKind, Taken};

use crate::id::{ExportId, ImportId, PromiseId, TargetId, WaitId};
use crate::limits::Limits;
use crate::value::Payload;
use state::Target;
use state::account::decoded_bytes;
use state::promises::{Call, Waiter, Work};

/// The number of queued releases that may wait to share a write with other messages.
const RELEASES_WAIT_MAX: usize = 1024;

impl Session {
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

    /// Returns `true` if the last input took about a millisecond or more, so that the next ones may, too.
    #[inline]
    pub(crate) fn is_expensive(&self) -> bool {
        self.budget.is_expensive()
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
        let rest = Call { path, walked, args, decoded };
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
        if self.recovery.sent.is_on() && taken.kind.creates_import() {
            self.recovery.sent.note_transmitted();
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
        self.transmit.next_kind() == Some(MessageKind::Call)
    }

    /// Returns the number of results that the peer has pulled and that have not been sent.
    pub fn answers_owed(&self) -> usize {
        self.answers_owed
    }

    /// Returns the sizes of the tables.
    pub fn stats(&self) -> SessionStats {
        let released = self.imports.iter().filter(|(_, import)| import.mentions == 0).count();
        SessionStats { imports: self.imports.len() - released, exports: self.exports.len() }
    }

    /// Returns `true` if nothing is held, awaited, or running apart from the main objects.
    pub fn is_idle(&self) -> bool {
        let SessionStats { imports, exports } = self.stats();
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
    pub fn closed(&self) -> Option<&CloseReason> {
        self.closed.as_deref()
    }

    /// Returns the limits of the session.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }
}
