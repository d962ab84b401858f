//! The rules of `fetch` for the `init` of a request or a response.
//!
//! An official peer passes an `init` to the constructors of JavaScript, and its session ends if they
//! reject it. So the rules of these constructors are checked here, for values from a peer and from the
//! application.

use std::borrow::Cow;

use super::fetch::InvalidFetch;
use super::headers::is_token;
use super::{Url, Value};

/// A member of an `init`, in as much detail as the rules need.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Member<'a> {
    Null,
    Flag(bool),
    Number(f64),
    Text(Cow<'a, str>),
    /// An array or an object.
    Structure,
    /// Any value that is not JSON.
    Other,
}

impl<'a> From<&'a Value> for Member<'a> {
    fn from(value: &'a Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(flag) => Self::Flag(*flag),
            Value::Number(number) => Self::Number(*number),
            Value::String(text) => Self::Text(text.into()),
            // A capability inside of it is rejected when it is written.
            Value::Array(_) | Value::Object(_) | Value::Cap(_) => Self::Structure,
            _ => Self::Other,
        }
    }
}

/// The form of the body of a request or a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyForm {
    None,
    /// Text or bytes.
    Whole,
    Stream,
}

/// Whether a member crosses the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Crosses {
    Yes,
    /// The constructor ignores the member, so it can be omitted.
    No,
}

/// The values that are allowed for a member.
enum Rule {
    Word(&'static [&'static str]),
    Text,
    /// An empty string or an absolute URL.
    Referrer,
    Flag,
    Structure,
    /// Must be null, which is the same as omitting it.
    Null,
}

type Rules = [(&'static str, Rule, &'static str)];

/// The members of a request's `init` other than method, headers, and body.
const OF_REQUEST: &Rules = &[
    (
        "cache",
        Rule::Word(&["default", "no-store", "reload", "no-cache", "force-cache", "only-if-cached"]),
        "the cache mode of a request is unknown",
    ),
    ("cf", Rule::Structure, "the member `cf` must be an object"),
    ("credentials", Rule::Word(&["omit", "same-origin", "include"]), "the credentials mode of a request is unknown"),
    ("duplex", Rule::Word(&["half"]), "the duplex mode of a request must be \"half\""),
    ("encodeResponseBody", Rule::Word(&["automatic", "manual"]), "the member `encodeResponseBody` is unknown"),
    ("integrity", Rule::Text, "the integrity of a request must be a string"),
    ("keepalive", Rule::Flag, "the member `keepalive` must be a boolean"),
    // `navigate` is a mode, but a request cannot be constructed with it.
    (
        "mode",
        Rule::Word(&["cors", "no-cors", "same-origin"]),
        "the mode of a request must be \"cors\", \"no-cors\" or \"same-origin\"",
    ),
    ("redirect", Rule::Word(&["follow", "error", "manual"]), "the redirect mode of a request is unknown"),
    ("referrer", Rule::Referrer, "the referrer of a request must be an absolute URL or empty"),
    (
        "referrerPolicy",
        Rule::Word(&[
            "",
            "no-referrer",
            "no-referrer-when-downgrade",
            "same-origin",
            "origin",
            "strict-origin",
            "origin-when-cross-origin",
            "strict-origin-when-cross-origin",
            "unsafe-url",
        ]),
        "the referrer policy of a request is unknown",
    ),
    ("signal", Rule::Null, "a request cannot carry a signal"),
    ("window", Rule::Null, "the window of a request must be null"),
];

/// The members of a response's `init` other than status, status text, and headers.
const OF_RESPONSE: &Rules = &[
    ("cf", Rule::Structure, "the member `cf` must be an object"),
    ("encodeBody", Rule::Word(&["automatic", "manual"]), "the member `encodeBody` is unknown"),
    ("webSocket", Rule::Null, "a response cannot carry a WebSocket"),
];

