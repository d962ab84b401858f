//! Helpers that write outgoing text.

use crate::session::Step;

/// Appends a JSON string.
pub(crate) fn push_string(out: &mut String, text: &str) {
    if text.bytes().all(|b| b >= 0x20 && b != b'"' && b != b'\\') {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        out.push_str(&serde_json::Value::from(text).to_string());
    }
}

/// Returns a JSON string.
pub(crate) fn string_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    push_string(&mut out, text);
    out
}

/// Appends an integer.
pub(crate) fn push_integer(out: &mut String, integer: i64) {
    out.push_str(itoa::Buffer::new().format(integer));
}

/// Returns the number of bytes that [`push_integer`] appends.
pub(crate) fn integer_len(integer: i64) -> usize {
    let digits = integer.unsigned_abs().checked_ilog10().unwrap_or_default() as usize + 1;
    digits + usize::from(integer < 0)
}

/// Returns the number of bytes that [`push_path`] appends if no name needs escaping.
pub(crate) fn path_len(path: &[Step]) -> usize {
    let steps = path.iter().map(|step| match step {
        Step::Name(name) => name.len() + 2,
        Step::Index(index) => index.checked_ilog10().unwrap_or_default() as usize + 1,
    });
    steps.sum::<usize>() + path.len().saturating_sub(1) + 2
}

/// Appends a list of a tag and integers.
pub(crate) fn push_integers<const N: usize>(out: &mut String, tag: &str, integers: [i64; N]) {
    out.push_str("[\"");
    out.push_str(tag);
    out.push('"');
    for integer in integers {
        out.push(',');
        push_integer(out, integer);
    }
    out.push(']');
}

/// Appends a property path as a list.
pub(crate) fn push_path(out: &mut String, path: &[Step]) {
    out.push('[');
    for (n, step) in path.iter().enumerate() {
        if n > 0 {
            out.push(',');
        }
        match step {
            Step::Name(name) => push_string(out, name),
            Step::Index(index) => out.push_str(itoa::Buffer::new().format(*index)),
        }
    }
    out.push(']');
}

/// Returns an `error` expression with a code, by which programs can distinguish errors.
pub(crate) fn coded_error_text(code: &str, message: &str) -> String {
    let mut out = error_text("Error", message);
    out.pop();
    out.push_str(",null,{\"code\":");
    push_string(&mut out, code);
    out.push_str("}]");
    out
}

/// Returns an `error` expression.
pub(crate) fn error_text(name: &str, message: &str) -> String {
    let mut out = String::with_capacity(name.len() + message.len() + 16);
    out.push_str("[\"error\",");
    push_string(&mut out, name);
    out.push(',');
    push_string(&mut out, message);
    out.push(']');
    out
}
