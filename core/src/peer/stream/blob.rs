//! Reading blobs and the bodies of requests and responses.

use std::sync::Arc;

use super::{OfBytes, Reader, Source};
use crate::peer::error::{CallError, RemoteError, RpcError};
use crate::peer::stub::Stub;
use crate::value::{Blob, Body, Bytes, Cap, Content, ErrorValue};

/// What [`Blob::bytes`] and [`Body::bytes`] read at most.
const BYTES_MAX: usize = 64 << 20;

impl Blob {
    /// The bytes, at most 64 MiB of them. Read from the peer once, then kept. Not cancel-safe: a
    /// read that is given up cannot be taken up again.
    ///
    /// # Errors
    /// As [`bytes_within`](Self::bytes_within).
    pub async fn bytes(&self) -> Result<Bytes, CallError> {
        self.bytes_within(BYTES_MAX).await
    }

    /// The bytes, at most `max` of them.
    ///
    /// # Errors
    /// A [`CallError::Remote`] `RangeError` when there are more, whereupon the rest is refused,
    /// and `TypeError` while they are read elsewhere; whatever ends the stream early.
    pub async fn bytes_within(&self, max: usize) -> Result<Bytes, CallError> {
        let content = self.content();
        if let Some(Content { bytes, .. }) = content.downcast_ref() {
            check(bytes.len(), max)?;
            return Ok(Bytes::new(&bytes[..]));
        }
        let bytes = self.keep(read(&content, max).await?);
        Ok(Bytes::new(&bytes[..]))
    }

    /// The bytes as they come.
    pub fn reader(&self) -> Reader<Bytes> {
        Reader::of_cap(&self.repeatable())
    }

    /// A blob whose bytes come from `reader`.
    pub fn from_reader(mime: impl Into<String>, reader: Reader<Bytes>) -> Self {
        Self::from_cap(mime.into(), reader.into_cap())
    }
}

impl Body {
    /// The bytes, at most 64 MiB of them; none if there is no body. A stream is read, and is
    /// [`Body::Bytes`] afterwards. Not cancel-safe.
    ///
    /// # Errors
    /// As [`Blob::bytes_within`].
    pub async fn bytes(&mut self) -> Result<Bytes, CallError> {
        self.bytes_within(BYTES_MAX).await
    }

    /// The bytes, at most `max` of them.
    ///
    /// # Errors
    /// As [`Blob::bytes_within`].
    pub async fn bytes_within(&mut self, max: usize) -> Result<Bytes, CallError> {
        let bytes = match self {
            Self::None => Bytes::default(),
            Self::Text(text) => Bytes::new(text.as_bytes()),
            Self::Bytes(bytes) => bytes.clone(),
            Self::Stream(cap) => {
                let bytes = Bytes::new(read(cap, max).await?);
                *self = Self::Bytes(bytes.clone());
                bytes
            }
        };
        check(bytes.len(), max)?;
        Ok(bytes)
    }

    /// The text, at most 64 MiB of it; empty if there is no body. What is not UTF-8 is replaced,
    /// as JavaScript does.
    ///
    /// # Errors
    /// As [`Blob::bytes_within`].
    pub async fn text(&mut self) -> Result<String, CallError> {
        let bytes = self.bytes().await?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

impl From<Reader<Bytes>> for Body {
    fn from(reader: Reader<Bytes>) -> Self {
        Self::Stream(reader.into_cap())
    }
}

impl Stub {
    /// Bytes as something that a session takes for a stream.
    pub(crate) fn of_content(content: &Content) -> Self {
        let source: Box<dyn Source> = Box::new(OfBytes::new(Arc::clone(&content.bytes)));
        Self::from_cap(&Reader::<Bytes>::from_source(source).into_cap())
    }
}

async fn read(content: &Cap, max: usize) -> Result<Vec<u8>, CallError> {
    let mut reader = Reader::<Bytes>::of_cap(content);
    let mut bytes = Vec::new();
    while let Some(chunk) = reader.next().await {
        bytes.extend_from_slice(&chunk?);
        if let Err(error) = check(bytes.len(), max) {
            reader.cancel(too_large(max));
            return Err(error);
        }
    }
    Ok(bytes)
}

fn check(bytes: usize, max: usize) -> Result<(), CallError> {
    if bytes > max { Err(CallError::Remote(RemoteError::new(too_large(max).to_value()))) } else { Ok(()) }
}

fn too_large(max: usize) -> ErrorValue {
    ErrorValue::new("RangeError", format!("limit: bytes read at once (at most {max})"))
}
