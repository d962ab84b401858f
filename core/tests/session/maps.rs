//! `remap`: evaluation, sending, and limits.

use bowline_core::limits::Limits;
use bowline_core::session::{Outgoing, Path};
use bowline_core::value::Payload;

use super::app::path;
use super::pair::{Pair, Scripted, assert_idle};

#[test]
fn map() {
    let mut pair = Pair::new();
    let main = pair.client.session.main();
    let list = pair.client.session.call(main, &path("lst"), Some(Payload::plain("[]")));
    let instructions = r#"[["pipeline",-1,["sq"],[["pipeline",0]]],["pipeline",1]]"#;
    let captures = [Outgoing { of: main, path: Path::new() }];
    let mapped = pair.client.session.map(list, &[], &captures, instructions.into());
    pair.client.session.release(list);
    let wait = pair.client.session.pull(mapped, &[]);
    pair.client.session.release(mapped);
    pair.crossed(
        r#"c> ["push",["pipeline",0,["lst"],[]]]
           c> ["push",["remap",1,[],[["import",0]],[["pipeline",-1,["sq"],[["pipeline",0]]],["pipeline",1]]]]
           c> ["release",1,1]
           c> ["pull",2]
           s> ["resolve",2,[[["promise",-1],["promise",-2]]]]
           s> ["resolve",-1,1]
           s> ["resolve",-2,4]
           c> ["release",2,1]
           c> ["release",-1,1]
           c> ["release",-2,1]"#,
    );
    assert_eq!(pair.client.settled[&wait], "[[1,4]]");
    pair.assert_idle();
}

