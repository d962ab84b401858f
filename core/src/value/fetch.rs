//! URLs, HTTP requests and responses as plain data; nothing here sends one.
//!
//! What official peers would refuse, by ending the session, is refused here on both ways.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Error as _, Serialize, SerializeMap, SerializeTupleStruct, Serializer};

use super::headers::{Pairs, from_plain, is_token};
use super::{Bytes, BytesKind, Cap, Content, Headers, Object, Value, scope, special};

/// An absolute URL.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Url(Box<url::Url>);

/// Text that is not an absolute URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an absolute URL: {0}")]
pub struct InvalidUrl(#[from] url::ParseError);

impl Url {
    /// Parses and normalises.
    ///
    /// # Errors
    /// If `text` is not an absolute URL.
    pub fn parse(text: &str) -> Result<Self, InvalidUrl> {
        Ok(Self(Box::new(url::Url::parse(text)?)))
    }

    /// The normalised text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl FromStr for Url {
    type Err = InvalidUrl;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<url::Url> for Url {
    fn from(url: url::Url) -> Self {
        Self(Box::new(url))
    }
}

impl From<Url> for url::Url {
    fn from(url: Url) -> Self {
        *url.0
    }
}

impl Serialize for Url {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !scope::is_writing() {
            return serializer.serialize_str(self.as_str());
        }
        let mut fields = serializer.serialize_tuple_struct(special::URL, 1)?;
        fields.serialize_field(self.as_str())?;
        fields.end()
    }
}

impl<'de> Deserialize<'de> for Url {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match special::read(deserializer)? {
            Value::Url(url) => Ok(url),
            Value::String(text) if special::takes_plain_forms() => Self::parse(&text).map_err(D::Error::custom),
            other => Err(special::unexpected(&other, "a URL")),
        }
    }
}

/// The body of a [`Request`] or a [`Response`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Body {
    /// No body.
    #[default]
    None,
    /// Text; a peer in JavaScript adds a content type if there is none.
    Text(String),
    /// Binary data; its kind does not cross.
    Bytes(Bytes),
    /// A stream of bytes: what a peer sends, whatever it was there. `Body::bytes` and
    /// `Body::text` read it; `Body::from` makes one of a `Reader`.
    Stream(Cap),
}

impl Body {
    fn from_value(value: Value) -> Result<Self, InvalidFetch> {
        match value {
            Value::Null | Value::Undefined => Ok(Self::None),
            Value::String(text) => Ok(Self::Text(text)),
            Value::Bytes(bytes) if bytes.kind() == BytesKind::Uint8Array => Ok(Self::Bytes(bytes)),
            Value::Cap(cap) => Ok(match cap.downcast_ref::<Content>() {
                None => Self::Stream(cap),
                Some(content) if content.is_text => Self::Text(String::from_utf8_lossy(&content.bytes).into_owned()),
                Some(content) => Self::Bytes(Bytes::new(&content.bytes[..])),
            }),
            _ => Err(InvalidFetch("a body must be null, a string, bytes or a stream")),
        }
    }
}

impl Serialize for Body {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Official peers take bodies as streams only.
        match self {
            Self::None => serializer.serialize_none(),
            Self::Text(text) if scope::is_writing() => Content::text(text).serialize(serializer),
            Self::Bytes(bytes) if scope::is_writing() => Content::cap(Arc::new(bytes.to_vec())).serialize(serializer),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Bytes(bytes) => serializer.serialize_bytes(bytes),
            Self::Stream(cap) => cap.serialize(serializer),
        }
    }
}

/// A request or response that HTTP, or `fetch`, does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidFetch(pub(super) &'static str);

/// An HTTP request.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Where it goes; without user name and password.
    pub url: Url,
    /// `GET` unless said otherwise.
    pub method: String,
    /// Its headers.
    pub headers: Headers,
    /// Its body; `GET` and `HEAD` have none.
    pub body: Body,
    /// The other members of JavaScript's `RequestInit` (`redirect`, `cf`, …), as plain JSON.
    pub options: Object,
}

/// An HTTP response.
#[derive(Clone, Debug, PartialEq)]
pub struct Response {
    /// From 200 to 599; 200 unless said otherwise.
    pub status: u16,
    /// The text after the status, usually empty.
    pub status_text: String,
    /// Its headers.
    pub headers: Headers,
    /// Its body; 204, 205 and 304 have none.
    pub body: Body,
    /// The other members of JavaScript's `ResponseInit` (`cf`, …), as plain JSON.
    pub options: Object,
}

impl Request {
    /// A plain `GET`.
    pub fn get(url: Url) -> Self {
        Self { url, method: "GET".to_owned(), headers: Headers::new(), body: Body::None, options: Object::new() }
    }

    pub(super) fn from_init(url: Url, mut init: Object) -> Result<Self, InvalidFetch> {
        init.remove("duplex");
        without(&mut init, "signal")?;
        let method = match init.remove("method") {
            None => "GET".to_owned(),
            Some(Value::String(method)) => normal_method(method),
            Some(_) => return Err(InvalidFetch("the method must be a string")),
        };
        let request = Self {
            url,
            method,
            headers: take_headers(&mut init)?,
            body: Body::from_value(init.remove("body").unwrap_or_default())?,
            options: init,
        };
        request.check()?;
        Ok(request)
    }

    pub(super) fn check(&self) -> Result<(), InvalidFetch> {
        let is = |method: &&str| self.method.eq_ignore_ascii_case(method);
        if !is_token(&self.method) || ["CONNECT", "TRACE", "TRACK"].iter().any(is) {
            return Err(InvalidFetch("this request method is not allowed"));
        }
        if self.body != Body::None && ["GET", "HEAD"].iter().any(is) {
            return Err(InvalidFetch("a GET or HEAD request has no body"));
        }
        if !self.url.0.username().is_empty() || self.url.0.password().is_some() {
            return Err(InvalidFetch("the URL of a request carries no credentials"));
        }
        Ok(())
    }
}

