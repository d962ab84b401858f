//! Sessions on a WebSocket.

use std::time::Duration;

use bowline_client::{ConnectError, KeepAlive, Session, connect};
use bowline_core::peer::{Promise, Stub};
use bowline_core::session::ClosedBy;
use bowline_server::{Refusal, Service};
use http::StatusCode;
use tokio::net::TcpListener;

use crate::harness::{Api, canned, serve, service, within};

#[tokio::test]
async fn calls_pipeline_and_nothing_is_left_behind() {
    let session = connect(format!("ws://{}/rpc", serve(service()).await)).await.unwrap();
    let api = session.root_dyn();
    let sum = api.call("add", (2, 3));
    let more = api.call("add", (&sum, 4));
    assert_eq!(within(more.into_future()).await.unwrap(), 9.into());
    let counter = api.call("counter", ());
    Promise::stub(&counter).call("next", ()).await.unwrap();
    assert_eq!(Promise::stub(&counter).call("next", ()).await.unwrap(), 2.into());
    drop((sum, counter));
    within(async {
        while session.stats().imports > 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(session.stats().exports, 1);
}

#[tokio::test]
async fn server_calls_back() {
    let session = connect(format!("http://{}", serve(service()).await)).await.unwrap();
    let add_one = bowline_core::peer::Func::new(|n: i64| async move { n + 1 });
    let answer: bowline_core::value::Value =
        within(session.root_dyn().call("ask", (add_one,)).into_future()).await.unwrap();
    assert_eq!(answer, 21.into());
}

#[tokio::test]
async fn closed_session_fails_its_calls() {
    let session = connect(format!("ws://{}", serve(service()).await)).await.unwrap();
    let hanging = session.root_dyn().call("hang", ());
    let (closed, hung) = tokio::join!(within(session.close()), within(hanging.into_future()));
    assert_eq!(closed.by, ClosedBy::Local);
    hung.unwrap_err();
    session.root_dyn().call("add", (1, 2)).await.unwrap_err();
}

#[tokio::test]
async fn drained_server_closes_with_a_code() {
    let service = service();
    let session = connect(format!("ws://{}", serve(service.clone()).await)).await.unwrap();
    let (closed, _report) = tokio::join!(within(session.closed()), service.drain(Duration::from_secs(5)));
    assert_eq!((closed.cause.name(), closed.message.as_str()), ("DRAINING", "server is draining"));
}

#[tokio::test]
async fn large_messages_pass_both_ways_at_once() {
    let session = connect(format!("ws://{}", serve(service()).await)).await.unwrap();
    let api = session.root_dyn();
    let echo = bowline_core::peer::Func::new(|_twenty: i64| async move { "x".repeat(6 << 20) });
    let asked: Vec<_> = (0..4).map(|_| api.call("ask", (echo.clone(),)).into_future()).collect();
    for answer in asked {
        within(answer).await.unwrap();
    }
}

#[tokio::test]
async fn headers_reach_the_server_and_refusals_the_client() {
    let service = Service::try_new(|peer| async move {
        let known = peer.headers.get("authorization").is_some_and(|value| value == "Bearer knot");
        let refusal = Refusal::new(StatusCode::UNAUTHORIZED, "who are you?");
        known.then(|| Stub::new(Api)).ok_or(refusal)
    });
    let url = format!("ws://{}", serve(service).await);
    let refused = connect(url.clone()).await.unwrap_err();
    assert_eq!(refused.to_string(), "the server refused: 401 Unauthorized: who are you?");
    let session = Session::builder(url).header("authorization", "Bearer knot").connect().await.unwrap();
    session.root_dyn().call("add", (1, 2)).await.unwrap();
}

fn quick() -> KeepAlive {
    KeepAlive::default().ping_after(Duration::from_millis(30)).pong_within(Duration::from_millis(100))
}

#[tokio::test]
async fn silent_server_is_detected() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let accept = async {
        let (stream, _peer) = listener.accept().await.unwrap();
        tokio_tungstenite::accept_async(stream).await.unwrap()
    };
    let (session, _socket) = tokio::join!(Session::builder(url).plain().keep_alive(quick()).connect(), accept);
    let closed = within(session.unwrap().closed()).await;
    assert_eq!((closed.by, closed.message.as_str()), (ClosedBy::Transport, "the peer answered no ping"));
}

#[tokio::test]
async fn idle_session_stays_open() {
    let url = format!("ws://{}", serve(service()).await);
    let session = Session::builder(url).keep_alive(quick()).connect().await.unwrap();
    tokio::time::sleep(Duration::from_millis(400)).await;
    session.root_dyn().call("add", (1, 2)).await.unwrap();
}

#[tokio::test]
async fn invalid_handshake_response_is_refused() {
    let answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    let (address, _requests) = canned(answer).await;
    let refused = connect(format!("ws://{address}")).await.unwrap_err();
    assert!(matches!(refused, ConnectError::Handshake(_)), "{refused}");
}

#[tokio::test]
async fn invalid_urls_are_refused_with_a_reason() {
    for (url, reason) in [
        ("ftp://host", "it must begin with ws:, wss:, http: or https:"),
        ("/rpc", "it must begin with ws:, wss:, http: or https:"),
        ("ws://user:secret@host", "credentials belong in a header, where logs do not show them"),
        ("ws://h ost", "it is not a URL"),
    ] {
        let error = connect(url).await.unwrap_err().to_string();
        assert!(error.ends_with(reason), "{error}");
    }
    let error = connect("ws://127.0.0.1:1").await.unwrap_err();
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn on_send_error_replaces_errors_that_a_server_sends() {
    use bowline_core::value::ErrorValue;
    let service = service().on_send_error(|error| ErrorValue::new(error.name, "server's own"));
    let session = connect(format!("ws://{}", serve(service).await)).await.unwrap();
    let error = within(session.root_dyn().call("nothing", ()).into_future()).await.unwrap_err();
    assert_eq!(error.remote().unwrap().message(), "server's own");
}
