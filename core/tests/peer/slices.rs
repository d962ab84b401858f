//! A session with much work for its peer lets other sessions run, and stops when the peer is
//! disconnected.

use std::sync::Arc;

use bowline_core::generated::TypedCalls;
use bowline_core::limits::Limits;
use bowline_core::peer::testing::{End, Pair, Wire, link, pair};
use bowline_core::peer::{Connection, Never, Receiving, Sending, Stub, Transport};

use crate::fixture::{Api, Seen, settle};

/// The number of notes that one message requests. Each reads a value of 12 KB.
const NOTES: usize = 1_000;

/// Creates a session whose peer is the test.
fn by_hand(seen: &Arc<Seen>) -> (Connection, End, Wire) {
    let (near, far, wire) = link();
    let (connection, driver) = Connection::start(near, Some(Stub::new(Api(Arc::clone(seen)))), Limits::default());
    tokio::spawn(driver);
    (connection, far, wire)
}

/// Returns messages that keep a session busy for many slices.
fn much() -> [String; 3] {
    let note = r#"["pipeline",0,["note"],[["pipeline",1,["z"]]]]"#;
    [
        format!("[\"push\",{{\"a\":\"{}\",\"z\":\"noted\"}}]", "x".repeat(12_000)),
        format!("[\"push\",[[{}]]]", vec![note; NOTES].join(",")),
        "[\"pull\",2]".to_owned(),
    ]
}

#[tokio::test]
async fn other_sessions_run_while_one_is_busy() {
    let seen = Arc::new(Seen::default());
    let (_connection, far, _wire) = by_hand(&seen);
    let (mut sender, mut receiver) = far.split();
    let Pair { left, .. } = pair(None, Some(Stub::new(Api(Arc::default()))));
    let other = left.root_dyn();
    for message in much() {
        sender.feed(message).await.unwrap();
    }
    // In a task of its own, like those of sessions, so that it is scheduled as often.
    let calls = tokio::spawn(async move {
        let mut calls = 0;
        let mut answer = std::pin::pin!(receiver.receive());
        loop {
            tokio::select! {
                biased;
                answer = &mut answer => {
                    assert!(answer.unwrap().starts_with("[\"resolve\",2,"));
                    return calls;
                }
                sum = other.call_typed::<u32, Never>("add", &(1, 1)) => {
                    assert_eq!(sum.unwrap(), 2);
                    calls += 1;
                }
            }
        }
    });
    let calls: usize = calls.await.unwrap();
    assert!(calls >= 5, "{calls} calls were answered meanwhile");
    assert_eq!(seen.order.lock().unwrap().len(), NOTES);
}

/// Feeds a message that calls `note`, and returns how often another task ran before that call began.
async fn turns_of_another_task(seen: &Seen, sender: &mut impl Sending, message: String) -> usize {
    let noted = seen.order.lock().unwrap().len();
    sender.feed(message).await.unwrap();
    let mut turns = 0;
    while seen.order.lock().unwrap().len() == noted {
        tokio::task::yield_now().await;
        turns += 1;
    }
    turns
}

#[tokio::test]
async fn expensive_messages_run_beside_the_only_thread_of_a_runtime() {
    let seen = Arc::new(Seen::default());
    let (_connection, far, _wire) = by_hand(&seen);
    let (mut sender, _receiver) = far.split();
    let note = |of: &str| format!(r#"["push",["pipeline",0,["note"],[{of}]]]"#);
    let cheap = turns_of_another_task(&seen, &mut sender, note("\"cheap\"")).await;
    assert!(cheap < 10, "{cheap} turns");
    let large = format!("\"{}\"", "x".repeat(6 << 20));
    let turns = turns_of_another_task(&seen, &mut sender, note(&large)).await;
    assert!(turns > 10 * (cheap + 1), "{turns} turns while a large message was handled");
    // Looking for the last part of a large value reads all of it.
    let members: Vec<_> = (0..300_000).map(|n| format!("\"k{n}\":0")).collect();
    sender.feed(format!("[\"push\",{{{},\"z\":\"last\"}}]", members.join(","))).await.unwrap();
    let turns = turns_of_another_task(&seen, &mut sender, note(r#"["pipeline",3,["z"]]"#)).await;
    assert!(turns > 10 * (cheap + 1), "{turns} turns while a part was looked up");
}

#[tokio::test]
async fn work_for_a_disconnected_peer_is_abandoned() {
    let seen = Arc::new(Seen::default());
    let (connection, far, wire) = by_hand(&seen);
    let (mut sender, _receiver) = far.split();
    for message in much() {
        sender.feed(message).await.unwrap();
    }
    let order = Arc::clone(&seen);
    let gone = tokio::spawn(async move {
        // The first slice is done before the transport ends.
        while order.order.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        wire.cut();
        while !connection.is_closed() {
            tokio::task::yield_now().await;
        }
    });
    gone.await.unwrap();
    settle().await;
    let notes = seen.order.lock().unwrap().len();
    assert!(notes < NOTES, "{notes} of {NOTES} calls were made for a disconnected peer");
}

#[tokio::test]
async fn messages_behind_a_long_one_are_handled_after_it() {
    let seen = Arc::new(Seen::default());
    let (_connection, far, _wire) = by_hand(&seen);
    let (mut sender, mut receiver) = far.split();
    for message in much() {
        sender.feed(message).await.unwrap();
    }
    sender.feed(r#"["push",["pipeline",0,["note"],["last"]]]"#.to_owned()).await.unwrap();
    sender.feed("[\"pull\",3]".to_owned()).await.unwrap();
    while !receiver.receive().await.unwrap().starts_with("[\"resolve\",3,") {}
    let order = seen.order.lock().unwrap();
    assert_eq!((order.len(), order.last().map(String::as_str)), (NOTES + 1, Some("last")));
}
