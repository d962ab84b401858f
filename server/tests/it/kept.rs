//! Sessions that are stored for longer than this process keeps them, and the store behind them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bowline_core::id::Ids;
use bowline_core::link::{Features, Frame, Hello, Mode, Resume, Welcome};
use bowline_core::peer::{Args, Member, Object, Reply, Stub};
use bowline_core::resume::prove;
use bowline_server::store::{Checkpoint, Claim, MemoryStore, Position, SessionStore};
use bowline_server::{Credentials, HttpLimits, Recovery, Resumption, Service};

use crate::faulty::{Fault, FaultyStore};
use crate::harness::{serve, service, within};
use crate::link::{Linked, hello_of};

/// The resume window has ended, so the server has dropped the session. It recovers it from the store.
#[tokio::test]
async fn session_past_its_resume_window_is_recovered_from_the_store() {
    let mut resumption = Resumption::default();
    resumption.window = Duration::from_millis(100);
    let service = service().resumption(resumption).recovery(Recovery::in_store(MemoryStore::new()));
    let address = serve(service.clone()).await;
    let (linked, greeting) = Linked::greet(address, &hello_of(Credentials::default())).await;
    let Frame::Welcome(welcome) = greeting else { panic!("{greeting:?}") };
    assert!(welcome.features.iter().any(|feature| feature == "durable"));
    drop(linked);
    let away = async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        while service.parked_sessions() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    within(away).await;
    let mut linked = Linked::open(address).await;
    let resume = Resume {
        protocol: vec![1],
        features: Features::ALL.names(),
        proof: prove(&welcome.resume_key, &linked.challenge, &welcome.resume_token, 0),
        resume_token: welcome.resume_token,
        last_event_seq: 0,
        first_retained_seq: 1,
        auth: None,
        accept: vec![Mode::Warm, Mode::Cold],
        ids: Some(Ids { next_positive: 1, next_negative: -1, peer_next_positive: 1, peer_next_negative: -1 }),
        left: None,
    };
    linked.socket.send(&Frame::Resume(resume).write()).await;
    let Frame::Resumed(resumed) = linked.frame().await else { panic!("resumed") };
    assert_eq!((resumed.mode, resumed.session_id), (Mode::Cold, welcome.session_id));
    linked.socket.send(r#"{"type":"session.reconcile","hold":[],"pull":[]}"#).await;
    linked.socket.send(r#"["push",["pipeline",0,["add"],[1,2]]]"#).await;
    linked.socket.send(r#"["pull",1]"#).await;
    assert_eq!(linked.message().await, r#"["resolve",1,3]"#);
}

/// An object that is counted while it exists.
struct Alive(Arc<AtomicUsize>);

impl Alive {
    fn new(alive: &Arc<AtomicUsize>) -> Self {
        alive.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(alive))
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Object for Alive {
    fn interface(&self) -> &'static str {
        "Alive"
    }

    fn members(&self) -> &'static [Member] {
        &[]
    }

    fn call(self: Arc<Self>, _method: &str, _args: Args) -> Option<Reply> {
        None
    }

    fn get(self: Arc<Self>, _property: &str) -> Option<Reply> {
        None
    }
}

/// Waits until a condition holds.
async fn until(mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within(waiting).await;
}

fn durable_hello() -> Hello {
    hello_of(Credentials::default())
}

async fn welcomed(address: SocketAddr) -> (Linked, Welcome) {
    match Linked::greet(address, &durable_hello()).await {
        (linked, Frame::Welcome(welcome)) => (linked, welcome),
        (_, frame) => panic!("{frame:?}"),
    }
}

#[tokio::test]
async fn dropping_a_service_closes_its_parked_sessions_and_ends_their_tasks() {
    let alive = Arc::new(AtomicUsize::new(0));
    let objects = Arc::clone(&alive);
    let service = Service::new(move |_peer| Stub::new(Alive::new(&objects)));
    let service = service.recovery(Recovery::in_store(MemoryStore::new()));
    let tasks = tokio::runtime::Handle::current().metrics();
    let before = tasks.num_alive_tasks();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(service.clone().serve(listener));
    for _ in 0..3 {
        drop(welcomed(address).await);
    }
    until(|| service.parked_sessions() == 3).await;
    assert_eq!(alive.load(Ordering::SeqCst), 3);
    serving.abort();
    drop(service);
    until(|| alive.load(Ordering::SeqCst) == 0).await;
    until(|| tasks.num_alive_tasks() == before).await;
}

#[tokio::test]
async fn session_refused_before_it_opens_leaves_nothing_in_the_store() {
    let memory = Arc::new(MemoryStore::new());
    let store = FaultyStore::new(Arc::clone(&memory) as Arc<dyn SessionStore>);
    let mut http = HttpLimits::default();
    http.handshake = Duration::from_millis(200);
    let service = service().http_limits(http).recovery(Recovery::in_store(store.clone()));
    let address = serve(service).await;
    let (linked, _) = welcomed(address).await;
    let kept = format!("{memory:?}");
    assert!(kept.contains("sessions: 1"), "{kept}");
    store.set_fault(Fault::Stall);
    let (_refused, answer) = Linked::greet(address, &durable_hello()).await;
    assert!(matches!(answer, Frame::Rejected(_)), "{answer:?}");
    until(|| format!("{memory:?}") == kept).await;
    drop(linked);
}

/// Acts as a client that takes part in a drain until its connection is closed.
async fn follows_a_drain(mut linked: Linked) {
    loop {
        let text = linked.socket.next().await;
        match Frame::read(&text) {
            _ if text.starts_with("close") || text == "end" => return,
            Ok(Some(Frame::Drain(_))) => linked.socket.send(r#"{"type":"session.drain"}"#).await,
            Ok(Some(Frame::Token { covers: Some(covers), .. })) => {
                let ack = Frame::Ack { last_processed_seq: 0, checkpoint: Some(covers.checkpoint) };
                linked.socket.send(&ack.write()).await;
            }
            _ => {}
        }
    }
}

/// The drain is woken as soon as the session is stored. The fastest of five runs counts, because the
/// machine may be busy.
#[tokio::test]
async fn idle_durable_session_is_drained_without_delay() {
    let mut fastest = Duration::MAX;
    for _ in 0..5 {
        let service = service().recovery(Recovery::in_store(MemoryStore::new()));
        let (linked, _) = welcomed(serve(service.clone()).await).await;
        // Waits until the session is idle: otherwise an arriving message would wake the drain.
        tokio::time::sleep(Duration::from_millis(300)).await;
        let began = Instant::now();
        tokio::join!(follows_a_drain(linked), service.drain(Duration::from_secs(5)));
        fastest = fastest.min(began.elapsed());
    }
    assert!(fastest < Duration::from_millis(80), "{fastest:?}");
}

#[tokio::test]
async fn last_checkpoint_is_retried_with_pauses_when_the_store_fails() {
    let store = FaultyStore::new(Arc::new(MemoryStore::new()));
    let service = service().recovery(Recovery::in_store(store.clone()));
    let (mut linked, _) = welcomed(serve(service.clone()).await).await;
    linked.socket.send(r#"["push",["pipeline",0,["add"],[1,2]]]"#).await;
    linked.socket.send(r#"["pull",1]"#).await;
    assert_eq!(linked.message().await, r#"["resolve",1,3]"#);
    store.set_fault(Fault::Refuse);
    let before = store.checkpoints();
    within(service.checkpoint()).await;
    let tried = store.checkpoints() - before;
    assert!((2..=12).contains(&tried), "{tried} attempts in a second");
}

fn short_lease(store: &FaultyStore) -> Recovery {
    let mut recovery = Recovery::in_store(store.clone());
    recovery.lease = Duration::from_millis(1_000);
    recovery
}

#[tokio::test]
async fn hello_succeeds_right_after_the_store_lost_its_data() {
    let store = FaultyStore::new(Arc::new(MemoryStore::new()));
    let address = serve(service().recovery(Recovery::in_store(store.clone()))).await;
    drop(welcomed(address).await);
    let empty = Arc::new(MemoryStore::new());
    store.replace(Arc::clone(&empty) as Arc<dyn SessionStore>);
    welcomed(address).await;
    until(|| format!("{empty:?}").contains("sessions: 2")).await;
}

/// The store has lost its data, and another process has created the session in the new one.
#[tokio::test]
async fn session_owned_by_another_process_is_not_reclaimed() {
    let store = FaultyStore::new(Arc::new(MemoryStore::new()));
    let address = serve(service().recovery(short_lease(&store))).await;
    let (mut linked, welcome) = welcomed(address).await;
    let other = Arc::new(MemoryStore::new());
    other.open_owner("other", Duration::from_secs(60)).await.unwrap();
    let theirs = other.create(&welcome.session_id, "other", Duration::from_secs(60), None).await.unwrap();
    store.replace(Arc::clone(&other) as Arc<dyn SessionStore>);
    assert_ends_elsewhere(&mut linked).await;
    // The other process still owns the session.
    other.release(&theirs, Duration::from_secs(60)).await.unwrap();
}

/// Another process has owned the session in the new store, with and without storing a checkpoint, and has
/// released it.
#[tokio::test]
async fn session_released_by_another_process_is_not_reclaimed() {
    for checkpoints in [0, 1] {
        let memory = Arc::new(MemoryStore::new());
        let store = FaultyStore::new(Arc::clone(&memory) as Arc<dyn SessionStore>);
        let address = serve(service().recovery(short_lease(&store))).await;
        let (mut linked, welcome) = welcomed(address).await;
        // In the store the lease of the first process ends early, as after a jump of the clock.
        let other = Arc::new(MemoryStore::new());
        for owner in ["first", "other"] {
            other.open_owner(owner, Duration::from_secs(60)).await.unwrap();
        }
        other.create(&welcome.session_id, "first", Duration::from_secs(60), None).await.unwrap();
        other.close_owner("first").await.unwrap();
        let claim = other.claim(&welcome.session_id, "other", 0).await.unwrap();
        let Claim::Claimed(claimed) = claim else { panic!("{claim:?}") };
        for number in 0..checkpoints {
            let at = Position { lineage: 1, number };
            let bytes = bytes::Bytes::from_static(b"theirs");
            let checkpoint = Checkpoint { at, epoch: claimed.fence.epoch, tokens: Vec::new(), bytes };
            other.checkpoint(&claimed.fence, checkpoint, at).await.unwrap();
        }
        other.release(&claimed.fence, Duration::from_secs(60)).await.unwrap();
        store.replace(Arc::clone(&other) as Arc<dyn SessionStore>);
        assert_ends_elsewhere(&mut linked).await;
    }
}

/// Waits until the server closes the connection.
async fn assert_ends_elsewhere(linked: &mut Linked) {
    let ended = async {
        loop {
            let text = linked.socket.next().await;
            if text.starts_with("close") || text == "end" {
                return;
            }
        }
    };
    within(ended).await;
}
