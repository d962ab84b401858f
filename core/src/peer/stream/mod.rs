//! Streams of values: the reader and writer that applications use, and how they connect to a session.
//!
//! A *pipe* connects two ends in this process: the peer's writes and a local reader, or a local writer
//! and a local reader. An *outlet* leads to a writable of the peer, under flow control. A *pump* moves
//! the chunks of a local reader into an outlet. Every chunk is an argument list of one argument, so
//! forwarding a chunk does not change it.

mod blob;
mod deliver;
mod feeding;
mod outlet;
mod pipe;
mod pump;
mod reader;
mod sink;
mod source;
mod writer;

use std::sync::Arc;

use crate::peer::host::settings::Streams;
use crate::peer::host::shared::Shared;
use crate::peer::host::target::{Entry, Target};
use crate::peer::interface::object::error_payload;
use crate::peer::reference::readable::Readable;
use crate::peer::reference::stub::Stub;
use crate::session::{Kind, Ref};
use crate::value::{Cap, Payload};

pub use reader::Reader;
pub use sink::Sink;
pub use writer::Writer;

use outlet::OutletEnd;
use pipe::{Pipe, Use};
use pump::Pumping;
use writer::Writable;

/// The streams of a session with a peer.
pub(crate) struct LinkedStreams;

impl Streams for LinkedStreams {
    fn outlet(&self, shared: &Arc<Shared>, of: Ref) -> Cap {
        Cap::from_arc(Writable::Remote(OutletEnd::new(shared, of)).into_local())
    }

    fn pipe(&self, shared: &Arc<Shared>) -> [Arc<dyn Target>; 2] {
        let (entry, exit) = Pipe::ends(Use::Read, 1);
        [Writable::Pipe(entry).into_local(), Readable::of_peer(Box::new(exit), shared).into_local()]
    }

    fn pump(&self, shared: &Arc<Shared>, source: Option<&Entry>, into: Ref) -> Box<dyn FnOnce() + Send> {
        let pumping = Pumping::new(shared, source, into);
        Box::new(move || pumping.start())
    }
}

/// Creates a stream within this process. A write waits while `chunks` chunks (at least one) wait for
/// the reader.
///
/// Pass one of the ends to a peer, or keep both:
///
/// ```
/// use bowline_core::peer::stream::channel;
///
/// # async fn example() -> Result<(), bowline_core::peer::CallError> {
/// let (mut writer, mut reader) = channel::<u32>(8);
/// writer.write(7).await?;
/// assert_eq!(reader.next().await.transpose()?, Some(7));
/// # Ok(())
/// # }
/// ```
pub fn channel<T>(chunks: usize) -> (Writer<T>, Reader<T>) {
    let (entry, exit) = Pipe::ends(Use::Read, chunks.max(1));
    (Writer::from_writable(Writable::Pipe(entry)), Reader::from_source(Box::new(exit)))
}

impl Stub {
    /// Returns `true` if it is the readable end of a stream; see [`Reader`].
    pub fn is_readable(&self) -> bool {
        self.as_local().is_some_and(|local| local.body.kind() == Kind::Readable)
    }

    /// Returns `true` if it is the writable end of a stream; see [`Writer`].
    pub fn is_writable(&self) -> bool {
        self.as_local().is_some_and(|local| local.body.kind() == Kind::Writable)
    }
}

/// Returns the error that a writer gets when the reader was dropped. Clients match on its text.
fn unread() -> Payload<Cap> {
    error_payload("Error", "ReadableStream RPC stub was disposed without being consumed")
}

/// Returns the error that a reader gets when the writer was dropped. Clients match on its text.
fn unclosed() -> Payload<Cap> {
    error_payload("Error", "WritableStream RPC stub was disposed without calling close()")
}

fn over() -> Payload<Cap> {
    error_payload("TypeError", "Invalid state: WritableStream is closed")
}

fn undefined() -> Payload<Cap> {
    Payload::undefined()
}

/// Converts a value into an argument list.
fn only_argument(value: Payload<Cap>) -> Payload<Cap> {
    value.in_brackets()
}
