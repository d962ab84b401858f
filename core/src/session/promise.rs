//! Local results: pending, forwarded to another one, or settled. Calls on a pending one wait in
//! its queue in the order in which they came; that queue is what keeps e-order.

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::account::Delivered;
use super::gather::GatherId;
use super::map::Mapping;
use super::{Delivery, Import, ImportState, Path, Ref, Session, Table};
use crate::id::{ExportId, ImportId, PromiseId, TargetId, WaitId};
use crate::value::Payload;
use crate::wire::error_text;

/// Chains of results with more steps are shortened when they are followed.
const CHAIN_MAX: usize = 8;

/// A result: a value, or what a call was rejected with.
pub(super) type Settled = Result<Payload<Ref>, Payload<Ref>>;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Promise {
    #[serde(rename = "h")]
    pub(super) holds: u32,
    /// Somebody waits for it, or did.
    #[serde(rename = "a", default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) awaited: bool,
    /// The push of the peer that it is the result of; 0 for none.
    #[serde(rename = "x", default = "Delivery::unnamed", skip_serializing_if = "is_unnamed")]
    pub(super) push: ExportId,
    #[serde(rename = "s")]
    pub(super) state: PromiseState,
}

fn is_unnamed(push: &ExportId) -> bool {
    *push == Delivery::unnamed()
}

/// Those who wait for one result: hardly ever more than one.
pub(super) type Waiters = SmallVec<[Waiter; 1]>;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum PromiseState {
    #[serde(rename = "pend")]
    Pending {
        /// Handed out as a delivery; a settle is owed.
        #[serde(rename = "r", default, skip_serializing_if = "std::ops::Not::not")]
        running: bool,
        #[serde(rename = "c", default, skip_serializing_if = "Vec::is_empty")]
        calls: Vec<Queued>,
        #[serde(rename = "w", default, skip_serializing_if = "Waiters::is_empty")]
        waiters: Waiters,
        /// Where calls go instead of waiting; held.
        #[serde(rename = "v", default, skip_serializing_if = "Option::is_none")]
        via: Option<TargetId>,
        /// What its delivery counts, from when it is lined up until it is settled.
        #[serde(rename = "b", default, skip_serializing_if = "Delivered::is_nothing")]
        delivered: Delivered,
    },
    /// Whatever that one is or becomes.
    #[serde(rename = "to")]
    Forwarded(Ref),
    #[serde(rename = "is")]
    Settled(Settled),
}

/// A call or a property read on its way to what it is for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Call {
    /// The whole path, as the caller wrote it.
    #[serde(rename = "p", default, skip_serializing_if = "Path::is_empty")]
    pub(super) path: Path,
    /// Steps of it that are done.
    #[serde(rename = "d", default, skip_serializing_if = "is_zero")]
    pub(super) walked: usize,
    /// `None` reads the property.
    #[serde(rename = "a", default, skip_serializing_if = "Option::is_none")]
    pub(super) args: Option<Payload<Ref>>,
    /// The bytes that the arguments take when they are decoded, beside their text.
    #[serde(rename = "n", default, skip_serializing_if = "is_zero")]
    pub(super) decoded: usize,
}

fn is_zero(steps: &usize) -> bool {
    *steps == 0
}

/// What waits for a result in order to be done on it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Queued {
    /// The call, and its own result.
    #[serde(rename = "c")]
    Call(PromiseId, Call),
    /// A map, by its result.
    #[serde(rename = "m")]
    Map(PromiseId),
}

/// Who is told when a result is there.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Waiter {
    /// The peer, by the answer to an export.
    #[serde(rename = "x")]
    Answer(ExportId),
    /// The application.
    #[serde(rename = "w")]
    Wait(WaitId),
    /// A value that needs it as a part.
    #[serde(rename = "g")]
    Gather(GatherId),
    /// A map whose input it is.
    #[serde(rename = "m")]
    Map(PromiseId),
}

/// A consequence of something that has happened. Kept in a queue instead of recursing, so that a
/// long chain of promises costs no stack.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Work {
    /// Do `call` on `on` (held by this entry); its result is `result`.
    Perform { result: PromiseId, on: Ref, call: Call },
    /// Apply the map `result` to `on` (held by this entry).
    Map { result: PromiseId, on: Ref },
    /// Carry the rest of a map out; its result is `result`.
    Elements { result: PromiseId, mapping: Box<Mapping> },
    /// Tell `waiter` of `with` (held by this entry).
    Tell { waiter: Waiter, with: Ref },
}

