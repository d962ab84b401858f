//! The rows of the table "Ends" in docs/wire.md, "Streams", in both directions.

use bowline_core::error::ErrorCode;
use bowline_core::generated::TypedCalls;
use bowline_core::peer::CallError;
use bowline_core::peer::stream::{Reader, Writer, channel};
use bowline_core::value::{ErrorValue, Value};

use super::fixture::{Count, assert_idle, client, collect, settle};

const UNREAD: &str = "Error: ReadableStream RPC stub was disposed without being consumed";
const UNCLOSED: &str = "Error: WritableStream RPC stub was disposed without calling close()";

fn why<T: std::fmt::Debug>(result: Result<T, CallError>) -> String {
    result.unwrap_err().to_string()
}

#[tokio::test]
async fn source_ends() {
    let (api, pair, seen) = client();
    let reader = Reader::<u32>::from_stream(Count::new(2, &seen));
    let collected: Vec<u32> = api.call_typed::<_, bowline_core::peer::Never>("collect", &reader).await.unwrap();
    assert_eq!(collected, [0, 1]);
    drop(reader);
    settle().await;
    let (ours, theirs): (Vec<_>, Vec<_>) = pair.wire.take_log().into_iter().partition(|line| line.starts_with('>'));
    assert_eq!(
        ours,
        [
            r#"> ["pipe"]"#,
            r#"> ["push",["pipeline",0,["collect"],[["readable",1]]]]"#,
            r#"> ["pull",2]"#,
            r#"> ["stream",["pipeline",1,["write"],[0]]]"#,
            r#"> ["stream",["pipeline",1,["write"],[1]]]"#,
            r#"> ["stream",["pipeline",1,["close"],[]]]"#,
            r#"> ["release",1,1]"#,
            r#"> ["release",2,1]"#,
        ]
    );
    assert_eq!(
        theirs,
        [
            r#"< ["resolve",3,["undefined"]]"#,
            r#"< ["resolve",4,["undefined"]]"#,
            r#"< ["resolve",5,["undefined"]]"#,
            r#"< ["resolve",2,[[0,1]]]"#,
        ]
    );
    assert_eq!(seen.sources(), 0);
    assert_idle(&pair).await;
}

#[tokio::test]
async fn download_ends() {
    let (api, pair, seen) = client();
    let mut reader: Reader<u32> = api.call_typed::<_, bowline_core::peer::Never>("count", &3).await.unwrap();
    assert_eq!(collect(&mut reader).await.unwrap(), [0, 1, 2]);
    assert!(reader.next().await.is_none());
    assert_eq!(seen.sources(), 0);
    assert_idle(&pair).await;
}

#[tokio::test]
async fn source_fails() {
    let (api, pair, seen) = client();
    let mut reader: Reader<u32> = api.call_typed::<_, bowline_core::peer::Never>("failing", &2).await.unwrap();
    assert_eq!(reader.next().await.unwrap().unwrap(), 0);
    assert_eq!(reader.next().await.unwrap().unwrap(), 1);
    assert_eq!(why(reader.next().await.unwrap()), "RangeError: broke off");
    assert!(reader.next().await.is_none());
    settle().await;
    let log = pair.wire.take_log();
    let abort = r#"< ["stream",["pipeline",1,["abort"],[["error","RangeError","broke off"]]]]"#;
    assert!(log.iter().any(|line| line == abort), "{log:#?}");
    assert_eq!(seen.sources(), 0);
    assert_idle(&pair).await;
}

#[tokio::test]
async fn writer_aborts() {
    let (api, pair, seen) = client();
    let (mut writer, reader) = channel::<&str>(1);
    api.call("keepReader", reader).await.unwrap();
    writer.write("a").await.unwrap();
    settle().await;
    writer.abort(ErrorValue::new("TypeError", "changed my mind"));
    let mut reader = seen.reader();
    assert_eq!(reader.next().await.unwrap().unwrap(), Value::from("a"));
    assert_eq!(why(reader.next().await.unwrap()), "TypeError: changed my mind");
    assert_idle(&pair).await;
}

