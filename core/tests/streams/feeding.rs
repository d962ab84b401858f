//! Writers as `futures::Sink`, within this process and to a peer.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bowline_core::peer::CallError;
use bowline_core::peer::stream::{Reader, Writer, channel};
use bowline_core::value::{ErrorValue, Value};
use futures_util::sink::Sink;
use futures_util::stream::iter;
use futures_util::{SinkExt, StreamExt as _};

use super::fixture::{assert_idle, client, collect};

/// Returns `true` if another chunk may be written right now.
fn is_ready<T: serde::Serialize>(writer: &mut Writer<T>) -> bool {
    let mut cx = Context::from_waker(Waker::noop());
    match Pin::new(writer).poll_ready(&mut cx) {
        Poll::Ready(ready) => {
            ready.unwrap();
            true
        }
        Poll::Pending => false,
    }
}

#[tokio::test]
async fn channel_accepts_as_many_chunks_as_it_holds() {
    let (mut writer, mut reader) = channel::<u32>(2);
    for n in 0..2 {
        assert!(is_ready(&mut writer));
        writer.start_send_unpin(n).unwrap();
    }
    assert!(!is_ready(&mut writer));
    let waiting = tokio::spawn(async move {
        writer.feed(2).await.unwrap();
        writer.flush().await.unwrap();
        writer
    });
    assert_eq!(reader.next().await.unwrap().unwrap(), 0);
    assert_eq!(reader.next().await.unwrap().unwrap(), 1);
    assert_eq!(reader.next().await.unwrap().unwrap(), 2);
    let mut writer = waiting.await.unwrap();
    let closing = tokio::spawn(async move { SinkExt::close(&mut writer).await });
    assert!(reader.next().await.is_none());
    closing.await.unwrap().unwrap();
}

#[tokio::test]
async fn forwarded_stream_is_no_faster_than_its_reader() {
    let (api, pair, seen) = client();
    let (writer, mut reader) = channel::<Value>(1);
    api.call("keepWriter", writer).await.unwrap();
    let chunk = || Value::from("x".repeat(10_000));
    let forwarding = tokio::spawn(iter((0..60).map(move |_| Ok(chunk()))).forward(seen.writer()));
    let written = || pair.wire.messages().iter().filter(|message| message.text.contains("\"write\"")).count();
    let mut before = usize::MAX;
    while before != written() {
        before = written();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!((20..40).contains(&before), "a window of chunks, not {before}");
    assert_eq!(collect(&mut reader).await.unwrap().len(), 60);
    forwarding.await.unwrap().unwrap();
    drop(seen);
    assert_idle(&pair).await;
}

#[tokio::test]
async fn flush_waits_for_the_reader_and_close_for_the_end() {
    let (api, pair, seen) = client();
    let (writer, mut reader) = channel::<Value>(1);
    api.call("keepWriter", writer).await.unwrap();
    let mut writer = seen.writer();
    let sending = tokio::spawn(async move {
        writer.send(Value::from("one")).await?;
        SinkExt::close(&mut writer).await?;
        // A closed writer accepts nothing, and a second close has no effect.
        SinkExt::close(&mut writer).await?;
        writer.send(Value::from("two")).await
    });
    tokio::time::sleep(Duration::from_millis(20)).await;
    let seen_of = |what: &str| pair.wire.messages().iter().filter(|message| message.text.contains(what)).count();
    assert_eq!((seen_of("one"), seen_of("\"close\"")), (1, 0));
    assert_eq!(reader.next().await.unwrap().unwrap(), Value::from("one"));
    assert!(reader.next().await.is_none());
    let error = sending.await.unwrap().unwrap_err().to_string();
    assert_eq!(error, "TypeError: Invalid state: WritableStream is closed");
    assert_eq!((seen_of("two"), seen_of("\"close\"")), (0, 1));
    assert_idle(&pair).await;
}

#[tokio::test]
async fn sink_fails_with_the_readers_error() {
    let (api, pair, seen) = client();
    let (writer, reader) = channel::<Value>(1);
    api.call("keepWriter", writer).await.unwrap();
    let mut writer = seen.writer();
    writer.feed(Value::from("one")).await.unwrap();
    reader.cancel(ErrorValue::new("RangeError", "enough"));
    let errors = [
        SinkExt::flush(&mut writer).await.unwrap_err(),
        writer.feed(Value::from("two")).await.unwrap_err(),
        SinkExt::close(&mut writer).await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.to_string(), "RangeError: enough");
    }
    drop(writer);
    assert_idle(&pair).await;
}

#[tokio::test]
async fn unencodable_chunk_is_refused_and_the_stream_continues() {
    let (mut writer, mut reader): (Writer<Option<u64>>, Reader<Option<u64>>) = channel(2);
    let error = writer.feed(Some(u64::MAX)).await.unwrap_err();
    assert!(matches!(error, CallError::Codec(_)), "{error}");
    writer.feed(Some(1)).await.unwrap();
    assert_eq!(reader.next().await.unwrap().unwrap(), Some(1));
}

#[tokio::test]
async fn sink_dropped_without_close_aborts() {
    let (mut writer, mut reader) = channel::<u32>(2);
    writer.feed(1).await.unwrap();
    drop(writer);
    assert_eq!(reader.next().await.unwrap().unwrap(), 1);
    let error = reader.next().await.unwrap().unwrap_err().to_string();
    assert_eq!(error, "Error: WritableStream RPC stub was disposed without calling close()");
}
