//! HTTP requests and responses as plain data. Nothing here sends a request.
//!
//! Values over which official peers would end the session are rejected here, in both directions.

use std::sync::Arc;

use serde::de::{Deserialize, Deserializer};
use serde::ser::{Error as _, Serialize, SerializeMap, SerializeTupleStruct, Serializer};

use super::headers::{Pairs, from_plain};
use super::init::{
    BodyForm, Crosses, Member, RequestInit as RequestRules, ResponseInit as ResponseRules, normal_method,
};
use super::{Bytes, BytesKind, Cap, Content, Headers, Object, Url, Value, scope, special};

/// The body of a [`Request`] or a [`Response`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Body {
    /// No body.
    #[default]
    None,
    /// Text. A JavaScript peer adds a content type if there is none.
    Text(String),
    /// Binary data. Its kind is not sent.
    Bytes(Bytes),
    /// A stream of bytes. A body from a peer usually has this form, whatever it was there. `Body::bytes`
    /// and `Body::text` read it, and `Body::from` creates it from a `Reader`.
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
            _ => Err(InvalidFetch("a body must be null, a string, bytes, or a stream")),
        }
    }

    fn form(&self) -> BodyForm {
        match self {
            Self::None => BodyForm::None,
            Self::Text(_) | Self::Bytes(_) => BodyForm::Whole,
            Self::Stream(_) => BodyForm::Stream,
        }
    }
}

impl Serialize for Body {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Official peers accept bodies only as streams.
        match self {
            Self::None => serializer.serialize_none(),
            Self::Text(text) if scope::is_writing() => Content::text(text).serialize(serializer),
            Self::Bytes(bytes) if scope::is_writing() => Content::cap(Arc::new(bytes.to_vec())).serialize(serializer),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Bytes(bytes) => serializer.serialize_bytes(bytes),
            Self::Stream(cap) if cap.is_readable() => cap.serialize(serializer),
            Self::Stream(_) => Err(S::Error::custom("the body of a request or a response must be a stream of bytes")),
        }
    }
}

/// The error of a request or response that HTTP or `fetch` does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidFetch(pub(super) &'static str);

/// An HTTP request.
///
/// ```
/// # mod bowline { pub mod value { pub use bowline_core::value::{Request, Url}; } }
/// use bowline::value::{Request, Url};
///
/// let mut request = Request::get(Url::parse("https://example.com/").unwrap());
/// request.headers.append("accept", "text/html").unwrap();
/// assert_eq!(request.method, "GET");
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// The target, without user name and password.
    pub url: Url,
    /// The method. The default is `GET`.
    pub method: String,
    /// The headers.
    pub headers: Headers,
    /// The body. `GET` and `HEAD` have none.
    pub body: Body,
    /// The other members of JavaScript's `RequestInit` that cross the wire, as plain JSON: `cache`, `cf`,
    /// `credentials`, `encodeResponseBody`, `integrity`, `keepalive`, `mode`, `redirect`, `referrer`, and
    /// `referrerPolicy`. A request with any other member, or with a value that `fetch` does not allow,
    /// cannot be sent.
    pub options: Object,
}

/// An HTTP response.
///
/// ```
/// # mod bowline { pub mod value { pub use bowline_core::value::Response; } }
/// use bowline::value::Response;
///
/// let missing = Response { status: 404, ..Response::default() };
/// assert!(missing.headers.is_empty());
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Response {
    /// The status, from 200 to 599. The default is 200.
    pub status: u16,
    /// The status text, usually empty.
    pub status_text: String,
    /// The headers.
    pub headers: Headers,
    /// The body. Responses with status 204, 205, and 304 have none.
    pub body: Body,
    /// The other members of JavaScript's `ResponseInit` that cross the wire, as plain JSON: `cf` and
    /// `encodeBody`. A response with any other member cannot be sent.
    pub options: Object,
}

impl Request {
    /// Creates a `GET` request.
    pub fn get(url: Url) -> Self {
        Self { url, method: "GET".to_owned(), headers: Headers::new(), body: Body::None, options: Object::new() }
    }

