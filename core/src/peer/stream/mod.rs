//! Streams of values: what an application reads from and writes to, and how both ends meet a
//! session.
//!
//! A pipe is what lies between two ends in this process: the peer's writes and our reader,
//! or our writer and our reader. An outlet is the way to a writable of the peer's, with the
//! window of its flow control. A pump carries what a reader of ours yields into an outlet. All
//! chunks are argument lists of one argument, so that passing them on changes nothing.

mod blob;
mod deliver;
mod feeding;
mod outlet;
mod pipe;
mod pump;
mod reader;
mod sink;
mod source;
mod spool;
mod writer;

use crate::peer::object::error_payload;
use crate::peer::stub::Stub;
use crate::session::Kind;
use crate::value::{Cap, Payload};

pub(crate) use deliver::deliver;
pub(crate) use outlet::{Chunk, OutletEnd};
pub(crate) use pipe::{Pipe, Use};
pub(crate) use pump::Pumping;
pub use reader::Reader;
pub use sink::Sink;
pub(crate) use source::{OfBytes, Readable, Source};
pub(crate) use spool::Spool;
pub(crate) use writer::Writable;
pub use writer::Writer;

/// Two ends of a stream in this process. A write waits while `chunks` chunks (at least one) wait
/// for the reader.
pub fn channel<T>(chunks: usize) -> (Writer<T>, Reader<T>) {
    let (entry, exit) = Pipe::ends(Use::Read, chunks.max(1));
    (Writer::from_writable(Writable::Pipe(entry)), Reader::from_source(Box::new(exit)))
}

impl Stub {
    /// Whether it is the end of a stream that a [`Reader`] reads.
    pub fn is_readable(&self) -> bool {
        self.as_local().is_some_and(|local| local.body.kind() == Kind::Readable)
    }

    /// Whether it is the end of a stream that a [`Writer`] writes to.
    pub fn is_writable(&self) -> bool {
        self.as_local().is_some_and(|local| local.body.kind() == Kind::Writable)
    }
}

/// What writers are told when nobody will read.
fn unread() -> Payload<Cap> {
    error_payload("Error", "ReadableStream RPC stub was disposed without being consumed")
}

/// What readers are told when nobody will write.
fn unclosed() -> Payload<Cap> {
    error_payload("Error", "WritableStream RPC stub was disposed without calling close()")
}

fn over() -> Payload<Cap> {
    error_payload("TypeError", "Invalid state: WritableStream is closed")
}

fn undefined() -> Payload<Cap> {
    Payload::undefined()
}

/// A value as an argument list.
fn only_argument(value: Payload<Cap>) -> Payload<Cap> {
    value.in_brackets()
}
