//! Limits on what a peer can make a session hold.

#![expect(clippy::disallowed_methods, reason = "measures how long a session takes")]

use bowline_core::limits::Limits;
use bowline_core::session::{Outcome, Output, Ref, Session};

use super::app::{path, payload};
use super::pair::{Scripted, assert_idle};

fn small() -> Limits {
    let mut limits = Limits::default();
    limits.table_entries = 10;
    limits.held_bytes = 1_000;
    limits.running_calls = 3;
    limits.path_steps = 4;
    limits
}

#[test]
fn deep_values_use_no_stack_and_time_linear_in_length() {
    for text in ["[", "[[", "{\"a\":", "[\"push\",[\"pipeline\",0,[\"sq\"],["] {
        let mut server = Scripted::new(Limits::default());
        server.send(&text.repeat(1_000_000));
        assert!(server.app.closed.is_some());
    }
    // Within the limit, on a thread no larger than tokio's.
    let deep = |n: usize| format!(r#"["push",["pipeline",0,["echo"],[{}1{}]]]"#, "[[".repeat(n), "]]".repeat(n));
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(move || {
        let mut server = Scripted::new(Limits::default());
        server.app.session.handle_message(&deep(254));
        assert!(server.app.session.poll_output().is_some() && !server.app.session.is_closed());
        server.app.session.handle_message(&deep(255));
        assert!(server.app.session.is_closed());
    });
    thread.expect("a thread").join().expect("no overflow");
}

#[test]
fn number_of_values_in_a_message_is_limited() {
    let mut server = Scripted::new(Limits::default());
    server.send(&format!("[\"push\",[[{}0]]]", "{\"\":0},".repeat(600_000)));
    server.assert_aborted("limit: values in a message (at most 1000000)");
}

#[test]
fn oversized_message_is_refused_without_parsing() {
    let mut server = Scripted::new(Limits::default());
    server.send(&format!("[\"push\",\"{}\"]", "x".repeat(8 << 20)));
    server.assert_aborted("limit: bytes of a message (at most 8388608)");
}

#[test]
fn colliding_keys_cost_no_more_than_others() {
    let members: Vec<String> = (0..200_000).map(|n| format!("\"k{n}\":0")).collect();
    let time_of = |last: &str| {
        let text = format!("[\"push\",{{{},{last}}}]", members.join(","));
        let mut server = Scripted::new(Limits::default());
        let start = std::time::Instant::now();
        server.send(&text);
        assert!(server.app.closed.is_none());
        start.elapsed()
    };
    let (distinct, repeated) = (time_of("\"last\":1"), time_of("\"k7\":1"));
    // A quadratic search would take thousands of times as long.
    assert!(repeated < distinct * 50, "{repeated:?} instead of {distinct:?}");
}

#[test]
fn unreleased_pushes_are_limited() {
    let mut server = Scripted::new(small());
    let mut rejected = 0;
    for n in 1..=100 {
        server.send(r#"["push",["pipeline",0,["sq"],[2]]]"#);
        let answers = server.send(&format!("[\"pull\",{n}]"));
        rejected += usize::from(answers.iter().any(|answer| answer.contains("limit: table entries")));
        if server.app.closed.is_some() {
            break;
        }
    }
    assert!(rejected > 0, "calls are rejected at the limit");
    server.assert_aborted("limit: table entries of a session (at most 10)");
}

#[test]
fn retained_stubs_are_limited() {
    let mut server = Scripted::new(small());
    for n in 1..=100 {
        server.send(&format!(r#"["push",["pipeline",0,["take"],[["export",-{n}]]]]"#));
        server.send(&format!(r#"["release",{n},1]"#));
    }
    assert_eq!(server.app.session.stats().imports, 10, "calls are rejected beyond the limit and the stubs released");
}

#[test]
fn unpulled_results_are_limited() {
    let mut server = Scripted::new(small());
    for _ in 0..20 {
        server.send(&format!(r#"["push",["pipeline",0,["echo"],["{}"]]]"#, "x".repeat(300)));
    }
    assert!(server.app.closed.is_some() || server.app.entered.len() <= 4, "{:?}", server.app.entered.len());
}

#[test]
fn calls_beyond_the_running_limit_wait_in_order() {
    let mut server = Scripted::new(small());
    for n in 1..=6 {
        server.send(&format!(r#"["push",["pipeline",0,["slow"],[{n}]]]"#));
        server.send(&format!("[\"release\",{n},1]"));
    }
    assert_eq!(server.app.entered, ["slow[1]", "slow[2]", "slow[3]"], "a release does not make room");
    server.app.finish("1");
    assert_eq!(server.app.entered.last().map(String::as_str), Some("slow[4]"));
    (0..5).for_each(|_| server.app.finish("1"));
    assert_eq!(server.app.entered.len(), 6);
    assert_idle("server", &server.app);
}

#[test]
fn repeated_push_and_release_leaves_no_state() {
    let mut server = Scripted::new(small());
    for n in 1..=10_000 {
        server.send(r#"["push",["pipeline",0,["mk"],[2]]]"#);
        server.send(&format!("[\"release\",{n},1]"));
    }
    assert_idle("server", &server.app);
}

#[test]
fn path_steps_are_limited() {
    let mut server = Scripted::new(small());
    server.says(
        r#"c> ["push",["pipeline",0,["a","b","c","d","e"]]]
           c> ["pull",1]
           s> ["reject",1,["error","RangeError","limit: steps of a property path (at most 4)"]]
           c> ["release",1,1]"#,
    );
    assert_idle("server", &server.app);
}

#[test]
fn values_that_double_at_every_level_are_refused() {
    let mut limits = Limits::default();
    limits.message_bytes = 10_000;
    let mut server = Scripted::new(limits);
    server.send(r#"["push",["pipeline",0,["echo"],["0123456789"]]]"#);
    for n in 1..40 {
        server.send(&format!(r#"["push",["pipeline",0,["echo"],[[[["pipeline",{n}],["pipeline",{n}]]]]]]"#));
    }
    let answers = server.send("[\"pull\",40]");
    assert_eq!(answers, [r#"["reject",40,["error","RangeError","limit: bytes of a value (at most 10000)"]]"#]);
}

#[test]
fn long_chain_on_a_pending_result_uses_no_stack() {
    let mut server = Scripted::new(Limits::default());
    server.send(r#"["push",["pipeline",0,["slow"],[]]]"#);
    for n in 1..30_000 {
        server.send(&format!(r#"["push",["pipeline",{n},["a"]]]"#));
    }
    server.send("[\"pull\",30000]");
    server.app.finish("{}");
    let error = server.app.session.poll_transmit().expect("the answer");
    assert_eq!(error, r#"["reject",30000,["error","TypeError","Cannot read properties of undefined (reading 'a')"]]"#);
    (1..=30_000).for_each(|id| drop(server.send(&format!(r#"["release",{id},1]"#))));
    assert_idle("server", &server.app);
}

#[test]
fn value_that_contains_itself_over_the_wire_is_rejected() {
    let mut limits = Limits::default();
    limits.table_entries = 1_000;
    let mut server = Scripted::new(limits);
    server.send(r#"["push",{"x":["promise",-1]}]"#);
    server.send(r#"["resolve",-1,{"y":["pipeline",1]}]"#);
    let answers = server.send(r#"["push",["pipeline",0,["echo"],[["pipeline",1]]]]"#);
    assert!(answers.is_empty());
    let answers = server.send("[\"pull\",2]");
    assert!(answers[0].contains("limit: promises inside of promises"), "{answers:?}");
    server.send("[\"pull\",1]");
    assert!(server.app.session.transmit_bytes() < 1 << 20);
}

#[test]
fn promise_that_resolves_to_itself_is_rejected() {
    let mut server = Scripted::new(Limits::default());
    server.says(
        r#"c> ["push",["promise",-1]]
           c> ["resolve",-1,["pipeline",1]]
           s> ["release",-1,1]
           c> ["pull",1]
           s> ["reject",1,["error","TypeError","Chaining cycle detected: a promise resolves to itself."]]
           c> ["release",1,1]"#,
    );
    assert_idle("server", &server.app);
}

/// Returns a list nested `levels` deep.
fn nested(levels: usize) -> String {
    format!("{}1{}", "[[".repeat(levels), "]]".repeat(levels))
}

const TOO_DEEP: &str = r#"["error","RangeError","limit: levels of nesting of a value (at most 256)"]"#;

#[test]
fn call_with_too_deep_combined_arguments_is_rejected() {
    let mut server = Scripted::new(Limits::default());
    for (push, levels, outer) in [(1, 254, 0), (3, 255, 0), (5, 200, 54), (7, 200, 55)] {
        server.send(&format!("[\"push\",{}]", nested(levels)));
        let (open, close) = ("[[".repeat(outer), "]]".repeat(outer));
        server.send(&format!(r#"["push",["pipeline",0,["slow"],[{open}["pipeline",{push}]{close}]]]"#));
        let answers = server.send(&format!("[\"pull\",{}]", push + 1));
        if levels + outer == 254 {
            assert_eq!(server.app.entered.last(), Some(&format!("slow[{}]", nested(254))));
            server.app.finish("1");
        } else {
            assert_eq!(answers, [format!("[\"reject\",{},{TOO_DEEP}]", push + 1)]);
        }
        (push..push + 2).for_each(|id| drop(server.send(&format!("[\"release\",{id},1]"))));
    }
    assert_idle("server", &server.app);
}

#[test]
fn call_with_too_deep_outgoing_arguments_is_rejected_without_being_sent() {
    let mut session = Session::new(Limits::default(), true);
    for (levels, text, fits) in [
        (254, "[$]", true),
        (255, "[$]", false),
        (252, r#"[{"a":[["[[",$]]}]"#, true),
        (253, r#"[{"a":[["[[",$]]}]"#, false),
        (254, r#"[{"a":$}]"#, false),
    ] {
        let value = session.new_promise();
        session.settle(value, Ok(payload(&nested(levels), &[])));
        let args = payload(text, &[Ref::Promise(value)]);
        let result = session.call(session.main(), &path("f"), Some(args.clone()));
        let is_sent = session.poll_transmit().is_some_and(|sent| sent.contains(&nested(levels)));
        assert_eq!(is_sent, fits, "{levels} levels in {text}");
        if !fits {
            session.pull(result, &[]);
            let Some(Output::Settled { outcome: Outcome::Rejected(error), .. }) = session.poll_output() else {
                panic!("the call is rejected")
            };
            assert_eq!(error.text(), TOO_DEEP);
        }
        session.release(result);
        session.release(Ref::Promise(value));
    }
    assert!(!session.is_closed());
}

#[test]
fn calls_in_one_message_are_subject_to_the_table_limit() {
    for call in [r#"["pipeline",0,["slow"],[]]"#, r#"["pipeline",0,["a"]]"#, r#"["remap",0,[],[],[1]]"#] {
        let mut limits = Limits::default();
        limits.table_entries = 1_000;
        let mut server = Scripted::new(limits);
        server.send(&format!("[\"push\",[[{}]]]", vec![call; 50_000].join(",")));
        server.assert_aborted("limit: table entries of a session (at most 1000)");
        assert!(server.app.unfinished.len() <= 1_000, "{} calls run", server.app.unfinished.len());
    }
    let mut limits = Limits::default();
    limits.table_entries = 1_000;
    let mut server = Scripted::new(limits);
    let exports: Vec<String> = (1..50_000).map(|id| format!("[\"export\",-{id}]")).collect();
    server.send(&format!("[\"push\",[[{}]]]", exports.join(",")));
    server.assert_aborted("limit: table entries of a session (at most 1000)");
}
