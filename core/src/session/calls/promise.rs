//! Local promises: pending, forwarded, or settled. Calls on a pending promise wait in its queue, in
//! the order in which they were made; this preserves e-order.

use crate::id::{PromiseId, TargetId};
use crate::session::state::account::Delivered;
use crate::session::state::promises::{
    Found, Promise, PromiseState, Queued, Settled, Waiter, Waiters, Work, settled_in,
};
use crate::session::state::{Delivery, ImportState, Ref, Session};
use crate::value::Payload;
use crate::wire::error_text;

/// Longer chains of promises are shortened when they are followed.
const CHAIN_MAX: usize = 8;

impl Session {
    /// Returns `true` if `of` is a rejection.
    pub(crate) fn has_failed(&self, of: Ref) -> bool {
        matches!(self.follow(of), Found::Failed(_))
    }

    /// Follows forwarded promises, and results that are a single reference.
    #[inline]
    pub(in crate::session) fn follow(&self, of: Ref) -> Found {
        self.trace(of).0
    }

    /// Follows a reference like `follow`, and shortens a long chain: every entry of it then leads
    /// to its end.
    #[inline]
    pub(in crate::session) fn follow_through(&mut self, of: Ref) -> Found {
        let (found, end, steps) = self.trace(of);
        if steps > CHAIN_MAX {
            self.shorten(of, end);
        }
        found
    }

    /// Returns what a reference leads to, the last reference of the chain, and the number of steps.
    pub(in crate::session) fn trace(&self, mut of: Ref) -> (Found, Ref, usize) {
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

    /// Makes every entry of the chain from `of` lead to `end` directly.
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
            // If this was the last hold, the entry of `next` is dropped, and the loop ends.
            self.let_go(next);
            of = next;
        }
    }

    /// Returns the reference that an entry leads to, one step further.
    pub(in crate::session) fn leads_to(&self, of: Ref) -> Option<Ref> {
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

    /// Returns the result in the entry that [`Session::follow`] returned.
    pub(in crate::session) fn settled_at(&self, at: Ref) -> Option<&Settled> {
        settled_in(&self.promises, &self.imports, at)
    }

    pub(in crate::session) fn settled_at_mut(&mut self, at: Ref) -> Option<&mut Settled> {
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

    /// Creates a pending promise.
    pub(in crate::session) fn pending(&mut self, holds: u32) -> PromiseId {
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

    /// Creates a settled promise, held once.
    pub(in crate::session) fn settled(&mut self, settled: Settled) -> PromiseId {
        self.account.add(&settled);
        self.insert_promise(1, PromiseState::Settled(settled))
    }

    /// Creates a promise that is rejected with an error of this side, held once.
    pub(in crate::session) fn rejected(&mut self, name: &str, message: &str) -> Ref {
        Ref::Promise(self.settled(Err(Payload::plain(error_text(name, message)))))
    }

    fn insert_promise(&mut self, holds: u32, state: PromiseState) -> PromiseId {
        let id = PromiseId(self.next.promise);
        self.next.promise += 1;
        self.promises.insert(id, Promise { holds, awaited: false, push: Delivery::unnamed(), state });
        id
    }

    /// Redirects calls on `id`, queued and future ones, to `to` until it is settled.
    pub(in crate::session) fn redirect_calls(&mut self, id: PromiseId, to: TargetId) {
        self.hold(Ref::Target(to));
        let (waiting, before) = match self.promises.get_mut(id).map(|promise| &mut promise.state) {
            Some(PromiseState::Pending { calls, via, delivered, .. }) => {
                // The arguments now belong to the session that the call was forwarded to, which
                // counts them.
                self.account.remove(&std::mem::take(delivered));
                (std::mem::take(calls), via.replace(to))
            }
            _ => (Vec::new(), Some(to)),
        };
        before.into_iter().for_each(|before| self.let_go(Ref::Target(before)));
        self.resume(waiting, Ref::Promise(id));
    }

    pub(in crate::session) fn is_pending(&self, id: PromiseId) -> bool {
        matches!(self.promises.get(id), Some(Promise { state: PromiseState::Pending { .. }, .. }))
    }

    /// Settles a pending promise. Takes over the references in its result.
    pub(in crate::session) fn finish(&mut self, id: PromiseId, settled: Settled) {
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
            self.work.push_back(Work::Notify { waiter, with });
        }
        self.drop_if_unheld(id);
    }

    /// Forwards a pending promise to `to`. Takes over one hold of `to`.
    pub(in crate::session) fn forward(&mut self, id: PromiseId, to: Ref) {
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

    /// Turns queued operations into work, in their order.
    fn resume(&mut self, queue: Vec<Queued>, on: Ref) {
        if queue.is_empty() {
            return;
        }
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

    /// Drops a promise that was settled after its last reference was released.
    fn drop_if_unheld(&mut self, id: PromiseId) {
        if self.promises.get(id).is_some_and(|promise| promise.holds == 0) {
            self.hold(Ref::Promise(id));
            self.let_go(Ref::Promise(id));
        }
    }

    /// Registers a waiter for `of`, and pulls it from the peer if needed. May add work at once.
    pub(in crate::session) fn subscribe(&mut self, of: Ref, waiter: Waiter) {
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
                self.work.push_back(Work::Notify { waiter, with });
            }
        }
    }

    /// Does the queued work, or as much of it as fits into this slice.
    pub(in crate::session) fn run(&mut self) {
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
                Work::Notify { waiter, with } => {
                    match waiter {
                        Waiter::Map(result) => self.apply_map(result, with),
                        Waiter::Answer(id) => self.answer(id, with),
                        Waiter::Wait(wait) => self.complete_wait(wait, with),
                        Waiter::Gather(id) => self.complete_part(id, with),
                    }
                    self.let_go(with);
                }
            }
            // Deferred work goes first: everything else in the queue was called later.
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
