//! How often sessions are stored, and how large they may be.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bowline_core::link::{Frame, Welcome};
use bowline_server::store::MemoryStore;
use bowline_server::{Credentials, Principal, Recovery};

use crate::faulty::{Fault, FaultyStore};
use crate::harness::{serve, service};
use crate::link::{Linked, hello_of};
use crate::watched::Watch;

fn busy(change: impl FnOnce(&mut Recovery)) -> (FaultyStore, Recovery) {
    let store = FaultyStore::new(Arc::new(MemoryStore::new()));
    let mut recovery = Recovery::in_store(store.clone());
    (recovery.idle, recovery.latest) = (Duration::from_millis(10), Duration::from_millis(20));
    change(&mut recovery);
    (store, recovery)
}

async fn welcomed(address: SocketAddr) -> (Linked, Welcome) {
    match Linked::greet(address, &hello_of(Credentials::default())).await {
        (linked, Frame::Welcome(welcome)) => (linked, welcome),
        (_, frame) => panic!("{frame:?}"),
    }
}

/// Makes a call whose result has the given size and stays unpulled, then small calls for the given time.
/// Acknowledges every checkpoint.
async fn changes(mut linked: Linked, bytes: usize, time: Duration) -> Linked {
    linked.socket.send(&format!(r#"["push",["pipeline",0,["repeat"],["x",{bytes}]]]"#)).await;
    let until = Instant::now() + time;
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    while Instant::now() < until {
        tokio::select! {
            _ = tick.tick() => linked.socket.send(r#"["push",["pipeline",0,["add"],[1,2]]]"#).await,
            text = linked.socket.next() => {
                if let Ok(Some(Frame::Token { covers: Some(covers), .. })) = Frame::read(&text) {
                    let ack = Frame::Ack { last_processed_seq: 0, checkpoint: Some(covers.checkpoint) };
                    linked.socket.send(&ack.write()).await;
                }
            }
        }
    }
    linked
}

#[tokio::test]
async fn a_large_session_is_stored_less_often() {
    for (bytes, stored) in [(100, 15..200), (512 << 10, 2..6)] {
        let (store, recovery) = busy(|recovery| recovery.session_bytes_per_second = 1 << 20);
        let address = serve(service().recovery(recovery)).await;
        let (linked, _) = welcomed(address).await;
        changes(linked, bytes, Duration::from_secs(2)).await;
        assert!(stored.contains(&store.checkpoints()), "{bytes} bytes were stored {} times", store.checkpoints());
    }
}

#[tokio::test]
async fn sessions_of_a_client_share_a_checkpoint_rate() {
    let (store, recovery) = busy(|recovery| {
        (recovery.session_bytes_per_second, recovery.client_bytes_per_second) = (1 << 30, 1 << 20);
    });
    let address = serve(service().recovery(recovery)).await;
    let mut sessions = Vec::new();
    for _ in 0..4 {
        sessions.push(tokio::spawn(changes(welcomed(address).await.0, 256 << 10, Duration::from_secs(2))));
    }
    for session in sessions {
        session.await.unwrap();
    }
    // The first checkpoint of each session may still be small.
    assert!((4..=14).contains(&store.checkpoints()), "{}", store.checkpoints());
}

#[tokio::test]
async fn snapshot_beyond_the_limit_is_counted_and_not_stored() {
    let watch = Watch::default();
    let _watching = tracing::subscriber::set_default(watch.clone());
    let _another = tracing::Dispatch::new(watch.clone());
    let (store, recovery) = busy(|recovery| {
        (recovery.snapshot_bytes, recovery.idle) = (64 << 10, Duration::from_millis(200));
        recovery.latest = Duration::from_millis(200);
    });
    let address = serve(service().recovery(recovery)).await;
    let linked = changes(welcomed(address).await.0, 100 << 10, Duration::from_millis(600)).await;
    watch.until("snapshots_too_large", 1).await;
    let before = store.checkpoints();
    let mut linked = changes(linked, 100, Duration::from_millis(600)).await;
    assert_eq!(store.checkpoints(), before);
    // Releases the large result, which is the first one.
    linked.socket.send(r#"["release",1,1]"#).await;
    changes(linked, 100, Duration::from_millis(900)).await;
    assert!(store.checkpoints() > before, "the session was not stored after it had shrunk");
    watch.until("snapshots_too_large", 1).await;
}

#[tokio::test]
async fn session_with_an_overdue_checkpoint_is_counted_until_it_is_stored() {
    let watch = Watch::default();
    let _watching = tracing::subscriber::set_default(watch.clone());
    let _another = tracing::Dispatch::new(watch.clone());
    let (store, recovery) = busy(|recovery| recovery.overdue = Duration::from_millis(200));
    let address = serve(service().recovery(recovery)).await;
    let linked = changes(welcomed(address).await.0, 100, Duration::from_millis(200)).await;
    assert_eq!(watch.of("checkpoints_overdue"), 0);
    store.set_fault(Fault::Refuse);
    let linked = changes(linked, 100, Duration::from_millis(800)).await;
    watch.until("checkpoints_overdue", 1).await;
    assert_eq!(watch.of("checkpoints_caught_up"), 0);
    store.set_fault(Fault::None);
    changes(linked, 100, Duration::from_millis(1_500)).await;
    watch.until("checkpoints_caught_up", 1).await;
}

#[tokio::test]
async fn sessions_beyond_the_store_quota_are_not_durable() {
    let watch = Watch::default();
    let _watching = tracing::subscriber::set_default(watch.clone());
    let _another = tracing::Dispatch::new(watch.clone());
    // The quota has room for two sessions.
    let (_store, recovery) = busy(|recovery| recovery.stored_bytes = 10 << 10);
    let service = service().recovery(recovery);
    let address = serve(service.authenticate(|token: &str| Some(Principal::new(token)))).await;
    for (name, sessions) in [("eve", [true, true, false, false]), ("ann", [true, true, false, false])] {
        for is_durable in sessions {
            let (mut linked, frame) = Linked::greet(address, &hello_of(Credentials::bearer(name))).await;
            let Frame::Welcome(welcome) = frame else { panic!("{frame:?}") };
            assert_eq!(welcome.features.iter().any(|feature| feature == "durable"), is_durable);
            linked.socket.send(r#"["push",["pipeline",0,["add"],[1,2]]]"#).await;
            linked.socket.send(r#"["pull",1]"#).await;
            assert_eq!(linked.message().await, r#"["resolve",1,3]"#);
        }
    }
    watch.until("store_quotas_exceeded", 4).await;
}
