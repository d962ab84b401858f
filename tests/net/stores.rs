//! Stores that fail while sessions live, and when one is to be had back.

use std::sync::Arc;
use std::time::Duration;

use bowline::link::{Events, LinkEvent};
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

/// A session that holds a counter, which its server has kept.
struct Holding {
    first: Process,
    session: Session,
    desk: DeskRef,
    events: Events,
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

/// F20: nothing is kept while the store is down, and nothing waits for it. When it is back, what has
/// happened meanwhile is kept.
#[tokio::test]
async fn a_store_that_is_down_at_a_checkpoint_holds_nothing_up() {
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
    assert!(matches!(restored(&mut events).await, LinkEvent::Restored { lost: 0, .. }));
    assert_eq!(within(late.add(3).into_future()).await.unwrap(), 3, "what was made while it was down is there");
    assert_eq!(within(counter.add(1).into_future()).await.unwrap(), 21);
}

/// A store whose answers come late delays checkpoints, and no call.
#[tokio::test]
async fn a_store_that_lags_holds_nothing_up() {
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

/// F21: the store is down when a session is to be had back. The client tries again, and has it when
/// the store is back.
#[tokio::test]
async fn a_store_that_is_down_at_a_resume_is_waited_for() {
    let (site, store) = site();
    let Holding { first, session: _session, mut events, counter, .. } = holding(&site).await;
    store.set_fault(Fault::Refuse);
    let _second = site.start(Some(first.kill()));
    assert!(matches!(within(events.next()).await, Some(LinkEvent::Detached { .. })));
    let waiting = tokio::spawn(counter.add(1).into_future());
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!waiting.is_finished());
    store.set_fault(Fault::None);
    assert!(matches!(restored(&mut events).await, LinkEvent::Restored { lost: 0, .. }));
    assert_eq!(within(waiting).await.unwrap().unwrap(), 1);
}

/// F21: and if it does not come back in time, that is why the session is lost.
#[tokio::test]
async fn a_store_that_stays_down_loses_the_session_by_name() {
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

/// F22: what was kept has been damaged. The token names one state and no other will do.
#[tokio::test]
async fn a_damaged_checkpoint_is_refused_by_name() {
    let (mut site, store) = site();
    // Small states are in the token itself, and need no store.
    site.tune = |resumption, _| resumption.tokens.inline_bytes = 0;
    let Holding { first, session: _session, mut events, .. } = holding(&site).await;
    store.set_fault(Fault::Spoil);
    let second = site.start(Some(first.kill()));
    let event = restored(&mut events).await;
    let LinkEvent::Lost { code, .. } = event else { panic!("{event:?}") };
    assert_eq!(code, ErrorCode::StoreCorrupt);
    // Nobody else notices.
    let (_other, desk) = connect(&second).await;
    assert_eq!(within(desk.counter("a".to_owned()).add(1).into_future()).await.unwrap(), 1);
}

/// The store has lost everything, as a Redis server that was flushed. The session goes on, is stored anew, and
/// survives the end of its process.
#[tokio::test]
async fn a_store_that_forgets_ends_no_session() {
    let (site, store) = site();
    let Holding { first, session: _session, desk, mut events, counter } = holding(&site).await;
    assert_eq!(within(desk.once().into_future()).await.unwrap(), 1);
    store.replace(Arc::new(MemoryStore::new()));
    assert_eq!(within(desk.once().into_future()).await.unwrap(), 2, "nobody else has the session");
    assert_eq!(within(counter.add(1).into_future()).await.unwrap(), 1);
    // Longer than the lease.
    tokio::time::sleep(Duration::from_millis(2_000)).await;
    assert_eq!(within(counter.add(1).into_future()).await.unwrap(), 2);
    kept(&first).await;
    let _second = site.start(Some(first.kill()));
    assert!(matches!(restored(&mut events).await, LinkEvent::Restored { lost: 0, .. }));
    assert_eq!(within(counter.add(1).into_future()).await.unwrap(), 3);
}

/// A session at rest is stored anew without a call.
#[tokio::test]
async fn a_session_at_rest_is_stored_anew_by_the_next_renewal() {
    let (site, store) = site();
    let Holding { first, session: _session, desk: _desk, mut events, counter } = holding(&site).await;
    store.replace(Arc::new(MemoryStore::new()));
    tokio::time::sleep(Duration::from_millis(2_000)).await;
    let _second = site.start(Some(first.kill()));
    assert!(matches!(restored(&mut events).await, LinkEvent::Restored { lost: 0, .. }));
    assert_eq!(within(counter.add(1).into_future()).await.unwrap(), 1);
}

/// Tokens that were on their way, or being minted, when the connection went reach the client over
/// the next connection. They must be of that one.
#[tokio::test]
async fn a_connection_that_goes_twice_within_a_second_loses_no_session() {
    let (mut site, store) = site();
    site.tune = |_, restoration| {
        (restoration.idle, restoration.latest) = (Duration::from_millis(250), Duration::from_secs(1));
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
            // What the server says now does not arrive: the checkpoint's token least of all.
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
