//! Snapshots of sessions, and restoring from them.
//!
//! Equal sessions have equal snapshots, and a session restored from a snapshot equals the original.
//! Whatever can be computed is left out. Snapshots are not trusted: an inconsistent one is refused,
//! so that it cannot cause a panic, an endless loop, or a wrong count later.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::id::{ExportId, ImportId, PromiseId, TargetId, WaitId};
use crate::limits::Limits;
use crate::session::recovery::audit::Audit;
use crate::session::state::account::Account;
use crate::session::state::budget::Budget;
use crate::session::state::call_log::SentLog;
use crate::session::state::gathers::{Gather, GatherId};
use crate::session::state::index::Indexes;
use crate::session::state::maps::Mapper;
use crate::session::state::promises::{Promise, PromiseState};
use crate::session::state::recovery::Recovery;
use crate::session::state::table::Table;
use crate::session::state::{
    Answer, Counters, Delivery, Export, Import, Recipe, Ref, Rerun, Session, Target, Withheld,
};

/// The version of the format.
const VERSION: u32 = 1;

/// The state of a session between two inputs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    v: u32,
    #[serde(rename = "x")]
    exports: Table<ExportId, Export>,
    #[serde(rename = "i")]
    imports: Table<ImportId, Import>,
    #[serde(rename = "p", default, skip_serializing_if = "Table::is_empty")]
    promises: Table<PromiseId, Promise>,
    #[serde(rename = "t", default, skip_serializing_if = "Table::is_empty")]
    targets: Table<TargetId, Target>,
    #[serde(rename = "g", default, skip_serializing_if = "Table::is_empty")]
    gathers: Table<GatherId, Gather>,
    #[serde(rename = "m", default, skip_serializing_if = "Table::is_empty")]
    maps: Table<PromiseId, Mapper>,
    #[serde(rename = "w", default, skip_serializing_if = "Table::is_empty")]
    waits: Table<WaitId, Ref>,
    #[serde(rename = "r", default, skip_serializing_if = "Table::is_empty")]
    recipes: Table<TargetId, Recipe>,
    #[serde(rename = "again", default, skip_serializing_if = "Table::is_empty")]
    reruns: Table<PromiseId, Rerun>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    kept: BTreeMap<String, Ref>,
    #[serde(rename = "nid")]
    next: Counters,
    #[serde(default, skip_serializing_if = "is_off")]
    sent: SentLog,
    #[serde(rename = "late", default, skip_serializing_if = "is_unused")]
    withheld: Withheld,
    #[serde(rename = "old", default, skip_serializing_if = "is_zero")]
    revived_below: i64,
    #[serde(rename = "new", default, skip_serializing_if = "std::ops::Not::not")]
    is_unreconciled: bool,
    #[serde(rename = "ready", default, skip_serializing_if = "VecDeque::is_empty")]
    ready: VecDeque<Delivery>,
    #[serde(rename = "out", default, skip_serializing_if = "VecDeque::is_empty")]
    transmit: VecDeque<String>,
}

fn is_off(sent: &SentLog) -> bool {
    *sent == SentLog::default()
}

fn is_unused(withheld: &Withheld) -> bool {
    *withheld == Withheld::default()
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// An error in restoring a session: the snapshot is invalid, or exceeds the limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotError(pub(in crate::session) String);

impl std::fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "not a snapshot of a session: {}", self.0)
    }
}

impl std::error::Error for SnapshotError {}

impl Session {
    /// Returns a snapshot of the session, or `None` if it has ended. All outputs must have been
    /// taken.
    pub fn snapshot(&self) -> Option<Snapshot> {
        // All fields are listed, so that adding one requires a decision here.
        let Self {
            limits: _,
            exports,
            imports,
            promises,
            targets,
            gathers,
            maps,
            waits,
            next,
            recovery: Recovery { recipes, reruns, kept, sent, withheld, revived_below, is_unreconciled },
            work,
            later,
            budget: _,
            is_evaluating: _,
            indexes: _,
            garbage,
            ready,
            running: _,
            pipes: _,
            answers_owed: _,
            account: _,
            outputs,
            transmit,
            closed,
        } = self;
        debug_assert!(work.is_empty() && later.is_empty() && garbage.is_empty(), "no work remains between two inputs");
        debug_assert!(outputs.is_empty(), "outputs are drained before a snapshot");
        if closed.is_some() {
            return None;
        }
        Some(Snapshot {
            v: VERSION,
            exports: exports.clone(),
            imports: imports.clone(),
            promises: promises.clone(),
            targets: targets.clone(),
            gathers: gathers.clone(),
            maps: maps.clone(),
            waits: waits.clone(),
            recipes: recipes.clone(),
            reruns: reruns.clone(),
            kept: kept.clone(),
            next: next.clone(),
            sent: sent.clone(),
            withheld: withheld.clone(),
            revived_below: *revived_below,
            is_unreconciled: *is_unreconciled,
            ready: ready.clone(),
            transmit: transmit.iter().map(Cow::into_owned).collect(),
        })
    }

    /// Restores a session from a snapshot.
    ///
    /// # Errors
    /// Fails if the snapshot is of another version, is inconsistent, or exceeds `limits`.
    pub fn restore(snapshot: Snapshot, limits: impl Into<Arc<Limits>>) -> Result<Self, SnapshotError> {
        if snapshot.v != VERSION {
            return Err(SnapshotError(format!("version {} is not supported", snapshot.v)));
        }
        let mut session = Self {
            running: running(&snapshot),
            pipes: snapshot.exports.iter().filter(|(_, export)| export.pipe).count(),
            answers_owed: snapshot.exports.iter().filter(|(_, export)| export.answer == Answer::Owed).count(),
            account: Account::default(),
            limits: limits.into(),
            exports: snapshot.exports,
            imports: snapshot.imports,
            promises: snapshot.promises,
            targets: snapshot.targets,
            gathers: snapshot.gathers,
            maps: snapshot.maps,
            waits: snapshot.waits,
            next: snapshot.next,
            recovery: Recovery {
                recipes: snapshot.recipes,
                reruns: snapshot.reruns,
                kept: snapshot.kept,
                sent: snapshot.sent,
                withheld: snapshot.withheld,
                revived_below: snapshot.revived_below,
                is_unreconciled: snapshot.is_unreconciled,
            },
            work: VecDeque::new(),
            later: Vec::new(),
            budget: Budget::default(),
            is_evaluating: false,
            indexes: Indexes::default(),
            garbage: Vec::new(),
            ready: snapshot.ready,
            outputs: VecDeque::new(),
            transmit: snapshot.transmit.into_iter().collect(),
            closed: None,
        };
        for delivery in &mut session.ready {
            delivery.again = delivery.call.0 < session.recovery.revived_below;
        }
        session.account = Account::of(&session);
        Audit::of(&session)?;
        Ok(session)
    }
}

fn running(snapshot: &Snapshot) -> usize {
    let promises = snapshot.promises.iter();
    promises.filter(|(_, promise)| matches!(promise.state, PromiseState::Pending { running: true, .. })).count()
}
