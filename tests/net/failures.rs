//! The rows of docs/link.md, "Failures", that need a network. Tests of the others are in server/tests and
//! core/tests.

use std::time::{Duration, Instant};

use bowline_client::{LinkEvent, Session, connect};
use bowline_core::error::ErrorCode;
use bowline_core::link::{Frame, Resume, Secret};
use bowline_core::peer::{Promise, Stub};
use bowline_core::resume::{Key, KeyRing, prove};
use bowline_core::session::ClosedBy;
use bowline_server::{LinkRules, Resumption};
use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::harness::{serve, service, within};
use crate::proxy::{End, Proxy};

pub(crate) async fn counter(session: &Session) -> Stub {
    Promise::stub(&session.root_dyn().call("counter", ())).clone()
}

pub(crate) async fn next(counter: &Stub) -> f64 {
    let next = within(counter.call("next", ()).into_future()).await.unwrap();
    next.as_f64().unwrap()
}

/// The connection ends in the middle of a message, which was not counted and is retransmitted.
#[tokio::test]
async fn message_cut_in_half_is_retransmitted() {
    let proxy = Proxy::to(serve(service()).await).await;
    let session = connect(proxy.url()).await.unwrap();
    let counter = counter(&session).await;
    for call in 1..=20 {
        proxy.cut_within_the_next_piece();
        assert_eq!(next(&counter).await, f64::from(call));
    }
    assert!(proxy.accepted() > 20, "{} connections", proxy.accepted());
}

