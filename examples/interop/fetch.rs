//! Blobs, requests, and responses: values whose bytes arrive as a stream.

use bowline::error::ErrorValue;
use bowline::value::Blob;
use bowline::value::{Body, Headers, Request, Response, Url};
use bowline::{CallError, Thrown, Value};
use sha2::{Digest, Sha256};

use crate::contract::{BlobInfo, RequestInfo, ResponseInfo};
use crate::describe::hex;

/// Waits until the bytes of every blob in a value have arrived.
pub(crate) async fn arrived(value: &Value) -> Result<(), CallError> {
    let mut blobs = Vec::new();
    collect(value, &mut blobs);
    for blob in blobs {
        blob.bytes().await?;
    }
    Ok(())
}

fn collect<'v>(value: &'v Value, into: &mut Vec<&'v Blob>) {
    match value {
        Value::Blob(blob) => into.push(blob),
        Value::Array(items) => items.iter().for_each(|item| collect(item, into)),
        Value::Object(object) => object.iter().for_each(|(_, value)| collect(value, into)),
        Value::Error(error) => error.props.iter().for_each(|(_, value)| collect(value, into)),
        _ => {}
    }
}

pub(crate) async fn info(blob: Blob) -> Result<BlobInfo, Thrown> {
    let bytes = blob.bytes().await?;
    let sha256 = hex(&Sha256::digest(&bytes));
    Ok(BlobInfo { sha256, size: bytes.len(), mime: blob.mime().to_owned() })
}

pub(crate) async fn inspect_request(mut request: Request) -> Result<RequestInfo, Thrown> {
    let body = request.body.text().await?;
    let (headers, url) = (pairs(&request.headers), request.url.to_string());
    Ok(RequestInfo { body, headers, method: request.method, url })
}

pub(crate) async fn inspect_response(mut response: Response) -> Result<ResponseInfo, Thrown> {
    let body = response.body.text().await?;
    let headers = pairs(&response.headers);
    Ok(ResponseInfo { body, headers, status: response.status, status_text: response.status_text })
}

pub(crate) fn request(
    url: &str,
    method: String,
    headers: &[(String, String)],
    body: Option<String>,
) -> Result<Request, ErrorValue> {
    let url = Url::parse(url).map_err(type_error)?;
    let headers = with_type(headers, body.is_some())?;
    Ok(Request { method, headers, body: body.map_or(Body::None, Body::Text), ..Request::get(url) })
}

pub(crate) fn response(
    status: u16,
    headers: &[(String, String)],
    body: Option<String>,
) -> Result<Response, ErrorValue> {
    let headers = with_type(headers, body.is_some())?;
    Ok(Response { status, headers, body: body.map_or(Body::None, Body::Text), ..Response::default() })
}

/// Builds headers. A text body gets a content type even if none is given, as in JavaScript.
fn with_type(pairs: &[(String, String)], has_text: bool) -> Result<Headers, ErrorValue> {
    let mut headers = Headers::new();
    for (name, value) in pairs {
        headers.append(name, value).map_err(type_error)?;
    }
    if has_text && headers.value("content-type").is_none() {
        headers.append("content-type", "text/plain;charset=UTF-8").map_err(type_error)?;
    }
    Ok(headers)
}

fn pairs(headers: &Headers) -> Vec<(String, String)> {
    headers.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn type_error(error: impl std::fmt::Display) -> ErrorValue {
    ErrorValue::new("TypeError", error.to_string())
}