/// Where following a reference ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Found {
    Target(TargetId),
    /// Something of the peer's that is no promise.
    Stub(ImportId),
    /// A result of the peer's that has not arrived.
    Awaited(ImportId),
    /// A result of ours that has not arrived.
    Pending(PromiseId),
    /// A value that is no capability; it lives in the entry of this reference.
    Value(Ref),
    /// A rejection; it lives in the entry of this reference.
    Failed(Ref),
    /// Nothing: the session has ended.
    Gone,
}

impl Session {
    /// Whether it is a rejection.
    pub(crate) fn has_failed(&self, of: Ref) -> bool {
        matches!(self.follow(of), Found::Failed(_))
    }

    /// Follows forwards and results that are a single reference to where they lead.
    #[inline]
    pub(super) fn follow(&self, of: Ref) -> Found {
        self.trace(of).0
    }

    /// Follows a reference as `follow` does. A long chain is short from then on: every entry of it
    /// leads to its end.
    #[inline]
    pub(super) fn follow_through(&mut self, of: Ref) -> Found {
        let (found, end, steps) = self.trace(of);
        if steps > CHAIN_MAX {
            self.shorten(of, end);
        }
        found
    }

    /// Where a reference leads, the last reference on the way, and how many steps there are to it.
    pub(super) fn trace(&self, mut of: Ref) -> (Found, Ref, usize) {
        let mut steps = 0;
        let found = loop {
            let settled = match of {
                Ref::Target(target) => {
                    break if self.targets.get(target).is_some() { Found::Target(target) } else { Found::Gone };
                }
                Ref::Import(id) => match self.imports.get(id).map(|import| &import.state) {
                    None => break Found::Gone,
                    Some(ImportState::Stub) => break Found::Stub(id),
                    Some(ImportState::Pending { .. }) => break Found::Awaited(id),
                    Some(ImportState::Settled(settled)) => settled,
                },
                Ref::Promise(id) => match self.promises.get(id).map(|promise| &promise.state) {
                    None => break Found::Gone,
                    Some(PromiseState::Pending { .. }) => break Found::Pending(id),
                    Some(&PromiseState::Forwarded(to)) => {
                        of = to;
                        steps += 1;
                        continue;
                    }
                    Some(PromiseState::Settled(settled)) => settled,
                },
            };
            match settled {
                Err(_) => break Found::Failed(of),
                Ok(value) => match value.as_capability() {
                    Some(&to) => of = to,
                    None => break Found::Value(of),
                },
            }
            steps += 1;
        };
        (found, of, steps)
    }

    /// Lets every entry on the way from `of` to `end` lead to `end`.
    #[cold]
    fn shorten(&mut self, mut of: Ref, end: Ref) {
        while let Some(next) = self.leads_to(of).filter(|&next| next != end) {
            self.hold(end);
            match of {
                Ref::Promise(id) => match self.promises.get_mut(id).map(|promise| &mut promise.state) {
                    Some(PromiseState::Forwarded(to)) => *to = end,
                    Some(PromiseState::Settled(settled)) => *settled = Ok(Payload::capability(end)),
                    _ => {}
                },
                Ref::Import(id) => {
                    if let Some(ImportState::Settled(settled)) =
                        self.imports.get_mut(id).map(|import| &mut import.state)
                    {
                        *settled = Ok(Payload::capability(end));
                    }
                }
                Ref::Target(_) => {}
            }
            // If nothing else holds it, it is gone, and so is the way from it.
            self.let_go(next);
            of = next;
        }
    }

    /// What an entry says it is, without looking further.
    pub(super) fn leads_to(&self, of: Ref) -> Option<Ref> {
        match of {
            Ref::Target(_) => None,
            Ref::Promise(id) => match &self.promises.get(id)?.state {
                PromiseState::Pending { .. } => None,
                &PromiseState::Forwarded(to) => Some(to),
                PromiseState::Settled(settled) => settled.as_ref().ok()?.as_capability().copied(),
            },
            Ref::Import(id) => match &self.imports.get(id)?.state {
                ImportState::Stub | ImportState::Pending { .. } => None,
                ImportState::Settled(settled) => settled.as_ref().ok()?.as_capability().copied(),
            },
        }
    }

    /// The result in the entry of `at`, as [`Session::follow`] found it.
    pub(super) fn settled_at(&self, at: Ref) -> Option<&Settled> {
        settled_in(&self.promises, &self.imports, at)
    }

