//! Requests and responses of a peer, checked by the rules of the JavaScript constructors to which
//! an official peer passes them.

use super::{Evaluation, Members, only_field};
use crate::session::state::Session;
use crate::value::init::{BodyForm, Crosses, Member, RequestInit, ResponseInit};
use crate::value::text::{Cursor, TextError};
use crate::value::{InvalidFetch, Url, check_target};
use crate::wire::{DataError, WireError, header_pairs, parse_url, string_text};

/// The rules for the `init` object that is being read.
enum Rules {
    Request(RequestInit),
    Response(ResponseInit),
}

impl Rules {
    fn member(&mut self, name: &str, member: &Member<'_>) -> Result<Crosses, InvalidFetch> {
        match self {
            Self::Request(init) => init.member(name, member),
            Self::Response(init) => init.member(name, member),
        }
    }
}

impl Evaluation<'_, '_> {
    /// Marks the value as malformed if `checked` is an error.
    fn checked(&mut self, checked: Result<Crosses, InvalidFetch>) -> Crosses {
        checked.unwrap_or_else(|refusal| {
            self.refuse(WireError::type_error(refusal.to_string()));
            Crosses::Yes
        })
    }
}

impl Session {
    /// Evaluates `url, init`. In `init`, only the body is an expression.
    pub(super) fn request<'a>(
        &mut self,
        cursor: &mut Cursor<'a>,
        depth: usize,
        out: &mut Evaluation<'a, '_>,
    ) -> Result<(), DataError> {
        cursor.expect(b',')?;
        if let Some(url) = url(cursor, out)? {
            out.checked(check_target(&url).map(|()| Crosses::Yes));
        }
        cursor.expect(b',')?;
        let mut rules = Rules::Request(RequestInit::new());
        let body = self.init(cursor, depth, out, &mut rules)?;
        if let Rules::Request(init) = rules {
            out.checked(init.finish(body).map(|()| Crosses::Yes));
        }
        only_field(cursor)
    }

    /// Evaluates `body, init`.
    pub(super) fn response<'a>(
        &mut self,
        cursor: &mut Cursor<'a>,
        depth: usize,
        out: &mut Evaluation<'a, '_>,
    ) -> Result<(), DataError> {
        cursor.expect(b',')?;
        let body = self.body(cursor, depth, out)?;
        cursor.expect(b',')?;
        let mut rules = Rules::Response(ResponseInit::new());
        self.init(cursor, depth, out, &mut rules)?;
        if let Rules::Response(init) = rules {
            out.checked(init.finish(body).map(|()| Crosses::Yes));
        }
        only_field(cursor)
    }

    /// Reads the `init` at the cursor. Leaves out members that the constructor ignores. Returns the
    /// form of the body.
    fn init<'a>(
        &mut self,
        cursor: &mut Cursor<'a>,
        depth: usize,
        out: &mut Evaluation<'a, '_>,
        rules: &mut Rules,
    ) -> Result<BodyForm, DataError> {
        let mut body = BodyForm::None;
        if cursor.peek() == Some(b'[') {
            // To JavaScript, an array is an object without these members.
            let from = cursor.at();
            cursor.skip()?;
            out.replace(from, cursor.at(), "{}");
            return Ok(body);
        }
        cursor.expect(b'{')?;
        if cursor.take(b'}') {
            return Ok(body);
        }
        let mut members = Members::new(cursor);
        loop {
            let name = cursor.string()?;
            cursor.expect(b':')?;
            let crosses = match (&*name, &mut *rules) {
                ("body", Rules::Request(_)) => {
                    body = self.body(cursor, depth, out)?;
                    Crosses::Yes
                }
                ("headers", _) => {
                    let pairs = header_pairs(cursor)?;
                    pairs.unwrap_or_else(|refusal| out.refuse(refusal));
                    Crosses::Yes
                }
                (name, rules) => {
                    let member = member(cursor)?;
                    out.checked(rules.member(name, &member))
                }
            };
            if !members.next(cursor, out, crosses == Crosses::Yes) {
                cursor.expect(b'}')?;
                return Ok(body);
            }
        }
    }

    /// Evaluates the body at the cursor. An invalid body is evaluated as well, so that the
    /// references in it are counted.
    fn body<'a>(
        &mut self,
        cursor: &mut Cursor<'a>,
        depth: usize,
        out: &mut Evaluation<'a, '_>,
    ) -> Result<BodyForm, DataError> {
        let form = body_form(cursor.clone());
        self.value(cursor, depth + 1, out)?;
        Ok(form.unwrap_or_else(|| {
            out.refuse(WireError::type_error("a body must be null, a string, bytes or a stream"));
            BodyForm::None
        }))
    }
}

/// Reads the URL at the cursor and normalizes it. Returns `None` if it is invalid.
fn url<'a>(cursor: &mut Cursor<'a>, out: &mut Evaluation<'a, '_>) -> Result<Option<Url>, TextError> {
    cursor.peek();
    let from = cursor.at();
    let href = cursor.string()?;
    match parse_url(&href) {
        Ok(url) => {
            if url.as_str() != href {
                out.replace(from, cursor.at(), &string_text(url.as_str()));
            }
            Ok(Some(url))
        }
        Err(error) => {
            out.refuse(error);
            Ok(None)
        }
    }
}

/// Returns the form of the body at the cursor, or `None` if it is invalid. A stream must be a
/// `readable`; the result of a call is not accepted.
fn body_form(mut cursor: Cursor<'_>) -> Option<BodyForm> {
    match cursor.peek()? {
        b'n' => Some(BodyForm::None),
        b'"' => Some(BodyForm::Whole),
        b'[' => {
            cursor.expect(b'[').ok()?;
            match &*cursor.string().ok()? {
                "readable" => Some(BodyForm::Stream),
                "bytes" => {
                    cursor.expect(b',').ok()?;
                    cursor.skip().ok()?;
                    let is_plain = !cursor.take(b',') || cursor.string().is_ok_and(|kind| kind == "Uint8Array");
                    is_plain.then_some(BodyForm::Whole)
                }
                _ => None,
            }
        }
        _ => None,
    }
}

/// Reads a member that is plain JSON.
fn member<'a>(cursor: &mut Cursor<'a>) -> Result<Member<'a>, TextError> {
    Ok(match cursor.peek() {
        Some(b'"') => Member::Text(cursor.string()?),
        Some(b'[' | b'{') => {
            cursor.skip()?;
            Member::Structure
        }
        Some(b'-' | b'0'..=b'9') => cursor.number()?.parse().map_or(Member::Other, Member::Number),
        _ if cursor.literal("true") => Member::Flag(true),
        _ if cursor.literal("false") => Member::Flag(false),
        _ => {
            cursor.scalar()?;
            Member::Null
        }
    })
}
