//! Evaluation of the peer's expressions: makes the calls in them, and replaces references by
//! placeholders. Plain data remains text.

mod fetch;
mod forms;
mod making;

use self::making::{Evaluation, Members, Place};
use crate::id::{ExportId, ImportId};
use crate::session::state::account::decoded_bytes;
use crate::session::state::budget::CALL;
use crate::session::state::maps::Mapper;
use crate::session::state::promises::{Call, Settled, Waiters};
use crate::session::state::{Import, ImportState, Path, Ref, Session};
use crate::value::Payload;
use crate::value::text::{Cursor, TextError};
use crate::wire::{Data, DataError, WireError, check_data, error_text, integer, is_blocked_name, path};

/// What ids in an expression refer to.
#[derive(Clone, Copy)]
pub(crate) enum Names<'n> {
    /// Entries of the export table. The message has `nodes` JSON values.
    Exports { nodes: usize },
    /// In a mapper function: 0 is the input, `k` the result of instruction `k`, `-k` capture `k`.
    Mapper { results: &'n [Ref], captures: &'n [Ref], budget: u64 },
}

impl Names<'_> {
    /// Returns the maximum number of JSON values in an expression.
    fn nodes(self) -> usize {
        match self {
            Self::Exports { nodes } => nodes,
            Self::Mapper { .. } => usize::MAX,
        }
    }
}

impl Session {
    /// Evaluates the expression at the cursor. Returns a value, or a rejection if the value is
    /// malformed. The references in it are held.
    pub(in crate::session) fn value_of(
        &mut self,
        cursor: &mut Cursor<'_>,
        names: Names<'_>,
    ) -> Result<Settled, WireError> {
        let mut out = Evaluation::new(cursor, names);
        let evaluated = self.value(cursor, 0, &mut out);
        self.conclude(out, evaluated, cursor.at())
    }

    fn conclude(
        &mut self,
        mut out: Evaluation<'_, '_>,
        evaluated: Result<(), WireError>,
        end: usize,
    ) -> Result<Settled, WireError> {
        match (evaluated, out.malformed.take()) {
            (Ok(()), None) => out.finish(end).map(Ok),
            (evaluated, refusal) => {
                self.let_go_unfinished(out);
                evaluated?;
                let WireError { name, message } = refusal.map(|refusal| *refusal).unwrap_or_default();
                Ok(Err(Payload::plain(error_text(name, &message))))
            }
        }
    }

    /// Evaluates the expression at the cursor if it is a call or a reference, as most pushes are.
    /// Equivalent to [`value_of`](Self::value_of), without a payload around the reference.
    pub(in crate::session) fn call_of(
        &mut self,
        cursor: &mut Cursor<'_>,
        names: Names<'_>,
    ) -> Result<Option<Ref>, WireError> {
        let start = cursor.clone();
        if !(cursor.take(b'[') && cursor.peek() == Some(b'"')) {
            *cursor = start;
            return Ok(None);
        }
        let tag = cursor.string()?;
        if !matches!(&*tag, "pipeline" | "import") {
            *cursor = start;
            return Ok(None);
        }
        let called = self.reference(&tag, cursor, 0, names).and_then(|of| {
            skip_fields(cursor)?;
            cursor.expect(b']')?;
            Ok(of)
        });
        called.map_err(|error| match error {
            DataError::Shape => unknown(start),
            DataError::Malformed(error) | DataError::Breach(error) => error,
        })
    }

    /// Releases the references of an evaluation that failed.
    fn let_go_unfinished(&mut self, out: Evaluation<'_, '_>) {
        out.made.into_refs().into_iter().for_each(|of| self.let_go(of));
    }

