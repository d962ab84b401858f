//! HTTP responses that are used in several places.

use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;

/// A response of the service.
pub(crate) type Answer = Response<Full<Bytes>>;

/// The content type of official servers and clients, whatever the text is.
const TEXT: HeaderValue = HeaderValue::from_static("text/plain;charset=UTF-8");

/// How long a refused peer should wait before it tries again, in seconds.
pub(crate) const RETRY_AFTER_SECONDS: &str = "1";

/// Creates a text response.
pub(crate) fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, TEXT);
    answer
}

/// Creates a 503 response. The connection is closed, so that the next attempt may reach another
/// process.
pub(crate) fn unavailable(why: &'static str) -> Answer {
    let mut answer = text(StatusCode::SERVICE_UNAVAILABLE, why);
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    answer
}

/// Creates a 405 response for a request that is neither a batch nor a WebSocket. The text is that
/// of the official server.
pub(crate) fn not_allowed() -> Answer {
    let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "This endpoint only accepts POST or WebSocket requests.");
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
    answer
}
