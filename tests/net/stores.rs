//! Stores that fail while sessions are open, or when one is recovered.

use std::sync::Arc;
use std::time::Duration;

use bowline::link::{LinkEvent, LinkEvents};
use bowline::store::MemoryStore;
use bowline::{ErrorCode, Session};

use crate::faulty::{Fault, FaultyStore};
use crate::harness::within;
use crate::proxy::Proxy;
use crate::restart::{CounterRef, DeskRef, Process, Site, connect, kept, restored};

fn site() -> (Site, FaultyStore) {
    let store = FaultyStore::new(Arc::new(MemoryStore::new()));
    let mut site = Site::new();
    site.store = Arc::new(store.clone());
    (site, store)
}

/// A session that holds a counter, and that the server has stored.
struct Holding {
    first: Process,
    session: Session,
    desk: DeskRef,
    events: LinkEvents,
    counter: CounterRef,
}

async fn holding(site: &Site) -> Holding {
    let first = site.start(None);
    let (session, desk) = connect(&first).await;
    let events = session.events();
    let counter = within(desk.counter("a".to_owned()).into_future()).await.unwrap();
    kept(&first).await;
    Holding { first, session, desk, events, counter }
}

/// While the store is down, nothing is stored and nothing waits for it. When it is back, the current state is
/// stored.
#[tokio::test]
async fn store_outage_during_checkpoints_delays_no_call() {
    let (site, store) = site();
    let Holding { first, session: _session, desk, mut events, counter } = holding(&site).await;
    store.set_fault(Fault::Refuse);
    for n in 1..=20 {
        assert_eq!(within(counter.add(1).into_future()).await.unwrap(), n);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let late = within(desk.counter("b".to_owned()).into_future()).await.unwrap();
    store.set_fault(Fault::None);
    kept(&first).await;
    let _second = site.start(Some(first.kill()));
    assert!(matches!(restored(&mut events).await, LinkEvent::Recovered { lost: 0, .. }));
    assert_eq!(
        within(late.add(3).into_future()).await.unwrap(),
        3,
        "the object created while the store was down was lost"
    );
    assert_eq!(within(counter.add(1).into_future()).await.unwrap(), 21);
}

/// A slow store delays checkpoints but no calls.
#[tokio::test]
async fn slow_store_delays_no_call() {
    let (site, store) = site();
    let Holding { first: _first, session, counter, .. } = holding(&site).await;
    store.set_lag(Duration::from_millis(300));
    let began = std::time::Instant::now();
    for n in 1..=50 {
        assert_eq!(within(counter.add(1).into_future()).await.unwrap(), n);
    }
    assert!(began.elapsed() < Duration::from_millis(300), "{:?}", began.elapsed());
    within(session.close()).await;
}

/// The store is down when a session is to be recovered. The client retries until the store is back.
#[tokio::test]
async fn recovery_waits_for_a_store_outage_to_end() {
    let (site, store) = site();
    let Holding { first, session: _session, mut events, counter, .. } = holding(&site).await;
    store.set_fault(Fault::Refuse);
    let _second = site.start(Some(first.kill()));
    assert!(matches!(within(events.next()).await, Some(LinkEvent::Detached { .. })));
    let waiting = tokio::spawn(counter.add(1).into_future());
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!waiting.is_finished());
    store.set_fault(Fault::None);
    assert!(matches!(restored(&mut events).await, LinkEvent::Recovered { lost: 0, .. }));
    assert_eq!(within(waiting).await.unwrap().unwrap(), 1);
}

/// If the store is not back within the resume window, the session is lost with its code.
#[tokio::test]
async fn lasting_store_outage_loses_the_session_with_its_code() {
    let (mut site, store) = site();
    site.tune = |resumption, _| resumption.window = Duration::from_secs(2);
    let Holding { first, session: _session, mut events, counter, .. } = holding(&site).await;
    store.set_fault(Fault::Refuse);
    let _second = site.start(Some(first.kill()));
    let LinkEvent::Lost { code, .. } = restored(&mut events).await else { panic!("lost") };
    assert_eq!(code, ErrorCode::StoreUnavailable);
    let error = within(counter.add(1).into_future()).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::StoreUnavailable), "{error}");
}

/// The stored snapshot is corrupt. The token refers to this snapshot, so no other can be used.
#[tokio::test]
async fn corrupt_checkpoint_is_refused_with_its_code() {
    let (mut site, store) = site();
    // Otherwise the token would contain the small state, and the store would not be read.
    site.tune = |resumption, _| resumption.tokens.inline_bytes = 0;
    let Holding { first, session: _session, mut events, .. } = holding(&site).await;
    store.set_fault(Fault::Spoil);
    let second = site.start(Some(first.kill()));
    let event = restored(&mut events).await;
    let LinkEvent::Lost { code, .. } = event else { panic!("{event:?}") };
    assert_eq!(code, ErrorCode::StoreCorrupt);
    // Other sessions are not affected.
    let (_other, desk) = connect(&second).await;
    assert_eq!(within(desk.counter("a".to_owned()).add(1).into_future()).await.unwrap(), 1);
}