    pub(super) fn from_init(url: Url, mut init: Object) -> Result<Self, InvalidFetch> {
        let method = match init.remove("method") {
            None => "GET".to_owned(),
            Some(Value::String(method)) => normal_method(&method).to_owned(),
            Some(_) => return Err(InvalidFetch("the method must be a string")),
        };
        let headers = take_headers(&mut init)?;
        let body = Body::from_value(init.remove("body").unwrap_or_default())?;
        let mut rules = RequestRules::new();
        rules.member("method", &Member::Text(method.as_str().into()))?;
        let options = checked_options(init, |name, member| rules.member(name, member))?;
        rules.finish(body.form())?;
        check_target(&url)?;
        let mut request = Self { url, method, headers, body, options };
        request.options.remove("duplex");
        Ok(request)
    }

    /// Checks the request as it would be written.
    pub(super) fn check(&self) -> Result<(), InvalidFetch> {
        let mut rules = RequestRules::new();
        rules.member("method", &Member::Text(self.method.as_str().into()))?;
        for (name, value) in self.options.iter().filter(|(name, _)| !REQUEST_FIELDS.contains(name)) {
            if rules.member(name, &Member::from(value))? == Crosses::No {
                return Err(InvalidFetch(
                    "the options of a request contain a member that is null or unknown to `RequestInit`",
                ));
            }
        }
        // Official peers accept bodies only as streams.
        let form = if self.body == Body::None { BodyForm::None } else { BodyForm::Stream };
        rules.member("duplex", &Member::Text("half".into()))?;
        rules.finish(form)?;
        check_target(&self.url)
    }
}

/// The members with a field of their own in a request, or that are written with its body.
const REQUEST_FIELDS: &[&str] = &["method", "headers", "body", "duplex"];

/// The members with a field of their own in a response.
const RESPONSE_FIELDS: &[&str] = &["status", "statusText", "headers"];

/// Checks the target of a request.
pub(crate) fn check_target(url: &Url) -> Result<(), InvalidFetch> {
    if url.has_credentials() {
        return Err(InvalidFetch("the URL of a request must not contain a user name or password"));
    }
    url.check().map_err(|_| InvalidFetch("the host name of a request has characters that not every peer knows"))
}

/// Returns the members of a peer's `init` that cross the wire.
fn checked_options(
    init: Object,
    mut check: impl FnMut(&str, &Member<'_>) -> Result<Crosses, InvalidFetch>,
) -> Result<Object, InvalidFetch> {
    let mut options = Object::new();
    for (name, value) in init {
        if check(&name, &Member::from(&value))? == Crosses::Yes {
            options.insert(name, value);
        }
    }
    Ok(options)
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
        let mut rules = ResponseRules::new();
        for name in ["status", "statusText"] {
            if let Some(value) = init.get(name) {
                rules.member(name, &Member::from(value))?;
            }
        }
        let status = init.remove("status").and_then(|status| status.as_f64()).unwrap_or(200.0);
        let status_text = match init.remove("statusText") {
            Some(Value::String(text)) => text,
            _ => String::new(),
        };
        let headers = take_headers(&mut init)?;
        let body = Body::from_value(body)?;
        rules.finish(body.form())?;
        let options = checked_options(init, |name, member| rules.member(name, member))?;
        // The rules admit only small integers.
        Ok(Self { status: status as u16, status_text, headers, body, options })
    }

    /// Checks the response as it would be written.
    pub(super) fn check(&self) -> Result<(), InvalidFetch> {
        let mut rules = ResponseRules::new();
        rules.member("status", &Member::Number(self.status.into()))?;
        rules.member("statusText", &Member::Text(self.status_text.as_str().into()))?;
        for (name, value) in self.options.iter().filter(|(name, _)| !RESPONSE_FIELDS.contains(name)) {
            if rules.member(name, &Member::from(value))? == Crosses::No {
                return Err(InvalidFetch(
                    "the options of a response contain a member that is null or unknown to `ResponseInit`",
                ));
            }
        }
        rules.finish(self.body.form())
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
            // Without it, `fetch` does not accept a stream.
            init.serialize_entry("duplex", "half")?;
        }
        options(&request.options, REQUEST_FIELDS, &mut init)?;
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
        options(&response.options, RESPONSE_FIELDS, &mut init)?;
        init.end()
    }
}

/// Writes `options` without the members that have a field of their own.
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
