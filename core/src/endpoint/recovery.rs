//! Checkpoints of a server's session, and recovery from them on both sides; see docs/link.md,
//! "Checkpoints and recovery".
//!
//! A checkpoint is a serialized endpoint. Its token is sent behind all messages that it covers, so
//! a client that presents the token has received everything that the checkpoint counts as sent.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::attach::refused;
use super::{Endpoint, LinkEvent};
use crate::error::ErrorCode;
use crate::limits::Limits;
use crate::link::{Covers, Frame, Lease, Left, Link, LinkRules, Refused, Role, Ticket};
use crate::session::{
    Adjustment, CloseReason, Kind, Recipe, Remembered, Replanned, Report, Revived, Session, Snapshot, SnapshotError,
};

/// The version of [`Bundle`].
const VERSION: u32 = 1;

/// The contents of a checkpoint.
#[derive(Serialize, Deserialize)]
pub(super) struct Bundle {
    v: u32,
    #[serde(rename = "n")]
    pub(super) number: u64,
    #[serde(rename = "s")]
    pub(super) session: Snapshot,
    /// Data that the layers above store with the session.
    #[serde(rename = "b", default, skip_serializing_if = "serde_json::Value::is_null")]
    pub(super) beside: serde_json::Value,
}

impl Bundle {
    pub(super) fn new(number: u64, session: Snapshot, beside: serde_json::Value) -> Self {
        Self { v: VERSION, number, session, beside }
    }

    pub(super) fn read(bytes: &[u8]) -> Result<Self, RecoverError> {
        let corrupt = |error: serde_json::Error| RecoverError::Corrupt(error.to_string());
        let bundle: Self = serde_json::from_slice(bytes).map_err(corrupt)?;
        if bundle.v != VERSION {
            return Err(RecoverError::Corrupt(format!("version {} is not supported", bundle.v)));
        }
        Ok(bundle)
    }

    pub(super) fn write(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a snapshot consists of numbers, strings, and lists")
    }
}

/// The state of a server's checkpoints.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Checkpoints {
    is_on: bool,
    /// How often the session was recovered.
    lineage: u64,
    /// The number of the newest checkpoint that was taken.
    taken: u64,
    /// The newest checkpoint contains every change.
    pub(super) is_current: bool,
    /// A change that is not in the newest checkpoint would be lost with the process: a checkpoint
    /// is due at once.
    is_urgent: bool,
    /// The checkpoint that is being stored.
    pub(super) storing: Option<Storing>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Storing {
    covers: Covers,
    /// The number of the last message that it covers.
    after: u64,
    /// The number of withheld releases to send once it is stored.
    withheld: usize,
}

impl Checkpoints {
    pub(super) fn was_recovered(&self) -> bool {
        self.lineage > 0
    }
}

/// A serialized session, for a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The number of the checkpoint within its session, starting at 1.
    pub number: u64,
    /// How often the session was recovered; 0 at first.
    pub lineage: u64,
    /// The contents.
    pub bytes: Vec<u8>,
}

/// One end of a session that was recovered from a checkpoint, or from the saved state of a client.
#[derive(Debug)]
pub struct Recovered {
    /// The session. Until it is reconciled, it accepts nothing else from its peer.
    pub endpoint: Endpoint,
    /// The local objects to restore; see [`Session::recipe`].
    pub revived: Revived,
    /// The data stored with the session; null if there was none.
    pub beside: serde_json::Value,
}

/// An error in recovering a session from bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecoverError {
    /// The bytes are not a checkpoint.
    Corrupt(String),
    /// The client's report contradicts the checkpoint.
    Contradicted(String),
}

impl std::fmt::Display for RecoverError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Corrupt(why) => write!(f, "not a checkpoint: {why}"),
            Self::Contradicted(why) => write!(f, "the peer's report contradicts the checkpoint: {why}"),
        }
    }
}

impl std::error::Error for RecoverError {}

impl From<SnapshotError> for RecoverError {
    fn from(error: SnapshotError) -> Self {
        Self::Corrupt(error.to_string())
    }
}

