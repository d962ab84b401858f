//! Frames, the handshake, and the limits and timeouts of a link.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod control;
mod hostile;

use std::time::Duration;

use bowline_core::endpoint::{Attach, Endpoint, LinkEvent};
use bowline_core::error::ErrorCode;
use bowline_core::limits::Limits;
use bowline_core::link::handshake::{Opening, negotiate};
use bowline_core::link::{Attachment, Features, Frame, LinkRules, Refused, Role};
use bowline_core::session::{CloseReason, ClosedBy, Ref, Step};
use bowline_core::time::Time;
use bowline_core::value::Payload;

const HELLO: &str = r#"{"type":"session.hello","protocol":[1],"features":["ack","heartbeat","durable"],"client":{"kind":"bowline-rs","version":"0.1.0","instance":"…"},"hello_id":"abc","auth":{"scheme":"bearer","token":"…"}}"#;

fn at(ms: u64) -> Time {
    Time(Duration::from_millis(ms))
}

fn resume(peer_processed: u64) -> Attach<'static> {
    Attach::Resume { peer_processed, peer_sends_after: None }
}

fn end(role: Role, rules: LinkRules) -> (Endpoint, Attachment) {
    let mut endpoint = Endpoint::linked(Limits::default(), true, role, rules);
    let attached = endpoint.attach(at(0), Features::ALL, resume(0)).unwrap().attachment;
    (endpoint, attached)
}

fn call(endpoint: &mut Endpoint, text: &str) -> Ref {
    let session = endpoint.session_mut();
    let args = Payload::plain(format!("[{text:?}]"));
    session.call(session.main(), &[Step::Name("f".into())], Some(args))
}

/// Returns everything that is written, except acks.
fn written(endpoint: &mut Endpoint, attached: Attachment) -> Vec<String> {
    let texts = std::iter::from_fn(|| endpoint.poll_transmit(attached));
    texts.filter(|text| !text.contains("session.ack")).collect()
}

fn gone() -> CloseReason {
    CloseReason::new(ClosedBy::Transport, "Error", "cut")
}

