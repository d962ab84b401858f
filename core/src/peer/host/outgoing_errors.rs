//! Rewrites the errors in outgoing messages: removes their stacks, or applies the application's hook.
//!
//! This works on the text of a message just before it is sent, so it covers every source of errors:
//! methods, the session itself, and other peers. A message without errors costs one search.

use std::sync::{Arc, LazyLock};

use memchr::memmem;

use crate::peer::unwind::caught;
use crate::value::text::{Cursor, TextError};
use crate::value::{self, DEPTH_MAX, ErrorValue, Object, Payload, Value};
use crate::wire::{CALL, error_text};

/// The beginning of every error. A session writes errors in this form even if the peer did not.
const ERROR: &str = "[\"error\"";

static FINDER: LazyLock<memmem::Finder<'static>> = LazyLock::new(|| memmem::Finder::new(ERROR));

/// The application's hook for errors that are sent.
pub(crate) type Hook = dyn Fn(ErrorValue) -> ErrorValue + Send + Sync;

/// The filter of outgoing messages.
pub(crate) struct OutgoingErrors {
    hook: Option<Arc<Hook>>,
    /// The message of the abort, if one was sent.
    aborted: Option<String>,
}

impl OutgoingErrors {
    pub(crate) fn new(hook: Option<Arc<Hook>>) -> Self {
        Self { hook, aborted: None }
    }

    /// Returns `true` if a text may contain errors. A text that is not a list is a frame of the link.
    pub(crate) fn may_be_in(text: &str) -> bool {
        FINDER.find(text.as_bytes()).is_some() && !text.starts_with('{')
    }

    /// Returns the message as it is to be sent.
    pub(crate) fn message(&mut self, text: String) -> String {
        if !Self::may_be_in(&text) {
            return text;
        }
        let mut rewrite =
            Rewrite { hook: self.hook.as_deref(), cursor: Cursor::new(&text), out: String::new(), copied: 0 };
        let tag = rewrite.message();
        debug_assert!(tag.is_ok(), "a session writes well-formed messages");
        let sent = rewrite.finish();
        if tag == Ok("abort") {
            self.aborted = abort_message(&sent);
        }
        sent
    }

    /// Returns the reason to close the transport with, if the session's own reason is `reason`. It is the
    /// message of the abort, as the hook has changed it.
    pub(crate) fn reason<'a>(&'a self, reason: &'a str) -> &'a str {
        self.aborted.as_deref().unwrap_or(reason)
    }
}

fn abort_message(text: &str) -> Option<String> {
    let mut cursor = Cursor::new(text);
    cursor.expect(b'[').ok()?;
    cursor.skip().ok()?;
    cursor.expect(b',').ok()?;
    head(&mut cursor).ok().map(|(_, message)| message)
}

/// A message that is copied with its errors replaced.
struct Rewrite<'a> {
    hook: Option<&'a Hook>,
    cursor: Cursor<'a>,
    out: String,
    /// The length of the text that has been copied to `out`.
    copied: usize,
}

