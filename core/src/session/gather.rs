//! Waiting for the parts of a value: arguments before a method is entered, results before the
//! application sees them. Promises are replaced by what they became, text for text.

use serde::{Deserialize, Serialize};

use super::promise::{Found, Waiter, gone};
use super::table::Key;
use super::{Outcome, Output, Path, Ref, Session};
use crate::id::{PromiseId, TargetId, WaitId};
use crate::value::{Payload, PayloadBuilder};
use crate::wire::error_text;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct GatherId(i64);

impl GatherId {
    pub(super) fn number(self) -> i64 {
        self.0
    }
}

impl Key for GatherId {
    fn number(self) -> i64 {
        self.0
    }
    fn of(number: i64) -> Self {
        Self(number)
    }
}

/// A value with parts that have not arrived.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Gather {
    #[serde(rename = "v")]
    pub(super) value: Payload<Ref>,
    /// Parts still to come.
    #[serde(rename = "m")]
    pub(super) missing: usize,
    /// How often parts have been put in; a part may have parts of its own.
    #[serde(rename = "r")]
    pub(super) rounds: usize,
    #[serde(rename = "n")]
    pub(super) then: Then,
}

/// What the whole value is for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Then {
    /// Arguments of a call on a local object, which is held.
    #[serde(rename = "d")]
    Deliver { result: PromiseId, target: TargetId, path: Path },
    /// A result for the application.
    #[serde(rename = "w")]
    Wait(WaitId),
}

impl Session {
    /// Takes over the references of `value`, and goes on with `then` once no promise is left in it.
    pub(super) fn gather(&mut self, value: Payload<Ref>, then: Then) {
        self.gather_round(value, 0, then);
    }

    fn gather_round(&mut self, mut value: Payload<Ref>, mut rounds: usize, then: Then) {
        loop {
            if value.refs().iter().all(|&of| self.is_final(of)) {
                return self.complete(then, Ok(value));
            }
            let missing = value.refs().iter().filter(|&&of| self.is_missing(of)).count();
            if missing > 0 {
                return self.wait_for_parts(Gather { value, missing, rounds, then });
            }
            if rounds == self.limits.value_depth {
                self.let_go_all(value);
                let message = format!("limit: promises inside of promises (at most {rounds})");
                return self.complete(then, Err(Payload::plain(error_text("RangeError", &message))));
            }
            rounds += 1;
            match self.put_in_parts(value) {
                Ok(whole) => value = whole,
                Err(reason) => return self.complete(then, Err(reason)),
            }
        }
    }

    /// A capability named by its own reference, as an application may get it.
    fn is_final(&self, of: Ref) -> bool {
        match self.follow(of) {
            Found::Target(target) => of == Ref::Target(target),
            Found::Stub(id) => of == Ref::Import(id),
            _ => false,
        }
    }

    fn is_missing(&self, of: Ref) -> bool {
        matches!(self.follow(of), Found::Pending(_) | Found::Awaited(_))
    }

    fn wait_for_parts(&mut self, gather: Gather) {
        let id = GatherId(self.next.gather);
        self.next.gather += 1;
        self.held_bytes += gather.value.text_len();
        let parts: Vec<Ref> = gather.value.refs().iter().copied().filter(|&of| self.is_missing(of)).collect();
        self.gathers.insert(id, gather);
        for part in parts {
            self.subscribe(part, Waiter::Gather(id));
        }
    }

    /// A part of a value is there.
    pub(super) fn tell_gather(&mut self, id: GatherId, part: Ref) {
        let failed = matches!(self.follow(part), Found::Failed(_) | Found::Gone);
        let Some(gather) = self.gathers.get_mut(id) else { return };
        gather.missing -= 1;
        if gather.missing > 0 && !failed {
            return;
        }
        let Some(gather) = self.gathers.remove(id) else { return };
        self.held_bytes -= gather.value.text_len();
        if failed {
            let reason = self.copy_of(part).err().unwrap_or_else(gone);
            self.let_go_all(gather.value);
            return self.complete(gather.then, Err(reason));
        }
        self.gather_round(gather.value, gather.rounds, gather.then);
    }

    /// Replaces every part that has arrived. The references of `value` are given back, those of
    /// the outcome are held.
    fn put_in_parts(&mut self, value: Payload<Ref>) -> Result<Payload<Ref>, Payload<Ref>> {
        let mut whole = PayloadBuilder::with_capacity(value.text_len());
        let mut failure = None;
        for (json, of) in value.segments() {
            whole.push_json(json);
            let Some(&of) = of else { break };
            match self.copy_of(of) {
                Ok(part) => whole.push_payload(part),
                Err(reason) => {
                    failure = Some(reason);
                    break;
                }
            }
            // Parts that hold one another double the text with every level.
            if whole.text_len() > self.limits.message_bytes {
                let message = format!("limit: bytes of a value (at most {})", self.limits.message_bytes);
                failure = Some(Payload::plain(error_text("RangeError", &message)));
                break;
            }
        }
        self.let_go_all(value);
        match failure {
            None => whole.finish().map_err(|mismatch| Payload::plain(error_text("Error", &mismatch.to_string()))),
            Some(reason) => {
                whole.into_refs().into_iter().for_each(|of| self.let_go(of));
                Err(reason)
            }
        }
    }

    fn complete(&mut self, then: Then, value: Result<Payload<Ref>, Payload<Ref>>) {
        match (then, value) {
            (Then::Deliver { result, target, path }, Ok(args)) => self.enter(result, target, path, Some(args)),
            (Then::Deliver { result, target, .. }, Err(reason)) => {
                self.let_go(Ref::Target(target));
                self.finish(result, Err(reason));
            }
            (Then::Wait(wait), value) => self.end_wait(wait, value),
        }
    }

    /// What the application waits for has arrived; its parts may not have.
    pub(super) fn tell_application(&mut self, wait: WaitId, with: Ref) {
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
