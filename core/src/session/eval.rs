//! Evaluating the expressions of a peer: calls in them are made, references become holes, plain
//! data stays the text it is.

use super::{Import, ImportState, Path, Ref, Session};
use crate::id::{ExportId, ImportId};
use crate::value::text::{Cursor, TextError};
use crate::value::{HOLE, Payload};
use crate::wire::{DataError, WireError, check_data, check_url, header_pairs, integer, is_blocked_name, path};

/// The payload being made of a part of a message: the text as it is, but for what is replaced or
/// left out. What is kept is copied in runs.
struct Builder<'a> {
    source: &'a str,
    /// Up to where the source is dealt with.
    done: usize,
    made: Payload<Ref>,
}

impl<'a> Builder<'a> {
    fn new(cursor: &mut Cursor<'a>) -> Self {
        cursor.peek();
        Self { source: cursor.text(), done: cursor.at(), made: Payload::default() }
    }

    fn hole(&mut self, from: usize, to: usize, of: Ref) {
        self.leave_out(from, to);
        self.made.text.push_str(HOLE);
        self.made.refs.push(of);
    }

    fn leave_out(&mut self, from: usize, to: usize) {
        self.made.text.push_str(self.source.get(self.done..from).unwrap_or_default());
        self.done = to;
    }

    fn finish(mut self, end: usize) -> Payload<Ref> {
        self.leave_out(end, end);
        self.made
    }
}

impl Session {
    /// Evaluates the expression before the cursor. The references in the outcome are held.
    pub(super) fn value_of(&mut self, cursor: &mut Cursor<'_>) -> Result<Payload<Ref>, WireError> {
        let mut out = Builder::new(cursor);
        self.value(cursor, 0, &mut out)?;
        Ok(out.finish(cursor.at()))
    }