/// The network stalls, and then drops all packets. The client reconnects. Messages on the old connection
/// are ignored, and it is closed with 4409. `BOWLINE_BLACK_MS=5000` makes the run longer.
#[tokio::test]
async fn black_holes_only_cost_time() {
    let black = std::env::var("BOWLINE_BLACK_MS").ok().and_then(|ms| ms.parse().ok()).unwrap_or(400);
    let black = Duration::from_millis(black);
    let mut rules = LinkRules::default();
    (rules.heartbeat, rules.dead_after) = (black / 5, black * 2 / 5);
    // The server has long timeouts, so it is the client that detects the dead connection.
    let mut resumption = Resumption::default();
    (resumption.rules.heartbeat, resumption.rules.dead_after) = (Duration::from_millis(900), black * 20);
    let proxy = Proxy::to(serve(service().resumption(resumption)).await).await;
    let session = Session::builder(proxy.url()).link_rules(rules).connect().await.unwrap();
    let counter = counter(&session).await;
    for round in 0..3 {
        assert_eq!(next(&counter).await, f64::from(2 * round + 1));
        let asked = counter.call("next", ());
        if round == 1 {
            proxy.go_black();
        } else {
            proxy.set_held(true);
            tokio::time::sleep(black).await;
            proxy.set_held(false);
        }
        assert_eq!(within(asked.into_future()).await.unwrap(), f64::from(2 * round + 2).into());
    }
    let told = async {
        while !proxy.heard().contains("SESSION_TAKEN_OVER") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within(told).await;
    let heard = proxy.heard();
    assert!(heard.contains("\u{11}9SESSION_TAKEN_OVER"), "the old connection was not closed with 4409");
}

/// Reconnecting takes the WebSocket handshake, and resuming takes one round trip.
#[tokio::test]
async fn resume_takes_the_handshake_and_one_round_trip() {
    let latency = Duration::from_millis(40);
    let round_trip = 2 * latency;
    let proxy = Proxy::slow(serve(service()).await, latency).await;
    let session = connect(proxy.url()).await.unwrap();
    let counter = counter(&session).await;
    let mut events = session.events();
    let mut fastest = Duration::MAX;
    for call in 1..=5 {
        assert_eq!(next(&counter).await, f64::from(call));
        proxy.take_turns();
        let started = Instant::now();
        proxy.cut();
        while !matches!(within(events.next()).await, Some(LinkEvent::Resumed { .. })) {}
        fastest = fastest.min(started.elapsed());
        assert_eq!(proxy.take_turns()[..4], [End::Client, End::Server, End::Client, End::Server]);
    }
    assert!(fastest >= 2 * round_trip && fastest < 2 * round_trip + latency, "{fastest:?}");
}

/// Token and key are stolen. The thief gets the session, and its client learns of it.
#[tokio::test]
async fn client_learns_that_its_token_and_key_were_stolen() {
    let proxy = Proxy::to(serve(service()).await).await;
    let session = connect(proxy.url()).await.unwrap();
    let mut events = session.events();
    let counter = counter(&session).await;
    assert_eq!(next(&counter).await, 1.0);
    let heard = proxy.heard();
    let stolen = |field: &str| {
        let after = heard.split(&format!("\"{field}\":\"")).nth(1).unwrap();
        Secret::new(after.split('"').next().unwrap())
    };
    let (token, key) = (stolen("resume_token"), stolen("resume_key"));
    let url = proxy.url();
    let mut request = url.into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", "bowline.v1".parse().unwrap());
    let stream = tokio::net::TcpStream::connect(proxy.address).await.unwrap();
    let (mut thief, _) = within(tokio_tungstenite::client_async(request, stream)).await.unwrap();
    let first = within(thief.next()).await.unwrap().unwrap();
    let Ok(Some(Frame::Challenge { challenge })) = Frame::read(first.to_text().unwrap()) else { panic!("{first}") };
    let resume = Resume {
        protocol: vec![1],
        features: vec!["ack".to_owned(), "heartbeat".to_owned()],
        proof: prove(&key, &challenge, &token, 1),
        resume_token: token,
        last_event_seq: 1,
        first_retained_seq: 1,
        auth: None,
        accept: Vec::new(),
        ids: None,
        left: None,
    };
    thief.send(Message::text(Frame::Resume(resume).write())).await.unwrap();
    thief.send(Message::text(r#"{"type":"session.ping","nonce":"x"}"#)).await.unwrap();
    let answer = within(thief.next()).await.unwrap().unwrap();
    assert!(answer.to_text().unwrap().contains("session.resumed"), "{answer}");
    let lost = async {
        loop {
            if let Some(LinkEvent::Lost { code, .. }) = events.next().await {
                return code;
            }
        }
    };
    assert_eq!(within(lost).await.as_str(), "SESSION_TAKEN_OVER");
    let closed = within(session.closed()).await;
    assert_eq!((closed.by, closed.cause.name()), (ClosedBy::Transport, "SESSION_TAKEN_OVER"));
    assert!(proxy.heard().contains("RESUME_TOKEN_REPLAYED"), "the client's next resume was not refused");
}

/// The retransmit buffer is full. New calls are refused, and queued ones are not lost.
#[tokio::test]
async fn detached_client_refuses_calls_beyond_its_retransmit_buffer() {
    let mut rules = LinkRules::default();
    rules.retain_messages = 16;
    let proxy = Proxy::to(serve(service()).await).await;
    let session = Session::builder(proxy.url()).link_rules(rules).connect().await.unwrap();
    let counter = counter(&session).await;
    let mut events = session.events();
    assert_eq!(next(&counter).await, 1.0);
    proxy.set_down(true);
    assert!(matches!(within(events.next()).await, Some(LinkEvent::Detached { .. })));
    let mut waiting: Vec<_> = (0..20).map(|_| counter.call("next", ()).into_future()).collect();
    let last = within(waiting.pop().unwrap()).await.unwrap_err();
    assert!(last.to_string().contains("BUFFER_OVERFLOW") || last.to_string().contains("retransmit buffer"), "{last}");
    proxy.set_down(false);
    let mut answers = 0;
    for (call, waiting) in (2..).zip(waiting) {
        if let Ok(answer) = within(waiting).await {
            assert_eq!(answer, f64::from(call).into());
            answers += 1;
        }
    }
    assert!((1..19).contains(&answers), "{answers} of the queued calls were answered");
    assert_eq!(next(&counter).await, f64::from(answers + 2));
}

/// The server no longer has the key that signed the token, as after a restart. The session is lost at once.
#[tokio::test]
async fn session_is_lost_without_the_key_of_its_token() {
    let with_key = |id: &str| {
        let mut resumption = Resumption::default();
        resumption.keys = KeyRing::new(Key::new(id, &[7; 32]).unwrap()).into();
        service().resumption(resumption)
    };
    let (old, new) = (serve(with_key("old")).await, serve(with_key("new")).await);
    let proxy = Proxy::to(old).await;
    let session = connect(proxy.url()).await.unwrap();
    let counter = counter(&session).await;
    assert_eq!(next(&counter).await, 1.0);
    proxy.now_to(new);
    let failed = within(counter.call("next", ()).into_future()).await.unwrap_err();
    assert!(failed.is_lost(), "{failed}");
    assert_eq!(within(session.closed()).await.code(), Some(ErrorCode::ResumeTokenKeyUnknown));
}
