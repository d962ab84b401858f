//! Streams and blobs, in both directions.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bowline::error::{ErrorValue, Never};
use bowline::stream::Sink;
use bowline::value::{BigInt, Blob};
use bowline::value::{Body, Headers, Object, Request, Url};
use bowline::{Bytes, CallError, Reader, Reference, Value, Writer};
use futures_util::{Stream, TryStreamExt, stream};
use serde_json::json;
use tokio::time::sleep;

use crate::contract::{InteropRef, SinkState};
use crate::describe::{describe, hex};
use crate::disposal::counted;
use crate::kit::{Context, Outcome, caught, failure, json, until};

pub(crate) async fn run(step: &str, Context { m, .. }: &Context) -> Option<Outcome> {
    let outcome = async {
        Ok(Some(match step {
            "download" => {
                let chunks: Vec<Bytes> = m.download(3, 4).await?.try_collect().await?;
                chunks.into_iter().map(|chunk| json!(describe(&chunk.into()))).collect()
            }
            "download-values" => json!(m.download_values(1000).await?.try_collect::<Vec<_>>().await?.len()),
            "download-fails" => {
                let mut chunks = m.download_failing(2, "broke off").await?;
                json!(loop {
                    match chunks.next().await {
                        Some(Ok(_)) => {}
                        Some(failed) => break caught(failed),
                        None => break "no error".to_owned(),
                    }
                })
            }
            "download-cancel" => download_cancel(m).await?,
            "upload" => upload(m).await?,
            "upload-values" => {
                let object = Object::from([("a", vec![Value::from(BigInt::from(5))])]);
                let values = [1.into(), "x".into(), Value::Null, object.into()];
                let back = m.upload_values(reader(values)).await?;
                back.iter().map(|value| json!(describe(value))).collect()
            }
            "upload-fails" => {
                let chunks = [Ok(0.into()), Ok(1.into()), Err(ErrorValue::new("RangeError", "client broke"))];
                let ended = m.upload_until_error(Reader::from_stream(stream::iter(chunks))).await?;
                json!(ended.error.map(|error| json!({ "message": error.message, "name": error.name })))
            }
            "upload-cancelled" => upload_cancelled(m).await?,
            "sink" => sink(m).await?,
            "sink-abort" => sink_abort(m).await?,
            "server-writes" => server_writes(m).await?,
            "echo-stream" => {
                let texts = ["a", "b", "c"].map(Value::from);
                let back: Vec<Value> = m.echo_stream(reader(texts)).await?.try_collect().await?;
                json(&Value::Array(back))
            }
            "stream-of-capabilities" => {
                let mut counters = m.stream_of_counters(3).await?;
                let mut counts = Vec::new();
                while let Some(counter) = counters.next().await {
                    counts.push(counter?.increment(Some(1.0)).await?);
                }
                json!(counts)
            }
            "upload-megabyte" => {
                let uploaded = m.upload(reader(vec![Bytes::new([0; 16_384]); 64])).await?;
                json!([uploaded.bytes, uploaded.chunks])
            }
            "blob-echo" => blob(&m.echo_blob(Blob::new("text/plain", "hello")).await?).await?,
            "blob-made" => blob(&m.make_blob("from afar", "text/x-test").await?).await?,
            "request" => request(m).await?,
            "response" => response(m).await?,
            _ => return Ok(None),
        }))
    };
    outcome.await.transpose()
}

fn reader<T: serde::Serialize + Send + 'static>(chunks: impl IntoIterator<Item = T>) -> Reader<T> {
    let chunks: Vec<_> = chunks.into_iter().map(Ok::<T, Never>).collect();
    Reader::from_stream(stream::iter(chunks))
}

async fn download_cancel(m: &InteropRef) -> Outcome {
    let mut endless = m.download_endless("dc").await?;
    endless.next().await.ok_or_else(|| failure("the stream ended"))??;
    let before = m.live_count("dc").await?;
    drop(endless);
    Ok(json!([before, counted(m, "dc", 0).await?]))
}