    fn value<'a>(
        &mut self,
        cursor: &mut Cursor<'a>,
        depth: usize,
        out: &mut Evaluation<'a, '_>,
    ) -> Result<(), WireError> {
        if depth >= self.limits.value_depth {
            return Err(WireError::too_deep(self.limits.value_depth));
        }
        match cursor.peek() {
            Some(b'[') => self.array(cursor, depth, out),
            Some(b'{') => self.object(cursor, depth, out, Place::Value),
            Some(b'"') => Ok(cursor.raw_string().map(drop)?),
            _ => Ok(cursor.scalar()?),
        }
    }

    fn array<'a>(
        &mut self,
        cursor: &mut Cursor<'a>,
        depth: usize,
        out: &mut Evaluation<'a, '_>,
    ) -> Result<(), WireError> {
        let start = cursor.clone();
        cursor.expect(b'[')?;
        match cursor.peek() {
            Some(b'[') => {
                self.items(cursor, depth, out)?;
                if cursor.take(b']') { Ok(()) } else { Err(unknown(start)) }
            }
            Some(b'"') => {
                let tag = cursor.string()?;
                match self.special(&tag, cursor, start.at(), depth, out) {
                    Ok(()) => Ok(()),
                    Err(DataError::Shape) => Err(unknown(start)),
                    Err(DataError::Malformed(refusal)) => {
                        // Plain data, or a call that was given up: no references were counted for it.
                        out.refuse(refusal);
                        *cursor = start;
                        Ok(cursor.skip().map(drop)?)
                    }
                    Err(DataError::Breach(error)) => Err(error),
                }
            }
            _ => Err(unknown(start)),
        }
    }

    /// Evaluates the list at the cursor: elements of an array, or arguments.
    fn items<'a>(
        &mut self,
        cursor: &mut Cursor<'a>,
        depth: usize,
        out: &mut Evaluation<'a, '_>,
    ) -> Result<(), WireError> {
        cursor.expect(b'[')?;
        if cursor.take(b']') {
            return Ok(());
        }
        loop {
            self.value(cursor, depth + 1, out)?;
            if !cursor.take(b',') {
                return Ok(cursor.expect(b']')?);
            }
        }
    }

    /// Evaluates the object at the cursor. Members with the name of an inherited JavaScript
    /// property are evaluated and left out. `name`, `message`, and `stack` of an error's properties
    /// are skipped.
    fn object<'a>(
        &mut self,
        cursor: &mut Cursor<'a>,
        depth: usize,
        out: &mut Evaluation<'a, '_>,
        place: Place,
    ) -> Result<(), WireError> {
        cursor.expect(b'{')?;
        if cursor.take(b'}') {
            return Ok(());
        }
        let mut members = Members::new(cursor);
        loop {
            let name = cursor.string()?;
            cursor.expect(b':')?;
            let mut kept = true;
            if place == Place::Error && matches!(&*name, "name" | "message" | "stack") {
                cursor.skip()?;
                kept = false;
            } else if is_blocked_name(&name) || name == "toJSON" {
                let mut aside = Evaluation::new(cursor, out.names);
                let evaluated = self.value(cursor, depth + 1, &mut aside);
                aside.malformed.take().into_iter().for_each(|refusal| out.refuse(*refusal));
                self.let_go_unfinished(aside);
                evaluated?;
                kept = false;
            } else {
                self.value(cursor, depth + 1, out)?;
            }
            if !members.next(cursor, out, kept) {
                return Ok(cursor.expect(b'}')?);
            }
        }
    }

    /// Evaluates the rest of an array that begins with `tag`.
    fn special<'a>(
        &mut self,
        tag: &str,
        cursor: &mut Cursor<'a>,
        start: usize,
        depth: usize,
        out: &mut Evaluation<'a, '_>,
    ) -> Result<(), DataError> {
        if let Some(of) = self.reference(tag, cursor, depth, out.names)? {
            let mut aside = Evaluation::new(cursor, out.names);
            skip_rest(cursor, &mut aside)?;
            out.capability(start, cursor.at(), of);
            // Within one message, too, a peer that goes beyond the bounds regardless is cut off.
            return Ok(self.check_room()?);
        }
        match tag {
            "error" => self.error(cursor, start, depth, out)?,
            "blob" => self.blob(cursor, out)?,
            "request" => self.request(cursor, depth, out)?,
            "response" => self.response(cursor, depth, out)?,
            _ => match check_data(tag, cursor, &self.limits)? {
                Data::AsIs => {}
                Data::Instead { from, to, text } => out.replace(from, to, &text),
            },
        }
        skip_rest(cursor, out)?;
        Ok(())
    }

    /// Evaluates a form that refers to an entry of a table. Returns the reference, held once.
    fn reference(
        &mut self,
        tag: &str,
        cursor: &mut Cursor<'_>,
        depth: usize,
        names: Names<'_>,
    ) -> Result<Option<Ref>, DataError> {
        Ok(Some(match tag {
            "export" | "promise" | "writable" | "readable" if matches!(names, Names::Mapper { .. }) => {
                return Err(WireError::error("A mapper function cannot refer to exports.").into());
            }
            "export" => self.import_stub(id(cursor)?)?,
            "writable" => self.import_writable(id(cursor)?)?,
            "readable" => self.claim_pipe(id(cursor)?)?,
            "promise" => self.import_promise(id(cursor)?)?,
            "import" | "pipeline" => {
                let on = self.named(id(cursor)?, names)?;
                let path = if cursor.take(b',') { path(cursor)? } else { Path::new() };
                let args = if cursor.take(b',') { Some(self.arguments(cursor, depth, names)?) } else { None };
                // The official package refuses further fields here, although it ignores them
                // elsewhere.
                if let Err(error) = only_field(cursor) {
                    args.into_iter().flatten().for_each(|args| self.let_go_all(args));
                    return Err(error);
                }
                if depth > 0
                    && (args.is_some() || !path.is_empty())
                    && let Names::Exports { .. } = names
                    && let Err(error) = self.budget.read(CALL, &self.limits)
                {
                    args.into_iter().flatten().for_each(|args| self.let_go_all(args));
                    return Err(DataError::Malformed(error));
                }
                match args.transpose() {
                    Ok(None) if path.is_empty() => self.held(on),
                    // The end of a stream has no properties unless it is in a value.
                    Ok(None) if matches!(names, Names::Exports { .. }) && self.is_stream(on) => {
                        self.rejected("Error", "Cannot access properties on a WritableStream stub")
                    }
                    Ok(None) => self.invoke(on, Call::read(path)),
                    Ok(Some(args)) => {
                        let decoded = decoded_bytes(&args, names.nodes());
                        self.invoke(on, Call { path, walked: 0, args: Some(args), decoded })
                    }
                    Err(refusal) => Ref::Promise(self.settled(Err(refusal))),
                }
            }
            "remap" => self.remap(cursor, names)?,
            _ => return Ok(None),
        }))
    }

    /// Evaluates `id, path, captures, instructions`. The instructions remain text until the input
    /// arrives.
    fn remap(&mut self, cursor: &mut Cursor<'_>, names: Names<'_>) -> Result<Ref, DataError> {
        let on = self.named(id(cursor)?, names)?;
        cursor.expect(b',')?;
        let path = path(cursor)?;
        cursor.expect(b',')?;
        let captures = self.captures(cursor, names)?;
        cursor.expect(b',')?;
        if cursor.peek() != Some(b'[') {
            return Err(DataError::Shape);
        }
        let instructions = cursor.skip()?.to_owned();
        only_field(cursor)?;
        let budget = match names {
            Names::Exports { .. } => self.limits.map_steps,
            Names::Mapper { budget, .. } => budget,
        };
        Ok(self.map_here(on, path, Mapper::new(captures, instructions, budget)))
    }

    fn captures(&mut self, cursor: &mut Cursor<'_>, names: Names<'_>) -> Result<Vec<Ref>, DataError> {
        let mut captures = Vec::new();
        cursor.expect(b'[')?;
        if cursor.take(b']') {
            return Ok(captures);
        }
        loop {
            let mut start = cursor.clone();
            match self.capture(cursor, names) {
                Ok(capture) => captures.push(capture),
                Err(error) => {
                    captures.into_iter().for_each(|capture| self.let_go(capture));
                    let text = start.skip()?;
                    return Err(match error {
                        DataError::Shape => WireError::type_error(format!("unknown map capture: {text:.200}")).into(),
                        DataError::Malformed(_) | DataError::Breach(_) => error,
                    });
                }
            }
            if !cursor.take(b',') {
                cursor.expect(b']')?;
                return Ok(captures);
            }
        }
    }

    fn capture(&mut self, cursor: &mut Cursor<'_>, names: Names<'_>) -> Result<Ref, DataError> {
        cursor.expect(b'[')?;
        let tag = cursor.string()?;
        let number = id(cursor)?;
        only_field(cursor)?;
        cursor.expect(b']')?;
        Ok(match (&*tag, names) {
            ("import", _) => {
                let of = self.named(number, names)?;
                self.held(of)
            }
            ("export", Names::Exports { .. }) => self.import_stub(number)?,
            _ => return Err(DataError::Shape),
        })
    }

    fn is_stream(&self, on: Ref) -> bool {
        matches!(on, Ref::Target(_)) && !self.kind(on).is_object()
    }

    /// Evaluates the argument list at the cursor. Returns a rejection if it is malformed.
    fn arguments(&mut self, cursor: &mut Cursor<'_>, depth: usize, names: Names<'_>) -> Result<Settled, DataError> {
        if cursor.peek() != Some(b'[') {
            return Err(DataError::Shape);
        }
        let mut out = Evaluation::new(cursor, names);
        let evaluated = self.items(cursor, depth, &mut out);
        Ok(self.conclude(out, evaluated, cursor.at())?)
    }

    /// Returns what `id` refers to.
    fn named(&self, id: i64, names: Names<'_>) -> Result<Ref, WireError> {
        let at = |list: &[Ref], at: u64| list.get(usize::try_from(at).ok()?).copied();
        let found = match names {
            Names::Exports { .. } => self.exports.get(ExportId(id)).map(|export| export.what),
            Names::Mapper { captures, .. } if id < 0 => at(captures, id.unsigned_abs() - 1),
            Names::Mapper { results, .. } => at(results, id.unsigned_abs()),
        };
        found.ok_or_else(|| WireError::error(format!("no such entry on exports table: {id}")))
    }

    fn import_stub(&mut self, id: i64) -> Result<Ref, WireError> {
        exporters_own(id)?;
        let known = self.imports.get(ImportId(id)).map(|import| (&import.state, import.mentions));
        match known {
            None => Ok(self.import(id, ImportState::Stub)),
            Some((ImportState::Settled(_), 0)) => Err(reused()),
            Some(_) => {
                let of = Ref::Import(ImportId(id));
                if let Some(import) = self.imports.get_mut(ImportId(id)) {
                    import.mentions += 1;
                }
                Ok(self.held(of))
            }
        }
    }

    fn import_promise(&mut self, id: i64) -> Result<Ref, WireError> {
        exporters_own(id)?;
        if self.imports.get(ImportId(id)).is_some() {
            return Ok(self.rejected("Error", &reused().message));
        }
        Ok(self.import(id, ImportState::Pending { pulled: true, waiters: Waiters::new() }))
    }

    fn import_writable(&mut self, id: i64) -> Result<Ref, WireError> {
        let of = self.import_stub(id)?;
        if let Some(import) = self.imports.get_mut(ImportId(id)) {
            import.writable = true;
        }
        Ok(of)
    }

    fn import(&mut self, id: i64, state: ImportState) -> Ref {
        self.next.peer_export = self.next.peer_export.min(id);
        self.imports.insert(ImportId(id), Import::new(state));
        Ref::Import(ImportId(id))
    }
}

