//! Forwarded streams, capabilities in chunks, and streams without a session.

use bowline_core::generated::TypedCalls;
use bowline_core::peer::stream::{Reader, Writer, channel};
use bowline_core::peer::testing::{Pair, pair};
use bowline_core::peer::{Func, Never, Stub};
use bowline_core::value::Value;

use serde::{Deserialize, Serialize};

use super::fixture::{Count, assert_idle, client, collect, settle};

/// Creates a client whose server is the main object of another session.
fn through_a_proxy() -> (Stub, Pair, Pair, std::sync::Arc<super::fixture::Seen>) {
    let (api, behind, seen) = client();
    let front = pair(None, Some(api));
    (front.left.root_dyn(), front, behind, seen)
}

#[tokio::test]
async fn stream_round_trips() {
    let (api, pair, seen) = client();
    let reader = Reader::<u32>::from_stream(Count::new(100, &seen));
    let mut back: Reader<u32> = api.call_typed::<_, Never>("echo", &reader).await.unwrap();
    drop(reader);
    assert_eq!(collect(&mut back).await.unwrap(), Vec::from_iter(0..100));
    assert_idle(&pair).await;
}

#[tokio::test]
async fn reader_crosses_a_proxy() {
    let (api, front, behind, seen) = through_a_proxy();
    let mut reader: Reader<u32> = api.call_typed::<_, Never>("count", &50).await.unwrap();
    assert_eq!(collect(&mut reader).await.unwrap(), Vec::from_iter(0..50));
    let reader = Reader::<u32>::from_stream(Count::new(50, &seen));
    let collected: Vec<u32> = api.call_typed::<_, Never>("collect", &reader).await.unwrap();
    assert_eq!(collected.len(), 50);
    drop(reader);
    assert_eq!(seen.sources(), 0);
    assert_idle(&front).await;
    assert_idle(&behind).await;
}

#[tokio::test]
async fn writer_and_its_errors_cross_a_proxy() {
    let (api, front, behind, seen) = through_a_proxy();
    let mut writer: Writer<&str> = api.call_typed::<_, Never>("sink", &()).await.unwrap();
    writer.write("a").await.unwrap();
    writer.close().await.unwrap();
    assert_eq!(seen.sink(), ["String(\"a\")", "closed"]);
    let mut writer: Writer<&str> = api.call_typed::<_, Never>("sink", &()).await.unwrap();
    writer.write("bad").await.unwrap();
    assert_eq!(writer.flush().await.unwrap_err().to_string(), "RangeError: a bad chunk");
    drop(writer);
    let writer: Writer<&str> = api.call_typed::<_, Never>("sink", &()).await.unwrap();
    drop(writer);
    settle().await;
    assert!(seen.sink().last().unwrap().starts_with("aborted: "), "{:?}", seen.sink());
    assert_idle(&front).await;
    assert_idle(&behind).await;
}

#[tokio::test]
async fn chunks_carry_capabilities() {
    let (api, pair, _) = client();
    let (mut writer, reader) = channel::<Func<u32, u32>>(4);
    let mut back: Reader<Func<u32, u32>> = api.call_typed::<_, Never>("echo", &reader).await.unwrap();
    drop(reader);
    for n in [1, 10, 100] {
        writer.write(Func::new(move |x: u32| async move { x + n })).await.unwrap();
    }
    let closing = tokio::spawn(writer.close());
    let mut sums = Vec::new();
    while let Some(add) = back.next().await {
        sums.push(add.unwrap().call(1).await.unwrap());
    }
    closing.await.unwrap().unwrap();
    assert_eq!(sums, [2, 11, 101]);
    assert_idle(&pair).await;
}

#[derive(Serialize, Deserialize)]
struct Labelled {
    label: String,
    #[serde(flatten)]
    stream: Kind,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Kind {
    In { chunks: Reader<u32> },
    Out { chunks: Writer<u32> },
}

#[tokio::test]
async fn stream_inside_data() {
    let (api, pair, _) = client();
    let (writer, reader) = channel::<u32>(1);
    let sent = vec![
        Labelled { label: "a".to_owned(), stream: Kind::In { chunks: reader } },
        Labelled { label: "b".to_owned(), stream: Kind::Out { chunks: writer } },
    ];
    let back: Vec<Labelled> = api.call_typed::<_, Never>("echo", &(&sent,)).await.unwrap();
    drop(sent);
    let [
        Labelled { stream: Kind::In { mut chunks }, .. },
        Labelled { label, stream: Kind::Out { chunks: mut writer } },
    ] = <[Labelled; 2]>::try_from(back).unwrap_or_else(|_| panic!("two"))
    else {
        panic!("of these kinds")
    };
    let writing = tokio::spawn(async move {
        writer.write(7).await.unwrap();
        writer.close().await.unwrap();
    });
    assert_eq!((label.as_str(), collect(&mut chunks).await.unwrap()), ("b", vec![7]));
    writing.await.unwrap();
    assert_idle(&pair).await;
}

#[tokio::test]
async fn reader_can_be_consumed_once() {
    let (api, pair, seen) = client();
    let mut reader = Reader::<u32>::from_stream(Count::new(2, &seen));
    let collected: Vec<u32> = api.call_typed::<_, Never>("collect", &reader).await.unwrap();
    assert_eq!(collected, [0, 1]);
    let error = reader.next().await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "TypeError: This ReadableStream is read elsewhere.");
    let error = api.call("collect", &reader).await.unwrap_err();
    assert_eq!(error.to_string(), "TypeError: This ReadableStream is read elsewhere.");
    drop(reader);
    assert_idle(&pair).await;
}

#[tokio::test]
async fn chunks_already_read_are_not_forwarded() {
    let (api, pair, seen) = client();
    let mut reader = Reader::<u32>::from_stream(Count::new(4, &seen));
    assert_eq!(reader.next().await.unwrap().unwrap(), 0);
    let collected: Vec<u32> = api.call_typed::<_, Never>("collect", &reader).await.unwrap();
    assert_eq!(collected, [1, 2, 3]);
    drop(reader);
    assert_idle(&pair).await;
}

#[tokio::test]
async fn stream_without_a_session() {
    let (mut writer, mut reader) = channel::<Vec<u32>>(2);
    let writing = tokio::spawn(async move {
        for n in 0..10 {
            writer.write(vec![n; 3]).await?;
        }
        writer.close().await
    });
    let chunks = collect(&mut reader).await.unwrap();
    writing.await.unwrap().unwrap();
    assert_eq!(chunks.len(), 10);
    let (writer, mut reader) = channel::<Value>(2);
    drop(writer);
    assert!(reader.next().await.unwrap().unwrap_err().to_string().contains("without calling close"));
}

#[tokio::test]
async fn chunk_of_another_type_does_not_end_the_stream() {
    let (mut writer, reader) = channel::<Value>(8);
    for value in [Value::from("one"), Value::from(2)] {
        writer.write(value).await.unwrap();
    }
    let mut reader = reader.cast::<u32>();
    assert!(reader.next().await.unwrap().is_err());
    assert_eq!(reader.next().await.unwrap().unwrap(), 2);
}
