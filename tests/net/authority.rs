//! What a client does about who it is, where its server goes, and what its session holds.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bowline::auth::{Credentials, TrustLevel};
use bowline::inspect::{EntryKind, ListFilter, Status};
use bowline::link::{LinkEvent, RuntimeIdentity};
use bowline::server::Successor;
use bowline::{Connect, ErrorCode, Func, Principal, Resumption, Service, connect};

use crate::failures::{counter, next};
use crate::harness::{serve, service, within};
use crate::proxy::Proxy;
use crate::restart::{DeskRef, Site};

/// Leases of a second; every token counts once.
fn strict(asked: Arc<Mutex<Vec<String>>>) -> Service {
    service().authenticate(move |token: &str| {
        let mut asked = asked.lock().unwrap();
        if !token.starts_with("ann") || asked.iter().any(|old| old == token) {
            return None;
        }
        asked.push(token.to_owned());
        Some(Principal::new("ann").with_lease(Duration::from_secs(1)))
    })
}

#[tokio::test]
async fn a_client_goes_on_from_lease_to_lease() {
    let seen = Arc::default();
    let address = serve(strict(Arc::clone(&seen))).await;
    let shown = AtomicUsize::new(0);
    let session = Connect::new(format!("ws://{address}")).credentials(move |_challenge| {
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
    assert!(seen.lock().unwrap().len() >= 4, "asked each half second: {seen:?}");
    within(session.close()).await;
}

/// What cannot be shown again ends the session by name.
#[tokio::test]
async fn a_client_with_nothing_new_to_show_is_evicted() {
    let address = serve(strict(Arc::default())).await;
    let session = within(Connect::new(format!("ws://{address}")).bearer("ann").connect()).await.unwrap();
    let mut events = session.events();
    let Some(LinkEvent::Lost { code, .. }) = within(events.next()).await else { panic!("lost") };
    assert_eq!(code, ErrorCode::Unauthenticated);
    let error = within(session.root_dyn().call("add", (1, 2)).into_future()).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::Unauthenticated), "{error}");
}

#[tokio::test]
async fn a_client_goes_where_its_server_tells_it_to() {
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
    let draining_to = loop {
        if let LinkEvent::Draining(drain) = within(events.next()).await.unwrap() {
            break drain;
        }
    };
    assert_eq!((draining_to.retry_after_ms, draining_to.resume_url), (Some(300), Some(proxy.url())));
    assert!(draining_to.deadline.is_some());
    // A call made now waits for the successor.
    assert_eq!(within(counter.add(2).into_future()).await.unwrap(), 3);
    assert!(began.elapsed() >= Duration::from_millis(300), "{:?}", began.elapsed());
    assert_eq!(proxy.accepted(), 1);
    within(draining).await.unwrap();
}

