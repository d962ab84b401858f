//! Gathering the parts of a value: promises in arguments are awaited before a method is called, and
//! promises in results before the application receives them. Each is replaced by the text of its
//! result.

use std::collections::BTreeSet;

use smallvec::{SmallVec, smallvec};

use crate::id::WaitId;
use crate::session::calls::depth::{is_deeper, may_be_deeper};
use crate::session::state::account::decoded_bytes;
use crate::session::state::gathers::{Gather, GatherId, Then};
use crate::session::state::promises::{Found, Settled, Waiter, gone, payload_of};
use crate::session::state::table::Key;
use crate::session::state::{Outcome, Output, Ref, Session};
use crate::value::{Payload, PayloadBuilder};
use crate::wire::{WireError, error_text};

/// The cost of finding a part, in addition to the bytes that are copied.
const PART_BYTES: usize = 128;

/// The bytes that arguments take decoded, in which as many values are as are counted while one byte is read.
const DECODED_PER_READ: usize = 8;

/// Parts of a value; usually one.
type Parts = SmallVec<[Ref; 1]>;

impl Session {
    /// Completes `then` once `value` contains no unsettled promise, or once one is rejected. Takes
    /// over the references of `value`. Nothing is copied before all parts have arrived.
    pub(in crate::session) fn gather(&mut self, value: Payload<Ref>, mut then: Then) {
        let mut is_whole = true;
        for &of in value.refs() {
            is_whole &= self.follow_through(of).is_named_by(of);
        }
        if is_whole {
            return self.complete(then, Ok(value));
        }
        let missing = match self.survey(value.refs()) {
            Ok(missing) => missing,
            Err(reason) => {
                self.let_go_all(value);
                return self.complete(then, Err(reason));
            }
        };
        if !missing.is_empty() {
            return self.wait_for_parts(Gather { value, missing: missing.len(), then }, missing);
        }
        let mut whole = self.put_in_parts(&value);
        if let (Ok(args), Then::Deliver { decoded, .. }) = (&whole, &mut then) {
            *decoded = decoded_bytes(args, usize::MAX);
            if let Err(reason) = self.check_arguments(args, *decoded) {
                whole = Err(reason);
            }
        }
        if let Ok(whole) = &whole {
            whole.refs().iter().for_each(|&of| self.hold(of));
        }
        self.let_go_all(value);
        self.complete(then, whole);
    }