async fn upload(m: &InteropRef) -> Outcome {
    let chunks = [Bytes::new([1, 2, 3]), Bytes::new([4]), Bytes::new([7; 1000])];
    let uploaded = m.upload(reader(chunks)).await?;
    Ok(json!({ "bytes": uploaded.bytes, "chunks": uploaded.chunks, "sha256": uploaded.sha256 }))
}

/// Sets a flag when it is dropped, which is how a stream learns that it was canceled.
struct Wanted(Arc<AtomicBool>);

impl Drop for Wanted {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn numbers(wanted: Wanted) -> impl Stream<Item = Result<Value, Never>> {
    stream::unfold((0, wanted), |(i, wanted)| async move {
        sleep(Duration::from_millis(1)).await;
        Some((Ok(Value::from(i)), (i + 1, wanted)))
    })
}

async fn upload_cancelled(m: &InteropRef) -> Outcome {
    let cancelled = Arc::new(AtomicBool::new(false));
    let endless = Reader::from_stream(numbers(Wanted(Arc::clone(&cancelled))));
    let read = m.upload_some(endless, 3_usize).await?;
    let cancelled = until(async || Ok::<_, CallError>(cancelled.load(Ordering::SeqCst)), true).await?;
    Ok(json!([json(&Value::Array(read)), cancelled]))
}

async fn sink(m: &InteropRef) -> Outcome {
    let mut writer = m.open_sink("s").await?;
    for size in [10, 5] {
        writer.write(Value::from(Bytes::new(vec![0; size]))).await?;
    }
    writer.close().await?;
    // An untyped call, so that the result is printed as the server sent it.
    Ok(json(&m.stub().call("sinkStatus", "s").await?))
}

async fn sink_abort(m: &InteropRef) -> Outcome {
    let mut writer = m.open_sink("sa").await?;
    writer.write(Value::from(Bytes::new([0; 3]))).await?;
    writer.flush().await?;
    writer.abort(ErrorValue::new("Error", "changed my mind"));
    until(async || Ok::<_, CallError<ErrorValue>>(m.sink_status("sa").await?.state), SinkState::Aborted).await?;
    let status = m.sink_status("sa").await?;
    Ok(json!([format!("{:?}", status.state).to_lowercase(), status.reason]))
}

/// What the server has written to the client's sink.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Written>>);

#[derive(Clone, Default)]
struct Written {
    /// The first byte and the length of each chunk.
    chunks: Vec<(u8, usize)>,
    closed: bool,
}

impl Seen {
    fn written(&self) -> MutexGuard<'_, Written> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink<Bytes> for Seen {
    type Error = Never;

    async fn write(&mut self, chunk: Bytes) -> Result<(), Never> {
        let first = chunk.first().copied().unwrap_or_default();
        self.written().chunks.push((first, chunk.len()));
        Ok(())
    }

    async fn close(self) -> Result<(), Never> {
        self.written().closed = true;
        Ok(())
    }
}

async fn server_writes(m: &InteropRef) -> Outcome {
    let seen = Seen::default();
    let written = m.write_to(Writer::to_sink(seen.clone()), 3_u32, 8_usize).await?;
    let Written { chunks, closed } = seen.written().clone();
    Ok(json!([written, chunks, closed]))
}

async fn blob(blob: &Blob) -> Outcome {
    Ok(json!([hex(&blob.bytes().await?), blob.mime()]))
}

async fn request(m: &InteropRef) -> Outcome {
    let mut headers = Headers::new();
    headers.append("content-type", "text/plain")?;
    headers.append("x-a", "1")?;
    let request = Request {
        method: "POST".to_owned(),
        headers,
        body: Body::Text("payload".to_owned()),
        ..Request::get(Url::parse("http://example.com/x?y=1")?)
    };
    let seen = m.inspect_request(request).await?;
    Ok(json!({ "body": seen.body, "headers": seen.headers, "method": seen.method, "url": seen.url }))
}

async fn response(m: &InteropRef) -> Outcome {
    let headers = [("content-type", "text/plain"), ("x-b", "2")];
    let headers: Vec<_> = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let mut response = m.make_response(404_u16, headers, Some("not here".to_owned())).await?;
    let body = response.body.text().await?;
    Ok(json!([response.status, response.headers.value("x-b"), body]))
}
