//! The inputs and outputs of a session other than messages.

use serde::{Deserialize, Serialize};

use crate::id::{ExportId, ImportId, PromiseId, TargetId, WaitId};
use crate::session::state::{CloseReason, Path};
use crate::value::Payload;

/// A reference to something that a session can call, pass on, or wait for.
///
/// A `Ref` is plain data. [`Session::retain`](super::Session::retain) and
/// [`Session::release`](super::Session::release) maintain its reference count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Ref {
    /// A stub of an object of the peer, or the result of a call to the peer.
    #[serde(rename = "i")]
    Import(ImportId),
    /// A local object.
    #[serde(rename = "t")]
    Target(TargetId),
    /// A local promise, which may be settled.
    #[serde(rename = "p")]
    Promise(PromiseId),
}

/// The kind of a local object on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// An object with methods, or a function.
    #[default]
    Object,
    /// The writable end of a stream. Its methods are `write`, `close`, and `abort`.
    Writable,
    /// The readable end of a stream. It is never called; see [`Output::Pump`].
    Readable,
}

impl Kind {
    pub(crate) fn is_object(&self) -> bool {
        *self == Self::Object
    }
}

/// What another process needs to restore a local object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// The name of the registered restorer.
    #[serde(rename = "r")]
    pub restorer: String,
    /// The version of the parameters.
    #[serde(rename = "v")]
    pub version: u32,
    /// The parameters, which identify the object.
    #[serde(rename = "q")]
    pub params: Payload<Ref>,
}

/// A reference that an application writes into a message: one that it holds, or a property of one,
/// which the session then requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// The reference that is held.
    pub of: Ref,
    /// The path to the property; empty for the reference itself.
    pub path: Path,
}

/// An instruction to the caller of a session.
///
/// Each [`Ref`] in a payload of an output is held once for the receiver, which must release it with
/// [`Session::release`](super::Session::release).
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Call a local object, or read one of its properties. Must be answered with one
    /// [`Session::settle`](super::Session::settle).
    Deliver(Delivery),
    /// A wait ended.
    Settled {
        /// The id that [`Session::pull`](super::Session::pull) returned.
        wait: WaitId,
        /// How the wait ended.
        outcome: Outcome,
    },
    /// The peer opened a stream toward this side. Connect the two ends: what is written to `sink`
    /// is read from `source`.
    Pipe {
        /// The end that the peer calls, with one `write` for each chunk.
        sink: TargetId,
        /// The end that the peer passes as `readable`.
        source: TargetId,
    },
    /// A readable was sent to the peer. Write what `source` yields into `into`, which is held once
    /// for the receiver.
    Pump {
        /// The local readable.
        source: TargetId,
        /// The peer's end of the stream. Write to it with
        /// [`Session::stream`](super::Session::stream).
        into: ImportId,
    },
    /// The last reference to this object was released. Drop the object.
    DropTarget(TargetId),
    /// The result of this delivery was awaited, and its last reference was released. The method may
    /// be canceled. The delivery must still be settled once.
    Cancel(PromiseId),
    /// The session ended. Only commands given after this cause further outputs.
    Closed(CloseReason),
}

/// A call of a local object, or a read of one of its properties.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Delivery {
    /// The promise to settle with the result.
    #[serde(rename = "c")]
    pub call: PromiseId,
    /// The object that is called.
    #[serde(rename = "t")]
    pub target: TargetId,
    /// The method or property. It has more than one step if the caller reached through properties.
    #[serde(rename = "p", default, skip_serializing_if = "Path::is_empty")]
    pub path: Path,
    /// The arguments, or `None` to read the property. Promises in them have been awaited and
    /// replaced.
    #[serde(rename = "a", default, skip_serializing_if = "Option::is_none")]
    pub args: Option<Payload<Ref>>,
    /// The id of the peer's push that this delivery is the result of, or 0 if it is part of a
    /// larger expression. It is the same when the push is retransmitted.
    #[serde(skip, default = "Delivery::unnamed")]
    pub id: ExportId,
    /// The call was received by another process, which may have run it.
    #[serde(skip)]
    pub again: bool,
}

impl Delivery {
    pub(crate) fn unnamed() -> ExportId {
        ExportId::MAIN
    }
}

/// How a wait or a call ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It returned this value, in which every promise has been replaced by its result.
    Resolved(Payload<Ref>),
    /// It was rejected with this value, usually an error.
    Rejected(Payload<Ref>),
    /// The session ended first.
    Lost(CloseReason),
}

/// The sizes of a session's tables. The main objects count, so an idle session has one of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionStats {
    /// The number of the peer's objects and results that this side holds.
    pub imports: usize,
    /// The number of this side's objects and results that the peer holds.
    pub exports: usize,
}
