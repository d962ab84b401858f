//! The entries of a session's tables, as in memory and in snapshots. Field names in snapshots are
//! part of the stored format.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::id::{ImportId, TargetId};
use crate::session::state::promises::{Settled, Waiters};
use crate::session::state::{Kind, Path, Ref};
use crate::value::Payload;

/// The next id of each kind. Ids only move away from 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Counters {
    /// The next id of an object that this side exports; negative.
    pub(crate) export: i64,
    /// The id of the peer's next push. Both sides count it.
    pub(crate) answer: i64,
    /// The id of this side's next push.
    pub(crate) import: i64,
    /// The lowest id that the peer has assigned to one of its exports.
    pub(crate) peer_export: i64,
    pub(crate) promise: i64,
    pub(crate) target: i64,
    pub(crate) gather: i64,
    pub(crate) wait: i64,
    /// The peer has used the ids of its pushes below this, although this process may not have
    /// received them.
    #[serde(rename = "floor", default, skip_serializing_if = "is_zero")]
    pub(crate) answer_floor: i64,
}

/// A local object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Target {
    #[serde(rename = "h")]
    pub(crate) holds: u32,
    #[serde(rename = "k", default, skip_serializing_if = "Kind::is_object")]
    pub(crate) kind: Kind,
}

/// A delivery that was returned and is not settled, kept so that another process can repeat it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Rerun {
    #[serde(rename = "t")]
    pub(crate) target: TargetId,
    #[serde(rename = "p", default, skip_serializing_if = "Path::is_empty")]
    pub(crate) path: Path,
    #[serde(rename = "a", default, skip_serializing_if = "Option::is_none")]
    pub(crate) args: Option<Payload<Ref>>,
}

/// Releases of the peer's exports that are withheld. After a recovery, the peer must still have
/// everything that the restored snapshot refers to, so a release is sent only when a snapshot
/// without the reference has been stored.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Withheld {
    #[serde(rename = "on", default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) is_on: bool,
    #[serde(rename = "q", default, skip_serializing_if = "VecDeque::is_empty")]
    pub(crate) releases: VecDeque<(ImportId, i64)>,
}

/// An object or result of this side that the peer holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Export {
    /// The reference count: how often messages mentioned it to the peer. A push counts as one.
    #[serde(rename = "m")]
    pub(crate) mentions: u64,
    #[serde(rename = "w")]
    pub(crate) what: Ref,
    #[serde(rename = "a", default, skip_serializing_if = "Answer::is_unasked")]
    pub(crate) answer: Answer,
    /// The entry is dropped when it is answered, without a release (the result of a `stream`).
    #[serde(rename = "t", default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) transient: bool,
    /// The writable end of a stream that the peer opened.
    #[serde(rename = "s", default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) pipe: bool,
    /// The readable end of that stream, held until the peer claims it.
    #[serde(rename = "u", default, skip_serializing_if = "Option::is_none")]
    pub(crate) unclaimed: Option<Box<Ref>>,
}

impl Export {
    pub(crate) fn new(what: Ref) -> Self {
        Self { mentions: 1, what, answer: Answer::Unasked, transient: false, pipe: false, unclaimed: None }
    }
}

/// How far the answer to a pull of an export has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Answer {
    #[default]
    #[serde(rename = "u")]
    Unasked,
    #[serde(rename = "o")]
    Owed,
    #[serde(rename = "g")]
    Given,
}

impl Answer {
    pub(crate) fn is_unasked(&self) -> bool {
        *self == Self::Unasked
    }
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// An object or result of the peer that this side holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Import {
    /// The local reference count.
    #[serde(rename = "h")]
    pub(crate) holds: u32,
    /// How often the peer mentioned it, which is the count that its release gives back. 0 once
    /// released.
    #[serde(rename = "m")]
    pub(crate) mentions: i64,
    /// The writable end of a stream.
    #[serde(rename = "s", default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) writable: bool,
    #[serde(rename = "i")]
    pub(crate) state: ImportState,
}

impl Import {
    pub(crate) fn new(state: ImportState) -> Self {
        Self { holds: 1, mentions: 1, writable: false, state }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum ImportState {
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
