//! Several server processes that share a store, and clients that reach one or the other.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bowline::link::{LinkEvent, LinkEvents};
use bowline::{ErrorCode, Recovery, Resumption, Session};

use crate::harness::within;
use crate::proxy::Proxy;
use crate::restart::{CounterRef, DeskRef, Process, Site, code, kept};

/// Sets a lease that is far longer than a test, so that waiting for its end fails the test.
fn long_lease(_: &mut Resumption, recovery: &mut Recovery) {
    recovery.lease = Duration::from_secs(60);
}

fn site() -> Site {
    let mut site = Site::new();
    site.tune = long_lease;
    site
}

async fn served(what: impl Future<Output = u64>, expected: u64) {
    let asked = Instant::now();
    assert_eq!(within(what).await, expected);
    assert!(asked.elapsed() < Duration::from_millis(1_500), "{:?}", asked.elapsed());
}

/// Switches the proxy to another process, and waits until the client has noticed.
async fn switched(proxy: &Proxy, to: &Process, events: &mut LinkEvents) {
    proxy.now_to(to.address);
    while !matches!(within(events.next()).await, Some(LinkEvent::Detached { .. })) {}
}

/// Opens a session through a proxy, and calls an object of the server once.
async fn counted(proxy: &Proxy) -> (Session, LinkEvents, CounterRef) {
    let session = within(bowline::connect(proxy.url())).await.unwrap();
    let events = session.events();
    let counter = within(session.root::<DeskRef>().counter("a".to_owned()).into_future()).await.unwrap();
    assert_eq!(within(counter.add(1).into_future()).await.unwrap(), 1);
    (session, events, counter)
}

#[tokio::test]
async fn client_that_reaches_another_live_process_is_served_at_once() {
    let site = site();
    let processes = [site.start(None), site.start(None)];
    let proxy = Proxy::to(processes[0].address).await;
    let (session, mut events, counter) = counted(&proxy).await;
    for n in 1..=6_usize {
        kept(&processes[(n - 1) % 2]).await;
        switched(&proxy, &processes[n % 2], &mut events).await;
        served(async { counter.add(1).into_future().await.unwrap() }, n as u64 + 1).await;
    }
    assert!(session.is_resumable());
}

#[tokio::test]
async fn running_calls_may_complete_before_a_session_moves() {
    let site = site();
    let (one, other) = (site.start(None), site.start(None));
    let proxy = Proxy::to(one.address).await;
    let (session, mut events, counter) = counted(&proxy).await;
    kept(&one).await;
    let hangs = tokio::spawn(session.root::<DeskRef>().hang().into_future());
    while site.world.entered("hang") == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    switched(&proxy, &other, &mut events).await;
    let asked = Instant::now();
    assert_eq!(within(counter.add(1).into_future()).await.unwrap(), 2);
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    assert_eq!(code(within(hangs).await.unwrap()), ErrorCode::CallOutcomeUnknown);
}

#[tokio::test]
async fn client_returns_if_the_advertised_address_does_not_answer() {
    let mut site = Site::new();
    site.tune = |_, recovery| {
        recovery.lease = Duration::from_secs(60);
        let owned = std::mem::replace(recovery, Recovery::in_tokens_unfenced());
        *recovery = owned.advertise("ws://127.0.0.1:1/closed");
    };
    // The advertised address does not answer, which only costs time.
    let (one, other) = (site.start(None), site.start(None));
    let proxy = Proxy::to(one.address).await;
    let (_session, mut events, counter) = counted(&proxy).await;
    kept(&one).await;
    switched(&proxy, &other, &mut events).await;
    let asked = Instant::now();
    assert_eq!(within(counter.add(1).into_future()).await.unwrap(), 2);
    assert!(asked.elapsed() < Duration::from_secs(6), "{:?}", asked.elapsed());
}

#[tokio::test]
async fn redirected_client_loses_nothing() {
    let site = site();
    let at = free_address();
    let url = format!("ws://{at}");
    let owned = site.start_with(Some(at), move |recovery| recovery.advertise(url.clone()));
    let other = site.start(None);
    let proxy = Proxy::to(owned.address).await;
    let session = within(bowline::connect(proxy.url())).await.unwrap();
    let mut events = session.events();
    let desk: DeskRef = session.root();
    // An object without a recipe, which would not survive the move to another process.
    let fleeting = within(desk.fleeting().into_future()).await.unwrap();
    switched(&proxy, &other, &mut events).await;
    served(async { fleeting.add(7).into_future().await.unwrap() }, 7).await;
    loop {
        match within(events.next()).await.unwrap() {
            LinkEvent::Detached { .. } => {}
            LinkEvent::Resumed { .. } => break,
            event => panic!("{event:?}"),
        }
    }
}

#[tokio::test]
async fn later_of_two_clients_gets_the_session_at_any_process() {
    let site = site();
    let (one, other) = (site.start(None), site.start(None));
    let saved = Arc::new(std::sync::Mutex::new(Vec::new()));
    let writing = Arc::clone(&saved);
    let write = move |bytes| {
        *writing.lock().unwrap() = bytes;
        async { Ok(()) }
    };
    let connect = Session::builder(format!("ws://{}", one.address)).save(write);
    let earlier = within(connect.connect()).await.unwrap();
    let desk: DeskRef = earlier.root();
    within(desk.note("kept".to_owned()).into_future()).await.unwrap();
    kept(&one).await;
    within(earlier.save()).await.unwrap();
    // A session is not released within two seconds after its client has connected.
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    let bytes = saved.lock().unwrap().clone();
    let asked = Instant::now();
    let later = within(Session::builder(format!("ws://{}", other.address)).reattach(bytes).connect()).await.unwrap();
    assert!(asked.elapsed() < Duration::from_millis(1_500), "{:?}", asked.elapsed());
    let desk: DeskRef = later.root();
    assert_eq!(within(desk.noted().into_future()).await.unwrap(), Some("kept".to_owned()));
    let closed = within(earlier.closed()).await;
    assert!(
        [Some(ErrorCode::SessionTakenOver), Some(ErrorCode::ResumeTokenReplayed)].contains(&closed.code()),
        "{closed:?}"
    );
}

#[tokio::test]
async fn new_process_of_an_instance_does_not_wait_for_the_lease() {
    let mut site = Site::new();
    site.tune = |_, recovery| {
        let owned = std::mem::replace(recovery, Recovery::in_tokens_unfenced());
        *recovery = owned.instance("desk-0");
        recovery.lease = Duration::from_secs(60);
    };
    let first = site.start(None);
    let proxy = Proxy::to(first.address).await;
    let (_session, mut events, counter) = counted(&proxy).await;
    kept(&first).await;
    let second = site.start(None);
    first.kill();
    switched(&proxy, &second, &mut events).await;
    served(async { counter.add(1).into_future().await.unwrap() }, 2).await;
}

fn free_address() -> std::net::SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