#[tokio::test]
async fn sink_fails() {
    let (api, pair, seen) = client();
    let mut writer: Writer<&str> = api.call_typed::<_, bowline_core::peer::Never>("sink", &()).await.unwrap();
    for chunk in ["a", "bad", "b"] {
        writer.write(chunk).await.unwrap();
    }
    assert_eq!(why(writer.flush().await), "RangeError: a bad chunk");
    assert_eq!(why(writer.write("c").await), "RangeError: a bad chunk");
    assert_eq!(why(writer.close().await), "RangeError: a bad chunk");
    settle().await;
    let refused = r#"["error","RangeError","a bad chunk"]]"#;
    let log = pair.wire.take_log();
    assert_eq!(log.iter().filter(|line| line.ends_with(refused)).count(), 3, "bad, b and close: {log:#?}");
    assert_eq!(seen.sink(), ["String(\"a\")"]);
    assert_idle(&pair).await;
}

#[tokio::test]
async fn sink_is_closed() {
    let (api, pair, seen) = client();
    let mut writer: Writer<&str> = api.call_typed::<_, bowline_core::peer::Never>("sink", &()).await.unwrap();
    for chunk in ["a", "slow", "b"] {
        writer.write(chunk).await.unwrap();
    }
    writer.close().await.unwrap();
    assert_eq!(seen.sink(), ["String(\"a\")", "String(\"slow\")", "String(\"b\")", "closed"]);
    assert_idle(&pair).await;
}

#[tokio::test]
async fn sink_is_aborted_while_writing() {
    let (api, pair, seen) = client();
    let mut writer: Writer<&str> = api.call_typed::<_, bowline_core::peer::Never>("sink", &()).await.unwrap();
    writer.write("a").await.unwrap();
    writer.write("never").await.unwrap();
    settle().await;
    writer.abort(ErrorValue::new("Error", "enough"));
    settle().await;
    assert_eq!(seen.sink(), ["String(\"a\")", "aborted: Error: enough"]);
    assert_idle(&pair).await;
}

#[tokio::test]
async fn reader_cancels() {
    let (api, pair, seen) = client();
    let (mut writer, reader) = channel::<u32>(1);
    api.call("keepReader", reader).await.unwrap();
    writer.write(1).await.unwrap();
    let mut reader = seen.reader();
    assert_eq!(reader.next().await.unwrap().unwrap(), Value::from(1));
    reader.cancel(ErrorValue::new("RangeError", "that will do"));
    settle().await;
    writer.write(2).await.unwrap();
    settle().await;
    assert_eq!(why(writer.write(3).await), "RangeError: that will do");
    drop(writer);
    assert_idle(&pair).await;
}

#[tokio::test]
async fn canceled_source_is_dropped() {
    let (api, pair, seen) = client();
    let mut reader: Reader<u32> = api.call_typed::<_, bowline_core::peer::Never>("endless", &()).await.unwrap();
    assert_eq!(reader.next().await.unwrap().unwrap(), 0);
    assert_eq!(seen.sources(), 1);
    reader.cancel(ErrorValue::new("Error", "enough"));
    tokio::time::sleep(std::time::Duration::from_millis(30)).await;
    assert_eq!(seen.sources(), 0);
    assert_idle(&pair).await;
}

#[tokio::test]
async fn reader_is_dropped_unread() {
    let (api, pair, seen) = client();
    let (mut writer, reader) = channel::<u32>(1);
    api.call("drop", reader).await.unwrap();
    // The first chunk is sent before the outcome is known.
    writer.write(1).await.unwrap();
    settle().await;
    assert_eq!(why(writer.write(2).await), UNREAD);
    drop(writer);
    assert_idle(&pair).await;
    assert_eq!(seen.sources(), 0);
}

#[tokio::test]
async fn writer_dropped_without_close_aborts() {
    let (api, pair, seen) = client();
    let mut writer: Writer<&str> = api.call_typed::<_, bowline_core::peer::Never>("sink", &()).await.unwrap();
    writer.write("a").await.unwrap();
    writer.flush().await.unwrap();
    drop(writer);
    settle().await;
    assert_eq!(seen.sink(), ["String(\"a\")", format!("aborted: {UNCLOSED}").as_str()]);
    assert_idle(&pair).await;
}

