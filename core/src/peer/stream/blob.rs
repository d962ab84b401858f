//! Reading blobs and the bodies of requests and responses.

use super::Reader;
use crate::peer::interface::error::{CallError, RemoteError, RpcError};
use crate::value::{Blob, Body, Bytes, Cap, Content, ErrorValue};

/// The most that [`Blob::bytes`] and [`Body::bytes`] read.
const BYTES_MAX: usize = 64 << 20;

impl Blob {
    /// Returns the bytes, at most 64 MiB. They are read from the peer once and then kept.
    ///
    /// Not cancel-safe: if the future is dropped, the bytes cannot be read again.
    ///
    /// # Errors
    /// Those of [`bytes_within`](Self::bytes_within).
    pub async fn bytes(&self) -> Result<Bytes, CallError> {
        self.bytes_within(BYTES_MAX).await
    }

    /// Returns the bytes, at most `max`.
    ///
    /// # Errors
    /// [`CallError::Remote`] with a `RangeError` if there are more, in which case the stream is canceled,
    /// or with a `TypeError` if they are being read elsewhere. Otherwise the error that ended the stream
    /// early.
    pub async fn bytes_within(&self, max: usize) -> Result<Bytes, CallError> {
        let content = self.content();
        if let Some(Content { bytes, .. }) = content.downcast_ref() {
            check(bytes.len(), max)?;
            return Ok(Bytes::new(&bytes[..]));
        }
        let bytes = self.keep(read(&content, max).await?);
        Ok(Bytes::new(&bytes[..]))
    }

    /// Returns a reader of the bytes, in chunks as they arrive.
    pub fn reader(&self) -> Reader<Bytes> {
        Reader::of_cap(&self.repeatable())
    }

    /// Creates a blob whose bytes are read from `reader`.
    pub fn from_reader(mime: impl Into<String>, reader: Reader<Bytes>) -> Self {
        Self::from_cap(mime.into(), reader.into_cap())
    }
}

impl Body {
    /// Returns the bytes, at most 64 MiB, or none if there is no body. A stream is read, and becomes
    /// [`Body::Bytes`]. Not cancel-safe.
    ///
    /// # Errors
    /// Those of [`Blob::bytes_within`].
    pub async fn bytes(&mut self) -> Result<Bytes, CallError> {
        self.bytes_within(BYTES_MAX).await
    }

    /// Returns the bytes, at most `max`.
    ///
    /// # Errors
    /// Those of [`Blob::bytes_within`].
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

    /// Returns the text, at most 64 MiB, or an empty string if there is no body. Invalid UTF-8 is replaced,
    /// as in JavaScript.
    ///
    /// # Errors
    /// Those of [`Blob::bytes_within`].
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
