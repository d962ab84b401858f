//! The work that one message can cause. `Limits::work_bytes` serves as the measure: what stays
//! within a small limit is not repeated.

use bowline_core::limits::Limits;
use bowline_core::value::Payload;

use super::app::assert_survives;
use super::pair::{Scripted, assert_idle};

fn limits(work_bytes: usize) -> Limits {
    let mut limits = Limits::default();
    limits.work_bytes = work_bytes;
    limits
}

/// Creates a server whose push 1 resulted in a value of about 200 KB, whose last member is `z`.
fn with_large_value(work_bytes: usize) -> Scripted {
    let mut server = Scripted::new(limits(work_bytes));
    let members: Vec<String> = (0..10_000).map(|n| format!("\"k{n}\":[[{n},{n}]]")).collect();
    server.send(&format!("[\"push\",{{{},\"z\":7}}]", members.join(",")));
    server
}

/// Returns the answer to a call of `echo` with `argument`, which is push 2 of the peer.
fn echo(server: &mut Scripted, argument: &str) -> String {
    server.send(&format!(r#"["push",["pipeline",0,["echo"],[{argument}]]]"#));
    server.send("[\"pull\",2]").remove(0)
}

#[test]
fn many_lookups_read_a_large_value_once() {
    let mut server = with_large_value(400_000);
    let look_ups = vec![r#"["pipeline",1,["z"]]"#; 300].join(",");
    let answer = echo(&mut server, &format!("[[{look_ups}]]"));
    assert_eq!(answer, format!("[\"resolve\",2,[[{}]]]", vec!["7"; 300].join(",")));
    server.send("[\"release\",2,1]");
    server.send("[\"release\",1,1]");
    assert_idle("server", &server.app);
}

#[test]
fn map_reads_its_captures_once() {
    let mut server = with_large_value(400_000);
    server.send(&format!("[\"push\",[[{}]]]", vec!["1"; 300].join(",")));
    server.send(r#"["push",["remap",2,[],[["import",1]],[["pipeline",-1,["z"]]]]]"#);
    server.send(r#"["push",["pipeline",0,["echo"],[["pipeline",3]]]]"#);
    let answer = server.send("[\"pull\",4]").remove(0);
    assert_eq!(answer, format!("[\"resolve\",4,[[{}]]]", vec!["7"; 300].join(",")));
}

#[test]
fn index_is_counted_and_dropped_with_its_value() {
    let mut server = with_large_value(400_000);
    let before = server.app.session.held_bytes();
    server.send(r#"["push",["pipeline",1,["z"]]]"#);
    let with_index = server.app.session.held_bytes();
    assert!(with_index > before + 10_000 * 8, "{before} bytes are held, then {with_index}");
    assert!(with_index < 3 * before, "{before} bytes are held, then {with_index}");
    assert_survives(&server.app.session);
    server.send("[\"release\",2,1]");
    server.send("[\"release\",1,1]");
    assert_eq!(server.app.session.held_bytes(), 0);
}

#[test]
fn work_beyond_the_limit_is_rejected_until_the_next_message() {
    let mut server = Scripted::new(limits(300_000));
    server.send(&format!("[\"push\",{{\"a\":\"{}\",\"z\":7}}]", "x".repeat(10_000)));
    let look_ups = |n: usize| format!("[[{}]]", vec![r#"["pipeline",1,["z"]]"#; n].join(","));
    let refused = echo(&mut server, &look_ups(100));
    let message = "limit: bytes read for one message (at most 300000)";
    assert_eq!(refused, format!(r#"["reject",2,["error","RangeError","{message}"]]"#));
    server.send(&format!(r#"["push",["pipeline",0,["echo"],[{}]]]"#, look_ups(10)));
    assert!(server.send("[\"pull\",3]")[0].starts_with("[\"resolve\",3,"));
}

#[test]
fn calls_waiting_for_one_result_share_its_budget() {
    let mut server = Scripted::new(limits(300_000));
    server.send(r#"["push",["pipeline",0,["slow"],[]]]"#);
    for _ in 0..100 {
        server.send(r#"["push",["pipeline",1,["z"]]]"#);
    }
    server.app.finish(&format!("{{\"a\":\"{}\",\"z\":7}}", "x".repeat(10_000)));
    let answers: Vec<String> = (2..=101).map(|n| server.send(&format!("[\"pull\",{n}]")).remove(0)).collect();
    assert!(answers[0].starts_with("[\"resolve\",2,7") && answers[99].contains("limit: bytes read"), "{answers:?}");
}

#[test]
fn large_value_is_copied_once_beside_nested_promises() {
    let big = "x".repeat(100_000);
    // Three times the cost of one copy: arguments of many levels are read once more, for their depth.
    let mut server = Scripted::new(limits(3 * (100_000 + 240 * 128) / 8));
    server.send("[\"push\",1]");
    for n in 1..239 {
        server.send(&format!(r#"["push",[[["pipeline",{n}]]]]"#));
    }
    server.send(&format!("[\"push\",\"{big}\"]"));
    server.send(r#"["push",["pipeline",0,["slow"],[["pipeline",240],["pipeline",239]]]]"#);
    let entered = server.app.entered.last().expect("the call is not rejected");
    assert!(entered.starts_with(&format!("slow[\"{big}\",[[[[")), "{entered:.40}");
}

#[test]
fn arguments_are_assembled_when_the_last_part_arrives() {
    let mut server = Scripted::new(limits(100_000));
    let parts: Vec<String> = (1..=300).map(|n| format!(r#"["promise",-{n}]"#)).collect();
    let big = "x".repeat(100_000);
    server.send(&format!(r#"["push",["pipeline",0,["sq"],[3,"{big}",{}]]]"#, parts.join(",")));
    for n in 1..=300 {
        server.send(&format!(r#"["resolve",-{n},[[]]]"#));
    }
    assert_eq!(server.send("[\"pull\",1]"), [r#"["resolve",1,9]"#]);
}

#[test]
fn rejected_part_rejects_its_call_before_others_arrive() {
    let mut server = Scripted::new(Limits::default());
    server.says(
        r#"c> ["push",["pipeline",0,["boo"],[]]]
           c> ["push",["pipeline",0,["sq"],[["promise",-1],["pipeline",1]]]]
           s> ["release",-1,1]
           c> ["pull",2]
           s> ["reject",2,"boo"]
           c> ["release",2,1]
           c> ["release",1,1]"#,
    );
    assert_idle("server", &server.app);
}

#[test]
fn long_chain_of_promises_is_followed_once() {
    let mut server = Scripted::new(limits(1 << 20));
    server.send(r#"["push",7]"#);
    let long = 5_000;
    (1..=long).for_each(|n| drop(server.send(&format!(r#"["push",["promise",-{n}]]"#))));
    for n in (1..=long).rev() {
        let to = if n == long { 1 } else { n + 2 };
        server.send(&format!(r#"["resolve",-{n},["pipeline",{to}]]"#));
    }
    let refs = vec![r#"["pipeline",2]"#; 1_000].join(",");
    server.send(&format!(r#"["push",["pipeline",0,["sq"],[2,[[{refs}]]]]]"#));
    let id = long + 2;
    assert_eq!(server.send(&format!("[\"pull\",{id}]")), [format!("[\"resolve\",{id},4]")]);
}

#[test]
fn maps_in_one_message_share_the_instruction_limit() {
    let mut limits = Limits::default();
    limits.map_steps = 1_000;
    let mut server = Scripted::new(limits);
    server.send(&format!("[\"push\",[[{}]]]", vec!["1"; 100].join(",")));
    let inner = r#"["remap",-1,[],[["import",-2]],[["pipeline",-1,["sq"],[2]]]]"#;
    for beside in [5, 20] {
        server.app.entered.clear();
        let inner = vec![inner; beside].join(",");
        server.send(&format!(r#"["push",["remap",1,[],[["import",1],["import",0]],[[[{inner}]]]]]"#));
        assert!(server.app.entered.len() <= 1_000, "{} calls of {beside} maps", server.app.entered.len());
    }
    // A map of one element may run as many instructions as the limit allows.
    server.app.entered.clear();
    let inner = [inner; 5].join(",");
    server.send("[\"push\",[[1]]]");
    server.send(&format!(r#"["push",["remap",4,[],[["import",1],["import",0]],[[[{inner}]]]]]"#));
    assert_eq!(server.app.entered.len(), 500);
}

/// Sends messages to a session that works in slices. Returns the maximum number of slices that one
/// took.
fn send_in_slices(server: &mut Scripted, messages: &[String]) -> usize {
    let mut most = 0;
    for message in messages {
        server.app.session.handle_message(message);
        server.app.react();
        let mut slices = 1;
        while server.app.session.has_work() {
            server.app.session.resume_work();
            server.app.react();
            slices += 1;
        }
        most = most.max(slices);
    }
    most
}

#[test]
fn session_working_in_slices_does_the_same_in_the_same_order() {
    let small = format!("{{\"a\":\"{}\",\"z\":7}}", "x".repeat(12_000));
    let list = format!("[[{}]]", (0..20).map(|n| n.to_string()).collect::<Vec<_>>().join(","));
    let squares = |n: usize| {
        let calls = (0..n).map(|_| r#"["pipeline",0,["sq"],[["pipeline",1,["z"]]]]"#);
        format!("[\"push\",[[{}]]]", calls.collect::<Vec<_>>().join(","))
    };
    let messages = [
        format!("[\"push\",{small}]"),
        format!("[\"push\",{list}]"),
        squares(100),
        // A map that is interrupted by the end of a slice, with calls behind it in the same
        // message.
        r#"["push",[[["remap",2,[],[["import",1],["import",0]],[["pipeline",-1,["z"]],["pipeline",-2,["echo"],[["pipeline",0]]]]],["pipeline",0,["lst"],[]]]]]"#.to_owned(),
        // A map inside another.
        r#"["push",["remap",2,[],[["import",1],["import",0],["import",2]],[["remap",-3,[],[["import",-1],["import",-2]],[["pipeline",-1,["z"]],["pipeline",-2,["echo"],[["pipeline",0]]]]],["pipeline",-2,["lst"],[]]]]]"#.to_owned(),
        r#"["push",["pipeline",0,["lst"],[]]]"#.to_owned(),
    ];
    let mut whole = Scripted::new(Limits::default());
    assert_eq!(send_in_slices(&mut whole, &messages), 1);
    let mut sliced = Scripted::new(Limits::default());
    sliced.app.session.work_in_slices();
    let most = send_in_slices(&mut sliced, &messages);
    assert!(most > 5, "at most {most} slices");
    assert_eq!(sliced.app.entered, whole.app.entered);
    assert_eq!(sliced.app.session.held_bytes(), whole.app.session.held_bytes());
    let answers = |server: &mut Scripted| (1..=6).map(|n| server.send(&format!("[\"pull\",{n}]"))).collect::<Vec<_>>();
    assert_eq!(answers(&mut sliced), answers(&mut whole));
    for server in [&mut sliced, &mut whole] {
        (1..=6).for_each(|n| drop(server.send(&format!("[\"release\",{n},1]"))));
    }
    assert_eq!(sliced.app.session.stats(), whole.app.session.stats());
    assert_eq!(sliced.app.session.held_bytes(), whole.app.session.held_bytes());
}

/// Creates a session with more work for one message than fits into a slice.
fn busy() -> Scripted {
    let mut server = Scripted::new(Limits::default());
    server.app.session.work_in_slices();
    server.app.session.handle_message(&format!("[\"push\",{{\"a\":\"{}\",\"z\":7}}]", "x".repeat(12_000)));
    let calls = vec![r#"["pipeline",0,["sq"],[["pipeline",1,["z"]]]]"#; 100].join(",");
    server.app.session.handle_message(&format!("[\"push\",[[{calls}]]]"));
    assert!(server.app.session.has_work());
    server
}

#[test]
fn message_is_handled_after_remaining_work() {
    let mut server = busy();
    server.app.session.handle_message(r#"["push",["pipeline",0,["lst"],[]]]"#);
    assert!(!server.app.session.has_work());
    server.app.react();
    assert_eq!(server.app.entered.len(), 101);
    assert_eq!(server.app.entered.last().map(String::as_str), Some("lst[]"));
}

#[test]
fn remaining_work_is_dropped_with_its_session() {
    let mut server = busy();
    server.app.session.handle_message(r#"["abort",1]"#);
    assert_eq!((server.app.session.has_work(), server.app.session.held_bytes()), (false, 0));
}

#[test]
fn results_of_the_application_are_processed_in_slices() {
    let mut server = Scripted::new(Limits::default());
    server.app.session.work_in_slices();
    server.send(r#"["push",["pipeline",0,["slow"],[]]]"#);
    for n in 2..200 {
        server.send(r#"["push",["pipeline",1,["z"]]]"#);
        server.send(&format!("[\"pull\",{n}]"));
    }
    let call = server.app.unfinished.remove(0);
    let value = Payload::plain(format!("{{\"a\":\"{}\",\"z\":7}}", "x".repeat(12_000)));
    server.app.session.settle(call, Ok(value));
    assert!(server.app.session.has_work());
    server.app.session.finish_work();
    server.app.react();
    let answers = std::iter::from_fn(|| server.app.session.poll_transmit()).count();
    assert_eq!(answers, 198);
}

#[test]
fn calls_beyond_the_work_limit_reject_the_value_containing_them() {
    let mut server = Scripted::new(limits(100_000));
    let calls = |n: usize| format!("[[{}]]", vec![r#"["pipeline",0,["sq"],[3]]"#; n].join(","));
    server.send("[\"push\",1]");
    assert!(echo(&mut server, &calls(400)).starts_with("[\"resolve\",2,"));
    server.send(&format!(r#"["push",{}]"#, calls(900)));
    let refused = server.send("[\"pull\",3]").remove(0);
    let message = "limit: bytes read for one message (at most 100000)";
    assert_eq!(refused, format!(r#"["reject",3,["error","RangeError","{message}"]]"#));
    (1..=3).for_each(|id| drop(server.send(&format!("[\"release\",{id},1]"))));
    assert_idle("server", &server.app);
}

#[test]
fn copies_of_a_large_failure_are_bounded_by_the_work_of_a_message() {
    for instructions in
        [r#"["pipeline",-1,["z"]],1"#, r#"["remap",-1,[],[],[1]],1"#, r#"["pipeline",-2,["sq"],[["pipeline",-1]]],1"#]
    {
        let mut server = Scripted::new(limits(100_000));
        server.send(r#"["push",["promise",-1]]"#);
        server.send(&format!(r#"["reject",-1,["error","Error","{}"]]"#, "x".repeat(50_000)));
        server.send(&format!("[\"push\",[[{}]]]", vec!["1"; 300].join(",")));
        server.send(&format!(r#"["push",["remap",2,[],[["import",1],["import",0]],[{instructions}]]]"#));
        let refused = server.send("[\"pull\",3]").remove(0);
        let message = "limit: bytes read for one message (at most 100000)";
        assert_eq!(refused, format!(r#"["reject",3,["error","RangeError","{message}"]]"#), "{instructions}");
    }
}
