//! Control frames: leases, drains, lists, the end of a session, and which side may send which
//! frame.

use std::time::{Duration, SystemTime};

use bowline_core::endpoint::{Attach, Endpoint, LinkEvent};
use bowline_core::error::ErrorCode;
use bowline_core::limits::Limits;
use bowline_core::link::{
    Attachment, Drain, Features, Frame, Lease, LinkRules, List, ListFilter, ObjectKind, ObjectStatus, Objects, Refresh,
    Role, Secret, Ticket,
};
use bowline_core::session::{Kind, Outgoing, Output, Path, Ref};
use bowline_core::value::Payload;

use super::{at, call, end, gone, written};

fn with(role: Role, features: Features) -> (Endpoint, Attachment) {
    let mut endpoint = Endpoint::linked(Limits::default(), true, role, LinkRules::default());
    let attached = endpoint.attach(at(0), features, Attach::New).unwrap().attachment;
    (endpoint, attached)
}

/// Passes all texts from one end to the other.
fn carry(from: (&mut Endpoint, Attachment), to: (&mut Endpoint, Attachment), now: u64) {
    while let Some(text) = from.0.poll_transmit(from.1) {
        to.0.handle_text(to.1, at(now), &text);
    }
}

/// Sent by either side, such a frame ends the session.
#[test]
fn frame_of_a_feature_that_is_not_live_is_refused() {
    let frames = [
        (Role::Server, r#"{"type":"session.ping","nonce":"1"}"#),
        (Role::Server, r#"{"type":"session.authenticate","response":"x"}"#),
        (Role::Server, r#"{"type":"session.drain"}"#),
        (Role::Server, r#"{"type":"session.list","request_id":1}"#),
        (Role::Server, r#"{"type":"session.ack","last_processed_seq":0,"checkpoint":1}"#),
        (Role::Server, r#"{"type":"session.reconcile","hold":[],"pull":[]}"#),
        (Role::Client, r#"{"type":"session.refresh","deadline":1}"#),
        (Role::Client, r#"{"type":"session.objects","request_id":1,"objects":[]}"#),
        (Role::Client, r#"{"type":"session.token","resume_token":"t","covers":{"checkpoint":1,"next_positive":1}}"#),
    ];
    for (role, frame) in frames {
        let (mut endpoint, attached) = with(role, Features::default());
        endpoint.handle_text(attached, at(1), frame);
        let closed = endpoint.session().closed().unwrap_or_else(|| panic!("{frame} was accepted"));
        assert_eq!(closed.code(), Some(ErrorCode::InvalidRequest), "{frame}");
    }
}

/// Tables are adjusted after a recovery, and never in a session that has lost nothing.
#[test]
fn reconcile_and_skip_are_refused_in_a_session_that_was_not_recovered() {
    for frame in [r#"{"type":"session.skip","next_positive":9}"#, r#"{"type":"session.reconcile","hold":[],"pull":[]}"#]
    {
        let (mut server, attached) = end(Role::Server, LinkRules::default());
        server.handle_text(attached, at(1), frame);
        assert_eq!(server.session().closed().map(|closed| closed.cause.name()), Some("INVALID_REQUEST"), "{frame}");
    }
}

#[test]
fn client_is_asked_for_credentials_and_gets_a_new_lease() {
    let (mut client, at_client) = end(Role::Client, LinkRules::default());
    let (mut server, at_server) = end(Role::Server, LinkRules::default());
    assert!(server.refresh(1_700, Some("riddle".to_owned())));
    carry((&mut server, at_server), (&mut client, at_client), 1);
    assert!(client.asks());
    let refresh = Refresh { deadline: 1_700, challenge: Some("riddle".to_owned()) };
    assert_eq!((client.take_refresh(), client.take_refresh()), (Some(refresh), None));
    client.authenticate(Secret::new("answer"));
    carry((&mut client, at_client), (&mut server, at_server), 2);
    assert_eq!(server.take_response(), Some(Secret::new("answer")));
    let newer = Ticket { resume_token: Secret::new("newer"), resume_key: Some(Secret::new("key")) };
    server.send_token(newer.clone(), Some(Lease { expires_at: 2_300 }));
    carry((&mut server, at_server), (&mut client, at_client), 3);
    assert_eq!((client.take_token(), client.lease()), (Some(newer), Some(Lease { expires_at: 2_300 })));
}

/// A token without a key has the key of the previous token.
#[test]
fn token_without_a_key_keeps_the_previous_key() {
    let (mut client, at_client) = end(Role::Client, LinkRules::default());
    let ticket =
        |token: &str, key: &str| Ticket { resume_token: Secret::new(token), resume_key: Some(Secret::new(key)) };
    for text in [
        r#"{"type":"session.token","resume_token":"1","resume_key":"k"}"#,
        r#"{"type":"session.token","resume_token":"2"}"#,
    ] {
        client.handle_text(at_client, at(1), text);
    }
    assert_eq!(client.take_token(), Some(ticket("2", "k")));
    client.handle_text(at_client, at(2), r#"{"type":"session.token","resume_token":"3"}"#);
    assert_eq!(client.take_token(), Some(Ticket { resume_token: Secret::new("3"), resume_key: None }));
}

/// The token that came with the next connection is newer.
#[test]
fn untaken_token_is_dropped_on_the_next_connection() {
    let (mut client, at_client) = end(Role::Client, LinkRules::default());
    client.handle_text(at_client, at(1), r#"{"type":"session.token","resume_token":"1","resume_key":"k"}"#);
    assert!(client.has_token());
    client.attach(at(2), Features::ALL, Attach::New).unwrap();
    assert_eq!(client.take_token(), None);
}

/// A request from the previous connection is not answered on the next one.
#[test]
fn pending_requests_are_repeated_or_dropped_after_a_reconnect() {
    let (mut client, at_client) = end(Role::Client, LinkRules::default());
    client.handle_text(at_client, at(1), r#"{"type":"session.refresh","deadline":1}"#);
    let request_id = client.list(List::default()).unwrap();
    assert_eq!(written(&mut client, at_client).len(), 1);
    client.detach(at_client, gone());
    let how = Attach::Resume { peer_processed: 0, peer_sends_after: Some(0) };
    let attached = client.attach(at(3), Features::ALL, how).unwrap().attachment;
    assert_eq!(client.take_refresh(), None);
    let list = Frame::List(List { request_id, ..List::default() }).write();
    assert_eq!(written(&mut client, attached), [list]);
}

#[test]
fn client_confirms_a_drain_and_holds_back_its_calls() {
    let (mut client, at_client) = end(Role::Client, LinkRules::default());
    let (mut server, at_server) = end(Role::Server, LinkRules::default());
    let drain =
        Drain { deadline: Some(9), retry_after_ms: Some(750), resume_url: Some("wss://other.example/".to_owned()) };
    assert!(server.drain(drain.clone()));
    assert!(!server.is_drained());
    carry((&mut server, at_server), (&mut client, at_client), 1);
    call(&mut client, "late");
    carry((&mut client, at_client), (&mut server, at_server), 2);
    assert!(server.is_drained() && server.session_mut().poll_output().is_none(), "the call was held back");
    assert_eq!(
        client.poll_event(),
        Some(LinkEvent::Draining {
            deadline: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(9)),
            retry_after: Some(Duration::from_millis(750)),
            resume_url: drain.resume_url.clone(),
        })
    );
    assert_eq!(client.take_drain(), Some(drain));
}

#[test]
fn unsolicited_drain_confirmation_is_refused() {
    let (mut server, attached) = end(Role::Server, LinkRules::default());
    server.handle_text(attached, at(1), r#"{"type":"session.drain"}"#);
    assert_eq!(server.session().closed().map(|closed| closed.cause.name()), Some("INVALID_REQUEST"));
}

/// Creates a server with three running calls and one object that the client holds.
fn busy() -> (Endpoint, Attachment) {
    let (mut server, attached) = end(Role::Server, LinkRules::default());
    server.date_from(1_000_000, at(0));
    for (ms, name) in [(10, "a"), (5_000, "b"), (9_000, "c")] {
        let push = format!(r#"["push",["pipeline",0,["{name}"],[]]]"#);
        server.handle_text(attached, at(ms), &push);
    }
    server.handle_text(attached, at(9_100), r#"["push",["pipeline",3,["d"],[]]]"#);
    let calls = (server.session_mut().poll_output(), server.session_mut().poll_output());
    let (Some(Output::Deliver(a)), Some(Output::Deliver(b))) = calls else { panic!("no calls") };
    let target = server.session_mut().new_target(Kind::Object);
    let object = Payload::capability(Outgoing { of: Ref::Target(target), path: Path::new() });
    server.session_mut().settle(a.call, Ok(object));
    let error = Payload::plain(r#"["error","Error","no"]"#);
    server.session_mut().settle(b.call, Err(error));
    for pull in [r#"["pull",1]"#, r#"["pull",2]"#] {
        server.handle_text(attached, at(9_200), pull);
    }
    (server, attached)
}

fn listed(server: &mut Endpoint, attached: Attachment, list: &str) -> Objects {
    server.handle_text(attached, at(9_300), list);
    let objects = written(server, attached).into_iter().find_map(|text| match Frame::read(&text) {
        Ok(Some(Frame::Objects(objects))) => Some(objects),
        _ => None,
    });
    objects.unwrap_or_else(|| panic!("no answer to {list}"))
}

#[test]
fn client_can_list_what_is_held_for_it() {
    let (mut server, attached) = busy();
    let all = listed(&mut server, attached, r#"{"type":"session.list","request_id":7}"#);
    let seen: Vec<_> = all.objects.iter().map(|entry| (entry.id, entry.kind, entry.status, entry.parent_id)).collect();
    let expected = [
        (1, ObjectKind::Result, ObjectStatus::Resolved, None),
        (2, ObjectKind::Result, ObjectStatus::Rejected, None),
        (3, ObjectKind::Result, ObjectStatus::Pending, None),
        (4, ObjectKind::Result, ObjectStatus::Pending, Some(3)),
        (-1, ObjectKind::Object, ObjectStatus::Live, None),
    ];
    assert_eq!((all.request_id, seen.as_slice(), all.next_cursor), (7, expected.as_slice(), None));
    let dates: Vec<_> = all.objects.iter().map(|entry| entry.created_at).collect();
    assert_eq!(&dates[..3], [Some(1_000_000), Some(1_005_000), Some(1_009_000)]);
}

#[test]
fn lists_are_filtered_and_paged() {
    let (mut server, attached) = busy();
    let mut ids = |list: &str| {
        let Objects { objects, next_cursor, .. } = listed(&mut server, attached, list);
        (objects.iter().map(|entry| entry.id).collect::<Vec<_>>(), next_cursor)
    };
    let page = ids(r#"{"type":"session.list","request_id":1,"limit":3}"#);
    assert_eq!(page, (vec![1, 2, 3], Some("3".to_owned())));
    let page = ids(r#"{"type":"session.list","request_id":1,"limit":1,"cursor":"3"}"#);
    assert_eq!(page, (vec![4], Some("4".to_owned())));
    assert_eq!(ids(r#"{"type":"session.list","request_id":2,"cursor":"4"}"#), (vec![-1], None));
    assert_eq!(ids(r#"{"type":"session.list","request_id":2,"cursor":"-1"}"#), (vec![], None));
    let pending = r#"{"type":"session.list","request_id":3,"filter":{"status":["pending"]}}"#;
    assert_eq!(ids(pending), (vec![3, 4], None));
    assert_eq!(ids(r#"{"type":"session.list","request_id":4,"filter":{"kind":"object"}}"#), (vec![-1], None));
    let middle =
        r#"{"type":"session.list","request_id":5,"filter":{"created_after":1002000,"created_before":1008000}}"#;
    assert_eq!(ids(middle), (vec![2], None));
    let filter = ListFilter { status: vec![ObjectStatus::Live], ..ListFilter::default() };
    let frame = Frame::List(List { request_id: 6, filter, limit: Some(usize::MAX), cursor: None });
    assert_eq!(ids(&frame.write()), (vec![-1], None));
}

#[test]
fn excessive_or_malformed_list_requests_are_refused() {
    let (mut server, attached) = end(Role::Server, LinkRules::default());
    for request_id in 0..17 {
        let list = format!(r#"{{"type":"session.list","request_id":{request_id}}}"#);
        server.handle_text(attached, at(1), &list);
    }
    assert_eq!(server.session().closed().map(|closed| closed.cause.name()), Some("RATE_LIMITED"));
    let (mut server, attached) = end(Role::Server, LinkRules::default());
    server.handle_text(attached, at(1), r#"{"type":"session.list","request_id":1,"cursor":"x"}"#);
    assert!(written(&mut server, attached).iter().any(|text| text.contains("session.evicted")));
}

/// Calls made before the client closed the session complete.
#[test]
fn closed_session_waits_for_its_calls() {
    let (mut server, attached) = end(Role::Server, LinkRules::default());
    server.handle_text(attached, at(1), r#"["push",["pipeline",0,["a"],[]]]"#);
    let Some(Output::Deliver(a)) = server.session_mut().poll_output() else { panic!("a call") };
    server.handle_text(attached, at(2), r#"{"type":"session.close","reason":"done"}"#);
    assert!(server.is_closing() && server.asks() && !server.session().is_closed());
    server.handle_text(attached, at(3), r#"["push",["pipeline",0,["late"],[]]]"#);
    assert_eq!(server.session_mut().poll_output(), None, "nothing is handled any more");
    server.session_mut().settle(a.call, Ok(Payload::plain("1")));
    assert_eq!(server.session().calls_running(), 0);
    server.finish_closing();
    assert_eq!(written(&mut server, attached).last().unwrap(), r#"{"type":"session.closed","reason":"done"}"#);
}

#[test]
fn session_without_calls_closes_at_once() {
    let (mut server, attached) = end(Role::Server, LinkRules::default());
    server.handle_text(attached, at(2), r#"{"type":"session.close"}"#);
    assert!(server.session().is_closed() && !server.is_closing());
}

#[test]
fn slow_peer_is_reported_once() {
    let mut rules = LinkRules::default();
    rules.retain_messages = 8;
    let (mut client, attached) = end(Role::Client, rules);
    let slow = |client: &mut Endpoint| {
        let events: Vec<_> = std::iter::from_fn(|| client.poll_event()).collect();
        events.iter().filter(|event| matches!(event, LinkEvent::PeerSlow { .. })).count()
    };
    for _ in 0..8 {
        call(&mut client, "x");
        written(&mut client, attached);
    }
    assert_eq!((slow(&mut client), client.take_slow(), client.take_slow()), (1, true, false));
    assert_eq!(client.link_stats().retained_messages, 8);
    client.handle_text(attached, at(1), r#"{"type":"session.ack","last_processed_seq":8}"#);
    for _ in 0..8 {
        call(&mut client, "x");
        written(&mut client, attached);
    }
    assert_eq!(slow(&mut client), 1, "a peer that has caught up is reported again");
}

/// A peer that acknowledges nothing for two heartbeats while the retransmit buffer is full is
/// treated as dead.
#[test]
fn peer_that_answers_pings_but_acknowledges_nothing_is_disconnected() {
    let mut rules = LinkRules::default();
    rules.retain_messages = 2;
    let (mut client, attached) = end(Role::Client, rules.clone());
    for _ in 0..2 {
        call(&mut client, "x");
        written(&mut client, attached);
    }
    let dead = u64::try_from(rules.dead_after.as_millis()).unwrap();
    let pong = r#"{"type":"session.pong","ping_nonce":"1","last_processed_seq":0}"#;
    client.handle_text(attached, at(dead - 10), pong);
    assert!(client.handle_timeout(attached, at(dead - 1)));
    assert_eq!(client.poll_timeout(), Some(at(dead)));
    assert!(!client.handle_timeout(attached, at(dead)));
}

/// Pings contain the time at which they were sent, and the pong gives the round-trip time.
#[test]
fn round_trip_is_measured() {
    let (mut client, attached) = end(Role::Client, LinkRules::default());
    assert!(client.handle_timeout(attached, at(20_000)));
    assert!(written(&mut client, attached).iter().any(|text| text.contains("session.ping")));
    client.handle_text(attached, at(20_042), r#"{"type":"session.pong","ping_nonce":"1","last_processed_seq":0}"#);
    assert_eq!(client.link_stats().round_trip, Some(Duration::from_millis(42)));
    client.handle_text(attached, at(30_000), r#"{"type":"session.ping","nonce":"n","sent_at":5}"#);
    let pong = r#"{"type":"session.pong","ping_nonce":"n","received_at":30000,"last_processed_seq":0}"#;
    assert_eq!(written(&mut client, attached), [pong]);
}
