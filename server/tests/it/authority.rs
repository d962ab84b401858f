//! Authority over a session: leases, principals, replayed tokens, key rotation, and eviction.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bowline_core::error::ErrorCode;
use bowline_core::link::{Frame, Refused, Resumed, Secret, Welcome};
use bowline_core::resume::Key;
use bowline_server::{Credentials, HttpLimits, OnReplay, Principal, Reauth, Resumption, Service};
use tokio::time::{Instant, sleep};

use crate::harness::{serve, service, within};
use crate::link::{Linked, code, hello_of};

const CALL: &str = r#"["push",["pipeline",0,["add"],[1,2]]]"#;

/// Returns a service whose principals are named by their bearer token, up to the first `:`.
fn named(lease: Option<Duration>) -> Service {
    service().authenticate(move |token: &str| {
        let (name, _secret) = token.split_once(':')?;
        let principal = Principal::new(name);
        Some(match lease {
            Some(lease) => principal.lease(lease),
            None => principal,
        })
    })
}

fn resumption(change: impl FnOnce(&mut Resumption)) -> Resumption {
    let mut resumption = Resumption::default();
    change(&mut resumption);
    resumption
}

async fn welcomed(address: std::net::SocketAddr, auth: Credentials) -> (Linked, Welcome) {
    match Linked::greet(address, &hello_of(auth)).await {
        (linked, Frame::Welcome(welcome)) => (linked, welcome),
        (_, frame) => panic!("{frame:?}"),
    }
}

async fn has_it_back(
    address: std::net::SocketAddr,
    of: &Welcome,
    auth: Option<Credentials>,
) -> (Linked, Result<Resumed, Refused>) {
    Linked::resume_as(address, (&of.resume_token, &of.resume_key), 0, auth).await
}

