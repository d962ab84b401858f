//! Tokens and keys of stored sessions: tokens of checkpoints in flight, connections that end meanwhile,
//! failing stores, and rotated keys.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bowline_core::id::Ids;
use bowline_core::link::{Features, Frame, Mode, Refused, Resume, Resumed, Secret};
use bowline_core::resume::prove;
use bowline_server::store::{MemoryStore, SessionStore};
use bowline_server::{Credentials, Key, KeyRing, Keys, Peer, Recovery, Resumption, Service, TokenPolicy};

use crate::faulty::{Fault, FaultyStore};
use crate::harness::{serve, service, within};
use crate::link::{Linked, hello_of};

/// A token and the key that came with it.
#[derive(Clone, Debug)]
struct Ticket {
    token: Secret,
    key: Secret,
}

/// Returns a service that stores sessions only on demand.
fn kept_in(store: FaultyStore, keys: &Keys) -> Service {
    let mut resumption = Resumption::default();
    resumption.keys = keys.clone();
    let mut recovery = Recovery::in_store(store);
    (recovery.idle, recovery.latest) = (Duration::from_secs(600), Duration::from_secs(600));
    recovery.lease = Duration::from_millis(1_500);
    service().resumption(resumption).recovery(recovery)
}

fn memory() -> FaultyStore {
    FaultyStore::new(Arc::new(MemoryStore::new()) as Arc<dyn SessionStore>)
}

fn key(id: &str) -> Key {
    Key::new(id, &[id.as_bytes()[0]; 32]).unwrap()
}

fn keys() -> Keys {
    KeyRing::new(key("a")).into()
}

async fn welcomed(address: SocketAddr) -> (Linked, Ticket) {
    match Linked::greet(address, &hello_of(Credentials::default())).await {
        (linked, Frame::Welcome(welcome)) => (linked, Ticket { token: welcome.resume_token, key: welcome.resume_key }),
        (_, frame) => panic!("{frame:?}"),
    }
}