    fn value<'a>(&mut self, cursor: &mut Cursor<'a>, depth: usize, out: &mut Builder<'a>) -> Result<(), WireError> {
        if depth >= self.limits.value_depth {
            return Err(WireError::too_deep(self.limits.value_depth));
        }
        match cursor.peek() {
            Some(b'[') => self.array(cursor, depth, out),
            Some(b'{') => self.object(cursor, depth, out),
            Some(b'"') => Ok(cursor.raw_string().map(drop)?),
            _ => Ok(cursor.scalar()?),
        }
    }

    fn array<'a>(&mut self, cursor: &mut Cursor<'a>, depth: usize, out: &mut Builder<'a>) -> Result<(), WireError> {
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
                    Err(DataError::Value(error)) => Err(error),
                }
            }
            _ => Err(unknown(start)),
        }
    }

    /// The list before the cursor: elements of an array, or arguments.
    fn items<'a>(&mut self, cursor: &mut Cursor<'a>, depth: usize, out: &mut Builder<'a>) -> Result<(), WireError> {
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

    /// The object before the cursor. Members with a name that JavaScript objects inherit are
    /// evaluated and left out.
    fn object<'a>(&mut self, cursor: &mut Cursor<'a>, depth: usize, out: &mut Builder<'a>) -> Result<(), WireError> {
        cursor.expect(b'{')?;
        if cursor.take(b'}') {
            return Ok(());
        }
        let mut kept_any = false;
        let mut before = cursor.at();
        loop {
            let name = cursor.string()?;
            cursor.expect(b':')?;
            if is_blocked_name(&name) || name == "toJSON" {
                let mut aside = Builder::new(cursor);
                self.value(cursor, depth + 1, &mut aside)?;
                let dropped = aside.finish(cursor.at());
                self.let_go_all(dropped);
                // With the comma behind it if it is the first, else with the one before it.
                let more = cursor.take(b',');
                let end = cursor.at() - usize::from(more && kept_any);
                out.leave_out(before, end);
                before = end;
                if !more {
                    return Ok(cursor.expect(b'}')?);
                }
                continue;
            }
            self.value(cursor, depth + 1, out)?;
            kept_any = true;
            cursor.peek();
            before = cursor.at();
            if !cursor.take(b',') {
                return Ok(cursor.expect(b'}')?);
            }
        }
    }

    /// The rest of an array that begins with `tag`.
    fn special<'a>(
        &mut self,
        tag: &str,
        cursor: &mut Cursor<'a>,
        start: usize,
        depth: usize,
        out: &mut Builder<'a>,
    ) -> Result<(), DataError> {
        if let Some(of) = self.reference(tag, cursor, depth)? {
            let aside = cursor.at();
            skip_rest(cursor, &mut Builder { source: cursor.text(), done: aside, made: Payload::default() })?;
            out.hole(start, cursor.at(), of);
            return Ok(());
        }
        match tag {
            "error" => self.error(cursor, depth, out)?,
            "request" => self.request(cursor, depth, out)?,
            "response" => self.response(cursor, depth, out)?,
            _ if check_data(tag, cursor, &self.limits)? => {}
            _ => return Err(DataError::Shape),
        }
        skip_rest(cursor, out)?;
        Ok(())
    }

    /// A form that stands for something in a table. Held once.
    fn reference(&mut self, tag: &str, cursor: &mut Cursor<'_>, depth: usize) -> Result<Option<Ref>, DataError> {
        Ok(Some(match tag {
            "export" => self.import_stub(id(cursor)?)?,
            "promise" => self.import_promise(id(cursor)?)?,
            "import" | "pipeline" => {
                let on = self.exported(id(cursor)?)?;
                let path = if cursor.take(b',') { path(cursor)? } else { Path::new() };
                let args = if cursor.take(b',') { Some(self.arguments(cursor, depth)?) } else { None };
                if args.is_none() && path.is_empty() { self.held(on) } else { self.invoke(on, path, args) }
            }
            _ => return Ok(None),
        }))
    }

    fn arguments(&mut self, cursor: &mut Cursor<'_>, depth: usize) -> Result<Payload<Ref>, DataError> {
        if cursor.peek() != Some(b'[') {
            return Err(DataError::Shape);
        }
        let mut out = Builder::new(cursor);
        self.items(cursor, depth, &mut out)?;
        Ok(out.finish(cursor.at()))
    }

    /// What the peer calls its import `id`.
    fn exported(&self, id: i64) -> Result<Ref, WireError> {
        match self.exports.get(ExportId(id)) {
            Some(export) => Ok(export.what),
            None => Err(WireError::error(format!("no such entry on exports table: {id}"))),
        }
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
        Ok(self.import(id, ImportState::Pending { pulled: true, waiters: Vec::new() }))
    }

    fn import(&mut self, id: i64, state: ImportState) -> Ref {
        self.imports.insert(ImportId(id), Import { holds: 1, mentions: 1, state });
        Ref::Import(ImportId(id))
    }

    /// `name, message[, stack[, props]]`; the properties are expressions.
    fn error<'a>(&mut self, cursor: &mut Cursor<'a>, depth: usize, out: &mut Builder<'a>) -> Result<(), DataError> {
        for _ in 0..2 {
            cursor.expect(b',')?;
            cursor.raw_string()?;
        }
        if !cursor.take(b',') {
            return Ok(());
        }
        // Only text is a stack; anything else there is no expression and must not be read as one.
        cursor.peek();
        let from = cursor.at();
        let stack = cursor.skip()?;
        if !stack.starts_with('"') && stack != "null" {
            out.leave_out(from, cursor.at());
            out.made.text.push_str("null");
        }
        if cursor.take(b',') {
            if cursor.peek() != Some(b'{') {
                return Err(DataError::Shape);
            }
            self.object(cursor, depth + 1, out)?;
        }
        Ok(())
    }

    /// `url, init`: of the members of `init` only the body is an expression.
    fn request<'a>(&mut self, cursor: &mut Cursor<'a>, depth: usize, out: &mut Builder<'a>) -> Result<(), DataError> {
        cursor.expect(b',')?;
        check_url(&cursor.string()?)?;
        cursor.expect(b',')?;
        self.init(cursor, depth, out)?;
        only_field(cursor)
    }

    /// `body, init`.
    fn response<'a>(&mut self, cursor: &mut Cursor<'a>, depth: usize, out: &mut Builder<'a>) -> Result<(), DataError> {
        cursor.expect(b',')?;
        self.value(cursor, depth + 1, out)?;
        cursor.expect(b',')?;
        self.init(cursor, depth, out)?;
        only_field(cursor)
    }

    fn init<'a>(&mut self, cursor: &mut Cursor<'a>, depth: usize, out: &mut Builder<'a>) -> Result<(), DataError> {
        cursor.expect(b'{')?;
        if cursor.take(b'}') {
            return Ok(());
        }
        loop {
            let name = cursor.string()?;
            cursor.expect(b':')?;
            match &*name {
                "body" => self.value(cursor, depth + 1, out)?,
                "headers" => header_pairs(cursor)?,
                "signal" | "webSocket" => return Err(DataError::Shape),
                // Raw JSON, in which nothing may look like a hole.
                _ if cursor.skip()?.contains(HOLE) => return Err(DataError::Shape),
                _ => {}
            }
            if !cursor.take(b',') {
                return Ok(cursor.expect(b'}')?);
            }
        }
    }
}

/// Leaves out what stands between the fields that count and the closing bracket.
fn skip_rest<'a>(cursor: &mut Cursor<'a>, out: &mut Builder<'a>) -> Result<(), TextError> {
    cursor.peek();
    let from = cursor.at();
    while cursor.take(b',') {
        cursor.skip()?;
    }
    cursor.peek();
    if cursor.at() > from {
        out.leave_out(from, cursor.at());
    }
    cursor.expect(b']')
}

fn only_field(cursor: &mut Cursor<'_>) -> Result<(), DataError> {
    if cursor.peek() == Some(b']') { Ok(()) } else { Err(DataError::Shape) }
}

fn id(cursor: &mut Cursor<'_>) -> Result<i64, TextError> {
    cursor.expect(b',')?;
    integer(cursor)
}

/// An exporter gives out negative ids. One that did not would make the two sides count apart.
fn exporters_own(id: i64) -> Result<(), WireError> {
    if id < 0 { Ok(()) } else { Err(WireError::error(format!("not an id an exporter may give out: {id}"))) }
}

fn reused() -> WireError {
    WireError::error("Bug in RPC system: The peer sent a promise reusing an existing export ID.")
}

fn unknown(mut at: Cursor<'_>) -> WireError {
    WireError::unknown_value(at.skip().unwrap_or_default())
}