fn check(rules: &Rules, name: &str, member: &Member<'_>) -> Result<Crosses, InvalidFetch> {
    let Some((_, rule, refusal)) = rules.iter().find(|(known, ..)| *known == name) else {
        return Ok(Crosses::No);
    };
    let allowed = match (rule, member) {
        (Rule::Word(words), Member::Text(text)) => words.contains(&&**text),
        (Rule::Text, Member::Text(_)) | (Rule::Flag, Member::Flag(_)) => true,
        (Rule::Referrer, Member::Text(text)) => text.is_empty() || Url::parse(text).is_ok(),
        (Rule::Structure, Member::Structure) => true,
        (Rule::Null, Member::Null) => return Ok(Crosses::No),
        _ => false,
    };
    if allowed { Ok(Crosses::Yes) } else { Err(InvalidFetch(refusal)) }
}

/// Returns the method in upper case if it is one of the six that are case-insensitive.
pub(super) fn normal_method(method: &str) -> &str {
    const ANY_CASE: [&str; 6] = ["DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT"];
    ANY_CASE.into_iter().find(|normal| method.eq_ignore_ascii_case(normal)).unwrap_or(method)
}

/// Checks the `init` of a request: member by member, and at the end the combination.
#[derive(Debug)]
pub(crate) struct RequestInit {
    method: String,
    no_cors: bool,
    same_origin: bool,
    only_if_cached: bool,
    keepalive: bool,
    duplex: bool,
}

impl RequestInit {
    pub(crate) fn new() -> Self {
        Self {
            method: "GET".to_owned(),
            no_cors: false,
            same_origin: false,
            only_if_cached: false,
            keepalive: false,
            duplex: false,
        }
    }

    /// Checks a member other than headers and body.
    ///
    /// # Errors
    /// The value is not allowed.
    pub(crate) fn member(&mut self, name: &str, member: &Member<'_>) -> Result<Crosses, InvalidFetch> {
        if name == "method" {
            let Member::Text(method) = member else { return Err(InvalidFetch("the method must be a string")) };
            self.method = normal_method(method).to_owned();
            return Ok(Crosses::Yes);
        }
        let crosses = check(OF_REQUEST, name, member)?;
        match (name, member) {
            ("mode", Member::Text(mode)) => {
                self.no_cors = mode == "no-cors";
                self.same_origin = mode == "same-origin";
            }
            ("cache", Member::Text(cache)) => self.only_if_cached = cache == "only-if-cached",
            ("keepalive", Member::Flag(keepalive)) => self.keepalive = *keepalive,
            ("duplex", _) => self.duplex = true,
            _ => {}
        }
        Ok(crosses)
    }

    /// Checks the rules that involve several members.
    ///
    /// # Errors
    /// The combination is not allowed.
    pub(crate) fn finish(&self, body: BodyForm) -> Result<(), InvalidFetch> {
        let method = self.method.as_str();
        let forbidden = ["CONNECT", "TRACE", "TRACK"].iter().any(|name| method.eq_ignore_ascii_case(name));
        let refusal = if !is_token(method) || forbidden {
            "this request method is not allowed"
        } else if body != BodyForm::None && matches!(method, "GET" | "HEAD") {
            "a GET or HEAD request cannot have a body"
        } else if self.no_cors && !matches!(method, "GET" | "HEAD" | "POST") {
            "a request with the mode \"no-cors\" must be a GET, HEAD or POST"
        } else if self.only_if_cached && !self.same_origin {
            "the cache mode \"only-if-cached\" needs the mode \"same-origin\""
        } else if body == BodyForm::Stream && !self.duplex {
            "a request whose body is a stream needs the duplex mode \"half\""
        } else if body == BodyForm::Stream && self.no_cors {
            "a request whose body is a stream cannot have the mode \"no-cors\""
        } else if body == BodyForm::Stream && self.keepalive {
            "a request whose body is a stream cannot have `keepalive`"
        } else {
            return Ok(());
        };
        Err(InvalidFetch(refusal))
    }
}