/// Makes a call and awaits its reply, which changes the session.
async fn calls(linked: &mut Linked, id: u64) {
    linked.socket.send(r#"["push",["pipeline",0,["add"],[1,2]]]"#).await;
    linked.socket.send(&format!(r#"["pull",{id}]"#)).await;
    assert_eq!(linked.message().await, format!(r#"["resolve",{id},3]"#));
}

/// Returns the next token of a checkpoint, and the number of the checkpoint.
async fn placed(linked: &mut Linked) -> (Ticket, u64) {
    let frame = within(linked.frame_after_messages()).await;
    let Frame::Token { resume_token, resume_key, covers: Some(covers), .. } = frame else { panic!("{frame:?}") };
    let key = resume_key.expect("each token comes with its key");
    (Ticket { token: resume_token, key }, covers.checkpoint)
}

async fn resume(address: SocketAddr, ticket: &Ticket, came: u64) -> (Linked, Result<Resumed, Refused>) {
    let mut linked = Linked::open(address).await;
    let frame = Resume {
        protocol: vec![1],
        features: Features::ALL.names(),
        proof: prove(&ticket.key, &linked.challenge, &ticket.token, came),
        resume_token: ticket.token.clone(),
        last_event_seq: came,
        first_retained_seq: 1,
        auth: None,
        accept: vec![Mode::Warm, Mode::Cold],
        ids: Some(Ids { next_positive: 9, next_negative: -1, peer_next_positive: 1, peer_next_negative: -1 }),
        left: None,
    };
    linked.socket.send(&Frame::Resume(frame).write()).await;
    let answer = match linked.frame().await {
        Frame::Resumed(resumed) => Ok(resumed),
        Frame::Rejected(refused) => Err(refused),
        frame => panic!("{frame:?}"),
    };
    (linked, answer)
}

fn ticket(answer: Result<Resumed, Refused>) -> Ticket {
    let resumed = answer.unwrap();
    Ticket { token: resumed.resume_token, key: resumed.resume_key }
}

/// Takes a checkpoint without waiting for the client to acknowledge it.
async fn checkpoint(service: &Service) {
    drop(tokio::time::timeout(Duration::from_millis(50), service.checkpoint()).await);
}

#[tokio::test]
async fn token_in_flight_is_minted_anew_for_the_next_connection() {
    let service = kept_in(memory(), &keys());
    let address = serve(service.clone()).await;
    let (mut linked, mut held) = welcomed(address).await;
    calls(&mut linked, 1).await;
    checkpoint(&service).await;
    let (before, number) = placed(&mut linked).await;
    let mut newest = before.clone();
    // Several connections, none of which acknowledges the checkpoint.
    for epoch in 2..6 {
        drop(linked);
        let (next, resumed) = resume(address, &held, epoch - 1).await;
        let resumed = resumed.unwrap();
        assert_eq!(resumed.epoch, epoch);
        linked = next;
        let (again, same) = placed(&mut linked).await;
        assert_eq!((same, &again.key), (number, &resumed.resume_key), "token and key must be those of this connection");
        assert_ne!(again.token, newest.token);
        // A message of the client confirms the token that this connection began with.
        calls(&mut linked, epoch).await;
        (held, newest) = (ticket(Ok(resumed)), again);
    }
    drop(linked);
    let (_, answer) = resume(address, &newest, 5).await;
    assert_eq!(answer.unwrap().epoch, 6);
    // The token that was sent first is no longer valid.
    let (_, answer) = resume(address, &before, 5).await;
    assert_eq!(answer.unwrap_err().code.as_str(), "RESUME_TOKEN_REPLAYED");
}

#[tokio::test]
async fn checkpoint_stored_after_a_resume_has_a_token_of_the_new_connection() {
    let store = memory();
    let service = kept_in(store.clone(), &keys());
    let address = serve(service.clone()).await;
    let (mut linked, held) = welcomed(address).await;
    calls(&mut linked, 1).await;
    store.set_lag(Duration::from_millis(300));
    let keeping = tokio::spawn(async move { service.checkpoint().await });
    while store.checkpoints() == 0 {
        tokio::task::yield_now().await;
    }
    drop(linked);
    let (mut linked, resumed) = resume(address, &held, 1).await;
    let resumed = resumed.unwrap();
    calls(&mut linked, 2).await;
    let (after, _) = placed(&mut linked).await;
    assert_eq!(after.key, resumed.resume_key);
    drop(linked);
    let (_, answer) = resume(address, &after, 2).await;
    assert_eq!(answer.unwrap().epoch, 3);
    within(keeping).await.unwrap();
}

#[tokio::test]
async fn failing_checkpoints_do_not_displace_the_token_that_the_client_holds() {
    let store = memory();
    let service = kept_in(store.clone(), &keys());
    let address = serve(service.clone()).await;
    let (mut linked, held) = welcomed(address).await;
    calls(&mut linked, 1).await;
    drop(linked);
    let (linked, first) = resume(address, &held, 1).await;
    ticket(first);
    drop(linked);
    let (linked, second) = resume(address, &held, 1).await;
    let second = ticket(second);
    drop(linked);
    for fault in [Fault::Refuse, Fault::LoseAnswer] {
        store.set_fault(fault);
        let before = store.checkpoints();
        while store.checkpoints() < before + 60 {
            within(service.checkpoint()).await;
        }
    }
    store.set_fault(Fault::None);
    let (linked, answer) = resume(address, &second, 1).await;
    let third = ticket(answer);
    drop(linked);
    let (mut linked, answer) = resume(address, &third, 1).await;
    assert_eq!(answer.unwrap().epoch, 5);
    calls(&mut linked, 2).await;
}

#[tokio::test]
async fn dropped_checkpoint_can_be_taken_again() {
    let store = memory();
    let service = kept_in(store.clone(), &keys());
    let address = serve(service.clone()).await;
    let (mut linked, held) = welcomed(address).await;
    calls(&mut linked, 1).await;
    store.set_fault(Fault::Stall);
    for _ in 0..3 {
        checkpoint(&service).await;
    }
    assert!(store.checkpoints() >= 3, "a dropped checkpoint was not started again");
    store.set_fault(Fault::None);
    checkpoint(&service).await;
    let (newest, number) = placed(&mut linked).await;
    assert!(number > 3);
    drop(linked);
    let (_, answer) = resume(address, &newest, 1).await;
    assert_eq!(answer.unwrap().mode, Mode::Warm);
    let (_, answer) = resume(address, &held, 1).await;
    assert_eq!(answer.unwrap_err().code.as_str(), "RESUME_TOKEN_REPLAYED");
}

#[tokio::test]
async fn connected_client_resumes_after_a_key_rotation() {
    let keys = keys();
    let service = kept_in(memory(), &keys);
    let address = serve(service.clone()).await;
    let (mut linked, held) = welcomed(address).await;
    calls(&mut linked, 1).await;
    keys.rotate(key("b")).unwrap();
    checkpoint(&service).await;
    let (rotated, _) = placed(&mut linked).await;
    assert_ne!(rotated.key, held.key);
    drop(linked);
    // The token from before the rotation is valid until the client has used the new one.
    let (linked, answer) = resume(address, &held, 1).await;
    assert_eq!(answer.unwrap().epoch, 2);
    drop(linked);
    let (linked, answer) = resume(address, &rotated, 1).await;
    let after = ticket(answer);
    drop(linked);
    // Nothing that the client holds depends on the old key now.
    keys.remove("a").unwrap();
    let (_, answer) = resume(address, &after, 1).await;
    assert_eq!(answer.unwrap().epoch, 4);
}

#[tokio::test]
async fn renewed_token_comes_with_the_rotated_key() {
    let mut resumption = Resumption::default();
    let mut tokens = TokenPolicy::default();
    tokens.token_lifetime = Duration::from_secs(2);
    (resumption.tokens, resumption.keys) = (tokens, keys());
    let keys = resumption.keys.clone();
    let address = serve(service().resumption(resumption)).await;
    let (mut linked, _) = welcomed(address).await;
    keys.rotate(key("b")).unwrap();
    let frame = linked.frame().await;
    let Frame::Token { resume_token: token, resume_key: Some(key), .. } = frame else { panic!("{frame:?}") };
    drop(linked);
    let (_, answer) = resume(address, &Ticket { token, key }, 0).await;
    assert_eq!(answer.unwrap().epoch, 2);
}

#[tokio::test]
async fn another_process_recovers_a_session_after_a_key_rotation() {
    let (store, keys) = (memory(), keys());
    let before = kept_in(store.clone(), &keys);
    let address = serve(before.clone()).await;
    let (mut linked, _) = welcomed(address).await;
    calls(&mut linked, 1).await;
    keys.rotate(key("b")).unwrap();
    checkpoint(&before).await;
    let (held, _) = placed(&mut linked).await;
    drop(linked);
    within(before.drain(Duration::from_secs(5))).await;
    let after = serve(kept_in(store, &keys)).await;
    let (mut linked, answer) = resume(after, &held, 0).await;
    let resumed = answer.unwrap();
    assert_eq!(resumed.mode, Mode::Cold);
    linked.socket.send(r#"{"type":"session.reconcile","hold":[],"pull":[]}"#).await;
    keys.rotate(key("c")).unwrap();
    drop(linked);
    let (_, answer) = resume(after, &ticket(Ok(resumed)), 0).await;
    assert_eq!(answer.unwrap().mode, Mode::Warm);
}

/// A variable survives the process only through a checkpoint, so the checkpoint does not wait until the
/// session is idle.
#[tokio::test]
async fn session_is_checkpointed_at_once_when_a_variable_is_set() {
    let mut recovery = Recovery::in_store(memory());
    (recovery.idle, recovery.latest) = (Duration::from_secs(600), Duration::from_secs(600));
    let service = Service::new(|peer: Peer| peer.vars.target()).recovery(recovery);
    let (mut linked, _) = welcomed(serve(service).await).await;
    let mut numbers = Vec::new();
    for id in 1..=3 {
        linked.socket.send(&format!(r#"["push",["pipeline",0,["setVariable"],["x",{id}]]]"#)).await;
        let (_, number) = placed(&mut linked).await;
        numbers.push(number);
        let ack = Frame::Ack { last_processed_seq: 0, checkpoint: Some(number) };
        linked.socket.send(&ack.write()).await;
    }
    assert_eq!(numbers, [1, 2, 3]);
}

/// A session that changes all the time is stored at most every 20 ms, and as seldom as its size requires.
#[tokio::test]
async fn immediate_checkpoints_are_throttled() {
    let store = memory();
    let mut recovery = Recovery::in_store(store.clone());
    (recovery.idle, recovery.latest) = (Duration::from_secs(600), Duration::from_secs(600));
    let service = Service::new(|peer: Peer| peer.vars.target()).recovery(recovery);
    let (mut linked, _) = welcomed(serve(service).await).await;
    let began = std::time::Instant::now();
    for id in 1..=100 {
        linked.socket.send(&format!(r#"["push",["pipeline",0,["setVariable"],["x",{id}]]]"#)).await;
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    let (_, newest) = placed(&mut linked).await;
    let ack = Frame::Ack { last_processed_seq: 0, checkpoint: Some(newest) };
    linked.socket.send(&ack.write()).await;
    let most = began.elapsed().as_millis() / 20 + 2;
    assert!((store.checkpoints() as u128) <= most, "{} checkpoints; at most {most} are allowed", store.checkpoints());
}

/// A late reply of the store costs the connection, and the client resumes.
#[tokio::test]
async fn lease_renewed_late_ends_the_connection_and_not_the_session() {
    let store = memory();
    let mut recovery = Recovery::in_store(store.clone());
    recovery.lease = Duration::from_secs(4);
    let service = service().recovery(recovery);
    let address = serve(service).await;
    // The lease is renewed after 1.2 s and relied upon until 3.2 s. The reply comes after 3.8 s.
    let (mut linked, held) = welcomed(address).await;
    store.set_lag(Duration::from_millis(2_600));
    let began = std::time::Instant::now();
    let closed = async {
        loop {
            linked.socket.send(r#"{"type":"session.ack","last_processed_seq":0}"#).await;
            match tokio::time::timeout(Duration::from_millis(20), linked.socket.next()).await {
                Ok(text) if !text.starts_with('{') => return text,
                _ if began.elapsed() > Duration::from_secs(2) => store.set_lag(Duration::ZERO),
                _ => {}
            }
        }
    };
    let closed = within(closed).await;
    assert!(began.elapsed() >= Duration::from_millis(3_000), "{closed} after {:?}", began.elapsed());
    // Until the store has replied, the client is told to retry.
    let resumed = async {
        loop {
            match resume(address, &held, 0).await {
                (linked, Ok(resumed)) => return (linked, resumed),
                (_, Err(refused)) => {
                    assert_eq!((refused.code.as_str(), refused.retryable), ("STORE_UNAVAILABLE", true));
                    tokio::time::sleep(Duration::from_millis(refused.retry_after_ms.unwrap())).await;
                }
            }
        }
    };
    let (mut linked, resumed) = within(resumed).await;
    assert_eq!(resumed.mode, Mode::Warm);
    calls(&mut linked, 1).await;
}
