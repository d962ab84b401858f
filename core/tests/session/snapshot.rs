//! Corrupt snapshots: each is refused, or the session behaves. That every session equals what its
//! snapshot restores is checked in all of these tests.

use bowline_core::limits::Limits;
use bowline_core::session::{Ref, Session, Snapshot};
use bowline_core::value::{PLACEHOLDER, Payload};
use serde_json::Value;

use super::app::{App, path, payload};
use super::pair::Pair;
use super::stored::revived;

/// A session as version 1 wrote it, which must remain readable.
const GOLDEN: &str = include_str!("golden.snapshot.json");

/// Creates a server with an entry in every table.
fn full() -> Session {
    let mut pair = Pair::uncut();
    let client = &mut pair.client;
    let main = client.session.main();
    let (callback, sink) = (client.adder(1), client.sink());
    let promise = client.session.new_promise();
    let slow = client.session.call(main, &path("slow"), Some(Payload::plain("[]")));
    for (on, method, args) in [
        (main, "take", payload("[$]", &[callback])),
        (main, "mk", Payload::plain("[1]")),
        (main, "later", Payload::plain("[]")),
        (main, "lst", Payload::plain("[]")),
        (main, "boo", Payload::plain("[]")),
        (main, "takeP", payload("[$]", &[Ref::Promise(promise)])),
        (main, "writeTo", payload("[$]", &[sink])),
        (slow, "a.b", payload("[$,[[1,{\"x\":$}]]]", &[callback, callback])),
    ] {
        client.session.call(on, &path(method), Some(args));
    }
    client.session.map(slow, &[], &[], r#"[["pipeline",0,["x"]]]"#.to_owned());
    pair.server.is_durable = true;
    pair.server.session.withhold_releases();
    pair.settle();
    let server = &mut pair.server;
    let running = server.unfinished[0];
    server.session.keep_for_rerun(running, Session::MAIN, path("slow"), Some(Payload::plain("[]")));
    pair.settle();
    pair.server.session
}

/// Uses a session whose snapshot was accepted.
fn use_it(session: Session) {
    let mut app = App::new(session.clone());
    app.ignores_unknown_targets = true;
    for message in [
        r#"["pull",1]"#,
        r#"["push",["pipeline",1,["x"],[[["import",-1]]]]]"#,
        r#"["resolve",-1,7]"#,
        r#"["resolve",1,["export",-9]]"#,
        r#"["release",1,1]"#,
        r#"["release",-1,1]"#,
    ] {
        app.session.handle_message(message);
        app.react();
    }
    for call in std::mem::take(&mut app.unfinished) {
        app.session.settle(call, Ok(Payload::plain("1")));
        app.react();
    }
    if let Some(session) = revived(session) {
        let mut app = App::new(session);
        app.ignores_unknown_targets = true;
        app.react();
    }
}

/// Collects every position in a value, as a JSON pointer.
fn places(value: &Value, at: String, found: &mut Vec<String>) {
    match value {
        Value::Array(list) => (0..).zip(list).for_each(|(n, part)| places(part, format!("{at}/{n}"), found)),
        Value::Object(members) => members.iter().for_each(|(name, part)| places(part, format!("{at}/{name}"), found)),
        _ => {}
    }
    found.push(at);
}

#[test]
fn corrupt_snapshots_never_panic() {
    let honest = serde_json::to_value(full().snapshot().expect("the session is open")).expect("plain data");
    let mut ways = Vec::new();
    places(&honest, String::new(), &mut ways);
    let lies = [
        Value::from(0),
        Value::from(-1),
        Value::from(3),
        Value::from(1_i64 << 60),
        Value::from(u64::MAX),
        Value::from(""),
        Value::from("[\"@\"]"),
        Value::from(PLACEHOLDER),
        Value::from("[[\u{1a},\u{1a}]]"),
        Value::from("["),
        Value::Null,
        Value::from(true),
        serde_json::json!([]),
        serde_json::json!({}),
        serde_json::json!({"p": 1}),
        serde_json::json!({"t": 1}),
    ];
    let (mut believed, mut refused) = (0, 0);
    for way in ways.iter().filter(|way| !way.is_empty()) {
        for lie in &lies {
            let mut snapshot = honest.clone();
            *snapshot.pointer_mut(way).expect("the position exists") = lie.clone();
            let read = serde_json::from_value::<Snapshot>(snapshot).map_err(|error| error.to_string());
            match read.and_then(|read| Session::restore(read, Limits::default()).map_err(|error| error.to_string())) {
                Ok(session) => {
                    believed += 1;
                    use_it(session);
                }
                Err(_) => refused += 1,
            }
        }
    }
    assert!(refused > 4 * believed, "{believed} believed, {refused} refused");
}

#[test]
fn snapshot_of_another_version_is_refused() {
    let mut snapshot = serde_json::to_value(full().snapshot()).expect("plain data");
    snapshot["v"] = Value::from(2);
    let read: Snapshot = serde_json::from_value(snapshot).expect("of the same shape");
    let refused = Session::restore(read, Limits::default()).expect_err("version 2 is not there");
    assert_eq!(refused.to_string(), "not a snapshot of a session: version 2 is not supported");
}

#[test]
fn snapshot_must_satisfy_the_limits_of_its_reader() {
    let mut limits = Limits::default();
    limits.table_entries = 2;
    let snapshot = full().snapshot().expect("the session is open");
    assert!(Session::restore(snapshot, limits).is_err());
}

#[test]
fn golden_snapshots_remain_readable() {
    let read: Snapshot = serde_json::from_str(GOLDEN).expect("version 1 is readable");
    let session = Session::restore(read, Limits::default()).expect("the snapshot is valid");
    assert_eq!(session, full(), "a new field needs a default, and a changed format a new version");
    assert_eq!(serde_json::to_string(&session.snapshot()).expect("plain data"), GOLDEN.trim_end());
}

/// Changes that would cause a fault later, each with the expected error.
#[test]
fn inconsistent_snapshots_are_refused() {
    let cases = [
        ("/nid/export", Value::from(i64::MIN), "an assigned id is not below its counter"),
        ("/nid/peer_export", Value::from(i64::MIN), "an assigned id is not below its counter"),
        ("/m/0/1/budget", Value::from(u64::MAX), "the budget of a map exceeds the limit"),
        ("/again/0/0", Value::from(2), "the result of a call is not pending"),
        ("/again/0/0", Value::from(99), "the result of a call is not pending"),
        ("/m/0/0", Value::from(10), "a result has two sources"),
    ];
    let honest = serde_json::to_value(full().snapshot().expect("the session is open")).expect("plain data");
    for (way, lie, said) in cases {
        let mut snapshot = honest.clone();
        *snapshot.pointer_mut(way).expect("the position exists") = lie;
        let read: Snapshot = serde_json::from_value(snapshot).expect("of the same shape");
        let refused = Session::restore(read, Limits::default()).map(drop).map_err(|error| error.to_string());
        assert_eq!(refused, Err(format!("not a snapshot of a session: {said}")), "{way}");
    }
}