    pub(super) fn settled_at_mut(&mut self, at: Ref) -> Option<&mut Settled> {
        match at {
            Ref::Import(id) => match &mut self.imports.get_mut(id)?.state {
                ImportState::Settled(settled) => Some(settled),
                _ => None,
            },
            Ref::Promise(id) => match &mut self.promises.get_mut(id)?.state {
                PromiseState::Settled(settled) => Some(settled),
                _ => None,
            },
            Ref::Target(_) => None,
        }
    }

    /// A copy of a result that has arrived, its references held.
    pub(super) fn copy_of(&mut self, of: Ref) -> Settled {
        let copy = match self.follow(of) {
            Found::Target(target) => Ok(Payload::capability(Ref::Target(target))),
            Found::Stub(id) => Ok(Payload::capability(Ref::Import(id))),
            Found::Value(at) | Found::Failed(at) => match self.settled_at(at) {
                Some(settled) => settled.clone(),
                None => Err(gone()),
            },
            Found::Awaited(_) | Found::Pending(_) | Found::Gone => Err(gone()),
        };
        let (Ok(payload) | Err(payload)) = &copy;
        for &of in payload.refs() {
            self.hold(of);
        }
        copy
    }

    /// A promise that nothing has happened to.
    pub(super) fn pending(&mut self, holds: u32) -> PromiseId {
        self.insert_promise(
            holds,
            PromiseState::Pending {
                running: false,
                calls: Vec::new(),
                waiters: Waiters::new(),
                via: None,
                delivered: Delivered::default(),
            },
        )
    }

    /// A promise that is settled from the start, held once.
    pub(super) fn settled(&mut self, settled: Settled) -> PromiseId {
        self.account.add(&settled);
        self.insert_promise(1, PromiseState::Settled(settled))
    }

    /// A result that is an error of our own making, held once.
    pub(super) fn rejected(&mut self, name: &str, message: &str) -> Ref {
        Ref::Promise(self.settled(Err(Payload::plain(error_text(name, message)))))
    }

    fn insert_promise(&mut self, holds: u32, state: PromiseState) -> PromiseId {
        let id = PromiseId(self.next.promise);
        self.next.promise += 1;
        self.promises.insert(id, Promise { holds, awaited: false, push: Delivery::unnamed(), state });
        id
    }

    /// Sends the calls that wait for `id`, and later ones, on to `to` until it is settled.
    pub(super) fn redirect_calls(&mut self, id: PromiseId, to: TargetId) {
        self.hold(Ref::Target(to));
        let (waiting, before) = match self.promises.get_mut(id).map(|promise| &mut promise.state) {
            Some(PromiseState::Pending { calls, via, delivered, .. }) => {
                // Its arguments belong to another session now, which counts them.
                self.account.remove(&std::mem::take(delivered));
                (std::mem::take(calls), via.replace(to))
            }
            _ => (Vec::new(), Some(to)),
        };
        before.into_iter().for_each(|before| self.let_go(Ref::Target(before)));
        self.resume(waiting, Ref::Promise(id));
    }

    pub(super) fn is_pending(&self, id: PromiseId) -> bool {
        matches!(self.promises.get(id), Some(Promise { state: PromiseState::Pending { .. }, .. }))
    }

    /// Gives a pending promise its result, whose references it takes over.
    pub(super) fn finish(&mut self, id: PromiseId, settled: Settled) {
        if let Ok(value) = &settled
            && let Some(&to) = value.as_capability()
        {
            return self.forward(id, to);
        }
        self.account.add(&settled);
        let (calls, waiters) = self.replace_state(id, PromiseState::Settled(settled));
        self.resume(calls, Ref::Promise(id));
        for waiter in waiters {
            let with = self.held(Ref::Promise(id));
            self.work.push_back(Work::Tell { waiter, with });
        }
        self.drop_if_unheld(id);
    }

    /// Makes a pending promise be whatever `to` is; takes over the hold on `to`.
    pub(super) fn forward(&mut self, id: PromiseId, to: Ref) {
        if self.follow_through(to) == Found::Pending(id) {
            let error = error_text("TypeError", "Chaining cycle detected: a promise resolves to itself.");
            self.let_go(to);
            return self.finish(id, Err(Payload::plain(error)));
        }
        let (calls, waiters) = self.replace_state(id, PromiseState::Forwarded(to));
        self.resume(calls, to);
        for waiter in waiters {
            self.subscribe(to, waiter);
        }
        self.drop_if_unheld(id);
    }

