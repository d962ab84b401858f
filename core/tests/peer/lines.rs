//! Messages that share a text, between peers that support that.

use std::sync::Arc;

use bowline_core::endpoint::Attach;
use bowline_core::generated::TypedCalls;
use bowline_core::limits::Limits;
use bowline_core::link::features::LINES_BYTES_MAX;
use bowline_core::link::{Features, LinkRules, Role};
use bowline_core::peer::testing::{Wire, link};
use bowline_core::peer::{Connection, Never, Receiving, Sending, Stub, Transport};
use futures_util::future::join_all;

use crate::fixture::{Api, Seen, settle};

fn linked(features: Features) -> (Connection, Connection, Wire) {
    let main = Some(Stub::new(Api(Arc::new(Seen::default()))));
    let server = Connection::linked(main, Limits::default(), Role::Server, LinkRules::default());
    let client = Connection::linked(None, Limits::default(), Role::Client, LinkRules::default());
    let (left, right, wire) = link();
    for (side, end) in [(&client, left), (&server, right)] {
        let attached = side.attach(features, Attach::New).unwrap();
        tokio::spawn(side.drive(attached.attachment, end, None));
    }
    (client, server, wire)
}

async fn add(client: &Connection, count: u32) {
    let root = client.root_dyn();
    let sums = (0..count).map(|n| root.call_typed::<u32, Never>("add", &(n, 1)).into_future());
    for (n, sum) in (0..count).zip(join_all(sums).await) {
        assert_eq!(sum.unwrap(), n + 1);
    }
}

#[tokio::test(start_paused = true)]
async fn messages_sent_together_share_texts() {
    let (client, server, wire) = linked(Features::ALL);
    add(&client, 500).await;
    drop(client.root_dyn());
    settle().await;
    let texts = wire.messages();
    let lines: Vec<&str> = texts.iter().flat_map(|text| text.text.lines()).collect();
    assert!(lines.iter().all(|line| line.starts_with(['[', '{', '+'])), "{lines:?}");
    let count = |head: &str| lines.iter().filter(|line| line.starts_with(head)).count();
    assert_eq!(
        (count("+[\"push\","), count("[\"push\","), count("[\"pull\","), count("[\"resolve\",")),
        (500, 0, 0, 500)
    );
    assert!((1..20).contains(&count("[\"release\",")), "{lines:?}");
    assert!(texts.len() < 30, "{} messages in {} texts", lines.len(), texts.len());
    assert!(texts.iter().all(|text| text.text.len() <= LINES_BYTES_MAX));
    assert!(!client.is_closed() && !server.is_closed());
}

#[tokio::test(start_paused = true)]
async fn peer_without_lines_gets_one_message_per_text() {
    let (client, _server, wire) = linked(Features { lines: false, ..Features::ALL });
    add(&client, 20).await;
    assert!(wire.messages().iter().all(|text| !text.text.contains('\n')));
}

#[tokio::test(start_paused = true)]
async fn peer_without_calls_gets_pushes_pulls_and_releases() {
    let (client, _server, wire) = linked(Features { calls: false, ..Features::ALL });
    add(&client, 500).await;
    drop(client.root_dyn());
    settle().await;
    let texts = wire.messages();
    let lines: Vec<&str> = texts.iter().flat_map(|text| text.text.lines()).collect();
    let count = |head: &str| lines.iter().filter(|line| line.starts_with(head)).count();
    assert_eq!((count("+"), count("[\"push\","), count("[\"pull\","), count("[\"release\",")), (0, 500, 500, 500));
}

#[tokio::test(start_paused = true)]
async fn value_with_line_breaks_is_forwarded() {
    let (client, _server, wire) = linked(Features::ALL);
    let (plain, proxy, _) = link();
    let (_proxy, driver) = Connection::start(proxy, Some(client.root_dyn()), Limits::default());
    tokio::spawn(driver);
    let (mut sender, mut receiver) = plain.split();
    sender.feed("[\"push\",\n[\"pipeline\",0,[\"echo\"],[\n{\n\"a\":\n1}\n]]]".to_owned()).await.unwrap();
    sender.feed(r#"["pull",1]"#.to_owned()).await.unwrap();
    let answer = receiver.receive().await.unwrap();
    assert_eq!(answer.split_whitespace().collect::<String>(), r#"["resolve",1,{"a":1}]"#);
    assert!(wire.messages().iter().flat_map(|text| text.text.lines()).all(|line| line.starts_with(['[', '{', '+'])));
}

#[test]
fn peer_with_a_small_message_limit_does_not_offer_lines() {
    let within = |message_bytes| {
        let mut limits = Limits::default();
        limits.message_bytes = message_bytes;
        Features::within(&limits)
    };
    assert!(within(LINES_BYTES_MAX).lines && !within(LINES_BYTES_MAX - 1).lines);
}
