//! Expressions that contain expressions and are neither calls nor references: errors and blobs.

use super::{Evaluation, Names, Place, id, only_field};
use crate::session::state::{Ref, Session};
use crate::value::text::{Cursor, TextError};
use crate::value::{Payload, has_placeholder};
use crate::wire::DataError;

impl Session {
    /// Evaluates `name, message[, stack[, props]]`. The properties are expressions.
    ///
    /// The tag is written in one form, because outgoing text is searched for errors by that prefix.
    /// Properties with capabilities are left out; official peers never send any in errors.
    pub(super) fn error<'a>(
        &mut self,
        cursor: &mut Cursor<'a>,
        start: usize,
        depth: usize,
        out: &mut Evaluation<'a, '_>,
    ) -> Result<(), DataError> {
        if cursor.since(start) != "[\"error\"" {
            out.leave_out(start, cursor.at());
            out.made.push_json("[\"error\"");
        }
        for _ in 0..2 {
            cursor.expect(b',')?;
            cursor.raw_string()?;
        }
        if !cursor.take(b',') {
            return Ok(());
        }
        // A stack is a string. Anything else here is not an expression and must not be read as one.
        cursor.peek();
        let from = cursor.at();
        let stack = cursor.skip()?;
        if !stack.starts_with('"') && stack != "null" {
            out.leave_out(from, cursor.at());
            out.made.push_json("null");
        }
        if cursor.take(b',') {
            if cursor.peek() != Some(b'{') {
                return Err(DataError::Shape);
            }
            let mut props = Evaluation::new(cursor, out.names);
            let from = cursor.at();
            let evaluated = self.object(cursor, depth, &mut props, Place::Error);
            props.malformed.take().into_iter().for_each(|refusal| out.refuse(*refusal));
            let props = props.finish(cursor.at())?;
            let plain = evaluated.and_then(|()| Ok(without_capabilities(&props)?));
            self.let_go_all(props);
            out.replace(from, cursor.at(), &plain?);
        }
        Ok(())
    }

    /// Evaluates `type, readable`. The bytes of the blob follow in the stream.
    pub(super) fn blob<'a>(&mut self, cursor: &mut Cursor<'a>, out: &mut Evaluation<'a, '_>) -> Result<(), DataError> {
        cursor.expect(b',')?;
        cursor.raw_string()?;
        cursor.expect(b',')?;
        cursor.peek();
        let start = cursor.at();
        cursor.expect(b'[')?;
        if cursor.string()? != "readable" || matches!(out.names, Names::Mapper { .. }) {
            return Err(DataError::Shape);
        }
        let source = self.claim_pipe(id(cursor)?)?;
        let closed = only_field(cursor).and_then(|()| Ok(cursor.expect(b']')?));
        out.capability(start, cursor.at(), source);
        closed?;
        only_field(cursor)
    }
}

/// Returns the text of an object without the members that contain capabilities.
fn without_capabilities(object: &Payload<Ref>) -> Result<String, TextError> {
    if object.refs().is_empty() {
        return Ok(object.text().to_owned());
    }
    let mut out = String::from("{");
    let mut cursor = object.cursor();
    cursor.expect(b'{')?;
    loop {
        cursor.peek();
        let start = cursor.at();
        cursor.raw_string()?;
        cursor.expect(b':')?;
        if !has_placeholder(cursor.skip()?) {
            out.push_str(if out.len() > 1 { "," } else { "" });
            out.push_str(cursor.since(start));
        }
        if !cursor.take(b',') {
            out.push('}');
            return Ok(out);
        }
    }
}