impl Recovered {
    /// Returns what this side still holds, to be sent to the peer.
    pub fn left(&self) -> Left {
        let Revived { restored, lost, unknown, imports, targets: _ } = self.revived.clone();
        let next_positive = self.endpoint.session.ids().peer_next_positive;
        Left { next_positive, restored, lost, unknown, imports }
    }
}

impl Endpoint {
    /// Enables checkpoints of a server's session. Must be called before the first message.
    pub fn keep_checkpoints(&mut self) {
        self.checkpoints.is_on = true;
        self.session.withhold_releases();
    }

    /// Keeps calls of a client, up to `bytes_max`, to retransmit them to a recovered server. Must
    /// be called before the first call.
    pub fn keep_sent(&mut self, bytes_max: usize) {
        self.session.keep_sent(bytes_max);
    }

    /// Records a change made through [`session_mut`](Self::session_mut), or in a layer above, that a
    /// checkpoint would contain.
    pub fn mark_changed(&mut self) {
        self.checkpoints.is_current = false;
    }

    /// Returns `true` if the newest checkpoint does not contain every change. Acks and pings are
    /// not changes, so an idle session is not stored again because a token was acknowledged.
    pub fn is_checkpoint_due(&self) -> bool {
        !self.checkpoints.is_current
    }

    /// Records that the client was given something that only a checkpoint preserves: a reference to
    /// a durable object, or the confirmation that a variable was set. A checkpoint is then due at
    /// once.
    pub fn mark_urgent(&mut self) {
        self.checkpoints.is_current = false;
        self.checkpoints.is_urgent = self.checkpoints.is_on;
    }

    /// Returns `true` if a checkpoint is due at once.
    pub fn is_checkpoint_urgent(&self) -> bool {
        self.checkpoints.is_urgent
    }

    /// Takes a checkpoint of the session, with what the layers above store `beside` it.
    ///
    /// Returns `None` while a checkpoint is being stored, four are unacknowledged, or work of an
    /// input remains, and if there is nothing to store: the session has ended, has no checkpoints,
    /// or is not reconciled yet. A checkpoint then remains due.
    ///
    /// Must be answered with [`stored`](Self::stored) or [`not_stored`](Self::not_stored).
    pub fn checkpoint(&mut self, beside: serde_json::Value) -> Option<Checkpoint> {
        self.checkpoints.is_current = false;
        let link =
            self.link.as_ref().filter(|link| link.role.server().is_some_and(|server| !server.tokens.is_full()))?;
        let Checkpoints { is_on, lineage, storing, .. } = self.checkpoints;
        if !is_on || storing.is_some() || self.session.is_unreconciled() || self.session.has_work() {
            return None;
        }
        let session = self.session.snapshot()?;
        let after = link.last() + self.session.transmit_len() as u64;
        self.checkpoints.taken += 1;
        (self.checkpoints.is_current, self.checkpoints.is_urgent) = (true, false);
        let number = self.checkpoints.taken;
        let covers = Covers { checkpoint: number, next_positive: self.session.ids().peer_next_positive };
        self.checkpoints.storing = Some(Storing { covers, after, withheld: self.session.withheld_len() });
        let bytes = Bundle::new(number, session, beside).write();
        Some(Checkpoint { number, lineage, bytes })
    }

    /// Records that the checkpoint was stored, and queues its token behind the messages that it
    /// covers. `lease` is sent with the token if it has changed. The ticket must be for the
    /// connection that is attached, or was last.
    pub fn stored(&mut self, ticket: Ticket, lease: Option<Lease>) {
        let Some(storing) = self.checkpoints.storing.take() else { return };
        if let Some(server) = self.server_mut() {
            server.tokens.place(storing.after, ticket, storing.covers, lease);
            self.session.release_withheld(storing.withheld);
        }
    }

    /// Records that the checkpoint could not be stored. Another one is due.
    pub fn not_stored(&mut self) {
        self.checkpoints.storing = None;
        self.checkpoints.is_current = false;
    }

    /// Returns the numbers of the checkpoints whose tokens are not acknowledged, oldest first.
    pub fn unconfirmed_checkpoints(&self) -> Vec<u64> {
        self.server().map_or_else(Vec::new, |server| server.tokens.waiting().collect())
    }

