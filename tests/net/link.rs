//! Sessions that outlive their connections, over real connections that fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bowline_client::{LinkEvent, Session, connect};
use bowline_core::peer::{Func, Never, Promise, Stub};
use bowline_core::session::ClosedBy;
use bowline_server::{LinkRules, Principal, Resumption, Service};

use crate::harness::{serve, service, within};
use crate::proxy::Proxy;

fn resumption(window: Duration) -> Resumption {
    let mut resumption = Resumption::default();
    resumption.window = window;
    resumption
}

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < Duration::from_secs(10), "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn warm_resume_200_calls_10_cuts_exactly_once() {
    let proxy = Proxy::to(serve(service()).await).await;
    let session = connect(proxy.url()).await.unwrap();
    assert!(session.is_resumable());
    let mut events = session.events();
    let resumes = tokio::spawn(async move {
        for _ in 0..10 {
            while !matches!(events.next().await, Some(LinkEvent::Resumed { .. })) {}
        }
    });
    let counter = Promise::stub(&session.root_dyn().call("counter", ())).clone();
    for call in 1..=200_u32 {
        if call % 20 == 0 {
            proxy.cut();
        }
        let next = within(counter.call("next", ()).into_future()).await.unwrap();
        assert_eq!(next, f64::from(call).into());
    }
    within(resumes).await.unwrap();
    assert_eq!(proxy.accepted(), 11);
}

#[tokio::test]
async fn calls_in_flight_callbacks_and_pipelines_survive_cuts() {
    let proxy = Proxy::to(serve(service()).await).await;
    let session = connect(proxy.url()).await.unwrap();
    let api = session.root_dyn();
    let called = Arc::new(AtomicU64::new(0));
    let (cutting, counting) = (proxy.clone(), called.clone());
    let double = Func::<(f64,), f64, Never>::new(move |(n,): (f64,)| {
        let (cutting, counting) = (cutting.clone(), counting.clone());
        async move {
            // Cuts the connection while the call is running, so that its reply is cut off.
            counting.fetch_add(1, Ordering::SeqCst);
            cutting.cut();
            tokio::time::sleep(Duration::from_millis(5)).await;
            n * 2.0
        }
    });
    for _ in 0..20 {
        let answer = within(api.call("ask", (double.clone(),)).into_future()).await.unwrap();
        assert_eq!(answer, 40.into());
        let sum = api.call("add", (2, 3));
        assert_eq!(within(api.call("add", (&sum, 4)).into_future()).await.unwrap(), 9.into());
    }
    assert_eq!(called.load(Ordering::SeqCst), 20);
    drop(double);
    until("references were not released", || session.stats().exports == 1 && session.stats().imports == 1).await;
}

#[tokio::test]
async fn cuts_under_load_lose_and_repeat_nothing() {
    let cuts: u64 = std::env::var("BOWLINE_CUTS").ok().and_then(|cuts| cuts.parse().ok()).unwrap_or(200);
    let proxy = Proxy::to(serve(service()).await).await;
    let session = connect(proxy.url()).await.unwrap();
    let running = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let (api, running) = (session.root_dyn(), running.clone());
            tokio::spawn(async move {
                let counter = Promise::stub(&api.call("counter", ())).clone();
                let mut calls = 0_u32;
                while running.load(Ordering::SeqCst) {
                    calls += 1;
                    let next = counter.call("next", ()).await.unwrap();
                    assert_eq!(next, f64::from(calls).into());
                }
                calls
            })
        })
        .collect();
    let mut events = session.events();
    for cut in 0..cuts {
        tokio::time::sleep(Duration::from_micros(cut * 37 % 3_000)).await;
        proxy.cut();
        while !matches!(within(events.next()).await, Some(LinkEvent::Resumed { .. })) {}
    }
    running.store(false, Ordering::SeqCst);
    let mut calls = 0;
    for caller in callers {
        calls += within(caller).await.unwrap();
    }
    assert!(u64::from(calls) > cuts, "{calls} calls");
}

#[tokio::test]
async fn half_open_connection_is_detected_and_replaced() {
    let mut rules = LinkRules::default();
    rules.heartbeat = Duration::from_millis(100);
    rules.dead_after = Duration::from_millis(250);
    let mut resumption = resumption(Duration::from_secs(10));
    resumption.rules = rules.clone();
    let proxy = Proxy::to(serve(service().resumption(resumption)).await).await;
    let session = Session::builder(proxy.url()).link_rules(rules).connect().await.unwrap();
    let counter = Promise::stub(&session.root_dyn().call("counter", ())).clone();
    assert_eq!(within(counter.call("next", ()).into_future()).await.unwrap(), 1.into());
    // An idle session keeps its connection.
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(proxy.accepted(), 1);
    proxy.go_black();
    assert_eq!(within(counter.call("next", ()).into_future()).await.unwrap(), 2.into());
    assert_eq!(proxy.accepted(), 2);
}

