//! The entries of a session's tables, as in memory and in snapshots. Field names in snapshots are
//! part of the stored format.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::promise::{Settled, Waiters};
use super::{Kind, Path, Ref};
use crate::id::{ImportId, TargetId};
use crate::value::Payload;

/// The next id of each kind. Ids only move away from 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Counters {
    /// The next id of an object that this side exports; negative.
    pub(super) export: i64,
    /// The id of the peer's next push. Both sides count it.
    pub(super) answer: i64,
    /// The id of this side's next push.
    pub(super) import: i64,
    /// The lowest id that the peer has assigned to one of its exports.
    pub(super) peer_export: i64,
    pub(super) promise: i64,
    pub(super) target: i64,
    pub(super) gather: i64,
    pub(super) wait: i64,
    /// The peer has used the ids of its pushes below this, although this process may not have
    /// received them.
    #[serde(rename = "floor", default, skip_serializing_if = "is_zero")]
    pub(super) answer_floor: i64,
}

/// A local object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Target {
    #[serde(rename = "h")]
    pub(super) holds: u32,
    #[serde(rename = "k", default, skip_serializing_if = "Kind::is_object")]
    pub(super) kind: Kind,
}

/// A delivery that was handed out and is not settled, kept so that another process can repeat it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Rerun {
    #[serde(rename = "t")]
    pub(super) target: TargetId,
    #[serde(rename = "p", default, skip_serializing_if = "Path::is_empty")]
    pub(super) path: Path,
    #[serde(rename = "a", default, skip_serializing_if = "Option::is_none")]
    pub(super) args: Option<Payload<Ref>>,
}

/// Releases of the peer's exports that are withheld. After a recovery, the peer must still have
/// everything that the restored snapshot refers to, so a release is sent only when a snapshot
/// without the reference has been stored.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Withheld {
    #[serde(rename = "on", default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) is_on: bool,
    #[serde(rename = "q", default, skip_serializing_if = "VecDeque::is_empty")]
    pub(super) releases: VecDeque<(ImportId, i64)>,
}

/// An object or result of this side that the peer holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Export {
    /// The reference count: how often messages mentioned it to the peer. A push counts as one.
    #[serde(rename = "m")]
    pub(super) mentions: u64,
    #[serde(rename = "w")]
    pub(super) what: Ref,
    #[serde(rename = "a", default, skip_serializing_if = "Answer::is_unasked")]
    pub(super) answer: Answer,
    /// The entry is dropped when it is answered, without a release (the result of a `stream`).
    #[serde(rename = "t", default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) transient: bool,
    /// The writable end of a stream that the peer opened.
    #[serde(rename = "s", default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) pipe: bool,
    /// The readable end of that stream, held until the peer claims it.
    #[serde(rename = "u", default, skip_serializing_if = "Option::is_none")]
    pub(super) unclaimed: Option<Box<Ref>>,
}

impl Export {
    pub(super) fn new(what: Ref) -> Self {
        Self { mentions: 1, what, answer: Answer::Unasked, transient: false, pipe: false, unclaimed: None }
    }
}

/// How far the answer to a pull of an export has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Answer {
    #[default]
    #[serde(rename = "u")]
    Unasked,
    #[serde(rename = "o")]
    Owed,
    #[serde(rename = "g")]
    Given,
}

impl Answer {
    pub(super) fn is_unasked(&self) -> bool {
        *self == Self::Unasked
    }
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// An object or result of the peer that this side holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Import {
    /// The local reference count.
    #[serde(rename = "h")]
    pub(super) holds: u32,
    /// How often the peer mentioned it, which is the count that its release gives back. 0 once
    /// released.
    #[serde(rename = "m")]
    pub(super) mentions: i64,
    /// The writable end of a stream.
    #[serde(rename = "s", default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) writable: bool,
    #[serde(rename = "i")]
    pub(super) state: ImportState,
}

impl Import {
    pub(super) fn new(state: ImportState) -> Self {
        Self { holds: 1, mentions: 1, writable: false, state }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum ImportState {
    /// An object, which is not a promise.
    #[serde(rename = "stub")]
    Stub,
    /// A result that has not arrived.
    #[serde(rename = "pend")]
    Pending {
        /// The peer has been asked to send it.
        #[serde(rename = "p", default, skip_serializing_if = "std::ops::Not::not")]
        pulled: bool,
        #[serde(rename = "w", default, skip_serializing_if = "Waiters::is_empty")]
        waiters: Waiters,
    },
    /// A result that has arrived.
    #[serde(rename = "is")]
    Settled(Settled),
}