    /// Replaces the tokens that are not acknowledged, by checkpoint number. A token without a
    /// replacement is not sent. Must be called after each `attach` of a server, before anything is
    /// written: a token and its key belong to one connection.
    pub fn replace_tokens(&mut self, tickets: BTreeMap<u64, Ticket>) {
        if let Some(server) = self.server_mut() {
            server.tokens.replace(tickets);
        }
    }

    /// Returns the number of the newest checkpoint whose token the client has. Earlier ones are no
    /// longer needed.
    pub fn confirmed_checkpoint(&self) -> u64 {
        self.server().map_or(0, |server| server.tokens.confirmed())
    }

    /// Returns the number of the newest checkpoint that was taken.
    pub fn newest_checkpoint(&self) -> u64 {
        self.checkpoints.taken
    }

    /// Records that the client presented a token of this checkpoint.
    pub fn confirm_checkpoint(&mut self, number: u64) {
        if let Some(server) = self.server_mut() {
            server.tokens.confirm_through(number);
        }
    }

    /// Returns how often the session was recovered.
    pub fn lineage(&self) -> u64 {
        self.checkpoints.lineage
    }

    /// Recovers a server's session from a checkpoint, or from none if none was taken.
    ///
    /// `lineage` says how often the session was recovered before. `report` contains the ids that
    /// the client knows to be assigned. `lives` decides whether a local object can be restored, by
    /// its recipe and kind.
    ///
    /// # Errors
    /// Fails if the bytes are not a checkpoint, or if the client's report contradicts it.
    pub fn recover(
        checkpoint: Option<&[u8]>,
        limits: impl Into<Arc<Limits>>,
        rules: LinkRules,
        lineage: u64,
        report: Report,
        lives: impl Fn(Option<&Recipe>, Kind) -> Result<(), ErrorCode>,
    ) -> Result<Recovered, RecoverError> {
        let (mut session, number, beside) = match checkpoint {
            None => (Session::new(limits, true), 0, serde_json::Value::Null),
            Some(bytes) => {
                let Bundle { number, session, beside, .. } = Bundle::read(bytes)?;
                (Session::restore(session, limits)?, number, beside)
            }
        };
        let revived = session.revive(report, lives).map_err(contradicted)?;
        session.withhold_releases();
        let mut endpoint = Self::new(session, Some(Link::new(Role::Server, rules)));
        endpoint.checkpoints =
            Checkpoints { is_on: true, lineage: lineage + 1, taken: number, ..Checkpoints::default() };
        endpoint.confirm_checkpoint(number);
        Ok(Recovered { endpoint, revived, beside })
    }

    /// Prepares a client's session for a server process that recovered it. `left` is what the
    /// server still has. If that is more than the client ever sent, the session ends.
    pub(super) fn replan_for_server(&mut self, left: &Left) -> Result<LinkEvent, Refused> {
        self.reset_link();
        let Replanned { resent, unknown, not_attempted, lost } =
            self.session.replan(&remembered(left), written).map_err(|closed| {
                self.session.close(closed.clone());
                refused(closed)
            })?;
        Ok(LinkEvent::Recovered { resent, unknown, not_attempted, lost })
    }

    pub(super) fn reset_link(&mut self) {
        if let Some(link) = &mut self.link {
            link.reset();
        }
    }
}

pub(super) fn contradicted(closed: CloseReason) -> RecoverError {
    RecoverError::Contradicted(closed.message)
}

pub(super) fn remembered(left: &Left) -> Remembered {
    Remembered {
        next_positive: left.next_positive,
        restored: left.restored.iter().copied().collect(),
        lost: left.lost.iter().cloned().collect(),
        unknown: left.unknown.iter().copied().collect(),
        imports: left.imports.iter().copied().collect(),
    }
}

pub(super) fn written(adjustment: Adjustment) -> String {
    let frame = match adjustment {
        Adjustment::Reconcile { hold, pull } => Frame::Reconcile { hold, pull },
        Adjustment::Skip { next_positive } => Frame::Skip { next_positive },
    };
    frame.write()
}
