//! A session that outlives the process of its server: checkpoints of it on the one side, and going
//! on from one on either.
//!
//! A checkpoint is the endpoint as bytes. Its token goes to the client behind everything that it
//! covers, so whoever comes with that token has seen all that the checkpoint says was sent.
//! docs/link.md, "Checkpoints and recovery".

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Attached, Endpoint, LinkEvent};
use crate::error::ErrorCode;
use crate::limits::Limits;
use crate::link::{Covers, Features, Frame, Joint, Lease, Left, Link, LinkRules, Refused, Role, Ticket};
use crate::session::{
    Adjustment, Closed, Kind, Recipe, Remembered, Replanned, Report, Revived, Session, Snapshot, SnapshotError,
};
use crate::time::Time;

/// The version of [`Bundle`].
const VERSION: u32 = 1;

/// What a checkpoint is made of.
#[derive(Serialize, Deserialize)]
pub(super) struct Bundle {
    v: u32,
    #[serde(rename = "n")]
    pub(super) number: u64,
    #[serde(rename = "s")]
    pub(super) session: Snapshot,
    /// What the layers above keep with it.
    #[serde(rename = "b", default, skip_serializing_if = "serde_json::Value::is_null")]
    pub(super) beside: serde_json::Value,
}

impl Bundle {
    pub(super) fn new(number: u64, session: Snapshot, beside: serde_json::Value) -> Self {
        Self { v: VERSION, number, session, beside }
    }

    pub(super) fn read(bytes: &[u8]) -> Result<Self, RestoreError> {
        let corrupt = |error: serde_json::Error| RestoreError::Corrupt(error.to_string());
        let bundle: Self = serde_json::from_slice(bytes).map_err(corrupt)?;
        if bundle.v != VERSION {
            return Err(RestoreError::Corrupt(format!("version {} is not known here", bundle.v)));
        }
        Ok(bundle)
    }

    pub(super) fn write(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a snapshot is numbers, texts and lists of them")
    }
}

/// How far a server has come with checkpoints.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Checkpoints {
    is_on: bool,
    /// Counts the times that the session was made again.
    lineage: u64,
    /// The newest that was taken.
    taken: u64,
    /// The newest holds all that has happened.
    pub(super) is_current: bool,
    /// What it does not hold is lost for good if the process ends: a checkpoint is due at once.
    is_urgent: bool,
    /// The one that is being stored.
    pub(super) storing: Option<Storing>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Storing {
    covers: Covers,
    /// The number of the last message that it covers.
    after: u64,
    /// Releases that may be sent once it is stored.
    withheld: usize,
}

impl Checkpoints {
    pub(super) fn was_restored(&self) -> bool {
        self.lineage > 0
    }
}

/// A session as bytes, for a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Counts the checkpoints of the session; the first is 1.
    pub number: u64,
    /// Counts the times that the session was made again; at first 0.
    pub lineage: u64,
    /// Everything.
    pub bytes: Vec<u8>,
}

/// One end of a session that was made again.
#[derive(Debug)]
pub struct Restored {
    /// The session. It takes nothing but what the peer wants of it, until it knows that.
    pub endpoint: Endpoint,
    /// Local objects that are to be there; see [`Session::recipe`].
    pub revived: Revived,
    /// What was kept with it; null if nothing was.
    pub beside: serde_json::Value,
}

/// A session can not be made again.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RestoreError {
    /// The bytes are not those of a checkpoint.
    Corrupt(String),
    /// The client's report and the checkpoint can not both be true.
    Contradicted(String),
}

impl std::fmt::Display for RestoreError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Corrupt(why) => write!(f, "not a checkpoint: {why}"),
            Self::Contradicted(why) => write!(f, "the peer's report contradicts the checkpoint: {why}"),
        }
    }
}

impl std::error::Error for RestoreError {}

impl From<SnapshotError> for RestoreError {
    fn from(error: SnapshotError) -> Self {
        Self::Corrupt(error.to_string())
    }
}

impl Restored {
    /// What the other side has to know of it.
    pub fn left(&self) -> Left {
        let Revived { restored, lost, unknown, imports, targets: _ } = self.revived.clone();
        let next_positive = self.endpoint.session.ids().peer_next_positive;
        Left { next_positive, restored, lost, unknown, imports }
    }
}

impl Endpoint {
    /// Lets a server's session be made again from its checkpoints. Before the first message.
    pub fn keep_checkpoints(&mut self) {
        self.checkpoints.is_on = true;
        self.session.withhold_releases();
    }

    /// Keeps what a client has to send again to a server that was made again, up to so many bytes.
    /// Before the first call.
    pub fn keep_sent(&mut self, bytes_max: usize) {
        self.session.keep_sent(bytes_max);
    }

    /// Something has happened by [`session`](Self::session), or above, that a checkpoint would hold.
    pub fn mark_changed(&mut self) {
        self.checkpoints.is_current = false;
    }

    /// Whether something has happened that the newest checkpoint does not hold. What is said of the
    /// link alone does not count: a session at rest is not stored again for the answer to its token.
    pub fn is_checkpoint_due(&self) -> bool {
        !self.checkpoints.is_current
    }

