//! Quotas over all clients of a service, which no client can use up at the expense of others.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bowline_core::link::{Frame, Welcome};
use bowline_core::resume::prove;
use bowline_server::store::{MemoryStore, SessionStore};
use bowline_server::{Credentials, HttpLimits, Principal, Recovery, Resumption};
use tokio::net::TcpSocket;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::harness::{Socket, serve, service, within};
use crate::link::{Linked, hello_of};

const CALL: &str = r#"["push",["pipeline",0,["add"],[1,2]]]"#;

/// Waits until a condition is true.
async fn until(mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within(waiting).await;
}

/// Connects from a loopback address and negotiates the link.
async fn dial_from(from: u8, to: SocketAddr) -> Linked {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, from], 0))).unwrap();
    let stream = within(socket.connect(to)).await.unwrap();
    let mut request = format!("ws://{to}/rpc").into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", "bowline.v1".parse().unwrap());
    let (socket, _answer) = within(tokio_tungstenite::client_async(request, stream)).await.unwrap();
    let mut socket = Socket::of(socket);
    let first = socket.next().await;
    let Ok(Some(Frame::Challenge { challenge })) = Frame::read(&first) else { panic!("{first}") };
    Linked { socket, challenge }
}

async fn greet_from(from: u8, to: SocketAddr, credentials: Credentials) -> (Linked, Frame) {
    let mut linked = dial_from(from, to).await;
    linked.socket.send(&Frame::Hello(hello_of(credentials)).write()).await;
    let frame = linked.frame().await;
    (linked, frame)
}

/// Opens a session from a loopback address.
async fn open_from(from: u8, to: SocketAddr) -> (Linked, Welcome) {
    match greet_from(from, to, Credentials::default()).await {
        (linked, Frame::Welcome(welcome)) => (linked, welcome),
        (_, frame) => panic!("{frame:?}"),
    }
}