async fn is_answered(linked: &mut Linked, call: u64) {
    linked.socket.send(CALL).await;
    linked.socket.send(&format!(r#"["pull",{call}]"#)).await;
    assert_eq!(linked.message().await, format!(r#"["resolve",{call},3]"#));
}

fn answer(token: &str) -> String {
    Frame::Authenticate { response: Secret::new(token) }.write()
}

#[tokio::test]
async fn refreshed_lease_renews_token_and_missed_refresh_evicts() {
    let address = serve(named(Some(Duration::from_secs(2)))).await;
    let (mut linked, welcome) = welcomed(address, Credentials::bearer("ann:1")).await;
    let began = Instant::now();
    let first_end = welcome.lease.expect("a lease").expires_at;
    // Valid credentials renew the lease, and the client gets a newer token.
    let Frame::Refresh { deadline, challenge } = linked.frame().await else { panic!("refresh") };
    assert!(began.elapsed() >= Duration::from_millis(900) && began.elapsed() < Duration::from_secs(2));
    assert_eq!((deadline, challenge.map(|challenge| challenge.len())), (first_end, Some(43)));
    linked.socket.send(&answer("ann:2")).await;
    let Frame::Token { resume_token, resume_key, lease, covers } = linked.frame().await else { panic!("token") };
    let resume_key = resume_key.expect("each token comes with its key");
    assert!(lease.expect("a new lease").expires_at > first_end && covers.is_none());
    assert_ne!(resume_token, welcome.resume_token);
    let (mut linked, resumed) = Linked::resume(address, &resume_token, &resume_key, 0).await;
    let resumed = resumed.unwrap();
    assert!(resumed.lease.is_some());
    is_answered(&mut linked, 1).await;
    // The next refresh fails: the client sends wrong credentials once, then none.
    let again = linked.frame_after_messages().await;
    assert!(matches!(again, Frame::Refresh { .. }), "{again:?}");
    linked.socket.send(&answer("bob:1")).await;
    assert!(matches!(linked.frame().await, Frame::Refresh { .. }), "the client may try again");
    let Frame::Evicted { code, reason } = linked.frame().await else { panic!("evicted") };
    assert_eq!(code.as_str(), "UNAUTHENTICATED", "{reason}");
    assert_eq!(linked.socket.next().await, "close 4401 UNAUTHENTICATED");
    let (_, gone) = Linked::resume(address, &resumed.resume_token, &resumed.resume_key, 1).await;
    assert_eq!(self::code(gone), "RESUME_WINDOW_EXPIRED");
}

#[tokio::test]
async fn resume_after_lease_end_requires_credentials_of_the_principal() {
    let address = serve(named(Some(Duration::from_millis(300)))).await;
    let (linked, welcome) = welcomed(address, Credentials::bearer("ann:1")).await;
    drop(linked);
    sleep(Duration::from_millis(400)).await;
    let (_, anonymous) = has_it_back(address, &welcome, None).await;
    assert_eq!(code(anonymous), "UNAUTHENTICATED");
    let (_, other) = has_it_back(address, &welcome, Some(Credentials::bearer("bob:1"))).await;
    assert_eq!(code(other), "UNAUTHENTICATED");
    let (mut linked, resumed) = has_it_back(address, &welcome, Some(Credentials::bearer("ann:2"))).await;
    assert!(resumed.unwrap().lease.is_some());
    is_answered(&mut linked, 1).await;
}

#[tokio::test]
async fn resume_with_credentials_of_another_principal_is_refused() {
    let address = serve(named(None)).await;
    let (_linked, welcome) = welcomed(address, Credentials::bearer("ann:1")).await;
    let (mut other, refused) = has_it_back(address, &welcome, Some(Credentials::bearer("bob:1"))).await;
    assert_eq!(code(refused), "UNAUTHENTICATED");
    assert_eq!(other.socket.next().await, "close 4401 UNAUTHENTICATED");
    // Token and key suffice, unless the service requires credentials on every resume.
    let (_, resumed) = has_it_back(address, &welcome, None).await;
    assert_eq!(resumed.unwrap().epoch, 2);
    let address = serve(named(None).resumption(resumption(|resumption| resumption.reauth = Reauth::Always))).await;
    let (_linked, welcome) = welcomed(address, Credentials::bearer("ann:1")).await;
    assert_eq!(code(has_it_back(address, &welcome, None).await.1), "UNAUTHENTICATED");
    let (_, resumed) = has_it_back(address, &welcome, Some(Credentials::bearer("ann:1"))).await;
    assert_eq!(resumed.unwrap().epoch, 2);
}

#[tokio::test]
async fn principal_bound_to_connection_is_authenticated_on_every_resume() {
    let asked = Arc::new(AtomicUsize::new(0));
    let asks = Arc::clone(&asked);
    let service = service().authenticate(move |_token: &str| {
        asks.fetch_add(1, Ordering::SeqCst);
        Some(Principal::new("host").bound_to_connection())
    });
    let address = serve(service).await;
    let (_linked, welcome) = welcomed(address, Credentials::bearer("any")).await;
    assert_eq!(code(has_it_back(address, &welcome, None).await.1), "UNAUTHENTICATED");
    let (_, resumed) = has_it_back(address, &welcome, Some(Credentials::bearer("any"))).await;
    assert_eq!((resumed.unwrap().epoch, asked.load(Ordering::SeqCst)), (2, 2));
}

#[tokio::test]
async fn replayed_token_ends_the_session_if_configured() {
    let revoking = resumption(|resumption| resumption.on_replay = OnReplay::Revoke);
    let address = serve(service().resumption(revoking)).await;
    let (_first, welcome) = welcomed(address, Credentials::default()).await;
    let (mut second, resumed) = has_it_back(address, &welcome, None).await;
    let resumed = resumed.unwrap();
    is_answered(&mut second, 1).await;
    assert_eq!(code(has_it_back(address, &welcome, None).await.1), "RESUME_TOKEN_REPLAYED");
    let Frame::Evicted { code: why, .. } = second.frame_after_messages().await else { panic!("evicted") };
    assert_eq!(why.as_str(), "RESUME_TOKEN_REPLAYED");
    let (_, gone) = Linked::resume(address, &resumed.resume_token, &resumed.resume_key, 1).await;
    assert_eq!(code(gone), "RESUME_WINDOW_EXPIRED");
}

/// The server keeps a bounded amount of messages from a client that has not authenticated yet.
#[tokio::test]
async fn calls_before_authentication_wait_and_are_bounded() {
    let address = serve(named(None)).await;
    let (mut linked, refused) = Linked::greet(address, &hello_of(Credentials::bearer("stranger"))).await;
    assert!(matches!(refused, Frame::Unauthenticated(_)));
    linked.socket.send(CALL).await;
    linked.socket.send(r#"["pull",1]"#).await;
    linked.socket.send(&answer("ann:1")).await;
    assert!(matches!(linked.frame().await, Frame::Welcome(_)));
    assert_eq!(linked.message().await, r#"["resolve",1,3]"#);
    for (text, most) in [(CALL.to_owned(), 256), (format!("[\"push\",\"{}\"]", "x".repeat(32 << 10)), 1)] {
        let (mut linked, _refused) = Linked::greet(address, &hello_of(Credentials::bearer("stranger"))).await;
        for _ in 0..=most {
            linked.socket.send(&text).await;
        }
        let Frame::Rejected(refused) = linked.frame().await else { panic!("rejected") };
        assert_eq!(refused.code.as_str(), "PAYLOAD_TOO_LARGE");
        assert_eq!(linked.socket.next().await, "close 4413 PAYLOAD_TOO_LARGE");
    }
}

#[tokio::test]
async fn mtls_credentials_require_a_fingerprint() {
    let address = serve(service()).await;
    let certificate = Credentials::mtls();
    let (_, answer) = Linked::greet(address, &hello_of(certificate.clone())).await;
    let Frame::Rejected(refused) = answer else { panic!("{answer:?}") };
    assert_eq!(refused.code.as_str(), "INVALID_REQUEST");
    assert!(refused.message.contains("fingerprint"), "{}", refused.message);
    // With a fingerprint the credentials reach the service, which refuses them.
    let mut hello = hello_of(certificate);
    hello.client.fingerprint = Some("SHA256:aa".to_owned());
    assert!(matches!(Linked::greet(address, &hello).await.1, Frame::Unauthenticated(_)));
}

#[tokio::test]
async fn invalid_tokens_are_rate_limited() {
    let address = serve(service()).await;
    let (mut linked, welcome) = welcomed(address, Credentials::default()).await;
    let forged = Secret::new("bwl1.e30.e30.e30");
    let mut refusals = Vec::new();
    for _ in 0..60 {
        let (_, refused) = Linked::resume(address, &forged, &welcome.resume_key, 0).await;
        refusals.push(refused.unwrap_err());
    }
    let limited = refusals.iter().find(|refused| refused.code.as_str() == "RATE_LIMITED").expect("a limit");
    assert!(limited.retryable && limited.retry_after_ms.is_some_and(|wait| (1..=100).contains(&wait)), "{limited:?}");
    assert!(refusals[..20].iter().all(|refused| refused.code.as_str() == "RESUME_TOKEN_INVALID"));
    // Existing and new sessions are not affected.
    is_answered(&mut linked, 1).await;
    welcomed(address, Credentials::default()).await;
}

#[tokio::test]
async fn unauthenticated_connections_are_bounded() {
    let mut limits = HttpLimits::default();
    limits.unauthenticated = 2;
    let address = serve(service().http_limits(limits)).await;
    let (mut one, mut two) = (Linked::open(address).await, Linked::open(address).await);
    // The connection of the same address that has been silent for longest is closed.
    let mut third = Linked::open(address).await;
    let Frame::Rejected(refused) = one.frame().await else { panic!("rejected") };
    assert_eq!((refused.code.as_str(), refused.retryable), ("RATE_LIMITED", true));
    assert_eq!(one.socket.next().await, "close 4429 RATE_LIMITED");
    // A client that authenticates or disconnects frees a place.
    two.socket.send(&Frame::Hello(hello_of(Credentials::default())).write()).await;
    assert!(matches!(two.frame().await, Frame::Welcome(_)));
    let fourth = Linked::open(address).await;
    drop(fourth);
    sleep(Duration::from_millis(50)).await;
    let _fifth = Linked::open(address).await;
    third.socket.send(&Frame::Hello(hello_of(Credentials::default())).write()).await;
    assert!(matches!(third.frame().await, Frame::Welcome(_)));
}

/// Running calls may complete within the grace period after the client closes the session.
#[tokio::test]
async fn calls_may_complete_after_the_client_closed_the_session() {
    let brief = resumption(|resumption| resumption.rules.close_grace = Duration::from_millis(400));
    let address = serve(service().resumption(brief)).await;
    for (method, answer, at_least_ms) in [("nap", Some(r#"["resolve",1,"rested"]"#), 150), ("hang", None, 400)] {
        let (mut linked, _welcome) = welcomed(address, Credentials::default()).await;
        linked.socket.send(&format!(r#"["push",["pipeline",0,["{method}"],[200]]]"#)).await;
        linked.socket.send(r#"["pull",1]"#).await;
        let began = Instant::now();
        linked.socket.send(r#"{"type":"session.close","reason":"enough"}"#).await;
        if let Some(answer) = answer {
            assert_eq!(linked.message().await, answer);
        }
        let closed = linked.frame().await;
        assert_eq!(closed, Frame::Closed { reason: Some("enough".to_owned()) }, "{method}");
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(at_least_ms) && took < Duration::from_secs(3), "{method}: {took:?}");
    }
}

#[tokio::test]
async fn service_evicts_a_session_and_all_sessions_of_a_principal() {
    let moved = ErrorCode::from("MOVED_OUT");
    let service = named(None);
    let address = serve(service.clone()).await;
    let (mut ann, of_ann) = welcomed(address, Credentials::bearer("ann:1")).await;
    let (mut bob, of_bob) = welcomed(address, Credentials::bearer("bob:1")).await;
    let (mut bob_too, _) = welcomed(address, Credentials::bearer("bob:2")).await;
    assert!(service.evict(&of_ann.session_id, &moved, "moved out"));
    assert!(!service.evict(&of_ann.session_id, &moved, "moved out"), "the session was already evicted");
    let Frame::Evicted { reason, .. } = ann.frame().await else { panic!("evicted") };
    assert_eq!(reason, "moved out");
    is_answered(&mut bob, 1).await;
    assert_eq!(service.evict_principal("bob", &ErrorCode::Unauthenticated, "no more"), 2);
    assert!(matches!(bob.frame_after_messages().await, Frame::Evicted { .. }));
    assert!(matches!(bob_too.frame().await, Frame::Evicted { .. }));
    assert_eq!(code(has_it_back(address, &of_bob, None).await.1), "RESUME_WINDOW_EXPIRED");
}

#[tokio::test]
async fn client_that_acknowledges_nothing_is_reported_and_disconnected() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let tells = Arc::clone(&told);
    let small = resumption(|resumption| {
        resumption.rules.retain_messages = 8;
        resumption.rules.dead_after = Duration::from_millis(300);
    });
    let small = small.on_slow_peer(move |session, stats| {
        tells.lock().unwrap().push((session.to_owned(), stats.retained_messages));
    });
    let address = serve(service().resumption(small)).await;
    let (mut linked, welcome) = welcomed(address, Credentials::default()).await;
    for call in 1..=8 {
        linked.socket.send(CALL).await;
        linked.socket.send(&format!(r#"["pull",{call}]"#)).await;
    }
    // The client receives the replies but acknowledges none, so the server closes the connection.
    for call in 1..=8 {
        assert_eq!(linked.message().await, format!(r#"["resolve",{call},3]"#));
    }
    while linked.socket.next().await != "end" {}
    let told = told.lock().unwrap().clone();
    assert_eq!(told.len(), 1, "the hook was not called exactly once");
    assert!(
        told[0].0 == welcome.session_id && told[0].1 >= 6,
        "the hook was called before the buffer was three quarters full: {told:?}"
    );
    // The session itself survives and can be resumed.
    let (mut linked, resumed) = Linked::resume(address, &welcome.resume_token, &welcome.resume_key, 8).await;
    assert_eq!(resumed.unwrap().replay_count, 0);
    is_answered(&mut linked, 9).await;
}

#[tokio::test]
async fn keys_rotate_while_the_service_runs() {
    let resumption = Resumption::default();
    let keys = resumption.keys.clone();
    let address = serve(service().resumption(resumption)).await;
    let (_linked, old) = welcomed(address, Credentials::default()).await;
    let (_linked_too, other) = welcomed(address, Credentials::default()).await;
    keys.rotate(Key::new("next", &[7; 32]).unwrap()).unwrap();
    let (_second, resumed) = has_it_back(address, &old, None).await;
    let resumed = resumed.unwrap();
    keys.remove("process").unwrap();
    assert_eq!(code(has_it_back(address, &other, None).await.1), "RESUME_TOKEN_KEY_UNKNOWN");
    let (_third, resumed) = Linked::resume(address, &resumed.resume_token, &resumed.resume_key, 0).await;
    assert_eq!(resumed.unwrap().epoch, 3);
    assert!(keys.remove("next").is_err(), "the signing key was removed");
}

/// Sessions that were parked first end first.
#[tokio::test]
async fn bytes_of_parked_sessions_are_bounded() {
    let bounded = resumption(|resumption| {
        resumption.parked_bytes = 100_000;
        resumption.window = Duration::from_secs(2);
    });
    let service = service().resumption(bounded);
    let address = serve(service.clone()).await;
    let mut welcomes = Vec::new();
    for _ in 0..4 {
        let (mut linked, welcome) = welcomed(address, Credentials::default()).await;
        linked.socket.send(r#"["push",["pipeline",0,["repeat"],["x",30000]]]"#).await;
        linked.socket.send(r#"["pull",1]"#).await;
        assert!(linked.message().await.len() > 30_000);
        drop(linked);
        sleep(Duration::from_millis(60)).await;
        welcomes.push(welcome);
    }
    within(async {
        while service.parked_sessions() > 1 {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert_eq!(code(has_it_back(address, &welcomes[0], None).await.1), "RESUME_WINDOW_EXPIRED");
    assert!(has_it_back(address, &welcomes[3], None).await.1.is_ok());
}
