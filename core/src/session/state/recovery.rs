//! What another process needs to recover a session, beside the tables of the session itself.

use std::collections::BTreeMap;

use super::call_log::SentLog;
use super::{Recipe, Ref, Rerun, Table, Withheld};
use crate::id::{PromiseId, TargetId};

/// The state that only sessions which survive a process use.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Recovery {
    /// Recipes from which another process restores local objects.
    pub(crate) recipes: Table<TargetId, Recipe>,
    /// Deliveries that another process may repeat. Each holds its target once.
    pub(crate) reruns: Table<PromiseId, Rerun>,
    /// References that the application keeps by name for its next process. Each is held once.
    pub(crate) kept: BTreeMap<String, Ref>,
    /// Calls that may have to be retransmitted to a recovered server.
    pub(crate) sent: SentLog,
    /// Releases that are withheld until a snapshot covers them.
    pub(crate) withheld: Withheld,
    /// Promises below this id belong to calls that another process received.
    pub(crate) revived_below: i64,
    /// Restored from a snapshot, and the peer has not sent what it holds yet.
    pub(crate) is_unreconciled: bool,
}