#[test]
fn mapper_captures_a_function_of_the_caller() {
    let mut pair = Pair::new();
    let main = pair.client.session.main();
    let list = pair.client.session.call(main, &path("lst"), Some(Payload::plain("[]")));
    let adder = pair.client.adder(10);
    let captures = [Outgoing { of: adder, path: Path::new() }];
    let mapped = pair.client.session.map(list, &[], &captures, r#"[["pipeline",-1,[],[["pipeline",0]]]]"#.into());
    let wait = pair.client.session.pull(mapped, &[]);
    [list, adder, mapped].into_iter().for_each(|of| pair.client.session.release(of));
    pair.settle();
    assert_eq!(pair.client.settled[&wait], "[[11,12]]");
    pair.assert_idle();
}

#[test]
fn local_value_is_mapped_locally() {
    let mut pair = Pair::new();
    let main = pair.client.session.main();
    let list = pair.client.session.call(main, &path("lst"), Some(Payload::plain("[]")));
    let wait = pair.client.session.pull(list, &[]);
    pair.settle();
    assert_eq!(pair.client.settled[&wait], "[[1,2]]");
    let captures = [Outgoing { of: main, path: Path::new() }];
    let mapped = pair.client.session.map(list, &[], &captures, r#"[["pipeline",-1,["sq"],[["pipeline",0]]]]"#.into());
    let wait = pair.client.session.pull(mapped, &[]);
    [list, mapped].into_iter().for_each(|of| pair.client.session.release(of));
    pair.settle();
    assert_eq!(pair.client.settled[&wait], "[[1,4]]");
    pair.assert_idle();
}

#[test]
fn map_accepts_every_kind_of_input() {
    let mut server = Scripted::new(Limits::default());
    let identity = r#"[["pipeline",0]]"#;
    for (n, (input, instructions, answer)) in [
        ("null", r#"[["pipeline",0,["x"]]]"#, r#"["resolve",2,null]"#),
        (r#"["undefined"]"#, r#"[["mystery"]]"#, r#"["resolve",4,["undefined"]]"#),
        ("[[]]", "[]", r#"["resolve",6,[[]]]"#),
        (
            "5",
            r#"[{"a":["pipeline",0],"b":[[1,["pipeline",0]]]}]"#,
            r#"["resolve",8,{"a":["promise",-1],"b":[[1,["promise",-2]]]}]"#,
        ),
        (r#"{"x":7}"#, r#"[["pipeline",0,["x"]]]"#, r#"["resolve",10,7]"#),
        (r#"{"x":[[1]]}"#, identity, r#"["resolve",12,{"x":[[1]]}]"#),
    ]
    .into_iter()
    .enumerate()
    {
        let id = 2 * n + 1;
        assert!(server.send(&format!("[\"push\",{input}]")).is_empty());
        assert!(server.send(&format!(r#"["push",["remap",{id},[],[],{instructions}]]"#)).is_empty());
        assert_eq!(server.send(&format!("[\"pull\",{}]", id + 1))[0], answer);
    }
    (1..=12).for_each(|id| drop(server.send(&format!(r#"["release",{id},1]"#))));
    server.send(r#"["release",-1,1]"#);
    server.send(r#"["release",-2,1]"#);
    assert_idle("server", &server.app);
}

#[test]
fn nested_map() {
    let mut server = Scripted::new(Limits::default());
    server.says(
        r#"c> ["push",[[[[1,2]],[[3]]]]]
           c> ["push",["remap",1,[],[["import",0]],[["remap",0,[],[["import",-1]],[["pipeline",-1,["sq"],[["pipeline",0]]]]]]]]
           c> ["push",["pipeline",0,["echo"],[["pipeline",2]]]]
           c> ["pull",3]
           s> ["resolve",3,[[[[1,4]],[[9]]]]]
           c> ["release",1,1]
           c> ["release",2,1]
           c> ["release",3,1]"#,
    );
    assert_idle("server", &server.app);
}

#[test]
fn errors_reject_the_map_without_abort() {
    let mut server = Scripted::new(Limits::default());
    server.send(r#"["push",[[1,2]]]"#);
    let mut id = 1;
    for (instructions, error) in [
        ("[]", "Invalid empty mapper function."),
        (r#"[["export",-1]]"#, "A mapper function cannot refer to exports."),
        (r#"[["promise",-1]]"#, "A mapper function cannot refer to exports."),
        (r#"[["pipeline",2]]"#, "no such entry on exports table: 2"),
        (r#"[["pipeline",-1]]"#, "no such entry on exports table: -1"),
        (r#"[["mystery",["pipeline",0]]]"#, r#"unknown special value: ["mystery",["pipeline",0]]"#),
        (r#"[[["pipeline",0],["mystery"]]]"#, r#"unknown special value: [["pipeline",0],["mystery"]]"#),
        (r#"[["pipeline",0,["x"],[["pipeline",0],["mystery"]]]]"#, r#"unknown special value: ["mystery"]"#),
        (r#"[["remap",0,[],[["export",-1]],[["pipeline",0]]]]"#, r#"unknown map capture: ["export",-1]"#),
    ] {
        id += 1;
        assert!(server.send(&format!(r#"["push",["remap",1,[],[],{instructions}]]"#)).is_empty(), "{instructions}");
        let answer = server.send(&format!("[\"pull\",{id}]"));
        let answer: serde_json::Value = serde_json::from_str(&answer[0]).expect("JSON");
        assert_eq!((answer[0].as_str(), answer[2][2].as_str()), (Some("reject"), Some(error)), "{instructions}");
    }
    (1..=id).for_each(|id| drop(server.send(&format!(r#"["release",{id},1]"#))));
    assert_idle("server", &server.app);
}

#[test]
fn invalid_capture_ends_the_session() {
    for captures in [r#"[["pipeline",0]]"#, "[5]", r#"[["import","x"]]"#, r#"[["import",0],["import",0,["x"]]]"#] {
        let mut server = Scripted::new(Limits::default());
        server.send(&format!(r#"["push",["remap",0,[],{captures},[["pipeline",0]]]]"#));
        let closed = server.app.closed.expect("the session has ended");
        assert!(closed.message.starts_with("unknown map capture: "), "{}", closed.message);
    }
    let mut server = Scripted::new(Limits::default());
    server.send(r#"["push",["remap",0,[],[],[["pipeline",0]],5]]"#);
    assert!(server.app.closed.is_some(), "a sixth element");
}

#[test]
fn captures_are_released_when_the_map_has_run() {
    let mut server = Scripted::new(Limits::default());
    server.says(
        r#"c> ["push",["pipeline",0,["slow"],[]]]
           c> ["push",["remap",1,[],[["export",-1]],[["pipeline",-1,[],[["pipeline",0]]]]]]
           c> ["pull",2]"#,
    );
    server.app.finish("[[5]]");
    let sent: Vec<_> = std::iter::from_fn(|| server.app.session.poll_transmit()).collect();
    assert_eq!(
        sent,
        [r#"["push",["pipeline",-1,[],[5]]]"#, r#"["release",-1,1]"#, r#"["resolve",2,[[["pipeline",1]]]]"#,]
    );
}

#[test]
fn map_input_can_be_released_before_it_arrives() {
    let mut server = Scripted::new(Limits::default());
    server.says(
        r#"c> ["push",["pipeline",0,["cb"],[["export",-1],1]]]
           s> ["push",["pipeline",-1,[],[1]]]
           s> ["release",-1,1]
           c> ["push",["remap",1,[],[],[["pipeline",0]]]]
           s> ["pull",1]
           c> ["release",1,1]
           c> ["pull",2]
           c> ["resolve",1,5]
           s> ["release",1,1]
           s> ["resolve",2,5]
           c> ["release",2,1]"#,
    );
    assert_idle("server", &server.app);
}

#[test]
fn calls_and_maps_on_one_result_run_in_order() {
    let mut server = Scripted::new(Limits::default());
    server.send(r#"["push",["pipeline",0,["slow"],[]]]"#);
    server.send(r#"["push",["pipeline",1,["inc"],[1]]]"#);
    server.send(r#"["push",["remap",1,[],[],[["pipeline",0,["inc"],[2]]]]]"#);
    server.send(r#"["push",["pipeline",1,["inc"],[3]]]"#);
    let counter = server.app.adder(0);
    let call = server.app.unfinished.remove(0);
    server.app.session.settle(call, Ok(super::app::hole(counter)));
    server.app.react();
    assert_eq!(server.app.entered[1..], ["inc[1]", "inc[2]", "inc[3]"]);
}

#[test]
fn map_elements_and_instructions_are_limited() {
    let mut limits = Limits::default();
    (limits.map_inputs, limits.map_instructions, limits.map_steps) = (10, 4, 20);
    let attempt = |input: &str, instructions: &str| {
        let mut server = Scripted::new(limits.clone());
        server.send(&format!("[\"push\",{input}]"));
        server.send(&format!(r#"["push",["remap",1,[],[],{instructions}]]"#));
        server.send(r#"["push",["pipeline",0,["echo"],[["pipeline",2]]]]"#);
        server.send("[\"pull\",3]").remove(0)
    };
    let list = |n: usize| format!("[[{}]]", vec!["1"; n].join(","));
    let steps = |n: usize| format!("[{}]", vec![r#"["pipeline",0]"#; n].join(","));
    let ok = |answer: String| answer.starts_with("[\"resolve\"");
    assert!(ok(attempt(&list(10), &steps(2))) && !ok(attempt(&list(11), &steps(1))), "inputs");
    assert!(ok(attempt("1", &steps(4))) && !ok(attempt("1", &steps(5))), "instructions");
    assert!(!ok(attempt(&list(10), &steps(3))), "product");
    let rows = |rows: usize, columns: usize| format!("[[{}]]", vec![list(columns); rows].join(","));
    let nested = r#"[["remap",0,[],[],[["pipeline",0]]]]"#;
    assert!(ok(attempt(&rows(2, 9), nested)) && !ok(attempt(&rows(2, 10), nested)), "nested product");
}

#[test]
fn map_on_a_property_of_a_promise_runs_in_call_order() {
    let mut server = Scripted::new(Limits::default());
    server.says(
        r#"c> ["push",["pipeline",0,["slow"],[]]]
           c> ["push",["pipeline",1,["a","counter","inc"],[1]]]
           c> ["push",["remap",1,["a","counter"],[],[["pipeline",0,["inc"],[10]]]]]
           c> ["push",["pipeline",1,["a","counter","inc"],[100]]]
           c> ["pull",2]
           c> ["pull",3]
           c> ["pull",4]"#,
    );
    server.app.finish_with_counter(0, r#"{"a":{"counter":$}}"#);
    let sent: Vec<_> = std::iter::from_fn(|| server.app.session.poll_transmit()).collect();
    assert_eq!(sent, [r#"["resolve",2,1]"#, r#"["resolve",3,11]"#, r#"["resolve",4,111]"#]);
    (1..=4).for_each(|id| drop(server.send(&format!(r#"["release",{id},1]"#))));
    assert_idle("server", &server.app);
}
