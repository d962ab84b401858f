//! Local promises and what waits for them, as data.

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::account::Delivered;
use super::gathers::GatherId;
use super::maps::Mapping;
use super::{Delivery, Import, ImportState, Path, Ref, Table};
use crate::id::{ExportId, ImportId, PromiseId, TargetId, WaitId};
use crate::value::Payload;
use crate::wire::{WireError, error_text};

/// The result of a call: a value, or the reason of a rejection.
pub(crate) type Settled = Result<Payload<Ref>, Payload<Ref>>;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Promise {
    #[serde(rename = "h")]
    pub(crate) holds: u32,
    /// A waiter has been registered, now or earlier.
    #[serde(rename = "a", default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) awaited: bool,
    /// The id of the peer's push that this is the result of; 0 if there is none.
    #[serde(rename = "x", default = "Delivery::unnamed", skip_serializing_if = "is_unnamed")]
    pub(crate) push: ExportId,
    #[serde(rename = "s")]
    pub(crate) state: PromiseState,
}

fn is_unnamed(push: &ExportId) -> bool {
    *push == Delivery::unnamed()
}

/// The waiters for one result; rarely more than one.
pub(crate) type Waiters = SmallVec<[Waiter; 1]>;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum PromiseState {
    #[serde(rename = "pend")]
    Pending {
        /// Handed out as a delivery, and not settled yet.
        #[serde(rename = "r", default, skip_serializing_if = "std::ops::Not::not")]
        running: bool,
        #[serde(rename = "c", default, skip_serializing_if = "Vec::is_empty")]
        calls: Vec<Queued>,
        #[serde(rename = "w", default, skip_serializing_if = "Waiters::is_empty")]
        waiters: Waiters,
        /// The target to which calls are redirected instead of queued; held.
        #[serde(rename = "v", default, skip_serializing_if = "Option::is_none")]
        via: Option<TargetId>,
        /// The bytes counted for its delivery, from when that is queued until it is settled.
        #[serde(rename = "b", default, skip_serializing_if = "Delivered::is_nothing")]
        delivered: Delivered,
    },
    /// Has the same result as this reference.
    #[serde(rename = "to")]
    Forwarded(Ref),
    #[serde(rename = "is")]
    Settled(Settled),
}

/// A call or a property read that has not reached its target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Call {
    /// The whole path, as the caller wrote it.
    #[serde(rename = "p", default, skip_serializing_if = "Path::is_empty")]
    pub(crate) path: Path,
    /// The number of steps that were walked.
    #[serde(rename = "d", default, skip_serializing_if = "is_zero")]
    pub(crate) walked: usize,
    /// `None` reads the property.
    #[serde(rename = "a", default, skip_serializing_if = "Option::is_none")]
    pub(crate) args: Option<Payload<Ref>>,
    /// The bytes that the decoded arguments take, in addition to their text.
    #[serde(rename = "n", default, skip_serializing_if = "is_zero")]
    pub(crate) decoded: usize,
}

fn is_zero(steps: &usize) -> bool {
    *steps == 0
}

/// An operation that waits for a result in order to be performed on it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Queued {
    /// A call, with the promise of its result.
    #[serde(rename = "c")]
    Call(PromiseId, Call),
    /// A map, by the promise of its result.
    #[serde(rename = "m")]
    Map(PromiseId),
}

/// The receiver of a result.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Waiter {
    /// The peer, in the answer to an export.
    #[serde(rename = "x")]
    Answer(ExportId),
    /// The application.
    #[serde(rename = "w")]
    Wait(WaitId),
    /// A value that contains the result as a part.
    #[serde(rename = "g")]
    Gather(GatherId),
    /// A map that takes the result as input.
    #[serde(rename = "m")]
    Map(PromiseId),
}

/// Work that follows from an input. It is queued instead of done recursively, so that long chains
/// of promises do not exhaust the stack.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Work {
    /// Perform `call` on `on` (held by this entry) and settle `result`.
    Perform { result: PromiseId, on: Ref, call: Call },
    /// Apply the map `result` to `on` (held by this entry).
    Map { result: PromiseId, on: Ref },
    /// Map the remaining elements and settle `result`.
    Elements { result: PromiseId, mapping: Box<Mapping> },
    /// Pass `with` (held by this entry) to `waiter`.
    Notify { waiter: Waiter, with: Ref },
}

/// What a reference leads to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Found {
    Target(TargetId),
    /// An object of the peer.
    Stub(ImportId),
    /// A result of the peer that has not arrived.
    Awaited(ImportId),
    /// A local promise that is not settled.
    Pending(PromiseId),
    /// A value that is not a capability; it is in the entry of this reference.
    Value(Ref),
    /// A rejection; its reason is in the entry of this reference.
    Failed(Ref),
    /// Nothing: the session has ended.
    Gone,
}

impl Found {
    /// Returns `true` if it is a capability under its own reference `of`, which needs no replacement.
    pub(crate) fn is_named_by(self, of: Ref) -> bool {
        match self {
            Self::Target(target) => of == Ref::Target(target),
            Self::Stub(id) => of == Ref::Import(id),
            _ => false,
        }
    }
}

/// Returns the result in the entry of `at`.
pub(crate) fn settled_in<'s>(
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

/// The error of references whose session has ended.
pub(crate) fn gone() -> Payload<Ref> {
    Payload::plain(error_text("Error", "RPC session is closed."))
}

/// Converts an error into the reason of a rejection.
pub(crate) fn payload_of(error: WireError) -> Payload<Ref> {
    Payload::plain(error_text(error.name, &error.message))
}
