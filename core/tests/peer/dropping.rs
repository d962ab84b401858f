//! What happens to calls, objects, and waits when a handle is dropped.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bowline_core::generated::TypedCalls;
use bowline_core::limits::Limits;
use bowline_core::peer::testing::{link, pair_with};
use bowline_core::peer::{
    CallError, Connection, Never, Promise, Receiving, Sending, SessionError, Stub, Transport, TransportEnd,
};
use bowline_core::session::ClosedBy;

use crate::fixture::*;

#[tokio::test]
async fn unawaited_call_runs_to_completion() {
    let (api, pair, seen) = client();
    drop(api.call("slow", ()));
    seen.started.notified().await;
    settle().await;
    assert_eq!(seen.cancelled.load(Ordering::SeqCst), 0);
    seen.go_on.notify_one();
    assert_idle(&pair).await;
    assert_eq!(seen.order(), ["slow"]);
    assert_eq!(pair.wire.log(), [r#"> ["push",["pipeline",0,["slow"],[]]]"#, r#"> ["release",1,1]"#]);
}

#[tokio::test]
async fn call_dropped_while_awaited_is_canceled() {
    let (api, pair, seen) = client();
    let waiting = api.call("forever", ()).into_future();
    seen.started.notified().await;
    drop(waiting);
    assert_idle(&pair).await;
    assert_eq!(seen.cancelled.load(Ordering::SeqCst), 1);
    assert_eq!(
        pair.wire.log(),
        [r#"> ["push",["pipeline",0,["forever"],[]]]"#, r#"> ["pull",1]"#, r#"> ["release",1,1]"#]
    );
}

#[tokio::test(start_paused = true)]
async fn timeout_cancels_the_call() {
    let (api, pair, seen) = client();
    let result = Promise::timeout(api.call("forever", ()), Duration::from_secs(3)).await;
    assert!(matches!(result, Err(CallError::Session(SessionError::TimedOut))), "{result:?}");
    assert_idle(&pair).await;
    assert_eq!(seen.cancelled.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn dropping_the_last_clone_releases_the_reference() {
    let (api, pair, seen) = client();
    let counter: Stub = api.call_typed::<_, Never>("counter", &0).await.unwrap();
    let twin = counter.clone();
    drop(counter);
    assert_eq!(twin.call_typed::<u32, Never>("add", &1).await.unwrap(), 1);
    settle().await;
    pair.wire.take_log();
    drop(twin);
    assert_idle(&pair).await;
    assert_eq!(pair.wire.log(), [r#"> ["release",-1,1]"#]);
    assert_eq!(seen.dropped.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn lost_session_ends_all_waits_and_drops_all_objects() {
    let (api, pair, seen) = client();
    let mine = counter(0, &seen);
    api.call("hold", mine).await.unwrap();
    let theirs: Stub = api.call_typed::<_, Never>("counter", &0).await.unwrap();
    let waits: Vec<_> = (0..3).map(|_| api.call("forever", ()).into_future()).collect();
    let broken = tokio::spawn({
        let api = api.clone();
        async move { api.broken().await.to_string() }
    });
    seen.started.notified().await;
    pair.wire.cut_with(TransportEnd::Closed { code: 1001, reason: "going".to_owned() });
    for wait in waits {
        let error = wait.await.unwrap_err();
        assert!(error.is_lost());
        assert_eq!(error.to_string(), "Peer closed WebSocket: 1001 going");
    }
    assert_eq!(broken.await.unwrap(), "Peer closed WebSocket: 1001 going");
    assert_eq!(pair.left.closed().await.by, ClosedBy::Transport);
    pair.right.closed().await;
    // Everything that is still held fails with the same message.
    for stub in [api.clone(), theirs.clone(), api.get("version"), Promise::stub(&theirs.call("add", 1)).clone()] {
        let error = stub.call("x", ()).await.unwrap_err();
        assert_eq!(error.to_string(), "Peer closed WebSocket: 1001 going");
    }
    assert!(theirs.call("add", theirs.clone()).await.unwrap_err().is_lost());
    seen.held().clear();
    settle().await;
    assert_eq!(seen.dropped.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn close_reason_is_sent_in_the_close_frame() {
    let (_, pair, _) = client();
    pair.left.close();
    assert_eq!(pair.left.closed().await.by, ClosedBy::Local);
    assert_eq!(pair.right.closed().await.message, "Peer closed WebSocket: 3000 the session was closed");
    assert!(pair.wire.log().is_empty());
}

#[tokio::test]
async fn abort_reason_is_sent_in_a_message() {
    let (_, pair, _) = client();
    pair.left.abort("RangeError", "enough");
    let closed = pair.right.closed().await;
    assert_eq!((closed.by, closed.cause.name(), &*closed.message), (ClosedBy::Peer, "RangeError", "enough"));
    assert_eq!(pair.wire.log(), [r#"> ["abort",["error","RangeError","enough"]]"#]);
}

#[tokio::test]
async fn protocol_error_aborts_and_closes_with_its_message() {
    let (left, right, wire) = link();
    let (connection, driver) = Connection::start(right, None, Limits::default());
    let driver = tokio::spawn(driver);
    let (mut sender, mut receiver) = left.split();
    sender.feed(r#"["nonsense"]"#.to_owned()).await.unwrap();
    let closed = driver.await.unwrap();
    assert_eq!(closed.by, ClosedBy::Protocol);
    assert!(connection.is_closed());
    let abort = receiver.receive().await.unwrap();
    assert!(abort.starts_with(r#"["abort",["error","#), "{abort}");
    let end = receiver.receive().await.unwrap_err();
    assert_eq!(end, TransportEnd::Closed { code: 3000, reason: closed.message });
    assert_eq!(wire.log().len(), 2);
}

#[tokio::test]
async fn unread_stream_is_refused_and_keeps_the_session() {
    let (left, right, _) = link();
    let main = Stub::new(Api(Default::default()));
    let (connection, driver) = Connection::start(right, Some(main), Limits::default());
    tokio::spawn(driver);
    let (mut sender, mut receiver) = left.split();
    for message in [
        r#"["pipe"]"#,
        r#"["push",["pipeline",0,["echo"],[["readable",1]]]]"#,
        r#"["stream",["pipeline",1,["write"],["x"]]]"#,
        r#"["release",2,1]"#,
        r#"["release",1,1]"#,
    ] {
        sender.feed(message.to_owned()).await.unwrap();
    }
    let refused = receiver.receive().await.unwrap();
    assert_eq!(
        refused,
        r#"["reject",3,["error","Error","ReadableStream RPC stub was disposed without being consumed"]]"#
    );
    settle().await;
    assert_eq!(connection.stats().exports, 1);
    assert!(!connection.is_closed());
}

#[tokio::test]
async fn dropped_driver_ends_the_session() {
    let (_left, right, _) = link();
    let (connection, driver) = Connection::start(right, None, Limits::default());
    let wait = connection.root_dyn().call("x", ()).into_future();
    drop(driver);
    assert!(wait.await.unwrap_err().is_lost());
    assert_eq!(connection.closed().await.by, ClosedBy::Transport);
}

/// A transport whose peer never reads.
struct Deaf;

impl Transport for Deaf {
    type Sender = Self;
    type Receiver = Self;
    fn split(self) -> (Self, Self) {
        (Self, Self)
    }
}

impl Receiving for Deaf {
    type Text = String;
    async fn receive(&mut self) -> Result<String, TransportEnd> {
        std::future::pending().await
    }
}

impl Sending for Deaf {
    async fn feed(&mut self, _: String) -> Result<(), TransportEnd> {
        std::future::pending().await
    }
    async fn flush(&mut self) -> Result<(), TransportEnd> {
        Ok(())
    }
    async fn close(&mut self, _: u16, _: &str) {}
}

/// A transport whose peer has sent a few messages and closed it. They can be read, and nothing can
/// be written.
struct Closing(VecDeque<String>);

impl Transport for Closing {
    type Sender = Self;
    type Receiver = Self;
    fn split(self) -> (Self, Self) {
        (Self(VecDeque::new()), self)
    }
}

impl Receiving for Closing {
    type Text = String;
    async fn receive(&mut self) -> Result<String, TransportEnd> {
        self.0.pop_front().ok_or(TransportEnd::Ended)
    }
    fn try_receive(&mut self) -> Option<Result<String, TransportEnd>> {
        Some(self.0.pop_front().ok_or(TransportEnd::Ended))
    }
}

impl Sending for Closing {
    async fn feed(&mut self, _: String) -> Result<(), TransportEnd> {
        Err(TransportEnd::Ended)
    }
    async fn flush(&mut self) -> Result<(), TransportEnd> {
        Err(TransportEnd::Ended)
    }
    async fn close(&mut self, _: u16, _: &str) {}
}

#[tokio::test]
async fn calls_made_before_the_end_run() {
    for calls in [1, 15, 16, 17, 30] {
        let seen = std::sync::Arc::new(Seen::default());
        let call = |n| [r#"["push",["pipeline",0,["note"],["x"]]]"#.to_owned(), format!(r#"["pull",{n}]"#)];
        let transport = Closing((1..=calls).flat_map(call).collect());
        let (_connection, driver) = Connection::start(transport, Some(Stub::new(Api(seen.clone()))), Limits::default());
        assert_eq!(driver.await.by, ClosedBy::Transport);
        assert_eq!(seen.order().len(), calls);
    }
}

#[tokio::test(start_paused = true)]
async fn peer_that_does_not_read_is_disconnected() {
    let (connection, driver) = Connection::start(Deaf, None, Limits::default());
    tokio::spawn(driver);
    let error = connection.root_dyn().call("x", ()).await.unwrap_err();
    assert_eq!(error.to_string(), "The peer has not read for 30 seconds.");

    let mut limits = Limits::default();
    limits.outbound_bytes = 1000;
    let (connection, driver) = Connection::start(Deaf, None, limits);
    tokio::spawn(driver);
    let calls: Vec<_> = (0..40).map(|_| connection.root_dyn().call("x", "y".repeat(40))).collect();
    for call in calls {
        assert!(call.await.unwrap_err().is_lost());
    }
    assert_eq!(connection.closed().await.by, ClosedBy::Protocol);
}

#[tokio::test(start_paused = true)]
async fn slow_connection_delays_but_loses_nothing() {
    let (api, pair, _) = client();
    pair.wire.delay(Duration::from_millis(100));
    let start = tokio::time::Instant::now();
    let authed = api.call_typed::<Stub, Never>("authenticate", &());
    let me: Profile = authed.call_typed::<_, Never>("me", &()).await.unwrap();
    assert_eq!((me.name.as_str(), start.elapsed().as_millis() / 10), ("Ann", 20));
    assert_eq!(pair.wire.round_trips(), 1);
}

#[tokio::test]
async fn answered_waits_for_pulled_results() {
    let (api, pair, seen) = client();
    pair.right.answered().await;
    let waiting = api.call("slow", (1, 2, 3)).into_future();
    seen.started.notified().await;
    settle().await;
    let answered = tokio::spawn({
        let right = pair.right.clone();
        async move { right.answered().await }
    });
    settle().await;
    assert!(!answered.is_finished());
    seen.go_on.notify_one();
    answered.await.unwrap();
    waiting.await.unwrap();
}

#[tokio::test]
async fn calls_beyond_the_limit_wait() {
    let seen = std::sync::Arc::new(Seen::default());
    let mut limits = Limits::default();
    limits.running_calls = 2;
    let pair = pair_with(None, Some(Stub::new(Api(seen.clone()))), limits);
    let api = pair.left.root_dyn();
    let calls: Vec<_> = (0..5).map(|_| api.call("slow", ()).into_future()).collect();
    for call in calls {
        seen.go_on.notify_one();
        call.await.unwrap();
    }
    assert_idle(&pair).await;
}
