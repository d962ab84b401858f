//! Blobs, and the bodies of requests and responses.

use std::sync::{Arc, Mutex};

use bowline_core::generated::TypedCalls;
use bowline_core::limits::Limits;
use bowline_core::peer::stream::{Reader, channel};
use bowline_core::peer::testing::pair_with;
use bowline_core::peer::{MemoryBudget, Never, SessionOptions, Stub};
use bowline_core::value::{Blob, Body, Bytes, Request, Response, Url, Value};
use serde::{Deserialize, Serialize};

use super::fixture::{assert_idle, client, settle};

async fn echo<T: Serialize + serde::de::DeserializeOwned + Send>(api: &Stub, value: &T) -> T {
    api.call_typed::<T, Never>("echo", &(value,)).await.unwrap()
}

#[tokio::test]
async fn blob_round_trips() {
    let (api, pair, _) = client();
    for size in [0, 5, 100_000] {
        let blob = Blob::new("text/plain", vec![7; size]);
        let back = echo(&api, &blob).await;
        assert_eq!(back.mime(), "text/plain");
        assert_ne!(back, blob, "its bytes have not arrived");
        assert_eq!(*back.bytes().await.unwrap(), vec![7; size]);
        assert_eq!(back.bytes().await.unwrap().len(), size, "the bytes are kept");
        assert_eq!(back, blob);
        assert_eq!(echo(&api, &back).await.bytes().await.unwrap().len(), size);
    }
    assert_idle(&pair).await;
}