/// The store has lost all its data, like a Redis server that was flushed. The session continues, is stored anew,
/// and survives the end of its process.
#[tokio::test]
async fn store_that_loses_its_data_ends_no_session() {
    let (site, store) = site();
    let Holding { first, session: _session, desk, mut events, counter } = holding(&site).await;
    assert_eq!(within(desk.once().into_future()).await.unwrap(), 1);
    store.replace(Arc::new(MemoryStore::new()));
    assert_eq!(within(desk.once().into_future()).await.unwrap(), 2, "the recorded call failed");
    assert_eq!(within(counter.add(1).into_future()).await.unwrap(), 1);
    // Waits for longer than the lease.
    tokio::time::sleep(Duration::from_millis(2_000)).await;
    assert_eq!(within(counter.add(1).into_future()).await.unwrap(), 2);
    kept(&first).await;
    let _second = site.start(Some(first.kill()));
    assert!(matches!(restored(&mut events).await, LinkEvent::Recovered { lost: 0, .. }));
    assert_eq!(within(counter.add(1).into_future()).await.unwrap(), 3);
}

/// An idle session is stored anew without a call.
#[tokio::test]
async fn idle_session_is_stored_anew_by_the_next_lease_renewal() {
    let (site, store) = site();
    let Holding { first, session: _session, desk: _desk, mut events, counter } = holding(&site).await;
    store.replace(Arc::new(MemoryStore::new()));
    tokio::time::sleep(Duration::from_millis(2_000)).await;
    let _second = site.start(Some(first.kill()));
    assert!(matches!(restored(&mut events).await, LinkEvent::Recovered { lost: 0, .. }));
    assert_eq!(within(counter.add(1).into_future()).await.unwrap(), 1);
}

/// Tokens that were in flight, or being minted, when the connection ended reach the client over the next
/// connection. They must be valid there.
#[tokio::test]
async fn two_cuts_within_a_second_lose_no_session() {
    let (mut site, store) = site();
    site.tune = |_, recovery| {
        (recovery.idle, recovery.latest) = (Duration::from_millis(250), Duration::from_secs(1));
    };
    store.set_lag(Duration::from_millis(30));
    let process = site.start(None);
    let proxy = Proxy::to(process.address).await;
    let cut_twice = [0, 50, 150, 300, 600, 1_000].map(|ms| (Duration::from_millis(ms), proxy.clone()));
    for (pause, proxy) in cut_twice {
        let session = within(bowline::connect(proxy.url())).await.unwrap();
        let desk: DeskRef = session.root();
        let mut events = session.events();
        let counter = within(desk.counter(format!("{pause:?}")).into_future()).await.unwrap();
        for cut in 1..=4 {
            assert_eq!(within(counter.add(1).into_future()).await.unwrap(), 2 * cut - 1);
            // What the server sends now is held back, including the token of the checkpoint.
            proxy.set_held(true);
            tokio::time::sleep(Duration::from_millis(if cut == 1 { 600 } else { 260 })).await;
            for again in [pause, Duration::ZERO] {
                proxy.cut();
                proxy.set_held(false);
                let event = restored(&mut events).await;
                assert!(matches!(event, LinkEvent::Resumed { .. }), "{pause:?}, cut {cut}: {event:?}");
                tokio::time::sleep(again).await;
            }
            assert_eq!(within(counter.add(1).into_future()).await.unwrap(), 2 * cut);
        }
    }
}

/// The store may take the process for dead. The process handles no message until it knows that it was not.
#[tokio::test]
async fn calls_wait_while_the_owner_is_in_doubt() {
    let (site, store) = site();
    let Holding { first: _first, session: _session, mut events, counter, .. } = holding(&site).await;
    store.set_doubts(true);
    // The process learns of it in another task.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let waiting = tokio::spawn(counter.add(1).into_future());
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!waiting.is_finished());
    assert_eq!(site.world.counted("a"), 0);
    store.set_doubts(false);
    assert!(matches!(restored(&mut events).await, LinkEvent::Resumed { .. }));
    assert_eq!(within(waiting).await.unwrap().unwrap(), 1);
}

/// The lease of a process ends while a renewal of it is under way. A client that opens a session then must not
/// keep the process from ending the sessions of that lease, which their clients recover.
#[tokio::test]
async fn session_of_an_ended_lease_is_recovered_although_another_client_connects_first() {
    let (site, store) = site();
    let Holding { first, session: _session, mut events, counter, .. } = holding(&site).await;
    // A renewal takes longer than the lease, which is 1.5 s.
    store.set_lag(Duration::from_secs(2));
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    store.set_lag(Duration::ZERO);
    let (_other, desk) = connect(&first).await;
    within(desk.counter("b".to_owned()).into_future()).await.unwrap();
    assert_eq!(within(counter.add(1).into_future()).await.unwrap(), 1);
    assert!(matches!(restored(&mut events).await, LinkEvent::Recovered { lost: 0, .. }));
}
