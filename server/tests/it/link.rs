//! The link as raw frames: opening a session, resuming it, and what is refused.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use bowline_core::link::{Features, Frame, Hello, Refused, Resume, Resumed, Secret, Welcome};
use bowline_core::resume::prove;
use bowline_core::value::ErrorValue;
use bowline_server::{Credentials, Principal, Resumption, Service, TokenPolicy};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::harness::{Socket, connect_from, rss_bytes, serve, service, within};

const HELLO: &str = r#"{"type":"session.hello","protocol":[1],"features":["ack","heartbeat"],"hello_id":"once"}"#;
const CALL: &str = r#"["push",["pipeline",0,["add"],[1,2]]]"#;

/// A connection on which the link was negotiated, and the server's challenge.
pub(crate) struct Linked {
    pub(crate) socket: Socket,
    pub(crate) challenge: String,
}

impl Linked {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        Self::of(dial(address).await).await
    }

    pub(crate) async fn of(mut socket: Socket) -> Self {
        let first = socket.next().await;
        let Ok(Some(Frame::Challenge { challenge })) = Frame::read(&first) else { panic!("{first}") };
        Self { socket, challenge }
    }

    /// Returns the next frame other than an ack. Panics on a message.
    pub(crate) async fn frame(&mut self) -> Frame {
        loop {
            let text = self.socket.next().await;
            match Frame::read(&text) {
                Ok(Some(Frame::Ack { .. })) => {}
                Ok(Some(frame)) => return frame,
                _ => panic!("{text}"),
            }
        }
    }

    /// Returns the next frame other than an ack, and discards the messages before it.
    pub(crate) async fn frame_after_messages(&mut self) -> Frame {
        loop {
            let text = self.socket.next().await;
            match Frame::read(&text) {
                Ok(None) if text.starts_with('[') => {}
                Ok(Some(Frame::Ack { .. })) => {}
                Ok(Some(frame)) => return frame,
                _ => panic!("{text}"),
            }
        }
    }

    /// Returns the next message, and discards the frames before it.
    pub(crate) async fn message(&mut self) -> String {
        loop {
            let text = self.socket.next().await;
            if !text.starts_with('{') {
                return text;
            }
        }
    }

    async fn hello(address: SocketAddr) -> (Self, Welcome) {
        Self::hello_as(address, "once").await
    }

    pub(crate) async fn hello_as(address: SocketAddr, hello_id: &str) -> (Self, Welcome) {
        let mut linked = Self::open(address).await;
        linked.socket.send(&HELLO.replace("once", hello_id)).await;
        match linked.frame().await {
            Frame::Welcome(welcome) => (linked, welcome),
            frame => panic!("{frame:?}"),
        }
    }

    /// Opens a connection, sends a hello, and returns the first frame in reply.
    pub(crate) async fn greet(address: SocketAddr, hello: &Hello) -> (Self, Frame) {
        let mut linked = Self::open(address).await;
        linked.socket.send(&Frame::Hello(hello.clone()).write()).await;
        let answer = linked.frame().await;
        (linked, answer)
    }

    pub(crate) async fn resume(
        address: SocketAddr,
        token: &Secret,
        key: &Secret,
        came: u64,
    ) -> (Self, Result<Resumed, Refused>) {
        Self::resume_as(address, (token, key), came, None).await
    }

    pub(crate) async fn resume_as(
        address: SocketAddr,
        (token, key): (&Secret, &Secret),
        came: u64,
        auth: Option<Credentials>,
    ) -> (Self, Result<Resumed, Refused>) {
        Self::open(address).await.resumes((token, key), came, auth).await
    }

    /// Resumes a session on this connection.
    pub(crate) async fn resumes(
        mut self,
        (token, key): (&Secret, &Secret),
        came: u64,
        auth: Option<Credentials>,
    ) -> (Self, Result<Resumed, Refused>) {
        let resume = Resume {
            protocol: vec![1],
            features: Features::ALL.names(),
            resume_token: token.clone(),
            last_event_seq: came,
            first_retained_seq: 1,
            proof: prove(key, &self.challenge, token, came),
            auth,
            accept: Vec::new(),
            ids: None,
            left: None,
        };
        self.socket.send(&Frame::Resume(resume).write()).await;
        let answer = match self.frame().await {
            Frame::Resumed(resumed) => Ok(resumed),
            Frame::Rejected(refused) => Err(refused),
            frame => panic!("{frame:?}"),
        };
        (self, answer)
    }
}