/// Checks the `init` of a response: member by member, and at the end the combination.
#[derive(Debug)]
pub(crate) struct ResponseInit {
    status: f64,
}

impl ResponseInit {
    pub(crate) fn new() -> Self {
        Self { status: 200.0 }
    }

    /// Checks a member other than headers.
    ///
    /// # Errors
    /// The value is not allowed.
    pub(crate) fn member(&mut self, name: &str, member: &Member<'_>) -> Result<Crosses, InvalidFetch> {
        match (name, member) {
            ("status", &Member::Number(status)) if status.fract() == 0.0 && (200.0..600.0).contains(&status) => {
                self.status = status;
                Ok(Crosses::Yes)
            }
            ("status", _) => Err(InvalidFetch("a status must be an integer from 200 to 599")),
            ("statusText", Member::Text(text)) if !text.contains(is_no_reason) => Ok(Crosses::Yes),
            ("statusText", Member::Text(_)) => {
                Err(InvalidFetch("the status text contains a character that is not allowed"))
            }
            ("statusText", _) => Err(InvalidFetch("the status text must be a string")),
            _ => check(OF_RESPONSE, name, member),
        }
    }

    /// Checks the rules that involve several members.
    ///
    /// # Errors
    /// The combination is not allowed.
    pub(crate) fn finish(&self, body: BodyForm) -> Result<(), InvalidFetch> {
        if body != BodyForm::None && [204.0, 205.0, 304.0].contains(&self.status) {
            return Err(InvalidFetch("a response with this status cannot have a body"));
        }
        Ok(())
    }
}

/// Returns `true` for a character that is not allowed in a status text.
fn is_no_reason(c: char) -> bool {
    matches!(c, '\0'..='\u{8}' | '\n'..='\u{1f}' | '\u{7f}' | '\u{100}'..)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(members: &[(&str, &str)], body: BodyForm) -> Result<(), InvalidFetch> {
        let mut init = RequestInit::new();
        for (name, text) in members {
            init.member(name, &Member::Text((*text).into()))?;
        }
        init.finish(body)
    }

    #[test]
    fn combinations_of_request_members_are_checked() {
        use BodyForm::{None, Stream, Whole};
        let half = ("duplex", "half");
        for (members, body, allowed) in [
            (&[("mode", "no-cors"), ("method", "post")][..], Whole, true),
            (&[("mode", "no-cors"), ("method", "post"), half], Stream, false),
            (&[("mode", "no-cors"), ("method", "PUT")], None, false),
            (&[("mode", "same-origin"), ("method", "PUT"), half], Stream, true),
            (&[("method", "POST")], Stream, false),
            (&[("method", "get"), half], Whole, false),
            (&[half], None, true),
            (&[("cache", "only-if-cached")], None, false),
            (&[("cache", "only-if-cached"), ("mode", "cors")], None, false),
            (&[("cache", "only-if-cached"), ("mode", "same-origin")], None, true),
            (&[("method", "Track")], None, false),
            (&[("method", "patch")], Whole, true),
        ] {
            assert_eq!(request(members, body).is_ok(), allowed, "{members:?} {body:?}");
        }
        let mut init = RequestInit::new();
        init.member("keepalive", &Member::Flag(true)).unwrap();
        init.member("method", &Member::Text("PUT".into())).unwrap();
        init.member("duplex", &Member::Text("half".into())).unwrap();
        assert!(init.finish(Whole).is_ok() && init.finish(Stream).is_err());
    }

    #[test]
    fn members_ignored_by_the_constructor_are_not_sent() {
        let mut init = RequestInit::new();
        assert_eq!(init.member("dispatcher", &Member::Number(5.0)), Ok(Crosses::No));
        assert_eq!(init.member("window", &Member::Null), Ok(Crosses::No));
        assert!(init.member("window", &Member::Flag(false)).is_err());
        assert_eq!(ResponseInit::new().member("url", &Member::Other), Ok(Crosses::No));
    }
}
