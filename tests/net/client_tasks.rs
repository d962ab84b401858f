//! What happens to a client's session when its task, its runtime, or its handles end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bowline_client::{ConnectError, Credentials, LinkEvent, Session, connect};
use bowline_core::error::ErrorCode;
use bowline_core::peer::{Func, Never, Promise, Reference, Stub};
use bowline_server::store::MemoryStore;
use bowline_server::{LinkRules, Recovery, Resumption, Service};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::harness::{serve, service, within};
use crate::proxy::Proxy;

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < Duration::from_secs(10), "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn with_window(window: Duration) -> Service {
    let mut resumption = Resumption::default();
    resumption.window = window;
    service().resumption(resumption)
}

#[tokio::test]
async fn panicking_credentials_count_as_a_failed_attempt() {
    let proxy = Proxy::to(serve(service()).await).await;
    let asked = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&asked);
    let ask = move |_challenge| {
        let n = counting.fetch_add(1, Ordering::SeqCst);
        // The second call panics in the function itself, the third in its future.
        assert!(n != 1, "a panic of the application");
        async move {
            assert!(n != 2, "a panic of the application");
            Credentials::default()
        }
    };
    let session = within(Session::builder(proxy.url()).credentials(ask).connect()).await.unwrap();
    let mut events = session.events();
    proxy.cut();
    assert!(matches!(within(events.next()).await, Some(LinkEvent::Detached { .. })));
    assert!(matches!(within(events.next()).await, Some(LinkEvent::Resumed { .. })));
    assert_eq!(within(session.root_dyn().call("add", (1, 2)).into_future()).await.unwrap(), 3.into());
    assert_eq!(asked.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn unlimited_resume_window_works() {
    for window in [Duration::MAX, Duration::from_secs(u64::MAX / 2)] {
        let proxy = Proxy::to(serve(with_window(window)).await).await;
        let session = within(connect(proxy.url())).await.unwrap();
        let mut events = session.events();
        proxy.cut();
        assert!(matches!(within(events.next()).await, Some(LinkEvent::Detached { .. })));
        assert!(matches!(within(events.next()).await, Some(LinkEvent::Resumed { .. })));
    }
}

#[test]
fn session_whose_runtime_ends_fails_its_callers() {
    let servers = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let owner = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let callers = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let address = servers.block_on(serve(service()));
    let session = owner.block_on(connect(format!("ws://{address}"))).unwrap();
    let hangs = session.root_dyn().call("hang", ());
    let waiting = callers.spawn(hangs.into_future());
    let mut events = session.events();
    owner.shutdown_background();
    callers.block_on(async {
        assert!(within(waiting).await.unwrap().is_err());
        let closed = within(session.closed()).await;
        assert_eq!(closed.code(), Some(ErrorCode::AgentDisconnected));
        while within(events.next()).await.is_some() {}
        assert!(within(session.root_dyn().call("add", (1, 2)).into_future()).await.is_err());
    });
}

#[tokio::test]
async fn hanging_save_does_not_prevent_a_resume() {
    let proxy = Proxy::to(serve(service()).await).await;
    let (hangs, writes) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let (hanging, counting) = (Arc::clone(&hangs), Arc::clone(&writes));
    let write = move |_bytes| {
        let (hanging, counting) = (Arc::clone(&hanging), Arc::clone(&counting));
        async move {
            counting.fetch_add(1, Ordering::SeqCst);
            if hanging.load(Ordering::SeqCst) {
                std::future::pending::<()>().await;
            }
            Ok(())
        }
    };
    let session = within(Session::builder(proxy.url()).save(write).connect()).await.unwrap();
    hangs.store(true, Ordering::SeqCst);
    let before = writes.load(Ordering::SeqCst);
    let mut events = session.events();
    for _ in 0..3 {
        let began = Instant::now();
        proxy.cut();
        assert!(matches!(within(events.next()).await, Some(LinkEvent::Detached { .. })));
        assert!(matches!(within(events.next()).await, Some(LinkEvent::Resumed { .. })));
        assert_eq!(within(session.root_dyn().call("add", (1, 2)).into_future()).await.unwrap(), 3.into());
        assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    }
    assert_eq!(writes.load(Ordering::SeqCst), before + 1, "writes must not overlap");
}

#[tokio::test]
async fn panicking_save_does_not_prevent_a_resume() {
    let proxy = Proxy::to(serve(service()).await).await;
    let panics = Arc::new(AtomicBool::new(false));
    let panicking = Arc::clone(&panics);
    let write = move |_bytes| {
        assert!(!panicking.load(Ordering::SeqCst), "a panic of the application");
        async { Ok(()) }
    };
    let session = within(Session::builder(proxy.url()).save(write).connect()).await.unwrap();
    panics.store(true, Ordering::SeqCst);
    let mut events = session.events();
    proxy.cut();
    assert!(matches!(within(events.next()).await, Some(LinkEvent::Detached { .. })));
    assert!(matches!(within(events.next()).await, Some(LinkEvent::Resumed { .. })));
    assert_eq!(within(session.root_dyn().call("add", (1, 2)).into_future()).await.unwrap(), 3.into());
}

#[tokio::test]
async fn longest_durations_mean_never() {
    let mut resumption = Resumption::default();
    resumption.window = Duration::MAX;
    resumption.rules.heartbeat = Duration::MAX;
    resumption.rules.dead_after = Duration::MAX;
    resumption.rules.close_grace = Duration::MAX;
    resumption.tokens.token_lifetime = Duration::MAX;
    resumption.tokens.session_lifetime = Duration::MAX;
    let mut http = bowline_server::HttpLimits::default();
    http.batch_time = Duration::MAX;
    http.handshake = Duration::MAX;
    http.keep_alive.ping_after = Duration::MAX;
    http.keep_alive.pong_within = Duration::MAX;
    let mut recovery = Recovery::in_store(MemoryStore::new());
    recovery.lease = Duration::MAX;
    recovery.idle = Duration::MAX;
    recovery.latest = Duration::MAX;
    let service = service().resumption(resumption).recovery(recovery).http_limits(http.clone());
    let proxy = Proxy::to(serve(service).await).await;
    let mut rules = LinkRules::default();
    rules.heartbeat = Duration::MAX;
    rules.dead_after = Duration::MAX;
    let connect =
        Session::builder(proxy.url()).connect_timeout(Duration::MAX).keep_alive(http.keep_alive).link_rules(rules);
    let session = within(connect.connect()).await.unwrap();
    let mut events = session.events();
    proxy.cut();
    assert!(matches!(within(events.next()).await, Some(LinkEvent::Detached { .. })));
    assert!(matches!(within(events.next()).await, Some(LinkEvent::Resumed { .. })));
    assert_eq!(within(session.root_dyn().call("add", (1, 2)).into_future()).await.unwrap(), 3.into());
    let batch = bowline_client::batch(proxy.url()).unwrap();
    let api = batch.root_dyn();
    let sum = batch.send(async move { Promise::timeout(api.call("add", (2, 3)), Duration::MAX).await });
    assert_eq!(within(sum).await.unwrap(), 5.into());
}

/// Evicts all sessions of the server, connected or parked, and returns their number.
fn held(service: &Service) -> usize {
    service.evict_principal("", &ErrorCode::PermissionDenied, "the test counts them")
}

#[tokio::test]
async fn last_handle_ends_the_session() {
    for plain in [false, true] {
        let service = service();
        let proxy = Proxy::to(serve(service.clone()).await).await;
        let connect = || if plain { Session::builder(proxy.url()).plain() } else { Session::builder(proxy.url()) };
        let session = within(connect().connect()).await.unwrap();
        let root = session.root_dyn();
        let counter = root.call("counter", ()).stub().clone();
        drop(session);
        drop(root);
        for n in 1..=2 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            assert_eq!(within(counter.call("next", ()).into_future()).await.unwrap(), n.into());
        }
        let hangs = tokio::spawn(counter.call("next", ()).into_future());
        drop(counter);
        within(hangs).await.unwrap().unwrap();
        until("the connection was not closed", || proxy.open() == 0).await;
        assert_eq!(held(&service), 0, "plain: {plain}");
    }
}

