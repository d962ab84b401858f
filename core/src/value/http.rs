//! Conversions to and from the types of the `http` crate, for HTTP servers and clients.
//!
//! The types of `http` have no fragment, no status text, and none of the `options` of `fetch`, so these
//! are lost when converting to them. The HTTP version and the extensions are lost when converting from
//! them.

use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode, Uri};

use super::fetch::{InvalidFetch, Request, Response};
use super::headers::InvalidHeader;
use super::{Body, Headers, Url};

/// Each byte of a value becomes the character with that number, as in `fetch`.
impl TryFrom<&HeaderMap> for Headers {
    type Error = InvalidHeader;

    fn try_from(map: &HeaderMap) -> Result<Self, InvalidHeader> {
        let text = |value: &HeaderValue| value.as_bytes().iter().map(|byte| char::from(*byte)).collect();
        let pairs: Vec<(String, String)> = map.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
        Self::try_from(pairs)
    }
}

/// # Errors
/// A value contains a control character, which `fetch` allows and the `http` crate does not, or there
/// are more headers than an `http` header map can hold.
impl TryFrom<&Headers> for HeaderMap {
    type Error = InvalidHeader;

    fn try_from(headers: &Headers) -> Result<Self, InvalidHeader> {
        let mut map = Self::new();
        for (name, text) in headers.iter() {
            let invalid = || InvalidHeader::Value(name.into());
            let bytes: Vec<u8> = text.chars().map(u8::try_from).collect::<Result<_, _>>().map_err(|_wide| invalid())?;
            let value = HeaderValue::from_bytes(&bytes).map_err(|_control| invalid())?;
            let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| InvalidHeader::Name(name.into()))?;
            map.try_append(key, value).map_err(|_full| invalid())?;
        }
        Ok(map)
    }
}

/// # Errors
/// The target is not an absolute URL (a request to a server often has none), or `fetch` does not allow
/// the method, the headers, or the body.
impl TryFrom<http::Request<Body>> for Request {
    type Error = InvalidFetch;

    fn try_from(request: http::Request<Body>) -> Result<Self, InvalidFetch> {
        let (parts, body) = request.into_parts();
        let url =
            Url::parse(&parts.uri.to_string()).map_err(|_| InvalidFetch("the URL of a request must be absolute"))?;
        let request =
            Self { method: parts.method.to_string(), headers: headers(&parts.headers)?, body, ..Self::get(url) };
        request.check()?;
        Ok(request)
    }
}

/// # Errors
/// The `http` crate does not accept the URL, the method, or a header.
impl TryFrom<Request> for http::Request<Body> {
    type Error = InvalidFetch;

    fn try_from(request: Request) -> Result<Self, InvalidFetch> {
        let mut made = Self::new(request.body);
        let mut url = url::Url::from(request.url);
        url.set_fragment(None);
        *made.uri_mut() =
            Uri::try_from(url.as_str()).map_err(|_| InvalidFetch("the `http` crate does not accept the URL"))?;
        *made.method_mut() = Method::from_bytes(request.method.as_bytes())
            .map_err(|_| InvalidFetch("the `http` crate does not accept the method"))?;
        *made.headers_mut() = map(&request.headers)?;
        Ok(made)
    }
}

/// # Errors
/// `fetch` does not allow the status, the headers, or the body.
impl TryFrom<http::Response<Body>> for Response {
    type Error = InvalidFetch;

    fn try_from(response: http::Response<Body>) -> Result<Self, InvalidFetch> {
        let (parts, body) = response.into_parts();
        let response =
            Self { status: parts.status.as_u16(), headers: headers(&parts.headers)?, body, ..Self::default() };
        response.check()?;
        Ok(response)
    }
}

/// # Errors
/// The `http` crate does not accept the status or a header.
impl TryFrom<Response> for http::Response<Body> {
    type Error = InvalidFetch;

    fn try_from(response: Response) -> Result<Self, InvalidFetch> {
        let mut made = Self::new(response.body);
        *made.status_mut() = StatusCode::from_u16(response.status)
            .map_err(|_| InvalidFetch("the `http` crate does not accept the status"))?;
        *made.headers_mut() = map(&response.headers)?;
        Ok(made)
    }
}

fn headers(map: &HeaderMap) -> Result<Headers, InvalidFetch> {
    Headers::try_from(map).map_err(|_| InvalidFetch("a header is not allowed"))
}

fn map(headers: &Headers) -> Result<HeaderMap, InvalidFetch> {
    HeaderMap::try_from(headers).map_err(|_| InvalidFetch("a header is not allowed"))
}
