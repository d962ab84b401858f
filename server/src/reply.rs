//! The HTTP answers of the service that are the same wherever they are given.

use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;

/// What the service answers with.
pub(crate) type Answer = Response<Full<Bytes>>;

/// The type official servers and clients send, whatever the text is.
const TEXT: HeaderValue = HeaderValue::from_static("text/plain;charset=UTF-8");

/// Seconds after which a refused peer may come again.
pub(crate) const RETRY_AFTER_SECONDS: &str = "1";

/// A text with a status.
pub(crate) fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, TEXT);
    answer
}

/// 503: not now. The connection is closed, so that the next try may reach another process.
pub(crate) fn unavailable(why: &'static str) -> Answer {
    let mut answer = text(StatusCode::SERVICE_UNAVAILABLE, why);
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    answer
}

/// 405: neither a batch nor a WebSocket.
pub(crate) fn not_allowed() -> Answer {
    let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "This endpoint only accepts POST or WebSocket requests.");
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
    answer
}
