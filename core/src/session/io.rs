//! What goes into a session beside messages, and what comes out.

use serde::{Deserialize, Serialize};

use super::Path;

use crate::error::ErrorCode;
use crate::id::{ExportId, ImportId, PromiseId, TargetId, WaitId};
use crate::value::Payload;

/// Something a session can call, pass on or wait for. Plain data: the session counts how many
/// of each are held (`Session::retain`, `Session::release`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Ref {
    /// Something of the peer's: a stub, or the result of a call to the peer.
    #[serde(rename = "i")]
    Import(ImportId),
    /// An object of ours.
    #[serde(rename = "t")]
    Target(TargetId),
    /// A result made on this side that may not have arrived yet.
    #[serde(rename = "p")]
    Promise(PromiseId),
}

/// What a local object is on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// Something with methods, or a function.
    #[default]
    Object,
    /// The end of a stream that is written to: it is called `write`, `close` and `abort`.
    Writable,
    /// The end of a stream that is read from. Never called; see [`Output::Pump`].
    Readable,
}

impl Kind {
    pub(super) fn is_object(&self) -> bool {
        *self == Self::Object
    }
}

/// How a local object is made again in another process: who makes it, and of what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// Names who makes it.
    #[serde(rename = "r")]
    pub restorer: String,
    /// The version of the parameters.
    #[serde(rename = "v")]
    pub version: u32,
    /// What it is made of: a value that identifies it.
    #[serde(rename = "q")]
    pub params: Payload<Ref>,
}

/// A capability that an application writes into a message: something it holds, or a property of
/// it that has not been asked for yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// What is held.
    pub of: Ref,
    /// The property, empty for the thing itself.
    pub path: Path,
}

/// What a session asks of the layer above. Every [`Ref`] in a payload handed out here is held
/// once by the receiver, who owes a `Session::release` for it.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Call a local object, or read a property of it. Owed: one `Session::settle`.
    Deliver(Delivery),
    /// A wait ended.
    Settled {
        /// As returned by `Session::pull`.
        wait: WaitId,
        /// What it ended with.
        outcome: Outcome,
    },
    /// The peer opened a stream towards us: what arrives at `sink` is to be read at `source`.
    Pipe {
        /// Called by the peer, one `write` a chunk.
        sink: TargetId,
        /// What the peer's `readable` stands for.
        source: TargetId,
    },
    /// A readable was sent to the peer: what `source` yields is to be written into `into`, which
    /// is held once by the receiver.
    Pump {
        /// The readable.
        source: TargetId,
        /// The peer's end of the stream; [`Session::stream`](super::Session::stream) writes to it.
        into: ImportId,
    },
    /// Nobody refers to this object any more.
    DropTarget(TargetId),
    /// Nobody can see the result of this delivery any more, and somebody had waited for it: the
    /// work may stop. Still owed: one `Session::settle`.
    Cancel(PromiseId),
    /// The session is over; it will ask for nothing more.
    Closed(Closed),
}

/// A call or a property read on a local object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Delivery {
    /// Where the answer goes.
    #[serde(rename = "c")]
    pub call: PromiseId,
    /// The object.
    #[serde(rename = "t")]
    pub target: TargetId,
    /// The method or property, more than one step when the caller reached through properties.
    #[serde(rename = "p", default, skip_serializing_if = "Path::is_empty")]
    pub path: Path,
    /// The argument list; `None` reads the property. Holds no promises: those were awaited.
    #[serde(rename = "a", default, skip_serializing_if = "Option::is_none")]
    pub args: Option<Payload<Ref>>,
    /// The push of the peer that it is the result of; 0 if it is part of something larger. The
    /// same when the peer sends the push once more.
    #[serde(skip, default = "Delivery::unnamed")]
    pub id: ExportId,
    /// It was asked for in another process, which may have carried it out.
    #[serde(skip)]
    pub again: bool,
}

impl Delivery {
    pub(super) fn unnamed() -> ExportId {
        ExportId::MAIN
    }
}

/// How a wait or a call ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// A value; every promise in it has been replaced by its result.
    Resolved(Payload<Ref>),
    /// The call failed with this value, usually an error.
    Rejected(Payload<Ref>),
    /// The session ended first.
    Lost(Closed),
}

/// Why a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// Who ended it.
    pub by: ClosedBy,
    /// Class of the error, as JavaScript names it.
    pub name: String,
    /// What happened, for people.
    pub message: String,
}

impl Closed {
    /// The peer says what cannot be true of a session that was made again.
    pub(crate) fn gap(message: String) -> Self {
        Self { by: ClosedBy::Protocol, name: ErrorCode::ResumeGap.to_string(), message }
    }
}

/// Who ended a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClosedBy {
    /// The peer sent `abort`.
    Peer,
    /// The peer broke the protocol or a limit, and we sent `abort`.
    Protocol,
    /// The application on this side.
    Us,
    /// The transport ended or failed.
    Transport,
}

/// How many entries the tables hold, mains included; an idle session has one of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Things of the peer's we hold.
    pub imports: usize,
    /// Things of ours the peer holds.
    pub exports: usize,
}