    /// Searches parts of a value, and recursively their parts, each once. Returns those that have
    /// not arrived.
    ///
    /// # Errors
    /// The first part that was rejected, even if others have not arrived.
    fn survey(&mut self, refs: &[Ref]) -> Result<Parts, Payload<Ref>> {
        if let &[of] = refs {
            // The common case, which needs no search: a single part without parts of its own.
            let (found, end, steps) = self.trace(of);
            let has_parts = |part: &Settled| part.as_ref().is_ok_and(|part| !part.refs().is_empty());
            if !matches!(found, Found::Value(at) if self.settled_at(at).is_some_and(has_parts)) {
                self.budget.read((1 + steps) * size_of::<Ref>(), &self.limits).map_err(payload_of)?;
                return match found {
                    Found::Pending(_) | Found::Awaited(_) => Ok(smallvec![end]),
                    Found::Failed(_) | Found::Gone => Err(self.copy_for_peer(end).err().unwrap_or_else(gone)),
                    Found::Target(_) | Found::Stub(_) | Found::Value(_) => Ok(Parts::new()),
                };
            }
        }
        let mut missing = Parts::new();
        let mut seen = BTreeSet::new();
        let mut open: SmallVec<[std::slice::Iter<'_, Ref>; 2]> = smallvec![refs.iter()];
        let (mut followed, left) = (0, self.budget.left(&self.limits));
        let failed = loop {
            let Some(refs) = open.last_mut() else { break None };
            let Some(&of) = refs.next() else {
                open.pop();
                continue;
            };
            let (found, end, steps) = self.trace(of);
            followed += (1 + steps) * size_of::<Ref>();
            match found {
                Found::Target(_) | Found::Stub(_) => {}
                Found::Failed(_) | Found::Gone => break Some(end),
                Found::Pending(_) | Found::Awaited(_) if seen.insert(end) => missing.push(end),
                Found::Value(_) if seen.insert(end) => {
                    open.extend(self.settled_at(end).and_then(|part| Some(part.as_ref().ok()?.refs().iter())));
                }
                Found::Pending(_) | Found::Awaited(_) | Found::Value(_) => {}
            }
            if open.len() > self.limits.value_depth + 1 {
                return Err(self.too_many_parts());
            }
            if followed > left {
                break None;
            }
        };
        drop(open);
        self.budget.read(followed, &self.limits).map_err(payload_of)?;
        match failed {
            Some(at) => Err(self.copy_for_peer(at).err().unwrap_or_else(gone)),
            None => Ok(missing),
        }
    }

    fn wait_for_parts(&mut self, gather: Gather, missing: Parts) {
        let id = GatherId::of(self.next.gather);
        self.next.gather += 1;
        self.account.add(&gather);
        self.gathers.insert(id, gather);
        for part in missing {
            self.subscribe(part, Waiter::Gather(id));
        }
    }

    /// Handles the arrival of a part.
    pub(in crate::session) fn complete_part(&mut self, id: GatherId, part: Ref) {
        let failed = matches!(self.follow_through(part), Found::Failed(_) | Found::Gone);
        let Some(gather) = self.gathers.get_mut(id) else { return };
        gather.missing -= 1;
        let is_whole = gather.missing == 0;
        let failure = match failed {
            true => Some(self.copy_for_peer(part).err().unwrap_or_else(gone)),
            false if is_whole => None,
            false => match self.await_parts_of(id, part) {
                Ok(()) => return,
                Err(reason) => Some(reason),
            },
        };
        let Some(gather) = self.gathers.remove(id) else { return };
        self.account.remove(&gather);
        match failure {
            Some(reason) => {
                self.let_go_all(gather.value);
                self.complete(gather.then, Err(reason));
            }
            None => self.gather(gather.value, gather.then),
        }
    }

    /// Adds the parts of a part that has arrived to those that are awaited. So the first of them to
    /// be rejected rejects the whole value, even if others have not arrived.
    ///
    /// # Errors
    /// The reason of a part that was rejected.
    fn await_parts_of(&mut self, id: GatherId, part: Ref) -> Result<(), Payload<Ref>> {
        let Found::Value(at) = self.follow(part) else { return Ok(()) };
        let refs = self.settled_at(at).and_then(|part| Some(part.as_ref().ok()?.refs().to_vec())).unwrap_or_default();
        if refs.is_empty() {
            return Ok(());
        }
        let missing = self.survey(&refs)?;
        if let Some(gather) = self.gathers.get_mut(id) {
            gather.missing += missing.len();
        }
        missing.into_iter().for_each(|part| self.subscribe(part, Waiter::Gather(id)));
        Ok(())
    }

    /// Returns a copy of a value in which every promise is replaced by its result, recursively. The
    /// references in it are not held yet.
    fn put_in_parts(&mut self, value: &Payload<Ref>) -> Result<Payload<Ref>, Payload<Ref>> {
        let mut whole = PayloadBuilder::with_capacity(value.text_len());
        let mut open: SmallVec<[_; 2]> = smallvec![value.segments()];
        let mut copied = 0;
        let left = self.budget.copies_left(&self.limits);
        while let Some(segments) = open.last_mut() {
            let Some((json, of)) = segments.next() else {
                open.pop();
                continue;
            };
            whole.push_json(json);
            copied += json.len();
            if let Some(&of) = of {
                let (found, _, steps) = self.trace(of);
                copied += (1 + steps) * PART_BYTES;
                match found {
                    Found::Target(target) => whole.push_capability(Ref::Target(target)),
                    Found::Stub(id) => whole.push_capability(Ref::Import(id)),
                    Found::Value(at) => match self.settled_at(at) {
                        Some(Ok(part)) => open.push(part.segments()),
                        _ => return Err(gone()),
                    },
                    _ => return Err(gone()),
                }
            }
            if open.len() > self.limits.value_depth + 1 {
                return Err(self.too_many_parts());
            }
            // Parts that contain one another twice double the text with every level.
            if whole.text_len() > self.limits.message_bytes {
                return Err(payload_of(WireError::limit("bytes of a value", self.limits.message_bytes)));
            }
            if copied > left {
                break;
            }
        }
        drop(open);
        self.budget.copy(copied, &self.limits).map_err(payload_of)?;
        whole.finish().map_err(|mismatch| Payload::plain(error_text("Error", &mismatch.to_string())))
    }

    /// Checks arguments whose parts are in their places, and which take `decoded` bytes when they are decoded.
    /// Results for the application are checked when they are decoded.
    fn check_arguments(&mut self, args: &Payload<Ref>, decoded: usize) -> Result<(), Payload<Ref>> {
        // The values were counted, which takes as long as reading some bytes for each.
        self.budget.read(decoded / DECODED_PER_READ, &self.limits).map_err(payload_of)?;
        if !may_be_deeper(args.text(), self.limits.value_depth) {
            return Ok(());
        }
        self.budget.copy(args.text_len(), &self.limits).map_err(payload_of)?;
        if is_deeper(args, self.limits.value_depth) { Err(self.too_deep()) } else { Ok(()) }
    }

    fn too_many_parts(&self) -> Payload<Ref> {
        payload_of(WireError::limit("promises inside of promises", self.limits.value_depth))
    }

    fn complete(&mut self, then: Then, value: Result<Payload<Ref>, Payload<Ref>>) {
        match (then, value) {
            (Then::Deliver { result, target, path, decoded }, Ok(args)) => {
                self.enter(result, target, path, Some(args), decoded);
            }
            (Then::Deliver { result, target, .. }, Err(reason)) => {
                self.let_go(Ref::Target(target));
                self.finish(result, Err(reason));
            }
            (Then::Wait(wait), value) => self.end_wait(wait, value),
        }
    }

    /// Handles the arrival of a result that the application waits for. Its parts may still be
    /// missing.
    pub(in crate::session) fn complete_wait(&mut self, wait: WaitId, with: Ref) {
        if self.waits.get(wait).is_none() {
            return;
        }
        match self.copy_of(with) {
            Ok(value) => self.gather(value, Then::Wait(wait)),
            Err(reason) => self.end_wait(wait, Err(reason)),
        }
    }

    fn end_wait(&mut self, wait: WaitId, value: Result<Payload<Ref>, Payload<Ref>>) {
        let Some(result) = self.waits.remove(wait) else {
            let (Ok(payload) | Err(payload)) = value;
            return self.let_go_all(payload);
        };
        let outcome = match value {
            Ok(value) => Outcome::Resolved(value),
            Err(reason) => Outcome::Rejected(reason),
        };
        self.outputs.push_back(Output::Settled { wait, outcome });
        self.let_go(result);
    }
}