/// Includes versions that are not supported.
#[test]
fn hello_examples_verbatim_and_nothing_before_hello() {
    let Ok(Opening::Hello(hello)) = Opening::read(HELLO) else { panic!("a hello") };
    assert_eq!(Frame::Hello(hello.clone()).write(), HELLO);
    assert_eq!(hello.auth.scheme, "bearer");
    for (text, code) in [
        (r#"["push",["pipeline",0,["f"],[]]]"#, ErrorCode::HandshakeRequired),
        (r#"{"type":"session.ack","last_processed_seq":0}"#, ErrorCode::HandshakeRequired),
        (r#"{"type":"session.future"}"#, ErrorCode::HandshakeRequired),
        (r#"{"type":"session.hello"}"#, ErrorCode::InvalidRequest),
        (r#"{"type":"session.hello","protocol":[]}"#, ErrorCode::InvalidRequest),
        (r#"{"type":"session.hello","protocol":[2,3]}"#, ErrorCode::ProtocolUnsupported),
        ("{", ErrorCode::InvalidRequest),
        ("", ErrorCode::HandshakeRequired),
    ] {
        assert_eq!(Opening::read(text).unwrap_err().code, code, "{text}");
    }
    let long = format!(r#"{{"type":"session.hello","protocol":[1],"hello_id":"{}"}}"#, "x".repeat(20_000));
    assert_eq!(Opening::read(&long).unwrap_err().code, ErrorCode::PayloadTooLarge);
    for (bytes, is_kept) in [(64, true), (65, false)] {
        let hello = format!(r#"{{"type":"session.hello","protocol":[1],"hello_id":"{}"}}"#, "x".repeat(bytes));
        assert_eq!(Opening::read(&hello).map_err(|refused| refused.code).is_ok(), is_kept, "{bytes}");
    }
    // The shortest hello, of a newer version.
    Opening::read(r#" {"protocol":[7,1],"type":"session.hello","zone":{"x":[1]}}"#).unwrap();
}

#[test]
fn every_frame_round_trips_exactly() {
    for text in [
        r#"{"type":"session.challenge","challenge":"c"}"#,
        r#"{"type":"session.hello","protocol":[2,1],"features":[],"client":{"kind":"ジョナサン","version":"…"},"auth":{"scheme":"none"}}"#,
        r#"{"type":"session.welcome","session_id":"s_1","protocol":1,"features":["ack"],"runtime":{"kind":"bowline-rs","version":"0.1.0"},"principal":"u_1","epoch":1,"resume_token":"bwl1.a.b.c","resume_key":"k","resume_window_sec":300,"heartbeat_interval_sec":20,"last_event_seq":0}"#,
        r#"{"type":"session.resume","protocol":[1],"features":["ack"],"resume_token":"bwl1.a.b.c","last_event_seq":1827,"first_retained_seq":1650,"proof":"p"}"#,
        r#"{"type":"session.resumed","session_id":"s_1","mode":"warm","epoch":2,"resume_token":"bwl1.a.b.c","resume_key":"k","last_event_seq":990,"replayed_from":1827,"replayed":true,"replay_count":12}"#,
        r#"{"type":"session.resume","protocol":[1],"features":["durable"],"resume_token":"bwl1.a.b.c","last_event_seq":7,"first_retained_seq":1,"proof":"p","auth":{"scheme":"bearer","token":"t"},"accept":["warm","cold"],"ids":{"next_positive":42,"next_negative":-17,"peer_next_positive":9,"peer_next_negative":-31}}"#,
        r#"{"type":"session.resumed","session_id":"s_1","mode":"cold","epoch":3,"resume_token":"bwl1.a.b.c","resume_key":"k","last_event_seq":0,"replayed_from":0,"replayed":false,"replay_count":0,"left":{"next_positive":40,"restored":[-3,16],"lost":[[-9,"CAPABILITY_LOST"]],"unknown":[16],"imports":[[-5,1]]}}"#,
        r#"{"type":"session.token","resume_token":"bwl1.a.b.c","covers":{"checkpoint":4,"next_positive":40}}"#,
        r#"{"type":"session.ack","last_processed_seq":18,"checkpoint":4}"#,
        r#"{"type":"session.drain","retry_after_ms":750}"#,
        r#"{"type":"session.reconcile","hold":[-3,16],"pull":[16]}"#,
        r#"{"type":"session.skip","next_positive":17}"#,
        r#"{"type":"session.token","resume_token":"bwl1.a.b.c"}"#,
        r#"{"type":"session.token","resume_token":"bwl1.a.b.c","resume_key":"k","covers":{"checkpoint":4,"next_positive":40}}"#,
        r#"{"type":"session.authenticate","response":"r"}"#,
        r#"{"type":"session.unauthenticated","code":"UNAUTHENTICATED","message":"m","retryable":false,"status":401}"#,
        r#"{"type":"session.rejected","code":"RATE_LIMITED","message":"m","retryable":true,"retry_after_ms":750}"#,
        r#"{"type":"session.evicted","code":"DRAINING","reason":"later"}"#,
        r#"{"type":"session.close","reason":"done"}"#,
        r#"{"type":"session.closed"}"#,
        r#"{"type":"session.ack","last_processed_seq":1827}"#,
        r#"{"type":"session.ping","nonce":"1","sent_at":20000}"#,
        r#"{"type":"session.pong","ping_nonce":"1","last_processed_seq":1827}"#,
    ] {
        let frame = Frame::read(text).unwrap().unwrap();
        assert_eq!(frame.write(), text, "absent fields are not written");
        assert!(!format!("{frame:?}").contains("bwl1"), "tokens are not shown");
    }
}

#[test]
fn unknown_frames_are_ignored_unless_marked_must() {
    assert_eq!(Frame::read(r#"{"type":"session.later","x":1}"#), Ok(None));
    assert_eq!(Frame::read(r#"{"type":"session.later","must":true}"#).unwrap_err().code, ErrorCode::InvalidRequest);
    assert_eq!(Frame::read(r#"{"type":"session.pong"}"#).unwrap_err().code, ErrorCode::InvalidRequest);
    for ack in
        [r#"{"type":"session.ack","last_processed_seq":18}"#, r#"{ "last_processed_seq":18,"type":"session.ack"}"#]
    {
        assert_eq!(Frame::read(ack), Ok(Some(Frame::Ack { last_processed_seq: 18, checkpoint: None })));
    }
    Frame::read(r#"{"type":"session.ack","last_processed_seq":99999999999999999999999}"#).unwrap_err();
    let rejected = Frame::Rejected(Refused::new(ErrorCode::from("NEW_CODE"), "no"));
    assert_eq!(rejected.write(), r#"{"type":"session.rejected","code":"NEW_CODE","message":"no","retryable":false}"#);
    assert!(Frame::is_frame(" {") && !Frame::is_frame("[\"abort\"]") && !Frame::is_frame(""));
    assert_eq!(negotiate(&[9, 1]), Ok(1));
}

#[test]
fn every_code_round_trips() {
    for code in ErrorCode::ALL {
        assert_eq!(ErrorCode::from(code.as_str()), *code);
    }
}

#[test]
fn idle_client_resumes_after_the_buffer_was_acknowledged() {
    let (mut client, first) = end(Role::Client, LinkRules::default());
    call(&mut client, "a");
    let sent = written(&mut client, first);
    client.handle_text(first, at(1), r#"{"type":"session.ack","last_processed_seq":1}"#);
    client.detach(first, gone());
    // Everything was acknowledged, and nothing was missed.
    assert_eq!((sent.len(), client.link_stats().retained_messages), (1, 0));
    for n in 1..10 {
        let attached = client.attach(at(n << 30), Features::ALL, resume(1)).unwrap().attachment;
        assert!(written(&mut client, attached).is_empty());
        client.detach(attached, gone());
    }
}

/// A paused owner that continues cannot change anything.
#[test]
fn late_frame_from_a_replaced_connection_is_dropped() {
    let (mut server, old) = end(Role::Server, LinkRules::default());
    let message = r#"["push",["pipeline",0,["f"],[]]]"#;
    assert!(server.handle_text(old, at(1), message));
    let new = server.attach(at(2), Features::ALL, resume(0)).unwrap();
    assert_eq!(new.processed, 1);
    assert!(!server.handle_text(old, at(3), message));
    assert_eq!(server.poll_transmit(old), None);
    server.detach(old, gone());
    assert!(server.is_attached(new.attachment), "the end of the old connection does not affect the new one");
    assert_eq!(server.processed(), 1);
}

#[test]
fn peer_with_impossible_numbers_is_refused() {
    let (mut client, first) = end(Role::Client, LinkRules::default());
    call(&mut client, "a");
    written(&mut client, first);
    for lie in [resume(2), resume(u64::MAX), Attach::Resume { peer_processed: 0, peer_sends_after: Some(1) }] {
        assert_eq!(client.attach(at(1), Features::ALL, lie).unwrap_err().code, ErrorCode::ResumeGap);
    }
    assert!(client.is_attached(first), "a refused attach keeps the current connection");
    client.handle_text(first, at(1), r#"{"type":"session.ack","last_processed_seq":1}"#);
    assert_eq!(client.attach(at(1), Features::ALL, resume(0)).unwrap_err().code, ErrorCode::ResumeGap);
    client.handle_text(first, at(1), r#"{"type":"session.ack","last_processed_seq":5}"#);
    assert_eq!(client.session().closed().unwrap().code(), Some(ErrorCode::ResumeGap));
}

/// A push with its pull, and consecutive releases, are joined for peers that name `calls`.
#[test]
fn calls_with_pulls_and_consecutive_releases_are_joined() {
    let (mut client, attached) = end(Role::Client, LinkRules::default());
    let (mut server, _) = end(Role::Server, LinkRules::default());
    for text in ["a", "b", "c"] {
        let result = call(&mut client, text);
        client.session_mut().pull(result, &[]);
    }
    let texts = written(&mut client, attached);
    assert_eq!(texts[0], r#"+["push",["pipeline",0,["f"],["a"]]]"#);
    assert_eq!(texts.len(), 3);
    for text in &texts {
        assert!(server.handle_text(attached, at(1), text));
    }
    assert_eq!((server.session().answers_owed(), server.processed()), (3, 3));
    assert!(server.handle_text(attached, at(1), r#"["release",1,1,3]"#));
    assert_eq!((server.session().stats().exports, server.session().is_closed()), (1, false));

    // A joined message is not retransmitted to a peer that no longer names `calls`.
    client.detach(attached, gone());
    let features = Features { calls: false, ..Features::ALL };
    let refused = client.attach(at(3), features, resume(2)).unwrap_err();
    assert_eq!(refused.code, ErrorCode::ResumeGap, "{refused:?}");
    client.attach(at(3), features, resume(3)).unwrap();
}

#[test]
fn malformed_joined_messages_end_the_session() {
    let features = Features { calls: false, ..Features::ALL };
    for (text, features, what) in [
        (r#"+["pull",1]"#, Features::ALL, "bad RPC message"),
        (r#"+["push"]"#, Features::ALL, "bad RPC message"),
        (r#"++["push",1]"#, Features::ALL, "at byte 0"),
        (r#"["release",2,1,1]"#, Features::ALL, "bad RPC message"),
        (r#"["release",1,1,9007199254740991]"#, Features::ALL, "no such export ID: 2"),
        (r#"["release",1,1,9007199254740993]"#, Features::ALL, "bad RPC message"),
        (r#"+["push",1]"#, features, "at byte 0"),
        (r#"["release",2,1,3]"#, features, "no such export ID: 2"),
    ] {
        let mut server = Endpoint::linked(Limits::default(), true, Role::Server, LinkRules::default());
        let attached = server.attach(at(0), features, resume(0)).unwrap().attachment;
        server.handle_text(attached, at(1), r#"["push",1]"#);
        assert!(!server.session().is_closed());
        server.handle_text(attached, at(1), text);
        let closed = server.session().closed().unwrap_or_else(|| panic!("{text} is accepted"));
        assert!(closed.message.contains(what), "{text}: {}", closed.message);
    }
}

#[test]
fn message_acknowledged_before_its_retransmission_keeps_its_number() {
    let (mut server, first) = end(Role::Server, LinkRules::default());
    for _ in 0..3 {
        call(&mut server, "x");
    }
    let sent = written(&mut server, first);
    // The server starts with the first message, although the client then acknowledges all three.
    let second = server.attach(at(1), Features::ALL, resume(0)).unwrap().attachment;
    server.handle_text(second, at(1), r#"{"type":"session.ack","last_processed_seq":3}"#);
    call(&mut server, "new");
    let again = written(&mut server, second);
    assert_eq!(again[..3], sent);
    assert_eq!((again.len(), server.link_stats().retained_messages, server.has_transmit()), (4, 1, false));
}

#[test]
fn overflow_is_reported_not_truncated() {
    let mut rules = LinkRules::default();
    rules.retain_messages = 4;
    let (mut server, attached) = end(Role::Server, rules.clone());
    for _ in 0..10 {
        call(&mut server, "x");
    }
    // With a connection, messages wait for acks.
    assert_eq!(written(&mut server, attached).len(), 4);
    server.handle_text(attached, at(1), r#"{"type":"session.ack","last_processed_seq":3}"#);
    assert_eq!(written(&mut server, attached).len(), 3);
    server.bound_retained();
    assert!(!server.session().is_closed());
    // Without one, a server ends the session and reports it.
    server.detach(attached, gone());
    server.bound_retained();
    assert_eq!(server.session().closed().unwrap().code(), Some(ErrorCode::BufferOverflow));
    // A client refuses new messages.
    let (mut client, attached) = end(Role::Client, rules);
    for _ in 0..4 {
        call(&mut client, "x");
    }
    assert!(!client.is_overfull());
    client.detach(attached, gone());
    client.bound_retained();
    assert!(client.is_overfull() && !client.session().is_closed());
}

#[test]
fn silent_peer_is_pinged_and_then_disconnected() {
    let (mut client, attached) = end(Role::Client, LinkRules::default());
    written(&mut client, attached);
    assert_eq!(client.poll_timeout(), Some(at(20_000)));
    assert!(client.handle_timeout(attached, at(20_000)));
    assert_eq!(written(&mut client, attached), [r#"{"type":"session.ping","nonce":"1","sent_at":20000}"#]);
    let (mut server, of_server) = end(Role::Server, LinkRules::default());
    written(&mut server, of_server);
    server.handle_text(of_server, at(1), r#"{"type":"session.ping","nonce":"1","sent_at":20000}"#);
    let pong = written(&mut server, of_server);
    assert_eq!(pong, [r#"{"type":"session.pong","ping_nonce":"1","received_at":1,"last_processed_seq":0}"#]);
    client.handle_text(attached, at(21_000), &pong[0]);
    assert!(client.handle_timeout(attached, at(40_999)));
    assert_eq!(client.poll_timeout(), Some(at(41_000)));
    assert!(client.handle_timeout(attached, at(41_000)));
    assert!(!client.handle_timeout(attached, at(61_000)));
}

#[test]
fn acks_are_due_by_number_by_bytes_and_by_time() {
    let (mut server, attached) = end(Role::Server, LinkRules::default());
    let ack = |server: &mut Endpoint| {
        let texts = std::iter::from_fn(|| server.poll_transmit(attached));
        texts.filter(|text| text.contains("session.ack")).count()
    };
    assert_eq!(ack(&mut server), 1, "an ack is due at the start of a connection");
    let release = r#"["release",1,1]"#;
    let push = r#"["push",1]"#;
    for _ in 0..31 {
        server.handle_text(attached, at(1), push);
    }
    assert_eq!(ack(&mut server), 0);
    server.handle_text(attached, at(1), release);
    assert_eq!(ack(&mut server), 1);
    server.handle_text(attached, at(2), push);
    assert_eq!((ack(&mut server), server.poll_timeout()), (0, Some(at(102))));
    server.handle_timeout(attached, at(102));
    assert_eq!(ack(&mut server), 1);
    server.handle_text(attached, at(103), &format!(r#"["push",{:?}]"#, "x".repeat(70_000)));
    assert_eq!(ack(&mut server), 1);
}

#[test]
fn plain_session_has_no_link_bytes() {
    let mut plain = Endpoint::plain(Limits::default(), true);
    let transport = Attachment::PLAIN;
    let mut session = bowline_core::session::Session::new(Limits::default(), true);
    call(&mut plain, "a");
    let args = Payload::plain("[\"a\"]");
    session.call(session.main(), &[Step::Name("f".into())], Some(args));
    for text in [r#"["push",["pipeline",0,["g"],[]]]"#, "[\"pull\",1]", "{}"] {
        plain.handle_text(transport, at(1), text);
        session.handle_message(text);
    }
    let texts: Vec<_> = std::iter::from_fn(|| plain.poll_transmit(transport)).collect();
    assert_eq!(texts, std::iter::from_fn(|| session.poll_transmit()).collect::<Vec<_>>());
    assert_eq!((plain.poll_timeout(), plain.poll_event()), (None, None));
}

#[test]
fn end_of_a_session_is_sent_and_reported() {
    let (mut server, of_server) = end(Role::Server, LinkRules::default());
    let (mut client, of_client) = end(Role::Client, LinkRules::default());
    server.end(ClosedBy::Local, &ErrorCode::Draining, "later");
    let last = written(&mut server, of_server);
    assert_eq!(last, [r#"{"type":"session.evicted","code":"DRAINING","reason":"later"}"#]);
    client.handle_text(of_client, at(1), &last[0]);
    let lost = LinkEvent::Lost { code: ErrorCode::Draining, message: "later".to_owned() };
    assert_eq!((client.poll_event(), client.poll_event()), (Some(lost), None));
    assert_eq!(client.attach(at(2), Features::ALL, resume(0)).unwrap_err().code, ErrorCode::ResumeWindowExpired);
}