/// A session that no store keeps ends with its server, after what it has called is answered.
#[tokio::test]
async fn a_server_that_stops_answers_what_it_has_taken_on() {
    let service = service();
    let address = serve(service.clone()).await;
    let session = within(connect(format!("ws://{address}"))).await.unwrap();
    let mut events = session.events();
    let asked = session.root_dyn();
    let answer = slow_answer();
    let waits = tokio::spawn(async move { asked.call("ask", (answer,)).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    let draining = tokio::spawn(async move { service.drain(Duration::from_secs(5)).await });
    assert!(matches!(within(events.next()).await, Some(LinkEvent::Draining(_))));
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

/// A client that keeps its new calls back goes on to answer.
#[tokio::test]
async fn a_call_that_needs_its_caller_ends_before_a_session_moves() {
    let site = Site::new();
    let first = site.start(None);
    let session = within(connect(format!("ws://{}", first.address))).await.unwrap();
    let mut events = session.events();
    let desk: DeskRef = session.root();
    let waits = tokio::spawn(desk.ask(slow_answer()).into_future());
    tokio::time::sleep(Duration::from_millis(50)).await;
    let service = first.service.clone();
    let draining = first.spawn(async move { service.drain(Duration::from_secs(5)).await });
    assert!(matches!(within(events.next()).await, Some(LinkEvent::Draining(_))));
    assert_eq!(within(waits).await.unwrap().unwrap(), 21);
    let late = tokio::spawn(desk.once().into_future());
    within(draining).await.unwrap();
    let _second = site.start(Some(first.kill()));
    assert_eq!(within(late).await.unwrap().unwrap(), 1);
}

#[tokio::test]
async fn a_session_says_what_it_holds() {
    let address = serve(service()).await;
    let session = within(connect(format!("ws://{address}"))).await.unwrap();
    let counters = [counter(&session).await, counter(&session).await, counter(&session).await];
    let _hangs = tokio::spawn(session.root_dyn().call("hang", ()).into_future());
    tokio::time::sleep(Duration::from_millis(50)).await;
    let all = within(session.list(ListFilter::default(), None, None)).await.unwrap();
    let kinds = |kind| all.objects.iter().filter(|entry| entry.kind == kind).count();
    assert_eq!((kinds(EntryKind::Result), all.next_cursor.as_ref()), (4, None), "{all:?}");
    let running = ListFilter { status: vec![Status::Pending], ..ListFilter::default() };
    let running = within(session.list(running, None, None)).await.unwrap();
    assert_eq!(running.objects.len(), 1, "{running:?}");
    // Page by page it is the same.
    let (mut pages, mut cursor) = (Vec::new(), None);
    loop {
        let page = within(session.list(ListFilter::default(), Some(1), cursor)).await.unwrap();
        assert!(page.objects.len() <= 1);
        pages.extend(page.objects);
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(pages, all.objects);
    let wrong = within(session.list(ListFilter::default(), None, Some("nonsense".to_owned()))).await;
    assert!(wrong.is_err() || wrong.is_ok_and(|page| page.objects.is_empty()), "no entry twice");
    drop(counters);
}

fn named(fingerprint: &str) -> RuntimeIdentity {
    let mut runtime = Resumption::default().runtime;
    runtime.fingerprint = Some(fingerprint.to_owned());
    runtime.display_name = Some("Märchen".to_owned());
    runtime
}

#[tokio::test]
async fn a_client_knows_its_server() {
    let mut resumption = Resumption::default();
    resumption.runtime = named("SHA256:aa");
    let service = service().resumption(resumption);
    let service = service.authenticate(|_: &str| Some(Principal::new("ann").with_trust_level(TrustLevel::Trusted)));
    let address = serve(service).await;
    let session = within(Connect::new(format!("ws://{address}")).bearer("any").connect()).await.unwrap();
    let server = session.server().expect("a link");
    assert_eq!(server.principal.as_deref(), Some("ann"));
    assert_eq!(server.runtime.display_name.as_deref(), Some("Märchen"));
    assert_eq!(server.runtime.trust_level, Some(TrustLevel::Trusted));
    assert_eq!(server.resume_window, Duration::from_secs(300));
    assert!(server.features.list && server.features.refresh && !server.features.durable);
    assert_eq!(server.limits.as_ref().map(|limits| limits.running_calls), Some(1_024));
    let plain = within(Connect::new(format!("ws://{address}")).bearer("any").plain().connect()).await.unwrap();
    assert!(plain.server().is_none());
}

/// Whoever resumes a session has to be who began it, if that had a fingerprint.
#[tokio::test]
async fn a_session_is_not_resumed_by_a_server_of_another_fingerprint() {
    let mut site = Site::new();
    site.tune = |resumption, _| resumption.runtime = named("SHA256:aa");
    let first = site.start(None);
    let session = within(connect(format!("ws://{}", first.address))).await.unwrap();
    let mut events = session.events();
    assert_eq!(session.server().unwrap().runtime.fingerprint.as_deref(), Some("SHA256:aa"));
    site.tune = |resumption, _| resumption.runtime = named("SHA256:bb");
    let _second = site.start(Some(first.kill()));
    loop {
        match within(events.next()).await.expect("an end") {
            LinkEvent::Lost { code, .. } => break assert_eq!(code, ErrorCode::WrongRuntime),
            LinkEvent::Detached { .. } => {}
            event => panic!("{event:?}"),
        }
    }
}
