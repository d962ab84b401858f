//! Flow control: windows, backpressure, and limits, and that small calls are served meanwhile.

use std::sync::Arc;
use std::time::Duration;

use bowline_core::generated::TypedCalls;
use bowline_core::limits::Limits;
use bowline_core::peer::stream::{Reader, Writer, channel};
use bowline_core::peer::testing::{Side, link, pair};
use bowline_core::peer::{CallError, Connection, Never, Promise, Receiving as _, Sending as _, Stub, Transport as _};
use bowline_core::value::{Bytes, Value};

use super::fixture::{Api, Seen, assert_idle, client, collect};

#[tokio::test]
async fn writes_wait_for_the_window() {
    let (api, pair, seen) = client();
    let (mut entry, reader) = channel::<Value>(1);
    drop(reader);
    entry.flush().await.unwrap_err();
    let (writer, mut reader) = channel::<Value>(1);
    api.call("keepWriter", writer).await.unwrap();
    let mut writer = seen.writer();
    // As in the transcript of the official package: 10,041 units a message, 27 before the first
    // wait.
    let chunk = Value::from("x".repeat(10_041 - r#"["stream",["pipeline",-1,["write"],[""]]]"#.len()));
    let writing = tokio::spawn(async move {
        for _ in 0..60 {
            writer.write(&chunk).await?;
        }
        writer.close().await
    });
    tokio::time::sleep(Duration::from_millis(20)).await;
    let written = || pair.wire.messages().iter().filter(|message| message.text.contains("\"write\"")).count();
    assert_eq!(written(), 27);
    assert_eq!(collect(&mut reader).await.unwrap().len(), 60);
    writing.await.unwrap().unwrap();
    drop(seen);
    assert_idle(&pair).await;
}

#[tokio::test]
async fn idle_reader_stops_the_source() {
    let (api, pair, seen) = client();
    let reader: Reader<u32> = api.call_typed::<_, Never>("count", &1_000_000).await.unwrap();
    let written = || pair.wire.messages().iter().filter(|message| message.from == Side::Right).count();
    let mut before = usize::MAX;
    while before != written() {
        before = written();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let written = written();
    assert!((5_000..10_000).contains(&written), "a window of chunks, not {written}");
    drop(reader);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(seen.sources(), 0);
    assert_idle(&pair).await;
}

#[tokio::test]
async fn writer_that_ignores_the_window_is_cut_off() {
    let (api, pair, _) = client();
    let (writer, mut reader) = channel::<Value>(1);
    // Through its stub, writes are sent regardless of the window.
    let echoed = api.call("echo", writer).await.unwrap();
    let stub = Stub::from_value(&echoed).unwrap();
    let chunk = "x".repeat(1 << 20);
    let mut writes: Vec<_> = (0..20).map(|_| stub.call("write", &chunk)).collect();
    // The messages are handled in order, so the others have been handled when the last one is refused.
    let refusal = writes.pop().unwrap().await.unwrap_err();
    assert!(refusal.remote().is_some(), "{refusal}");
    let mut refused = 0;
    for write in writes {
        refused += usize::from(Promise::timeout(write, Duration::from_millis(5)).await.is_err());
    }
    assert_eq!(refused, 19);
    let error = reader.next().await.unwrap().unwrap_err().to_string();
    assert_eq!(error, "RangeError: limit: UTF-16 units waiting in a stream (at most 16777216)");
    drop((stub, echoed));
    assert_idle(&pair).await;
}

#[tokio::test]
async fn slow_reader_causes_no_buffering() {
    let seen = Arc::new(Seen::default());
    let pair = pair(None, Some(Stub::new(Api(Arc::clone(&seen)))));
    let (mut writer, reader) = channel::<Bytes>(1);
    pair.left.root_dyn().call("keepReader", reader).await.unwrap();
    let written = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = Arc::clone(&written);
    let writing = tokio::spawn(async move {
        let chunk = Bytes::new(vec![7; 64 << 10]);
        for _ in 0..512 {
            writer.write(&chunk).await?;
            counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        }
        writer.close().await
    });
    let mut reader = seen.reader().cast::<Bytes>();
    let mut read = 0;
    let mut ahead_max = 0;
    while let Some(chunk) = reader.next().await {
        read += 1;
        assert_eq!(chunk.unwrap().as_slice().len(), 64 << 10);
        if read % 16 == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        ahead_max = ahead_max.max(written.load(std::sync::atomic::Ordering::SeqCst).saturating_sub(read));
        pair.wire.take_log();
    }
    writing.await.unwrap().unwrap();
    assert_eq!(read, 512);
    assert!(ahead_max * (64 << 10) < 20 << 20, "{ahead_max} chunks ahead of the reader");
    assert_idle(&pair).await;
}

#[tokio::test]
async fn calls_are_served_while_a_stream_runs() {
    let (api, pair, seen) = client();
    let mut reader: Reader<u32> = api.call_typed::<_, Never>("count", &20_000).await.unwrap();
    let reading = tokio::spawn(async move {
        let mut chunks = 0;
        while let Some(chunk) = reader.next().await {
            chunk?;
            chunks += 1;
        }
        Ok::<_, CallError>(chunks)
    });
    let mut slowest = Duration::ZERO;
    let mut calls = 0;
    while !reading.is_finished() {
        let began = std::time::Instant::now();
        assert_eq!(api.call("add", (1, 2)).await.unwrap(), Value::from(3));
        slowest = slowest.max(began.elapsed());
        calls += 1;
        pair.wire.take_log();
    }
    assert_eq!(reading.await.unwrap().unwrap(), 20_000);
    assert!(calls > 20 && slowest < Duration::from_millis(500), "{calls} calls, the slowest took {slowest:?}");
    assert_eq!(seen.sources(), 0);
    assert_idle(&pair).await;
}

#[tokio::test]
async fn local_sink_slows_its_local_writer() {
    let seen = Arc::new(Seen::default());
    let mut writer = Writer::<Value>::to_sink(super::fixture::Notes(Arc::clone(&seen)));
    for _ in 0..5 {
        writer.write(Value::from("slow")).await.unwrap();
    }
    assert!(seen.sink().len() >= 3, "one is being written, one waits");
    writer.close().await.unwrap();
    assert_eq!(seen.sink().len(), 6);
}

#[tokio::test]
async fn writes_in_a_batch_do_not_wait_for_acknowledgments() {
    let (left, right, _) = link();
    let seen = Arc::new(Seen::default());
    let (connection, driver) =
        Connection::start_batch(right, Some(Stub::new(Api(Arc::clone(&seen)))), Limits::default());
    tokio::spawn(driver);
    let (mut sender, mut receiver) = left.split();
    for message in [r#"["push",["pipeline",0,["count"],[40000]]]"#, r#"["pull",1]"#] {
        sender.feed(message.to_owned()).await.unwrap();
    }
    assert_eq!(receiver.receive().await.unwrap(), r#"["pipe"]"#);
    assert_eq!(receiver.receive().await.unwrap(), r#"["resolve",1,["readable",1]]"#);
    connection.answered().await;
    connection.close();
    let mut messages = Vec::new();
    while let Ok(message) = receiver.receive().await {
        messages.push(message);
    }
    assert_eq!(messages.len(), 40_002, "more than a window of chunks");
    let ends = [r#"["stream",["pipeline",1,["close"],[]]]"#, r#"["release",1,1]"#];
    assert_eq!(messages[40_000..], ends);
    assert_eq!(seen.sources(), 0);
}