#[tokio::test]
async fn last_handle_ends_a_session_without_a_connection() {
    let service = service();
    let proxy = Proxy::to(serve(service.clone()).await).await;
    let session = within(connect(proxy.url())).await.unwrap();
    let root = session.root_dyn();
    let mut events = session.events();
    proxy.set_down(true);
    proxy.cut();
    assert!(matches!(within(events.next()).await, Some(LinkEvent::Detached { .. })));
    drop(session);
    drop(root);
    assert!(within(events.next()).await.is_none(), "events continued after the session had ended");
}

#[tokio::test]
async fn dropped_connect_leaves_no_session() {
    let service = service();
    let proxy = Proxy::to(serve(service.clone()).await).await;
    for polls_ms in 0..20 {
        let connecting = tokio::time::timeout(Duration::from_millis(polls_ms), connect(proxy.url()));
        drop(connecting.await);
    }
    until("the connections were not closed", || proxy.open() == 0).await;
}

#[tokio::test]
async fn detached_session_serves_objects_given_to_the_server() {
    let bells = Arc::new(std::sync::Mutex::new(Vec::<Stub>::new()));
    let kept = Arc::clone(&bells);
    let service = Service::new(move |_peer| {
        let kept = Arc::clone(&kept);
        let keep = Func::<(Stub,), u32, Never>::new(move |(bell,): (Stub,)| {
            kept.lock().unwrap().push(bell);
            async { 1 }
        });
        keep.stub().clone()
    });
    let address = serve(service).await;
    for detaches in [true, false] {
        let session = within(connect(format!("ws://{address}"))).await.unwrap();
        let bell = Func::<(), u32, Never>::new(|()| async { 7 });
        within(session.root_dyn().call("", (bell,)).into_future()).await.unwrap();
        if detaches {
            session.detach();
        } else {
            drop(session);
        }
        let bell = bells.lock().unwrap().pop().unwrap();
        if detaches {
            tokio::time::sleep(Duration::from_millis(100)).await;
            assert_eq!(within(bell.call("", ()).into_future()).await.unwrap(), 7.into());
        } else {
            within(bell.broken()).await;
        }
    }
}

