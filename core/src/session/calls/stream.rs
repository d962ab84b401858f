//! Streams: pipes of both sides, and outgoing chunks; see docs/wire.md, "Streams".

use crate::id::{ExportId, ImportId, TargetId, WaitId};
use crate::session::calls::window::units;
use crate::session::messages::write::Mention;
use crate::session::state::outbox::MessageKind;
use crate::session::state::promises::{Found, Waiters};
use crate::session::state::{ImportState, Kind, Outgoing, Output, Ref, Session, Step};
use crate::value::Payload;
use crate::wire::WireError;

impl Session {
    /// Sends a chunk or the end of a stream. `method` is `write`, `close`, or `abort`. References
    /// in `args` remain the caller's.
    ///
    /// Returns a wait for the acknowledgment, and the size of the message for flow control, in
    /// UTF-16 units.
    pub fn stream(&mut self, into: Ref, method: &str, args: Payload<Outgoing>) -> (WaitId, usize) {
        let path = [Step::Name(method.into())];
        let (result, units) = match self.follow(into) {
            Found::Stub(id) => self.send_chunk(id, &path, &args),
            _ => {
                let units = units(args.text());
                (self.invoke_outgoing(into, &path, Some(args)), units)
            }
        };
        let wait = self.pull(result, &[]);
        self.release(result);
        (wait, units)
    }

    fn send_chunk<M: Mention>(&mut self, into: ImportId, path: &[Step], args: &Payload<M>) -> (Ref, usize) {
        if let Some(refused) = self.refuse_deep(Some(args)) {
            return (refused, 0);
        }
        let message = self.call_message("[\"stream\",[\"pipeline\",", into, path, Some(args));
        // Its answer is sent without a pull, and both sides drop the entry with it.
        let id = self.add_import(ImportState::Pending { pulled: true, waiters: Waiters::new() });
        if let Some(import) = self.imports.get_mut(id) {
            import.mentions = 0;
        }
        let units = units(&message.text);
        self.note_unkept(id);
        self.send(MessageKind::Chunk, message.text);
        self.answer_promised(message.promised);
        (Ref::Import(id), units)
    }

    /// Handles a pipe that the peer opened.
    pub(in crate::session) fn add_pipe(&mut self) {
        if self.pipes >= self.limits.streams {
            let message = format!("limit: open streams of a session (at most {})", self.limits.streams);
            let refused = self.rejected("RangeError", &message);
            let source = self.held(refused);
            return self.add_pipe_export(refused, source);
        }
        let (sink, source) = (self.new_target(Kind::Writable), self.new_target(Kind::Readable));
        self.add_pipe_export(Ref::Target(sink), Ref::Target(source));
        self.outputs.push_back(Output::Pipe { sink, source });
    }

    fn add_pipe_export(&mut self, sink: Ref, source: Ref) {
        let id = self.add_answer(sink, false);
        if let Some(export) = self.exports.get_mut(id) {
            (export.pipe, export.unclaimed) = (true, Some(Box::new(source)));
            self.pipes += 1;
        }
    }

    /// Returns the readable end of a pipe. The peer can claim it once.
    pub(in crate::session) fn claim_pipe(&mut self, id: i64) -> Result<Ref, WireError> {
        self.exports.get_mut(ExportId(id)).and_then(|export| export.unclaimed.take()).map(|source| *source).ok_or_else(
            || WireError::error(format!("Export {id} is not a pipe or its readable end was already consumed.")),
        )
    }

    /// Opens a pipe for a readable that is being sent to the peer.
    pub(in crate::session) fn open_pipe(&mut self, source: TargetId) -> ImportId {
        let into = self.add_import(ImportState::Stub);
        self.note_unkept(into);
        self.send(MessageKind::Pipe, "[\"pipe\"]".to_owned());
        self.outputs.push_back(Output::Pump { source, into });
        into
    }
}
