//! The entries of a session's tables, as they are in memory and in snapshots.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::promise::{Settled, Waiters};
use super::{Kind, Path, Ref};
use crate::id::{ImportId, TargetId};
use crate::value::Payload;

/// The ids given next. They only ever move away from 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Counters {
    /// Ours for the next thing we export.
    pub(super) export: i64,
    /// The peer's for its next push; counted here as there.
    pub(super) answer: i64,
    /// Ours for our next push.
    pub(super) import: i64,
    /// The lowest that the peer has given to something it exports.
    pub(super) peer_export: i64,
    pub(super) promise: i64,
    pub(super) target: i64,
    pub(super) gather: i64,
    pub(super) wait: i64,
    /// Results of the peer's pushes below this were given, though we may not know of them.
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

/// A delivery that was handed out and is not settled, as it is handed out again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Rerun {
    #[serde(rename = "t")]
    pub(super) target: TargetId,
    #[serde(rename = "p", default, skip_serializing_if = "Path::is_empty")]
    pub(super) path: Path,
    #[serde(rename = "a", default, skip_serializing_if = "Option::is_none")]
    pub(super) args: Option<Payload<Ref>>,
}

/// Releases of what the peer exports. A peer whose other end is made again from a snapshot must
/// still have all that the snapshot holds, so they wait until there is one without it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Withheld {
    #[serde(rename = "on", default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) is_on: bool,
    #[serde(rename = "q", default, skip_serializing_if = "VecDeque::is_empty")]
    pub(super) releases: VecDeque<(ImportId, i64)>,
}

/// Something of ours that the peer holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Export {
    /// How often the peer was told of it; a push counts one.
    #[serde(rename = "m")]
    pub(super) mentions: u64,
    #[serde(rename = "w")]
    pub(super) what: Ref,
    #[serde(rename = "a", default, skip_serializing_if = "Answer::is_unasked")]
    pub(super) answer: Answer,
    /// Goes when it is answered, without a release.
    #[serde(rename = "t", default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) transient: bool,
    /// A stream towards us.
    #[serde(rename = "s", default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) pipe: bool,
    /// The readable end of a pipe, held until the peer names it.
    #[serde(rename = "u", default, skip_serializing_if = "Option::is_none")]
    pub(super) unclaimed: Option<Box<Ref>>,
}

impl Export {
    pub(super) fn new(what: Ref) -> Self {
        Self { mentions: 1, what, answer: Answer::Unasked, transient: false, pipe: false, unclaimed: None }
    }
}

/// How far the answer to an export has come.
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

/// Something of the peer's that we hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Import {
    /// Handles and references on this side.
    #[serde(rename = "h")]
    pub(super) holds: u32,
    /// How often the peer mentioned it, which is what a release gives back; 0 once it has.
    #[serde(rename = "m")]
    pub(super) mentions: i64,
    /// The end of a stream.
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
    /// Something that can be called and is no promise.
    #[serde(rename = "stub")]
    Stub,
    /// A result that has not arrived.
    #[serde(rename = "pend")]
    Pending {
        /// The peer knows that we want it.
        #[serde(rename = "p", default, skip_serializing_if = "std::ops::Not::not")]
        pulled: bool,
        #[serde(rename = "w", default, skip_serializing_if = "Waiters::is_empty")]
        waiters: Waiters,
    },
    /// A result that has.
    #[serde(rename = "is")]
    Settled(Settled),
}