/// Leaves out everything up to the closing bracket: fields that are ignored.
fn skip_rest<'a>(cursor: &mut Cursor<'a>, out: &mut Evaluation<'a, '_>) -> Result<(), TextError> {
    cursor.peek();
    let from = cursor.at();
    skip_fields(cursor)?;
    cursor.peek();
    if cursor.at() > from {
        out.leave_out(from, cursor.at());
    }
    cursor.expect(b']')
}

fn skip_fields(cursor: &mut Cursor<'_>) -> Result<(), TextError> {
    while cursor.take(b',') {
        cursor.skip()?;
    }
    Ok(())
}

fn only_field(cursor: &mut Cursor<'_>) -> Result<(), DataError> {
    if cursor.peek() == Some(b']') { Ok(()) } else { Err(DataError::Shape) }
}

fn id(cursor: &mut Cursor<'_>) -> Result<i64, TextError> {
    cursor.expect(b',')?;
    integer(cursor)
}

/// Checks that an id is negative, as those of exporters are. With any other id, the two sides would
/// count differently.
fn exporters_own(id: i64) -> Result<(), WireError> {
    if id < 0 { Ok(()) } else { Err(WireError::error(format!("not an id an exporter may give out: {id}"))) }
}

fn reused() -> WireError {
    WireError::error("Bug in RPC system: The peer sent a promise reusing an existing export ID.")
}

fn unknown(mut at: Cursor<'_>) -> WireError {
    WireError::unknown_value(at.skip().unwrap_or_default())
}