/// Opens a session, calls a method, and disconnects.
async fn use_and_leave(from: u8, to: SocketAddr) -> Welcome {
    let (mut linked, welcome) = open_from(from, to).await;
    linked.socket.send(CALL).await;
    linked.socket.send(r#"["pull",1]"#).await;
    assert_eq!(linked.message().await, r#"["resolve",1,3]"#);
    welcome
}

async fn resume_from(from: u8, to: SocketAddr, welcome: &Welcome) -> Frame {
    let mut linked = dial_from(from, to).await;
    let proof = prove(&welcome.resume_key, &linked.challenge, &welcome.resume_token, 0);
    let resume = format!(
        r#"{{"type":"session.resume","protocol":[1],"features":["ack"],"resume_token":"{}","last_event_seq":0,"first_retained_seq":1,"proof":"{proof}"}}"#,
        welcome.resume_token.expose(),
    );
    linked.socket.send(&resume).await;
    linked.frame().await
}

fn resumption(change: impl FnOnce(&mut Resumption)) -> Resumption {
    let mut resumption = Resumption::default();
    change(&mut resumption);
    resumption
}

#[tokio::test]
async fn parked_sessions_of_some_addresses_displace_none_of_another() {
    let resumption = resumption(|resumption| {
        (resumption.parked, resumption.unused_window) = (10, Duration::from_millis(400));
    });
    let service = service().resumption(resumption);
    let address = serve(service.clone()).await;
    let victim = use_and_leave(200, address).await;
    for n in 0..45 {
        use_and_leave(1 + n % 3, address).await;
    }
    until(|| service.parked_sessions() <= 10).await;
    let resumed = resume_from(200, address, &victim).await;
    assert!(matches!(resumed, Frame::Resumed(_)), "{resumed:?}");
}

#[tokio::test]
async fn parked_sessions_of_one_principal_are_bounded() {
    let resumption = resumption(|resumption| {
        (resumption.parked_per_principal, resumption.unused_window) = (2, Duration::from_millis(400));
    });
    let service = service().resumption(resumption).authenticate(|token: &str| Some(Principal::new(token)));
    let address = serve(service.clone()).await;
    for (name, sessions) in [("ann", 1), ("eve", 6)] {
        for _ in 0..sessions {
            let (mut linked, frame) = greet_from(1, address, Credentials::bearer(name)).await;
            assert!(matches!(frame, Frame::Welcome(_)), "{frame:?}");
            linked.socket.send(CALL).await;
            linked.socket.send(r#"["pull",1]"#).await;
            assert_eq!(linked.message().await, r#"["resolve",1,3]"#);
        }
    }
    until(|| service.parked_sessions() == 3).await;
}

#[tokio::test]
async fn sessions_that_were_never_used_end_after_a_short_time() {
    let resumption = resumption(|resumption| resumption.unused_window = Duration::from_millis(100));
    let service = service().resumption(resumption);
    let address = serve(service.clone()).await;
    let used = use_and_leave(1, address).await;
    for _ in 0..5 {
        drop(open_from(2, address).await);
    }
    until(|| service.parked_sessions() > 1).await;
    until(|| service.parked_sessions() == 1).await;
    assert!(matches!(resume_from(1, address, &used).await, Frame::Resumed(_)));
}

#[tokio::test]
async fn evicting_a_parked_session_removes_it_from_the_store() {
    let memory = Arc::new(MemoryStore::new());
    let resumption = resumption(|resumption| {
        (resumption.parked, resumption.unused_window) = (2, Duration::from_millis(200));
    });
    let recovery = Recovery::in_shared_store(Arc::clone(&memory) as Arc<dyn SessionStore>);
    let service = service().resumption(resumption).recovery(recovery);
    let address = serve(service.clone()).await;
    for _ in 0..6 {
        use_and_leave(1, address).await;
    }
    until(|| format!("{memory:?}").contains("sessions: 2,")).await;
    assert_eq!(service.parked_sessions(), 2);
}

#[tokio::test]
async fn hellos_of_one_address_are_rate_limited() {
    let resumption = resumption(|resumption| resumption.hellos_per_address = 3);
    let address = serve(service().resumption(resumption)).await;
    let mut last = None;
    for _ in 0..3 {
        last = Some(use_and_leave(1, address).await);
    }
    let (_, refused) = greet_from(1, address, Credentials::default()).await;
    let Frame::Rejected(refused) = refused else { panic!("{refused:?}") };
    assert_eq!((refused.code.as_str(), refused.retryable), ("RATE_LIMITED", true));
    assert!(refused.retry_after_ms.is_some_and(|ms| (1..=4_000).contains(&ms)), "{refused:?}");
    assert!(matches!(resume_from(1, address, &last.unwrap()).await, Frame::Resumed(_)), "the address has a session");
    use_and_leave(2, address).await;
}

fn held(bytes: usize) -> HttpLimits {
    let mut http = HttpLimits::default();
    http.total_held_bytes = bytes;
    http
}

/// Makes a call whose result has the given size and stays unpulled.
fn keep(bytes: usize) -> String {
    format!(r#"["push",["pipeline",0,["repeat"],["x",{bytes}]]]"#)
}

#[tokio::test]
async fn largest_session_ends_when_the_total_is_exceeded() {
    let address = serve(service().http_limits(held(1 << 20))).await;
    let mut sockets = Vec::new();
    for bytes in [100_000, 300_000, 200_000] {
        let mut socket = Socket::open(address).await;
        socket.send(&keep(bytes)).await;
        socket.send(CALL).await;
        socket.send(r#"["pull",2]"#).await;
        assert_eq!(socket.next().await, r#"["resolve",2,3]"#);
        sockets.push(socket);
    }
    let mut large = Socket::open(address).await;
    large.send(&keep(900_000)).await;
    let abort = large.next().await;
    assert!(abort.contains("bytes held by all sessions of the service (at most 1048576)"), "{abort}");
    for socket in &mut sockets {
        socket.send(CALL).await;
        socket.send(r#"["pull",3]"#).await;
        assert_eq!(socket.next().await, r#"["resolve",3,3]"#);
    }
}

#[tokio::test]
async fn parked_sessions_end_before_live_ones_when_the_total_is_exceeded() {
    let service = service().http_limits(held(1 << 20));
    let address = serve(service.clone()).await;
    let (mut parked, welcome) = open_from(1, address).await;
    parked.socket.send(&keep(300_000)).await;
    parked.socket.send(CALL).await;
    parked.socket.send(r#"["pull",2]"#).await;
    assert_eq!(parked.message().await, r#"["resolve",2,3]"#);
    drop(parked);
    until(|| service.parked_sessions() == 1).await;
    let mut live = Socket::open(address).await;
    live.send(&keep(900_000)).await;
    until(|| service.parked_sessions() == 0).await;
    live.send(CALL).await;
    live.send(r#"["pull",2]"#).await;
    assert_eq!(live.next().await, r#"["resolve",2,3]"#);
    let gone = resume_from(1, address, &welcome).await;
    assert!(matches!(&gone, Frame::Rejected(refused) if refused.code.as_str() == "RESUME_WINDOW_EXPIRED"), "{gone:?}");
}

#[tokio::test]
async fn released_memory_no_longer_counts() {
    let address = serve(service().http_limits(held(1 << 20))).await;
    let mut socket = Socket::open(address).await;
    for call in 1..=10 {
        socket.send(&keep(300_000)).await;
        socket.send(&format!(r#"["pull",{call}]"#)).await;
        let answer = socket.next().await;
        assert!(answer.starts_with(&format!(r#"["resolve",{call},"x"#)), "{}", &answer[..40]);
        socket.send(&format!(r#"["release",{call},1]"#)).await;
    }
    for _ in 0..10 {
        let mut other = Socket::open(address).await;
        other.send(&keep(300_000)).await;
        other.send(r#"["pull",1]"#).await;
        assert!(other.next().await.starts_with(r#"["resolve",1,"x"#));
    }
}