    /// Notes that something was handed to the client that only a checkpoint makes outlive this
    /// process: a reference to a durable object, or the news that a variable was set.
    pub fn mark_urgent(&mut self) {
        self.checkpoints.is_current = false;
        self.checkpoints.is_urgent = self.checkpoints.is_on;
    }

    /// Whether a checkpoint is due at once.
    pub fn is_checkpoint_urgent(&self) -> bool {
        self.checkpoints.is_urgent
    }

    /// The session as it is, with what the layers above keep `beside` it. `None` while one is being
    /// stored, four are not confirmed, an input is not carried out to its end, or there is nothing to store: it is over, was not to be kept,
    /// or was just made again. It stays due then.
    ///
    /// Owed: [`stored`](Self::stored) or [`not_stored`](Self::not_stored).
    pub fn checkpoint(&mut self, beside: serde_json::Value) -> Option<Checkpoint> {
        self.checkpoints.is_current = false;
        let link = self.link.as_ref().filter(|link| !link.tokens.is_full())?;
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

    /// Places the token of a checkpoint that is stored now behind the messages that it covers;
    /// with it, until when the client may go on. The token and its key must be of the transport
    /// that is attached, or was last.
    pub fn stored(&mut self, ticket: Ticket, lease: Option<Lease>) {
        if let (Some(storing), Some(link)) = (self.checkpoints.storing.take(), &mut self.link) {
            link.tokens.place(storing.after, ticket, storing.covers, lease);
            self.session.release_withheld(storing.withheld);
        }
    }

    /// The checkpoint could not be stored; the session goes on without.
    pub fn not_stored(&mut self) {
        self.checkpoints.storing = None;
        self.checkpoints.is_current = false;
    }

    /// Returns the checkpoints whose tokens are on their way to the client, oldest first.
    pub fn unconfirmed_checkpoints(&self) -> Vec<u64> {
        self.link.as_ref().map_or_else(Vec::new, |link| link.tokens.waiting().collect())
    }

    /// Replaces the tokens that are on their way to the client, by the numbers of their checkpoints;
    /// those without a replacement are not sent. Owed after each `attach` of a server's, before
    /// anything is written on the new transport: a token and its key belong to one transport.
    pub fn replace_tokens(&mut self, tickets: BTreeMap<u64, Ticket>) {
        if let Some(link) = &mut self.link {
            link.tokens.replace(tickets);
        }
    }

    /// The newest checkpoint that the client has a token of; those before are not needed any more.
    pub fn confirmed_checkpoint(&self) -> u64 {
        self.link.as_ref().map_or(0, |link| link.tokens.confirmed())
    }

    /// The newest checkpoint that was taken.
    pub fn newest_checkpoint(&self) -> u64 {
        self.checkpoints.taken
    }

    /// The client has come with a token of this checkpoint.
    pub fn confirm_checkpoint(&mut self, number: u64) {
        if let Some(link) = &mut self.link {
            link.tokens.begin_with(number);
        }
    }

    /// How often the session was made again.
    pub fn lineage(&self) -> u64 {
        self.checkpoints.lineage
    }

    /// A server's end, made again from the bytes of a checkpoint, or from none that was ever made;
    /// it was made again `lineage` times before. `report` is what the client says of the ids that
    /// were given; `lives` says of a local object, by its recipe and kind, whether it can be made
    /// again.
    ///
    /// # Errors
    /// The bytes are not those of a checkpoint, or what the client says can not be true.
    pub fn restore(
        checkpoint: Option<&[u8]>,
        limits: impl Into<Arc<Limits>>,
        rules: LinkRules,
        lineage: u64,
        report: Report,
        lives: impl Fn(Option<&Recipe>, Kind) -> Result<(), ErrorCode>,
    ) -> Result<Restored, RestoreError> {
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
        Ok(Restored { endpoint, revived, beside })
    }

    /// Begins the turn of a client's new transport, to a server that was made again.
    ///
    /// # Errors
    /// The session is over, or the server holds what the client never gave.
    pub fn attach_cold(&mut self, now: Time, features: Features, left: &Left) -> Result<Attached, Refused> {
        let Some(link) = self.link.as_mut().filter(|_| !self.session.is_closed()) else {
            return Err(Refused::new(ErrorCode::ResumeWindowExpired, "the session is over"));
        };
        link.begin_anew();
        let became = self.session.replan(&remembered(left), written).map_err(|closed| {
            let refused = Refused::new(ErrorCode::from(closed.name.as_str()), closed.message.clone());
            self.session.close(closed, false);
            refused
        })?;
        let joint = Joint { peer_processed: 0, peer_sends_after: None, features };
        let (attachment, resent) = link.attach(now, joint)?;
        let Replanned { resent: calls, unknown, not_attempted, lost } = became;
        self.events.push_back(LinkEvent::Restored { resent: calls, unknown, not_attempted, lost });
        Ok(Attached { attachment, processed: 0, resent })
    }
}

pub(super) fn contradicted(closed: Closed) -> RestoreError {
    RestoreError::Contradicted(closed.message)
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