/// The client returns after the resume window has ended. The session is not stored.
#[tokio::test]
async fn client_that_returns_too_late_loses_its_session() {
    let service = service().resumption(resumption(Duration::from_millis(200)));
    let proxy = Proxy::to(serve(service.clone()).await).await;
    let session = connect(proxy.url()).await.unwrap();
    let mut events = session.events();
    let hanging = session.root_dyn().call("hang", ()).into_future();
    proxy.set_down(true);
    assert!(matches!(within(events.next()).await, Some(LinkEvent::Detached { .. })));
    until("the session was not parked", || service.parked_sessions() == 1).await;
    until("the session was not removed", || service.parked_sessions() == 0).await;
    proxy.set_down(false);
    let error = within(hanging).await.unwrap_err();
    assert!(error.is_lost(), "{error}");
    let closed = within(session.closed()).await;
    assert_eq!((closed.by, closed.cause.name()), (ClosedBy::Transport, "RESUME_WINDOW_EXPIRED"));
    assert!(matches!(within(events.next()).await, Some(LinkEvent::Lost { .. })));
    assert!(!session.is_resumable());
}

#[tokio::test]
async fn client_crash_frees_everything_after_the_window() {
    struct Root(Arc<AtomicU64>);
    impl Drop for Root {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let dropped = Arc::new(AtomicU64::new(0));
    let dropping = dropped.clone();
    let service = Service::new(move |_peer| {
        let root = Root(dropping.clone());
        Func::<(), bool, Never>::new(move |()| {
            let alive = &root;
            std::future::ready(alive.0.load(Ordering::SeqCst) == 0)
        })
    });
    let service = service.resumption(resumption(Duration::from_millis(100)));
    let proxy = Proxy::to(serve(service.clone()).await).await;
    let session = connect(proxy.url()).await.unwrap();
    assert_eq!(within(session.root_dyn().call("", ()).into_future()).await.unwrap(), true.into());
    proxy.set_down(true);
    until("the session's objects were not dropped", || dropped.load(Ordering::SeqCst) == 1).await;
    assert_eq!(service.parked_sessions(), 0);
}

#[tokio::test]
async fn closed_session_ends_on_both_sides() {
    let service = service();
    let session = connect(format!("ws://{}", serve(service.clone()).await)).await.unwrap();
    session.root_dyn().call("add", (1, 2)).await.unwrap();
    assert_eq!(within(session.close()).await.by, ClosedBy::Local);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(service.parked_sessions(), 0);
    assert!(!session.is_resumable());
}

#[tokio::test]
async fn bearer_tokens_work_with_and_without_the_link() {
    let service = Service::new(|peer| {
        let id = peer.principal.id.clone();
        Func::<(), String, Never>::new(move |()| std::future::ready(id.clone()))
    });
    let service = service.authenticate(|token: &str| (token == "knot").then(|| Principal::new("ann")));
    let url = format!("ws://{}", serve(service).await);
    let refused = Session::builder(&url).bearer("know").connect().await.unwrap_err();
    assert_eq!(refused.to_string(), "the server refused: 401 Unauthorized: the token is invalid");
    assert!(connect(&url).await.unwrap_err().to_string().contains("401"));
    for session in [
        Session::builder(&url).bearer("knot"),
        Session::builder(&url).bearer("knot").plain(),
        Session::builder(&url).header("authorization", "Bearer knot"),
    ] {
        let session = session.connect().await.unwrap();
        assert_eq!(within(session.root_dyn().call("", ()).into_future()).await.unwrap(), "ann".into());
    }
    let refused = Session::builder(&url).plain().connect().await.unwrap_err();
    assert_eq!(refused.to_string(), "the server refused: 401 Unauthorized: a bearer token is required");
}

#[tokio::test]
async fn server_without_the_link_gets_plain_sessions() {
    // A window of zero makes the server decline the subprotocol, as a server without the link does.
    let service = service().resumption(resumption(Duration::ZERO));
    let proxy = Proxy::to(serve(service).await).await;
    for dials in [2, 3] {
        let session = connect(proxy.url()).await.unwrap();
        assert!(!session.is_resumable());
        assert_eq!(within(session.root_dyn().call("add", (1, 2)).into_future()).await.unwrap(), 3.into());
        // The client remembers that the server is plain, so the second session takes one dial.
        assert_eq!(proxy.accepted(), dials);
    }
}

#[tokio::test]
async fn calls_of_a_detached_session_wait() {
    let proxy = Proxy::to(serve(service()).await).await;
    let session = connect(proxy.url()).await.unwrap();
    let api: Stub = session.root_dyn();
    api.call("add", (1, 1)).await.unwrap();
    proxy.set_down(true);
    let waiting: Vec<_> = (0..50).map(|n| api.call("add", (n, 1)).into_future()).collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    proxy.set_down(false);
    for (n, waiting) in (0..50).zip(waiting) {
        assert_eq!(within(waiting).await.unwrap(), (n + 1).into());
    }
}
