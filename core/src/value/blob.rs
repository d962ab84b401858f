//! Blobs: bytes with a type, which cross the wire as a stream of their own. Reading a blob is async, so it
//! is in `peer/stream/blob.rs`.

use std::sync::{Arc, Mutex, PoisonError};

use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, SerializeTupleStruct, Serializer};

use super::{Cap, Capability, Value, special};

/// Bytes with a MIME type, like JavaScript's `Blob`.
///
/// The bytes of a blob from a peer stay with the peer until they are read, and arrive only as fast as
/// they are read. After that the blob holds them. Clones share the bytes.
///
/// A blob can be sent and read any number of times. While its bytes arrive from the peer for the first
/// time, at most 64 MiB of them are kept. A larger blob can be read or sent once, and later readers
/// fail with a `RangeError`. Nothing is kept of a blob that is passed on and then dropped.
///
/// ```
/// # mod bowline { pub mod value { pub use bowline_core::value::Blob; } }
/// use bowline::value::Blob;
///
/// let picture = Blob::new("image/png", [0x89, b'P', b'N', b'G']);
/// assert_eq!(picture.mime(), "image/png");
/// ```
#[derive(Clone, Debug)]
pub struct Blob {
    mime: String,
    /// [`Content`], or the stream from which the bytes are read.
    content: Arc<Mutex<Cap>>,
}

/// Bytes that are sent as a stream.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Content {
    pub(crate) bytes: Arc<Vec<u8>>,
    /// Whether the content was text, which is then read back as text within this process.
    pub(crate) is_text: bool,
}

impl Content {
    pub(crate) fn cap(bytes: Arc<Vec<u8>>) -> Cap {
        Cap::new(Self { bytes, is_text: false })
    }

    pub(crate) fn text(text: &str) -> Cap {
        Cap::new(Self { bytes: Arc::new(text.as_bytes().to_vec()), is_text: true })
    }
}

impl Capability for Content {
    fn is_readable(&self) -> bool {
        true
    }
}

impl Blob {
    /// Creates a blob. The type is a MIME type, or empty.
    pub fn new(mime: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Self::from_cap(mime.into(), Content::cap(Arc::new(bytes.into())))
    }

    pub(crate) fn from_cap(mime: String, content: Cap) -> Self {
        Self { mime, content: Arc::new(Mutex::new(content)) }
    }

    /// Returns the MIME type, or an empty string if it is unknown.
    pub fn mime(&self) -> &str {
        &self.mime
    }

    /// Returns the capability that holds the bytes or leads to them.
    pub(crate) fn content(&self) -> Cap {
        self.content.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the capability that holds the bytes, or a stream of them that can be read repeatedly.
    pub(crate) fn repeatable(&self) -> Cap {
        let mut content = self.content.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(spooled) = content.spooled() {
            // The old stream is part of the new one, so nothing is dropped under the lock.
            *content = spooled;
        }
        content.clone()
    }

    /// Stores the bytes once they have been read.
    pub(crate) fn keep(&self, bytes: Vec<u8>) -> Arc<Vec<u8>> {
        let bytes = Arc::new(bytes);
        let content = Content::cap(Arc::clone(&bytes));
        let before = std::mem::replace(&mut *self.content.lock().unwrap_or_else(PoisonError::into_inner), content);
        // Dropped without the lock, because the drop may run user code.
        drop(before);
        bytes
    }
}

impl PartialEq for Blob {
    /// Bytes that have not been read are equal only to themselves.
    fn eq(&self, other: &Self) -> bool {
        if self.mime != other.mime {
            return false;
        }
        if Arc::ptr_eq(&self.content, &other.content) {
            return true;
        }
        let (a, b) = (self.content(), other.content());
        match (a.downcast_ref::<Content>(), b.downcast_ref::<Content>()) {
            (Some(a), Some(b)) => a == b,
            _ => a == b,
        }
    }
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_tuple_struct(special::BLOB, 2)?;
        fields.serialize_field(&self.mime)?;
        fields.serialize_field(&self.repeatable())?;
        fields.end()
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match special::read(deserializer)? {
            Value::Blob(blob) => Ok(blob),
            other => Err(special::unexpected(&other, "a blob")),
        }
    }
}