#[tokio::test]
async fn writer_feeding_a_reader_is_dropped() {
    let (api, pair, seen) = client();
    let (writer, mut reader) = channel::<Value>(1);
    api.call("keepWriter", writer).await.unwrap();
    let mut writer = seen.writer();
    writer.write(Value::from(1)).await.unwrap();
    drop(writer);
    assert_eq!(reader.next().await.unwrap().unwrap(), Value::from(1));
    assert_eq!(why(reader.next().await.unwrap()), UNCLOSED);
    assert_idle(&pair).await;
}

#[tokio::test]
async fn streams_fail_when_the_session_is_lost() {
    let (api, pair, seen) = client();
    let mut writer: Writer<&str> = api.call_typed::<_, bowline_core::peer::Never>("sink", &()).await.unwrap();
    let mut reader: Reader<u32> = api.call_typed::<_, bowline_core::peer::Never>("endless", &()).await.unwrap();
    writer.write("a").await.unwrap();
    writer.flush().await.unwrap();
    assert_eq!(reader.next().await.unwrap().unwrap(), 0);
    pair.wire.cut();
    pair.left.closed().await;
    pair.right.closed().await;
    settle().await;
    assert_eq!(seen.sink(), ["String(\"a\")", "aborted: Error: The link was cut."]);
    assert_eq!(seen.sources(), 0, "the pump has dropped it");
    let lost = writer.write("b").await.unwrap_err();
    assert!(lost.is_lost() && lost.to_string() == "The link was cut.", "{lost}");
    assert_eq!(lost.code(), Some(ErrorCode::AgentDisconnected));
    assert!(writer.close().await.unwrap_err().is_lost());
    let mut last = reader.next().await.unwrap();
    while last.is_ok() {
        last = reader.next().await.unwrap();
    }
    assert_eq!(last.as_ref().unwrap_err().code(), Some(ErrorCode::AgentDisconnected));
    assert_eq!(why(last), "Error: The link was cut.");
}

#[tokio::test]
async fn reader_fails_when_the_session_of_the_writer_is_lost() {
    let (api, pair, _) = client();
    let (far_api, far, far_seen) = client();
    let writer: Writer<Value> = far_api.call_typed::<_, bowline_core::peer::Never>("sink", &()).await.unwrap();
    let (local, mut reader) = channel::<Value>(2);
    api.call("keepWriter", &writer).await.unwrap();
    api.call("keepWriter", &local).await.unwrap();
    drop((writer, local));
    settle().await;
    assert!(far_seen.sink().is_empty(), "the peer still writes");
    pair.wire.cut();
    pair.left.closed().await;
    settle().await;
    assert_eq!(far_seen.sink(), ["aborted: Error: The link was cut."]);
    let lost = reader.next().await.unwrap().unwrap_err();
    assert_eq!(lost.code(), Some(ErrorCode::AgentDisconnected));
    assert_idle(&far).await;
}

#[tokio::test]
async fn writable_refuses_other_methods() {
    let (api, pair, _) = client();
    let writer: Value = api.call("sink", ()).await.unwrap();
    let stub = bowline_core::peer::Stub::from_value(&writer).unwrap();
    for (call, error) in [
        (stub.call("foo", ()), "Error: Unknown WritableStream method: foo"),
        (stub.get("a").call("write", ()), "Error: WritableStream stub only supports direct method calls"),
        (
            bowline_core::peer::Promise::from_stub(stub.get("write")),
            "Error: Cannot access properties on a WritableStream stub",
        ),
    ] {
        assert_eq!(why(call.await), error);
    }
    stub.call("close", ()).await.unwrap();
    assert_eq!(why(stub.call("write", 1).await), "TypeError: Invalid state: WritableStream is closed");
    drop((stub, writer));
    assert_idle(&pair).await;
}