/// Opens a connection and negotiates the link, without sending anything on it.
pub(crate) async fn dial(address: SocketAddr) -> Socket {
    dial_from([127, 0, 0, 1], address, &[]).await
}

/// Opens a WebSocket from the given loopback address, with these headers.
pub(crate) async fn dial_from(from: [u8; 4], address: SocketAddr, headers: &[(&'static str, &str)]) -> Socket {
    dial_over(connect_from(from, address).await, address, headers).await
}

/// Opens a WebSocket over a connection.
pub(crate) async fn dial_over(stream: TcpStream, address: SocketAddr, headers: &[(&'static str, &str)]) -> Socket {
    let mut request = format!("ws://{address}/rpc").into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().append(*name, value.parse().unwrap());
    }
    request.headers_mut().insert("sec-websocket-protocol", "other, bowline.v1".parse().unwrap());
    let (socket, answer) = within(tokio_tungstenite::client_async(request, stream)).await.unwrap();
    assert_eq!(answer.headers()["sec-websocket-protocol"], "bowline.v1");
    Socket::of(socket)
}

pub(crate) fn code(answer: Result<Resumed, Refused>) -> String {
    answer.unwrap_err().code.to_string()
}

/// Returns the hello of a client that supports all features and sends these credentials.
pub(crate) fn hello_of(auth: Credentials) -> Hello {
    let features = Features::ALL.names();
    Hello { protocol: vec![1], features, client: Default::default(), hello_id: None, auth }
}

/// The server has run the call, and its reply and ack are lost. The reply is retransmitted, and the call
/// does not run again.
#[tokio::test]
async fn call_cut_off_from_its_reply_is_answered_on_the_next_connection() {
    let address = serve(service()).await;
    let (mut first, welcome) = Linked::hello(address).await;
    assert_eq!((welcome.epoch, welcome.last_event_seq, welcome.resume_window_sec), (1, 0, 300));
    first.socket.send(CALL).await;
    first.socket.send(r#"["pull",1]"#).await;
    assert_eq!(first.message().await, r#"["resolve",1,3]"#);
    // The client acts as if the reply was lost.
    drop(first);
    let (mut second, resumed) = Linked::resume(address, &welcome.resume_token, &welcome.resume_key, 0).await;
    let resumed = resumed.unwrap();
    assert_eq!((resumed.epoch, resumed.last_event_seq, resumed.replay_count), (2, 2, 1));
    assert_eq!(second.message().await, r#"["resolve",1,3]"#);
    second.socket.send(r#"["release",1,1]"#).await;
    second.socket.send(r#"{"type":"session.close","reason":"done"}"#).await;
    assert_eq!(second.frame().await, Frame::Closed { reason: Some("done".to_owned()) });
    let (_, gone) = Linked::resume(address, &resumed.resume_token, &resumed.resume_key, 1).await;
    assert_eq!(code(gone), "RESUME_WINDOW_EXPIRED");
}

/// Retransmission sends the error that the hook returned for the first transmission.
#[tokio::test]
async fn on_send_error_sees_a_retransmitted_error_once() {
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let service = service().on_send_error(move |error| {
        let number = asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1;
        ErrorValue::new(error.name, format!("error {number}"))
    });
    let address = serve(service).await;
    let (mut socket, welcome) = Linked::hello(address).await;
    let (mut token, mut key) = (welcome.resume_token, welcome.resume_key);
    for call in 1..=2 {
        socket.socket.send(r#"["push",["pipeline",0,["nope"],[]]]"#).await;
        socket.socket.send(&format!(r#"["pull",{call}]"#)).await;
        assert_eq!(socket.message().await, format!(r#"["reject",{call},["error","TypeError","error {call}"]]"#));
    }
    for _ in 0..3 {
        let (mut next, resumed) = Linked::resume(address, &token, &key, 0).await;
        let resumed = resumed.unwrap();
        for call in 1..=2 {
            assert_eq!(next.message().await, format!(r#"["reject",{call},["error","TypeError","error {call}"]]"#));
        }
        (token, key) = (resumed.resume_token, resumed.resume_key);
        socket = next;
    }
    socket.socket.send(r#"["push",["pipeline",0,["nope"],[]]]"#).await;
    socket.socket.send(r#"["pull",3]"#).await;
    assert_eq!(socket.message().await, r#"["reject",3,["error","TypeError","error 3"]]"#);
}

/// The welcome is lost. A repeated hello gets the same session.
#[tokio::test]
async fn repeated_hello_after_lost_welcome_gets_the_same_session() {
    let address = serve(service()).await;
    let (mut first, welcome) = Linked::hello(address).await;
    first.socket.send(CALL).await;
    drop(first);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let (mut second, again) = Linked::hello(address).await;
    assert_eq!((again.session_id, again.epoch, again.last_event_seq), (welcome.session_id.clone(), 2, 1));
    second.socket.send(r#"["pull",1]"#).await;
    assert_eq!(second.message().await, r#"["resolve",1,3]"#);
    // After the client has confirmed the welcome, the same hello opens a new session.
    second.socket.send(r#"{"type":"session.ack","last_processed_seq":1}"#).await;
    second.socket.send(r#"["release",1,1]"#).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let (_third, other) = Linked::hello(address).await;
    assert_ne!(other.session_id, welcome.session_id);
}

/// `resumed` is lost. The previous token remains valid until the newer one is used.
#[tokio::test]
async fn previous_token_is_valid_after_lost_resumed_frame() {
    let address = serve(service()).await;
    let (_first, welcome) = Linked::hello(address).await;
    for epoch in 2..8 {
        let (_lost, resumed) = Linked::resume(address, &welcome.resume_token, &welcome.resume_key, 0).await;
        assert_eq!(resumed.unwrap().epoch, epoch);
    }
}

/// A replaced token, a token without its key, a forged token, and a wrong count are each refused with their
/// own code, and the session is not affected.
#[tokio::test]
async fn replaced_token_is_refused_as_replay_and_session_survives() {
    let address = serve(service()).await;
    let (_first, welcome) = Linked::hello(address).await;
    let (mut second, resumed) = Linked::resume(address, &welcome.resume_token, &welcome.resume_key, 0).await;
    let resumed = resumed.unwrap();
    second.socket.send(CALL).await;
    second.socket.send(r#"["pull",1]"#).await;
    assert_eq!(second.message().await, r#"["resolve",1,3]"#);
    let (mut thief, replayed) = Linked::resume(address, &welcome.resume_token, &welcome.resume_key, 0).await;
    assert_eq!(code(replayed), "RESUME_TOKEN_REPLAYED");
    assert_eq!(thief.socket.next().await, "close 4400 RESUME_TOKEN_REPLAYED");
    // The current token is refused with the key of the previous one.
    let (_, unproven) = Linked::resume(address, &resumed.resume_token, &welcome.resume_key, 0).await;
    assert_eq!(code(unproven), "RESUME_PROOF_INVALID");
    let (_, forged) = Linked::resume(address, &Secret::new("bwl1.e30.e30.e30"), &welcome.resume_key, 0).await;
    assert_eq!(code(forged), "RESUME_TOKEN_INVALID");
    let (_, lie) = Linked::resume(address, &resumed.resume_token, &resumed.resume_key, 99).await;
    assert_eq!(code(lie), "RESUME_GAP");
    // None of that affected the session.
    second.socket.send(CALL).await;
    second.socket.send(r#"["pull",2]"#).await;
    assert_eq!(second.message().await, r#"["resolve",2,3]"#);
}

/// The earlier connection is still open. It is closed with a code, and messages that arrive on it are
/// ignored.
#[tokio::test]
async fn newest_resume_wins_and_the_earlier_connection_is_closed() {
    let address = serve(service()).await;
    let (mut first, welcome) = Linked::hello(address).await;
    first.socket.send(CALL).await;
    let (mut second, resumed) = Linked::resume(address, &welcome.resume_token, &welcome.resume_key, 0).await;
    let came = resumed.unwrap().last_event_seq;
    loop {
        let text = first.socket.next().await;
        if !text.starts_with('{') {
            assert_eq!(text, "close 4409 SESSION_TAKEN_OVER");
            break;
        }
    }
    for _ in came..1 {
        second.socket.send(CALL).await;
    }
    second.socket.send(r#"["pull",1]"#).await;
    assert_eq!(second.message().await, r#"["resolve",1,3]"#);
}

/// Two connections resume with the same token. Each gets its own epoch, and only the later one stays
/// open.
#[tokio::test]
async fn concurrent_resumes_leave_one_connection() {
    let address = serve(service()).await;
    let (_first, mut welcome) = Linked::hello(address).await;
    for round in 0..1_000 {
        // The delay between the two varies from round to round.
        let race = async |after: u64| {
            tokio::time::sleep(Duration::from_micros(after)).await;
            Linked::resume(address, &welcome.resume_token, &welcome.resume_key, 0).await
        };
        let ((mut a, of_a), (mut b, of_b)) = tokio::join!(race(round % 7 * 90), race(round % 11 * 60));
        let (of_a, of_b) = (of_a.unwrap(), of_b.unwrap());
        assert_eq!(of_a.epoch.abs_diff(of_b.epoch), 1, "round {round}");
        let (winner, loser, resumed) =
            if of_a.epoch > of_b.epoch { (&mut a, &mut b, of_a) } else { (&mut b, &mut a, of_b) };
        let ping = r#"{"type":"session.ping","nonce":"x"}"#;
        winner.socket.send(ping).await;
        assert!(matches!(winner.frame().await, Frame::Pong { .. }));
        loop {
            let text = loser.socket.next().await;
            if !text.starts_with('{') {
                assert_eq!(text, "close 4409 SESSION_TAKEN_OVER");
                break;
            }
        }
        (welcome.resume_token, welcome.resume_key) = (resumed.resume_token, resumed.resume_key);
    }
}

#[tokio::test]
async fn session_resumes_many_times() {
    let address = serve(service()).await;
    let (first, welcome) = Linked::hello(address).await;
    let (mut token, mut key) = (welcome.resume_token, welcome.resume_key);
    let mut socket = first;
    for round in 1..=100 {
        socket.socket.send(CALL).await;
        socket.socket.send(&format!(r#"["pull",{round}]"#)).await;
        assert_eq!(socket.message().await, format!(r#"["resolve",{round},3]"#));
        // Resume with the earlier connection still open in every other round.
        let old = (round % 2 == 0).then_some(socket);
        let (next, resumed) = Linked::resume(address, &token, &key, round).await;
        drop(old);
        let resumed = resumed.unwrap();
        assert_eq!((resumed.epoch, resumed.last_event_seq, resumed.replay_count), (round + 1, 2 * round, 0));
        (socket, token, key) = (next, resumed.resume_token, resumed.resume_key);
    }
}

#[tokio::test]
async fn message_before_hello_is_refused() {
    let address = serve(service()).await;
    for (text, code, close) in [
        (CALL, "HANDSHAKE_REQUIRED", "close 4400 HANDSHAKE_REQUIRED"),
        (r#"{"type":"session.hello","protocol":[9]}"#, "PROTOCOL_UNSUPPORTED", "close 4400 PROTOCOL_UNSUPPORTED"),
        (r#"{"type":"session.hello"}"#, "INVALID_REQUEST", "close 4400 INVALID_REQUEST"),
    ] {
        let mut linked = Linked::open(address).await;
        linked.socket.send(text).await;
        let Frame::Rejected(refused) = linked.frame().await else { panic!("{text}") };
        assert_eq!(refused.code.as_str(), code);
        assert_eq!(linked.socket.next().await, close);
    }
    // Messages that follow the hello wait for the welcome.
    let mut linked = Linked::open(address).await;
    linked.socket.send(HELLO).await;
    linked.socket.send(CALL).await;
    linked.socket.send(r#"["pull",1]"#).await;
    assert!(matches!(linked.frame().await, Frame::Welcome(_)));
    assert_eq!(linked.message().await, r#"["resolve",1,3]"#);
}

#[tokio::test]
async fn client_has_three_attempts_to_authenticate() {
    let service = service().authenticate(|token: &str| (token == "knot").then(|| Principal::new("ann")));
    let address = serve(service).await;
    let again = |response: &str| Frame::Authenticate { response: Secret::new(response) }.write();
    let (mut linked, answer) = Linked::greet(address, &hello_of(Credentials::bearer("a"))).await;
    assert!(matches!(answer, Frame::Unauthenticated(_)));
    linked.socket.send(&again("knot")).await;
    let Frame::Welcome(welcome) = linked.frame().await else { panic!("welcome") };
    assert_eq!(welcome.principal.as_deref(), Some("ann"));
    let (mut linked, mut answer) = Linked::greet(address, &hello_of(Credentials::bearer("a"))).await;
    for _ in 0..2 {
        assert!(matches!(answer, Frame::Unauthenticated(_)));
        linked.socket.send(&again("b")).await;
        answer = linked.frame().await;
    }
    let Frame::Rejected(refused) = answer else { panic!("rejected") };
    assert_eq!((refused.code.as_str(), refused.status), ("UNAUTHENTICATED", Some(401)));
    assert_eq!(linked.socket.next().await, "close 4401 UNAUTHENTICATED");
}

#[tokio::test]
async fn connected_clients_are_sent_newer_tokens() {
    let mut resumption = Resumption::default();
    let mut tokens = TokenPolicy::default();
    tokens.token_lifetime = Duration::from_secs(2);
    resumption.tokens = tokens;
    let address = serve(service().resumption(resumption)).await;
    let (mut first, welcome) = Linked::hello(address).await;
    let Frame::Token { resume_token, .. } = first.frame().await else { panic!("a token") };
    let (_, resumed) = Linked::resume(address, &resume_token, &welcome.resume_key, 0).await;
    assert_eq!(resumed.unwrap().epoch, 2);
}

#[tokio::test]
async fn clients_that_do_not_offer_the_link_get_plain_sessions() {
    let address = serve(Service::clone(&service())).await;
    let mut socket = Socket::open(address).await;
    socket.send(CALL).await;
    socket.send(r#"["pull",1]"#).await;
    assert_eq!(socket.next().await, r#"["resolve",1,3]"#);
    // In a plain session a frame of the link is an invalid message.
    socket.send(HELLO).await;
    assert!(socket.next().await.starts_with(r#"["abort",["error","#));
}

#[tokio::test]
async fn memory_of_a_parked_session() {
    // With 2,000 sessions this measures memory. A few suffice to check that all of them are parked.
    let sessions = std::env::var("BOWLINE_SESSIONS").ok().and_then(|count| count.parse().ok()).unwrap_or(40);
    let service = service();
    let address = serve(service.clone()).await;
    let mut before = 0;
    for session in 0..2 * sessions {
        if session == sessions {
            // Memory that the first sessions allocate once is not counted.
            before = rss_bytes();
        }
        let mut linked = Linked::open(address).await;
        linked.socket.send(&HELLO.replace("once", &session.to_string())).await;
        assert!(matches!(linked.frame().await, Frame::Welcome(_)));
        linked.socket.send(CALL).await;
        linked.socket.send(r#"["pull",1]"#).await;
        assert_eq!(linked.message().await, r#"["resolve",1,3]"#);
    }
    while service.parked_sessions() < 2 * sessions {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let each = (rss_bytes().saturating_sub(before)) / sessions;
    writeln!(std::io::stdout(), "{each} bytes per session").unwrap();
    assert!(sessions < 2_000 || each < 12 << 10);
}