impl<'a> Rewrite<'a> {
    fn message(&mut self) -> Result<&'a str, TextError> {
        self.cursor.take(CALL as u8);
        self.cursor.expect(b'[')?;
        let tag = self.cursor.skip()?.trim_matches('"');
        if matches!(tag, "resolve" | "reject") {
            self.cursor.expect(b',')?;
            self.cursor.skip()?;
        }
        if self.cursor.take(b',') {
            self.expression(0)?;
        }
        Ok(tag)
    }

    fn expression(&mut self, depth: usize) -> Result<(), TextError> {
        match self.cursor.peek() {
            Some(b'[') => self.array(depth),
            Some(b'{') => self.object(depth),
            _ => self.cursor.skip().map(drop),
        }
    }

    fn object(&mut self, depth: usize) -> Result<(), TextError> {
        self.cursor.expect(b'{')?;
        if self.cursor.take(b'}') {
            return Ok(());
        }
        loop {
            self.cursor.raw_string()?;
            self.cursor.expect(b':')?;
            self.expression(depth + 1)?;
            if !self.cursor.take(b',') {
                return self.cursor.expect(b'}');
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<(), TextError> {
        let start = self.cursor.clone();
        self.cursor.expect(b'[')?;
        if self.cursor.peek() == Some(b'[') {
            self.items(depth)?;
            return self.cursor.expect(b']');
        }
        let tag = self.cursor.string()?;
        // Which of the fields is an expression, and which is a list of expressions.
        let (expression, list) = match &*tag {
            "error" => return self.error(start, depth),
            "import" | "pipeline" => (None, Some(3)),
            "remap" => (None, Some(4)),
            "response" => (Some(1), None),
            _ => (None, None),
        };
        let mut field = 0;
        while self.cursor.take(b',') {
            field += 1;
            if expression == Some(field) {
                self.expression(depth + 1)?;
            } else if list == Some(field) {
                self.items(depth)?;
            } else {
                self.cursor.skip()?;
            }
        }
        self.cursor.expect(b']')
    }

    /// Copies a list of expressions.
    fn items(&mut self, depth: usize) -> Result<(), TextError> {
        self.cursor.expect(b'[')?;
        if self.cursor.take(b']') {
            return Ok(());
        }
        loop {
            self.expression(depth + 1)?;
            if !self.cursor.take(b',') {
                return self.cursor.expect(b']');
            }
        }
    }

    /// Replaces an error whose tag has been read. It begins at `start`.
    fn error(&mut self, start: Cursor<'a>, depth: usize) -> Result<(), TextError> {
        let Some(hook) = self.hook else {
            return self.without_stack(depth);
        };
        self.cursor = start.clone();
        let from = self.cursor.at();
        let text = self.cursor.skip()?;
        let error = value::decode::<ErrorValue>(Payload::plain(text))
            .or_else(|_| head(&mut start.clone()).map(|(name, message)| ErrorValue::new(name, message)))?;
        let sent = caught(|| hooked(error, hook)).unwrap_or_else(|_| {
            tracing::error!("panic in on_send_error");
            ErrorValue::new("Error", "internal error")
        });
        self.replace(from, &write(sent, depth));
        Ok(())
    }

    /// Copies the rest of an error without its stack.
    fn without_stack(&mut self, depth: usize) -> Result<(), TextError> {
        for _ in 0..2 {
            self.cursor.expect(b',')?;
            self.cursor.raw_string()?;
        }
        let from = self.cursor.at();
        if self.cursor.take(b',') {
            self.cursor.skip()?;
            let has_props = self.cursor.peek() == Some(b',');
            self.replace(from, if has_props { ",null" } else { "" });
            if self.cursor.take(b',') {
                self.object(depth)?;
            }
        }
        self.cursor.expect(b']')
    }

    /// Replaces the text between `from` and the cursor with `text`.
    fn replace(&mut self, from: usize, text: &str) {
        let source = self.cursor.text();
        self.out.push_str(source.get(self.copied..from).unwrap_or_default());
        self.out.push_str(text);
        self.copied = self.cursor.at();
    }

    fn finish(mut self) -> String {
        let end = self.cursor.text().get(self.copied..).unwrap_or_default();
        self.out.push_str(end);
        self.out
    }
}

/// Returns the name and the message of the error at the cursor.
fn head(cursor: &mut Cursor<'_>) -> Result<(String, String), TextError> {
    cursor.expect(b'[')?;
    cursor.string()?;
    cursor.expect(b',')?;
    let name = cursor.string()?.into_owned();
    cursor.expect(b',')?;
    Ok((name, cursor.string()?.into_owned()))
}

/// Applies the hook to an error, after the errors inside of it.
fn hooked(error: ErrorValue, hook: &dyn Fn(ErrorValue) -> ErrorValue) -> ErrorValue {
    let props = hooked_object(error.props, hook);
    hook(ErrorValue { props, ..error })
}

fn hooked_object(object: Object, hook: &dyn Fn(ErrorValue) -> ErrorValue) -> Object {
    object.into_iter().map(|(key, value)| (key, hooked_value(value, hook))).collect()
}

fn hooked_value(value: Value, hook: &dyn Fn(ErrorValue) -> ErrorValue) -> Value {
    match value {
        Value::Error(error) => hooked(*error, hook).into(),
        Value::Array(items) => Value::Array(items.into_iter().map(|item| hooked_value(item, hook)).collect()),
        Value::Object(object) => hooked_object(object, hook).into(),
        other => other,
    }
}

/// Encodes an error. Its properties are omitted if they would exceed the depth at which official peers
/// end the session.
fn write(mut error: ErrorValue, depth: usize) -> String {
    if depth + levels(&error.props) > DEPTH_MAX {
        error.props = Object::default();
    }
    match value::encode(&error) {
        Ok(payload) if payload.refs().is_empty() => payload.into_text().into(),
        _ => error_text(&error.name, &error.message),
    }
}

/// Returns the levels of nesting of an object, itself included.
fn levels(object: &Object) -> usize {
    fn below(value: &Value) -> usize {
        match value {
            Value::Error(error) => levels(&error.props),
            Value::Array(items) => 1 + items.iter().map(below).max().unwrap_or_default(),
            Value::Object(object) => levels(object),
            Value::Response(_) => 2,
            _ => 1,
        }
    }
    1 + object.iter().map(|(_, value)| below(value)).max().unwrap_or_default()
}
