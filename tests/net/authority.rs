//! A client's credentials and leases, moves between servers, and what its session lists.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use bowline::auth::{Credentials, TrustLevel};
use bowline::inspect::{ObjectKind, ObjectStatus};
use bowline::link::{LinkEvent, RuntimeIdentity};
use bowline::server::Successor;
use bowline::{ErrorCode, Func, Principal, Resumption, Service, Session, connect};

use crate::failures::{counter, next};
use crate::harness::{serve, service, within};
use crate::proxy::Proxy;
use crate::restart::{DeskRef, Site};

/// Returns a service with leases of one second, which accepts each token once.
fn strict(asked: Arc<Mutex<Vec<String>>>) -> Service {
    service().authenticate(move |token: &str| {
        let mut asked = asked.lock().unwrap();
        if !token.starts_with("ann") || asked.iter().any(|old| old == token) {
            return None;
        }
        asked.push(token.to_owned());
        Some(Principal::new("ann").lease(Duration::from_secs(1)))
    })
}

#[tokio::test]
async fn client_renews_its_lease_with_new_credentials() {
    let seen = Arc::default();
    let address = serve(strict(Arc::clone(&seen))).await;
    let shown = AtomicUsize::new(0);
    let session = Session::builder(format!("ws://{address}")).credentials(move |_challenge| {
        let shown = shown.fetch_add(1, Ordering::SeqCst);
        async move { Credentials::bearer(format!("ann {shown}")) }
    });
    let session = within(session.connect()).await.unwrap();
    let first = session.lease_expires_at().expect("a lease");
    let counter = counter(&session).await;
    let began = Instant::now();
    let mut calls = 0.0;
    while began.elapsed() < Duration::from_millis(2_500) {
        calls += 1.0;
        assert_eq!(next(&counter).await, calls);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(session.lease_expires_at().expect("a lease") > first);
    assert!(seen.lock().unwrap().len() >= 4, "expected new credentials every half second: {seen:?}");
    within(session.close()).await;
}

/// The client has only a token that is accepted once, so the session ends with its lease.
#[tokio::test]
async fn client_without_new_credentials_is_evicted() {
    let address = serve(strict(Arc::default())).await;
    let session = within(Session::builder(format!("ws://{address}")).bearer("ann").connect()).await.unwrap();
    let mut events = session.events();
    let Some(LinkEvent::Lost { code, .. }) = within(events.next()).await else { panic!("lost") };
    assert_eq!(code, ErrorCode::Unauthenticated);
    let error = within(session.root_dyn().call("add", (1, 2)).into_future()).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::Unauthenticated), "{error}");
}

#[tokio::test]
async fn client_reconnects_to_the_successor_of_a_draining_server() {
    let site = Site::new();
    let (first, second) = (site.start(None), site.start(None));
    let proxy = Proxy::to(second.address).await;
    let session = within(connect(format!("ws://{}", first.address))).await.unwrap();
    let mut events = session.events();
    let desk: DeskRef = session.root();
    let counter = within(desk.counter("a".to_owned()).into_future()).await.unwrap();
    assert_eq!(within(counter.add(1).into_future()).await.unwrap(), 1);
    let successor = Successor::after(Duration::from_millis(300)).at(proxy.url());
    let service = first.service.clone();
    let began = Instant::now();
    let draining = async move { service.drain_to(Duration::from_secs(3), successor).await };
    let draining = first.spawn(draining);
    let (deadline, retry_after, resume_url) = loop {
        if let LinkEvent::Draining { deadline, retry_after, resume_url } = within(events.next()).await.unwrap() {
            break (deadline, retry_after, resume_url);
        }
    };
    assert_eq!((retry_after, resume_url), (Some(Duration::from_millis(300)), Some(proxy.url())));
    let until_deadline = deadline.expect("a deadline").duration_since(SystemTime::now()).expect("it is in the future");
    assert!(until_deadline <= Duration::from_secs(4), "{until_deadline:?}");
    // A call made now waits until the client has reached the successor.
    assert_eq!(within(counter.add(2).into_future()).await.unwrap(), 3);
    assert!(began.elapsed() >= Duration::from_millis(300), "{:?}", began.elapsed());
    assert_eq!(proxy.accepted(), 1);
    within(draining).await.unwrap();
}

/// A session without a store ends with its server, after its running calls are answered.
#[tokio::test]
async fn draining_server_answers_running_calls() {
    let service = service();
    let address = serve(service.clone()).await;
    let session = within(connect(format!("ws://{address}"))).await.unwrap();
    let mut events = session.events();
    let asked = session.root_dyn();
    let answer = slow_answer();
    let waits = tokio::spawn(async move { asked.call("ask", (answer,)).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    let draining = tokio::spawn(async move { service.drain(Duration::from_secs(5)).await });
    assert!(matches!(within(events.next()).await, Some(LinkEvent::Draining { .. })));
    assert_eq!(within(waits).await.unwrap().unwrap().as_f64(), Some(21.0));
    within(draining).await.unwrap();
    let error = within(session.root_dyn().call("add", (1, 2)).into_future()).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::Draining), "{error}");
}

