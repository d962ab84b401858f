//! The sources and sinks of the streams.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bowline::error::{ErrorValue, Never, RemoteError};
use bowline::stream::Sink;
use bowline::{Bytes, CallError, Reader, Thrown, Value, Writer};
use futures_util::{StreamExt, stream};

use sha2::{Digest, Sha256};

use crate::contract::{Caught, CounterRef, Ended, Item, SinkState, SinkStatus, Uploaded};
use crate::counter::Count;
use crate::describe::{class, hex};
use crate::made::range_error;
use crate::objects::pause;
use crate::tables::{LIVE, SINKS};
use crate::text::text;

/// Returns chunk `k` of a download.
pub(crate) fn chunk(k: u32, size: usize) -> Bytes {
    vec![k.to_le_bytes()[0]; size].into()
}

pub(crate) fn download(n: u32, size: usize) -> Reader<Bytes> {
    Reader::from_stream(stream::iter(0..n).map(move |k| Ok::<_, Never>(chunk(k, size))))
}

pub(crate) fn items(n: u32) -> Reader<Item> {
    Reader::from_stream(stream::iter(0..n).map(|i| Ok::<_, Never>(Item { i })))
}

pub(crate) fn failing(n: u32, message: String) -> Reader<Item> {
    let items = stream::iter(0..n).map(|i| Ok(Item { i }));
    Reader::from_stream(items.chain(stream::iter([Err(range_error(message))])))
}

/// An endless stream, counted under its tag until it is canceled.
pub(crate) fn endless(tag: &str) -> Reader<Item> {
    Reader::from_stream(stream::unfold((0, LIVE.begin(tag)), |(i, life)| async move {
        pause(1.0).await;
        Some((Ok::<_, Never>(Item { i }), (i.wrapping_add(1), life)))
    }))
}

pub(crate) fn counters(n: u32) -> Reader<CounterRef> {
    let counter = |i| CounterRef::new(Count::from(f64::from(i) * 10.0));
    Reader::from_stream(stream::iter(0..n).map(move |i| Ok::<_, Never>(counter(i))))
}

/// Reads a stream to its end and returns its size and digest.
pub(crate) async fn digest(mut chunks: Reader<Bytes>) -> Result<Uploaded, Thrown> {
    let (mut hash, mut bytes, mut count) = (Sha256::new(), 0, 0);
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk?;
        hash.update(&chunk);
        bytes += chunk.len();
        count += 1;
    }
    Ok(Uploaded { bytes, chunks: count, sha256: hex(&hash.finalize()) })
}

/// Reads `n` chunks, then cancels the stream.
pub(crate) async fn some(mut chunks: Reader<Value>, n: usize) -> Result<Vec<Value>, Thrown> {
    let mut read = Vec::new();
    while read.len() < n {
        let Some(chunk) = chunks.next().await else { break };
        read.push(chunk?);
    }
    chunks.cancel(ErrorValue::new("Error", "enough"));
    Ok(read)
}

pub(crate) async fn until_error(mut chunks: Reader<Value>) -> Ended {
    let mut count = 0;
    while let Some(chunk) = chunks.next().await {
        match chunk {
            Ok(_) => count += 1,
            Err(error) => return Ended { chunks: count, error: Some(caught(error)) },
        }
    }
    Ended { chunks: count, error: None }
}

/// Increments every counter and returns the sum of their new values.
pub(crate) async fn incremented(mut counters: Reader<CounterRef>) -> Result<f64, Thrown> {
    let mut sum = 0.0;
    while let Some(counter) = counters.next().await {
        sum += counter?.increment(Some(1.0)).await?;
    }
    Ok(sum)
}

pub(crate) async fn write(mut to: Writer<Bytes>, n: u32, size: usize) -> Result<u32, Thrown> {
    for k in 0..n {
        to.write(chunk(k, size)).await?;
    }
    to.close().await?;
    Ok(n)
}

pub(crate) async fn write_and_abort(mut to: Writer<Item>, n: u32, message: String) -> Result<u32, Thrown> {
    for i in 0..n {
        to.write(Item { i }).await?;
    }
    // An abort may discard chunks that the sink has not accepted.
    to.flush().await?;
    to.abort(range_error(message));
    Ok(n)
}

pub(crate) async fn write_items(mut to: Writer<Item>, n: u32) -> Result<(), CallError> {
    for i in 0..n {
        to.write(Item { i }).await?;
    }
    to.close().await
}

/// Returns the error of a call or a stream as JavaScript sees it.
pub(crate) fn caught(error: CallError<impl bowline::RpcError>) -> Caught {
    match Thrown::from(error).0 {
        Value::Error(error) => Caught { message: error.message.clone(), name: class(&error).to_owned() },
        other => Caught { message: text(&other), name: "value".to_owned() },
    }
}

/// How a sink handles its chunks.
#[derive(Default)]
pub(crate) struct Manner {
    /// Milliseconds spent on each chunk.
    pub(crate) ms: f64,
    /// The number of the chunk to refuse, counted from 1, and the error message.
    pub(crate) refuses: Option<(usize, String)>,
}

/// Creates a sink whose status is found in `SINKS` under `key`.
pub(crate) fn sink(key: String, manner: Manner) -> Writer<Value> {
    let status = Arc::<Mutex<SinkStatus>>::default();
    SINKS.put(key, Arc::clone(&status));
    Writer::to_sink(Recorder { status, manner })
}

struct Recorder {
    status: Arc<Mutex<SinkStatus>>,
    manner: Manner,
}

impl Recorder {
    fn status(&self) -> MutexGuard<'_, SinkStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink<Value> for Recorder {
    type Error = ErrorValue;

    async fn write(&mut self, chunk: Value) -> Result<(), ErrorValue> {
        if self.manner.ms > 0.0 {
            pause(self.manner.ms).await;
        }
        let mut status = self.status();
        if let Some((refused, message)) = &self.manner.refuses
            && status.chunks + 1 >= *refused
        {
            status.state = SinkState::Failed;
            return Err(range_error(message));
        }
        status.chunks += 1;
        match chunk.as_bytes() {
            Some(bytes) => status.bytes += bytes.len(),
            None => status.values.push(chunk),
        }
        Ok(())
    }

    async fn close(self) -> Result<(), ErrorValue> {
        self.status().state = SinkState::Closed;
        Ok(())
    }

    async fn abort(self, reason: RemoteError) {
        let mut status = self.status();
        status.state = SinkState::Aborted;
        status.reason = match reason.value() {
            Value::Undefined => None,
            Value::Error(error) => Some(error.message.clone()),
            other => Some(text(other)),
        };
    }
}