#[tokio::test]
async fn blob_wire_format() {
    let (api, pair, _) = client();
    drop(api.call("drop", (Blob::new("t/x", "hi"),)).await.unwrap());
    settle().await;
    assert_eq!(
        pair.wire.log()[..2],
        [r#"> ["pipe"]"#, r#"> ["push",["pipeline",0,["drop"],[["blob","t/x",["readable",1]]]]]"#,]
    );
    assert_idle(&pair).await;
}

#[tokio::test]
async fn oversized_blob_is_refused_midway() {
    let (api, pair, _) = client();
    let blob = echo(&api, &Blob::new("", vec![1; 1 << 20])).await;
    let error = blob.bytes_within(100_000).await.unwrap_err();
    assert_eq!(error.to_string(), "RangeError: limit: bytes read at once (at most 100000)");
    assert_idle(&pair).await;
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Thing {
    File { name: String, blob: Option<Blob> },
}

#[tokio::test]
async fn blobs_inside_data() {
    let (api, pair, _) = client();
    let things = vec![
        Thing::File { name: "a".to_owned(), blob: Some(Blob::new("t/x", "aa")) },
        Thing::File { name: "b".to_owned(), blob: None },
    ];
    let back = echo(&api, &things).await;
    let [Thing::File { name, blob: Some(blob) }, Thing::File { blob: None, .. }] = &back[..] else { panic!() };
    assert_eq!((name.as_str(), &*blob.bytes().await.unwrap()), ("a", &b"aa"[..]));
    let value: Value = api.call("echo", (Blob::new("t/x", "v"),)).await.unwrap();
    let Value::Blob(blob) = value else { panic!("{value:?}") };
    assert_eq!(*blob.bytes().await.unwrap(), *b"v");
    assert_idle(&pair).await;
}

#[tokio::test]
async fn blob_from_a_reader() {
    let (api, pair, _) = client();
    let (mut writer, reader) = channel::<Bytes>(1);
    let blob = Blob::from_reader("t/x", reader);
    let back = echo(&api, &blob).await;
    let writing = tokio::spawn(async move {
        writer.write(Bytes::new("one ")).await.unwrap();
        writer.write(Bytes::new("two")).await.unwrap();
        writer.close().await.unwrap();
    });
    assert_eq!(*back.bytes().await.unwrap(), *b"one two");
    writing.await.unwrap();
    drop(blob);
    assert_idle(&pair).await;
}

#[tokio::test]
async fn bodies() {
    let (api, pair, _) = client();
    let url = Url::parse("https://ex.com/a").unwrap();
    for body in [Body::Text("péyload".to_owned()), Body::Bytes(Bytes::new("péyload"))] {
        let request = Request { method: "POST".to_owned(), body, ..Request::get(url.clone()) };
        let mut back = echo(&api, &request).await;
        assert!(matches!(back.body, Body::Stream(_)));
        assert_eq!(back.body.text().await.unwrap(), "péyload");
        assert_eq!(back.body.text().await.unwrap(), "péyload", "it is kept");
        assert!(back.options.iter().next().is_none());
        let mut response = echo(&api, &Response { status: 201, body: back.body, ..Response::default() }).await;
        assert_eq!((response.status, response.body.text().await.unwrap()), (201, "péyload".to_owned()));
    }
    let mut none = echo(&api, &Request::get(url)).await;
    assert_eq!((none.body.text().await.unwrap(), none.body), (String::new(), Body::None));
    assert_idle(&pair).await;
}

#[tokio::test]
async fn body_from_a_reader() {
    let (api, pair, _) = client();
    let (mut writer, reader) = channel::<Bytes>(1);
    let mut response = echo(&api, &Response { body: reader.into(), ..Response::default() }).await;
    writer.write(Bytes::new("a")).await.unwrap();
    let closing = tokio::spawn(writer.close());
    assert_eq!(response.body.text().await.unwrap(), "a");
    closing.await.unwrap().unwrap();
    assert_idle(&pair).await;
}

#[tokio::test]
async fn blobs_within_one_process() {
    let blob = Blob::new("t/x", "abc");
    assert_eq!(*blob.bytes().await.unwrap(), *b"abc");
    let mut reader: Reader<Bytes> = blob.reader();
    assert_eq!(*reader.next().await.unwrap().unwrap(), *b"abc");
    assert!(reader.next().await.is_none());
}

/// Writes the bytes of three chunks.
async fn written(mut writer: bowline_core::peer::stream::Writer<Bytes>) {
    for piece in ["one ", "two ", "three"] {
        writer.write(Bytes::new(piece)).await.unwrap();
    }
    writer.close().await.unwrap();
}

#[tokio::test]
async fn received_blob_can_be_sent_repeatedly() {
    let (api, pair, _) = client();
    let kept = echo(&api, &Blob::new("t/x", vec![7; 200_000])).await;
    // Concurrently, sequentially, and read here at the same time.
    let (a, b) = tokio::join!(echo(&api, &kept), echo(&api, &kept));
    let mut reader = kept.reader();
    let (first, second) = tokio::join!(a.bytes(), b.bytes());
    assert_eq!((first.unwrap().len(), second.unwrap().len()), (200_000, 200_000));
    assert_eq!(reader.next().await.unwrap().unwrap()[..3], [7; 3]);
    drop(reader);
    let again = echo(&api, &kept).await;
    assert_eq!(again.bytes().await.unwrap().len(), 200_000);
    assert_eq!(kept.bytes().await.unwrap().len(), 200_000);
    assert_eq!(echo(&api, &kept).await.bytes().await.unwrap().len(), 200_000);
    drop((kept, a, b, again));
    assert_idle(&pair).await;
}

#[tokio::test]
async fn readers_of_a_buffered_blob_see_the_same_chunks() {
    let (writer, reader) = channel::<Bytes>(1);
    let blob = Blob::from_reader("t/x", reader);
    let (early, late) = (blob.reader(), blob.reader());
    let writing = tokio::spawn(written(writer));
    let read = |mut reader: Reader<Bytes>| async move {
        let mut all = Vec::new();
        while let Some(chunk) = reader.next().await {
            all.extend_from_slice(&chunk.unwrap());
        }
        all
    };
    let (early, late) = tokio::join!(read(early), read(late));
    assert_eq!((&*early, &*late), (&b"one two three"[..], &b"one two three"[..]));
    assert_eq!(read(blob.reader()).await, b"one two three");
    writing.await.unwrap();
}

#[tokio::test]
async fn failed_stream_of_a_buffered_blob_fails_every_reader() {
    let (mut writer, reader) = channel::<Bytes>(1);
    let blob = Blob::from_reader("t/x", reader);
    writer.write(Bytes::new("half")).await.unwrap();
    drop(writer);
    for _ in 0..2 {
        let error = blob.reader().next().await;
        assert_eq!(*error.unwrap().unwrap(), *b"half");
        let mut reader = blob.reader();
        reader.next().await.unwrap().unwrap();
        assert!(reader.next().await.unwrap().is_err());
    }
}

#[tokio::test]
async fn buffered_bytes_of_a_received_blob_are_counted_as_held() {
    const HELD: usize = 1 << 20;
    let kept = Arc::new(Mutex::new(None::<Blob>));
    let keeper = Stub::function({
        let kept = Arc::clone(&kept);
        move |args| {
            let kept = Arc::clone(&kept);
            async move {
                let mut kept = kept.lock().unwrap();
                match args.first() {
                    Some(Value::Blob(blob)) => *kept = Some(blob.clone()),
                    _ => return Ok(kept.clone().map_or(Value::Undefined, Value::Blob)),
                }
                Ok::<_, Value>(Value::Undefined)
            }
        }
    });
    let mut limits = Limits::default();
    limits.held_bytes = HELD;
    let budget = MemoryBudget::new(HELD);
    let pair = pair_with(None, Some(keeper), SessionOptions::from(limits).memory(budget.clone()));
    let api = pair.left.root_dyn();
    api.apply([Value::Blob(Blob::new("t/x", vec![7; HELD / 4]))]).await.unwrap();
    // Sent back, it is read from the client, and kept for the next time.
    let back = |value: Value| match value {
        Value::Blob(blob) => blob,
        other => panic!("a blob, not {other:?}"),
    };
    let blob = back(api.apply([]).await.unwrap());
    assert_eq!(blob.bytes().await.unwrap().len(), HELD / 4);
    settle().await;
    let held = pair.right.held_bytes();
    assert!(held > HELD / 3 && held < HELD / 2, "{held} bytes are held");
    assert!(budget.held_bytes() >= held, "{} bytes are held by all sessions", budget.held_bytes());
    drop((blob, kept.lock().unwrap().take()));
    settle().await;
    assert!(pair.right.held_bytes() < 1_000, "{} bytes are held", pair.right.held_bytes());
    // Twice the bound.
    api.apply([Value::Blob(Blob::new("t/x", vec![7; 2 * HELD]))]).await.unwrap();
    let blob = back(api.apply([]).await.unwrap());
    blob.bytes().await.unwrap_err();
    assert!(pair.right.held_bytes() < 2 * HELD, "{} bytes are held", pair.right.held_bytes());
}