    /// What waited goes on, in its order.
    fn resume(&mut self, queue: Vec<Queued>, on: Ref) {
        for queued in queue {
            let on = self.held(on);
            self.work.push_back(match queued {
                Queued::Call(result, call) => Work::Perform { result, on, call },
                Queued::Map(result) => Work::Map { result, on },
            });
        }
    }

    fn replace_state(&mut self, id: PromiseId, state: PromiseState) -> (Vec<Queued>, Waiters) {
        match self.promises.get_mut(id).map(|promise| std::mem::replace(&mut promise.state, state)) {
            Some(PromiseState::Pending { calls, waiters, via, delivered, .. }) => {
                self.account.remove(&delivered);
                self.account.remove(&waiters);
                via.into_iter().for_each(|via| self.let_go(Ref::Target(via)));
                (calls, waiters)
            }
            _ => (Vec::new(), Waiters::new()),
        }
    }

    /// A promise that ran to its end after everybody had let go of it.
    fn drop_if_unheld(&mut self, id: PromiseId) {
        if self.promises.get(id).is_some_and(|promise| promise.holds == 0) {
            self.hold(Ref::Promise(id));
            self.let_go(Ref::Promise(id));
        }
    }

    /// Has `waiter` told when `of` is there, which may be at once. Asks the peer for it if need be.
    pub(super) fn subscribe(&mut self, of: Ref, waiter: Waiter) {
        match self.follow_through(of) {
            Found::Pending(id) => {
                if let Some(promise) = self.promises.get_mut(id) {
                    promise.awaited = true;
                    if let PromiseState::Pending { waiters, .. } = &mut promise.state {
                        self.account.add(&waiter);
                        waiters.push(waiter);
                    }
                }
            }
            Found::Awaited(id) => {
                if let Some(ImportState::Pending { pulled, waiters }) =
                    self.imports.get_mut(id).map(|import| &mut import.state)
                {
                    self.account.add(&waiter);
                    waiters.push(waiter);
                    if !std::mem::replace(pulled, true) {
                        self.transmit.push_pull(id);
                    }
                }
            }
            _ => {
                let with = self.held(of);
                self.work.push_back(Work::Tell { waiter, with });
            }
        }
    }

    /// Draws all consequences, or those for which there is time in this slice.
    pub(super) fn run(&mut self) {
        while !self.budget.is_slice_over() {
            let Some(work) = self.work.pop_front() else { break };
            match work {
                Work::Perform { result, on, call } => {
                    self.account.remove(&call);
                    self.perform(result, on, call);
                    self.let_go(on);
                }
                Work::Map { result, on } => {
                    self.apply_map(result, on);
                    self.let_go(on);
                }
                Work::Elements { result, mapping } => {
                    self.account.remove(&*mapping);
                    self.map_elements(result, mapping);
                }
                Work::Tell { waiter, with } => {
                    match waiter {
                        Waiter::Map(result) => self.apply_map(result, with),
                        Waiter::Answer(id) => self.answer(id, with),
                        Waiter::Wait(wait) => self.tell_application(wait, with),
                        Waiter::Gather(id) => self.tell_gather(id, with),
                    }
                    self.let_go(with);
                }
            }
            // What is put off comes before everything that was called later.
            while let Some(put_off) = self.later.pop() {
                self.work.push_front(put_off);
            }
            if let Err(error) = self.check_room() {
                return self.fail(error);
            }
        }
        if self.work.is_empty() {
            self.budget.begin_input();
        }
        self.admit();
    }
}

/// The result in the entry of `at`.
pub(super) fn settled_in<'s>(
    promises: &'s Table<PromiseId, Promise>,
    imports: &'s Table<ImportId, Import>,
    at: Ref,
) -> Option<&'s Settled> {
    match at {
        Ref::Import(id) => match &imports.get(id)?.state {
            ImportState::Settled(settled) => Some(settled),
            _ => None,
        },
        Ref::Promise(id) => match &promises.get(id)?.state {
            PromiseState::Settled(settled) => Some(settled),
            _ => None,
        },
        Ref::Target(_) => None,
    }
}

/// What is left of a reference when its session has ended.
pub(super) fn gone() -> Payload<Ref> {
    Payload::plain(error_text("Error", "RPC session is closed."))
}