/// Cuts the first `cuts` connections during their handshake, and forwards later ones.
async fn cutting(server: std::net::SocketAddr, cuts: usize, after: usize) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let accepted = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&accepted);
    tokio::spawn(async move {
        loop {
            let (mut client, _peer) = listener.accept().await.unwrap();
            let n = counting.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                if n < cuts {
                    let mut head = vec![0; 4096];
                    drop(client.read(&mut head).await);
                    drop(client.write_all(&b"HTTP/1.1 101 Switching Protocols\r\n"[..after]).await);
                    return;
                }
                let mut server = tokio::net::TcpStream::connect(server).await.unwrap();
                drop(tokio::io::copy_bidirectional(&mut client, &mut server).await);
            });
        }
    });
    (url, accepted)
}

#[tokio::test]
async fn interrupted_handshake_is_retried() {
    let server = serve(service()).await;
    for (plain, after) in [(false, 0), (false, 20), (true, 0), (true, 20)] {
        let (url, accepted) = cutting(server, 3, after).await;
        let connect = if plain { Session::builder(url).plain() } else { Session::builder(url) };
        let session = within(connect.connect()).await.unwrap();
        assert_eq!(within(session.root_dyn().call("add", (1, 2)).into_future()).await.unwrap(), 3.into());
        assert_eq!(accepted.load(Ordering::SeqCst), 4);
    }
}

#[tokio::test]
async fn handshake_that_is_always_interrupted_fails_with_its_cause() {
    let server = serve(service()).await;
    let (url, accepted) = cutting(server, usize::MAX, 0).await;
    let error = within(Session::builder(url).connect_timeout(Duration::from_secs(1)).connect()).await.unwrap_err();
    assert!(matches!(error, ConnectError::Handshake(_)), "{error}");
    assert!(accepted.load(Ordering::SeqCst) > 1);
}
