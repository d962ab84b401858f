//! Sessions that are kept beyond what this process waits for.

use std::time::Duration;

use bowline_core::id::Ids;
use bowline_core::link::{Features, Frame, Mode, Resume};
use bowline_core::resume::prove;
use bowline_server::store::MemoryStore;
use bowline_server::{Credentials, Restoration, Resumption};

use crate::harness::{serve, service, within};
use crate::link::{Linked, hello_of};

/// F15: the window is over, and the server has put the session away. It is made again from where it
/// is kept.
#[tokio::test]
async fn a_session_whose_window_is_over_is_made_again() {
    let mut resumption = Resumption::default();
    resumption.window = Duration::from_millis(100);
    let service = service().resumption(resumption).restoration(Restoration::in_store(MemoryStore::new()));
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