fn slow_answer() -> Func<u32, u32> {
    Func::new(|n: u32| async move {
        tokio::time::sleep(Duration::from_millis(200)).await;
        n + 1
    })
}

/// A client that holds back its new calls still answers calls of the server.
#[tokio::test]
async fn call_that_calls_back_completes_before_a_handoff() {
    let site = Site::new();
    let first = site.start(None);
    let session = within(connect(format!("ws://{}", first.address))).await.unwrap();
    let mut events = session.events();
    let desk: DeskRef = session.root();
    let waits = tokio::spawn(desk.ask(slow_answer()).into_future());
    tokio::time::sleep(Duration::from_millis(50)).await;
    let service = first.service.clone();
    let draining = first.spawn(async move { service.drain(Duration::from_secs(5)).await });
    assert!(matches!(within(events.next()).await, Some(LinkEvent::Draining { .. })));
    assert_eq!(within(waits).await.unwrap().unwrap(), 21);
    let late = tokio::spawn(desk.once().into_future());
    within(draining).await.unwrap();
    let _second = site.start(Some(first.kill()));
    assert_eq!(within(late).await.unwrap().unwrap(), 1);
}

#[tokio::test]
async fn session_lists_its_objects() {
    let address = serve(service()).await;
    let session = within(connect(format!("ws://{address}"))).await.unwrap();
    let counters = [counter(&session).await, counter(&session).await, counter(&session).await];
    let _hangs = tokio::spawn(session.root_dyn().call("hang", ()).into_future());
    tokio::time::sleep(Duration::from_millis(50)).await;
    let mut pages = session.list();
    let all = within(pages.next_page()).await.unwrap().expect("a page");
    assert_eq!(within(pages.next_page()).await.unwrap(), None);
    let kinds = |kind| all.iter().filter(|entry| entry.kind == kind).count();
    assert_eq!(kinds(ObjectKind::Result), 4, "{all:?}");
    let created = all[0].created_at.expect("the server dates its entries").elapsed().expect("it is in the past");
    assert!(created < Duration::from_secs(60), "{created:?}");
    let running = within(session.list().status(ObjectStatus::Pending).next_page()).await.unwrap();
    assert_eq!(running.map(|page| page.len()), Some(1));
    let later = within(session.list().created_after(SystemTime::now() + Duration::from_secs(60)).next_page()).await;
    assert_eq!(later.unwrap(), Some(vec![]));
    // Reading it in pages returns the same entries.
    let (mut entries, mut pages) = (Vec::new(), session.list().page_size(1));
    while let Some(page) = within(pages.next_page()).await.unwrap() {
        assert!(page.len() <= 1);
        entries.extend(page);
    }
    assert_eq!(entries, all);
    let wrong = within(session.list().after("nonsense").next_page()).await;
    assert!(
        wrong.is_err() || wrong.is_ok_and(|page| page.is_none_or(|page| page.is_empty())),
        "an invalid cursor must not return entries"
    );
    drop(counters);
}

fn named(fingerprint: &str) -> RuntimeIdentity {
    let mut runtime = Resumption::default().runtime;
    runtime.fingerprint = Some(fingerprint.to_owned());
    runtime.display_name = Some("Märchen".to_owned());
    runtime
}

#[tokio::test]
async fn client_learns_the_identity_of_its_server() {
    let mut resumption = Resumption::default();
    resumption.runtime = named("SHA256:aa");
    let service = service().resumption(resumption);
    let service = service.authenticate(|_: &str| Some(Principal::new("ann").trust_level(TrustLevel::Trusted)));
    let address = serve(service).await;
    let session = within(Session::builder(format!("ws://{address}")).bearer("any").connect()).await.unwrap();
    let server = session.server().expect("a link");
    assert_eq!(server.principal.as_deref(), Some("ann"));
    assert_eq!(server.runtime.display_name.as_deref(), Some("Märchen"));
    assert_eq!(server.runtime.trust_level, Some(TrustLevel::Trusted));
    assert_eq!(server.resume_window, Duration::from_secs(300));
    assert!(server.features.list && server.features.refresh && !server.features.durable);
    assert_eq!(server.limits.as_ref().map(|limits| limits.running_calls), Some(1_024));
    let plain = within(Session::builder(format!("ws://{address}")).bearer("any").plain().connect()).await.unwrap();
    assert!(plain.server().is_none());
}

/// A server with a fingerprint is pinned for the lifetime of the session.
#[tokio::test]
async fn resume_with_wrong_fingerprint_is_rejected() {
    let mut site = Site::new();
    site.tune = |resumption, _| resumption.runtime = named("SHA256:aa");
    let first = site.start(None);
    let session = within(connect(format!("ws://{}", first.address))).await.unwrap();
    let mut events = session.events();
    assert_eq!(session.server().unwrap().runtime.fingerprint.as_deref(), Some("SHA256:aa"));
    site.tune = |resumption, _| resumption.runtime = named("SHA256:bb");
    let _second = site.start(Some(first.kill()));
    loop {
        match within(events.next()).await.expect("an event precedes the end") {
            LinkEvent::Lost { code, .. } => break assert_eq!(code, ErrorCode::WrongRuntime),
            LinkEvent::Detached { .. } => {}
            event => panic!("{event:?}"),
        }
    }
}
