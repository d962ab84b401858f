//! Values whose promises are awaited, as data.

use serde::{Deserialize, Serialize};

use super::table::Key;
use super::{Path, Ref};
use crate::id::{PromiseId, TargetId, WaitId};
use crate::value::Payload;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct GatherId(i64);

impl GatherId {
    pub(crate) fn number(self) -> i64 {
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

/// A value with promises that have not been settled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Gather {
    #[serde(rename = "v")]
    pub(crate) value: Payload<Ref>,
    /// The number of parts that have not arrived.
    #[serde(rename = "m")]
    pub(crate) missing: usize,
    #[serde(rename = "n")]
    pub(crate) then: Then,
}

/// The use of the complete value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Then {
    /// The arguments of a call on a local object. The target is held.
    #[serde(rename = "d")]
    Deliver {
        result: PromiseId,
        target: TargetId,
        path: Path,
        /// As in [`Call`](super::promises::Call).
        #[serde(rename = "n", default, skip_serializing_if = "is_zero")]
        decoded: usize,
    },
    /// The result of a wait of the application.
    #[serde(rename = "w")]
    Wait(WaitId),
}

fn is_zero(bytes: &usize) -> bool {
    *bytes == 0
}

impl Then {
    /// Returns the path, if this is a call.
    pub(crate) fn path(&self) -> Option<&Path> {
        match self {
            Self::Deliver { path, .. } => Some(path),
            Self::Wait(_) => None,
        }
    }
}