/// Takes out a member that cannot cross the wire but as `null`.
fn without(init: &mut Object, member: &str) -> Result<(), InvalidFetch> {
    match init.remove(member) {
        None | Some(Value::Null) => Ok(()),
        Some(_) => Err(InvalidFetch("a request has no signal, a response no socket")),
    }
}

/// Six methods mean the same in any case; others are what they are.
fn normal_method(method: String) -> String {
    const ANY_CASE: [&str; 6] = ["DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT"];
    match ANY_CASE.iter().find(|normal| method.eq_ignore_ascii_case(normal)) {
        Some(normal) => (*normal).to_owned(),
        None => method,
    }
}

impl Default for Response {
    fn default() -> Self {
        Self {
            status: 200,
            status_text: String::new(),
            headers: Headers::new(),
            body: Body::None,
            options: Object::new(),
        }
    }
}

impl Response {
    pub(super) fn from_init(body: Value, mut init: Object) -> Result<Self, InvalidFetch> {
        without(&mut init, "webSocket")?;
        let status = match init.remove("status") {
            None => 200,
            // The cast saturates, and the check refuses what it saturates to.
            Some(Value::Number(status)) => status as u16,
            Some(_) => return Err(InvalidFetch("the status must be a number")),
        };
        let status_text = match init.remove("statusText") {
            None => String::new(),
            Some(Value::String(text)) => text,
            Some(_) => return Err(InvalidFetch("the status text must be a string")),
        };
        let response = Self {
            status,
            status_text,
            headers: take_headers(&mut init)?,
            body: Body::from_value(body)?,
            options: init,
        };
        response.check()?;
        Ok(response)
    }

    pub(super) fn check(&self) -> Result<(), InvalidFetch> {
        if !(200..600).contains(&self.status) {
            return Err(InvalidFetch("a status must be in the range of 200 to 599"));
        }
        if self.body != Body::None && matches!(self.status, 204 | 205 | 304) {
            return Err(InvalidFetch("a response of this status has no body"));
        }
        if self.status_text.contains(|c| matches!(c, '\0'..='\u{8}' | '\n'..='\u{1f}' | '\u{7f}' | '\u{100}'..)) {
            return Err(InvalidFetch("the status text holds a character that is not allowed"));
        }
        Ok(())
    }
}

fn take_headers(init: &mut Object) -> Result<Headers, InvalidFetch> {
    match init.remove("headers") {
        None => Ok(Headers::new()),
        Some(Value::Array(pairs)) => from_plain(pairs).map_err(|_| InvalidFetch("a header is not allowed")),
        Some(_) => Err(InvalidFetch("headers must be an array of pairs")),
    }
}

/// The members of an `init`, without those that have their default.
struct RequestInit<'a>(&'a Request);

impl Serialize for RequestInit<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let request = self.0;
        let mut init = serializer.serialize_map(None)?;
        if request.method != "GET" {
            init.serialize_entry("method", &request.method)?;
        }
        if !request.headers.is_empty() {
            init.serialize_entry("headers", &Pairs(&request.headers))?;
        }
        if request.body != Body::None {
            init.serialize_entry("body", &request.body)?;
            // Without it, `fetch` takes no stream.
            init.serialize_entry("duplex", "half")?;
        }
        options(&request.options, &["method", "headers", "body", "duplex"], &mut init)?;
        init.end()
    }
}

struct ResponseInit<'a>(&'a Response);

impl Serialize for ResponseInit<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let response = self.0;
        let mut init = serializer.serialize_map(None)?;
        if response.status != 200 {
            init.serialize_entry("status", &response.status)?;
        }
        if !response.status_text.is_empty() {
            init.serialize_entry("statusText", &response.status_text)?;
        }
        if !response.headers.is_empty() {
            init.serialize_entry("headers", &Pairs(&response.headers))?;
        }
        options(&response.options, &["status", "statusText", "headers"], &mut init)?;
        init.end()
    }
}

/// Writes `options` without the names that have a field of their own.
fn options<M: SerializeMap>(options: &Object, fields: &[&str], to: &mut M) -> Result<(), M::Error> {
    options.iter().filter(|(key, _)| !fields.contains(key)).try_for_each(|(key, value)| to.serialize_entry(key, value))
}

impl Serialize for Request {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.check().map_err(S::Error::custom)?;
        let name = if scope::is_writing() { special::REQUEST } else { "Request" };
        let mut fields = serializer.serialize_tuple_struct(name, 2)?;
        fields.serialize_field(self.url.as_str())?;
        fields.serialize_field(&RequestInit(self))?;
        fields.end()
    }
}

impl Serialize for Response {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.check().map_err(S::Error::custom)?;
        let name = if scope::is_writing() { special::RESPONSE } else { "Response" };
        let mut fields = serializer.serialize_tuple_struct(name, 2)?;
        fields.serialize_field(&self.body)?;
        fields.serialize_field(&ResponseInit(self))?;
        fields.end()
    }
}

impl<'de> Deserialize<'de> for Request {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match special::read(deserializer)? {
            Value::Request(request) => Ok(*request),
            other => Err(special::unexpected(&other, "a request")),
        }
    }
}

impl<'de> Deserialize<'de> for Response {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match special::read(deserializer)? {
            Value::Response(response) => Ok(*response),
            other => Err(special::unexpected(&other, "a response")),
        }
    }
}
