//! What ends a session with an `abort`, and what rejects only the call; see docs/wire.md, "Errors".

use bowline_core::limits::Limits;
use bowline_core::session::ClosedBy;

use super::pair::{Scripted, assert_idle};

fn scripted() -> Scripted {
    Scripted::new(Limits::default())
}

/// Every line ends a new session, with the given error.
#[test]
fn protocol_violations_abort_the_session() {
    for (text, name, message) in [
        ("{nope", "SyntaxError", "expected a string at byte 1"),
        ("", "SyntaxError", "unexpected end at byte 0"),
        ("[\"pull\",0] 1", "SyntaxError", "unexpected text after the value at byte 11"),
        ("{}", "Error", "bad RPC message: {}"),
        ("5", "Error", "bad RPC message: 5"),
        ("null", "Error", "bad RPC message: null"),
        ("[]", "Error", "bad RPC message: []"),
        (r#"["frobnicate",1]"#, "Error", r#"bad RPC message: ["frobnicate",1]"#),
        (r#"["push"]"#, "Error", r#"bad RPC message: ["push"]"#),
        (r#"["pull"]"#, "Error", r#"bad RPC message: ["pull"]"#),
        (r#"["pull","1"]"#, "Error", r#"bad RPC message: ["pull","1"]"#),
        (r#"["pull",1.5]"#, "Error", r#"bad RPC message: ["pull",1.5]"#),
        (r#"["pull",9007199254740993]"#, "Error", r#"bad RPC message: ["pull",9007199254740993]"#),
        (r#"["pull",7]"#, "Error", "no such export ID: 7"),
        (r#"["pull",-5]"#, "Error", "no such export ID: -5"),
        (r#"["release",9,1]"#, "Error", "no such export ID: 9"),
        (r#"["release",0]"#, "Error", r#"bad RPC message: ["release",0]"#),
        (r#"["release",0,0.5]"#, "Error", r#"bad RPC message: ["release",0,0.5]"#),
        (r#"["release",9,0]"#, "Error", "no such export ID: 9"),
        (r#"["pull",7.0]"#, "Error", "no such export ID: 7"),
        (r#"["release",0,-1]"#, "Error", r#"bad RPC message: ["release",0,-1]"#),
        (r#"["release",0,2]"#, "Error", "refcount would go negative: 1 < 2"),
        (r#"["resolve",1]"#, "Error", r#"bad RPC message: ["resolve",1]"#),
        (r#"["reject","1",2]"#, "Error", r#"bad RPC message: ["reject","1",2]"#),
        (r#"["resolve",99,["mystery"]]"#, "TypeError", r#"unknown special value: ["mystery"]"#),
        (r#"["push",["pipeline",33,["sq"],[1]]]"#, "Error", "no such entry on exports table: 33"),
        (r#"["push",["pipeline",1,["sq"],[1]]]"#, "Error", "no such entry on exports table: 1"),
        (r#"["push",["import",4]]"#, "Error", "no such entry on exports table: 4"),
    ] {
        let mut server = scripted();
        let answer = server.send(text);
        let error = serde_json::json!(["abort", ["error", name, message]]).to_string();
        assert_eq!(answer, [error], "{text}");
        server.assert_aborted(message);
        assert!(server.send(r#"["pull",0]"#).is_empty(), "messages after the end are ignored");
    }
}

#[test]
fn ids_and_counts_are_read_in_every_json_spelling() {
    let mut server = scripted();
    server.says(
        r#"c> ["push",["pipeline",0.0,["mk"],[5]]]
           c> ["pull",1e0]
           s> ["resolve",1,["export",-1]]
           c> ["release",1.0,0]
           c> ["pull",1]
           c> ["push",["pipeline",-10e-1,["inc"],[["pipeline",-0,["sq"],[1]]]]]
           c> ["pull",2.0,"more"]
           s> ["resolve",2,6]
           c> ["release",10e-1,1e0,"more"]
           c> ["release",2,0]
           c> ["release",2,1.0]
           c> ["release",-1.0,1]"#,
    );
    assert_idle("server", &server.app);
}

#[test]
fn answer_for_a_number_that_is_not_an_id_is_ignored() {
    let mut server = scripted();
    for number in ["1.5", "-0.5", "1e400", "9007199254740993", "77"] {
        assert!(server.send(&format!("[\"resolve\",{number},1]")).is_empty(), "{number}");
        assert!(server.send(&format!("[\"reject\",{number},1]")).is_empty(), "{number}");
    }
    // References in it are released.
    server.says(
        r#"c> ["resolve",0.5,["export",-1]]
           s> ["release",-1,1]"#,
    );
    assert_idle("server", &server.app);
}

#[test]
fn numbers_in_paths_follow_javascript_rules() {
    let mut server = scripted();
    server.says(
        r#"c> ["push",{"1":"one","1.5":"half","1e+21":"much","list":[["a","b"]]}]
           c> ["push",["pipeline",1,[1.0]]]
           c> ["pull",2]
           s> ["resolve",2,"one"]
           c> ["push",["pipeline",1,[1.50]]]
           c> ["pull",3]
           s> ["resolve",3,"half"]
           c> ["push",["pipeline",1,[1000000000000000000000]]]
           c> ["pull",4]
           s> ["resolve",4,"much"]
           c> ["push",["pipeline",1,["list",1e0]]]
           c> ["pull",5]
           s> ["resolve",5,"b"]
           c> ["push",["pipeline",1,["list",-0]]]
           c> ["pull",6]
           s> ["resolve",6,"a"]
           c> ["push",["pipeline",1,["list","0"]]]
           c> ["pull",7]
           s> ["resolve",7,["undefined"]]"#,
    );
    (1..=7).for_each(|id| drop(server.send(&format!(r#"["release",{id},1]"#))));
    assert_idle("server", &server.app);
}

#[test]
fn invalid_expressions_reject_the_call() {
    for expr in [
        "[]",
        "[1]",
        "[[1],2]",
        "[null]",
        r#"["x"]"#,
        r#"["@"]"#,
        r#"["undefined",1]"#,
        r#"["bigint",5]"#,
        r#"["date"]"#,
        r#"["date","x"]"#,
        r#"["bytes"]"#,
        r#"["bytes",5]"#,
        r#"["error","Error"]"#,
        r#"["error",1,"m"]"#,
        r#"["error","E","m",null,5]"#,
        r#"["url"]"#,
        r#"["url","https://a/",1]"#,
        r#"["headers",{}]"#,
        r#"["headers",[],1]"#,
        r#"["export"]"#,
        r#"["export","x"]"#,
        r#"["export",1.5]"#,
        r#"["pipeline"]"#,
        r#"["pipeline",0,"sq"]"#,
        r#"["pipeline",0,[null]]"#,
        r#"["pipeline",0,["sq"],1]"#,
        r#"["pipeline",0,["sq"],null]"#,
        r#"["pipeline",0,["sq"],[1],null]"#,
        r#"["import",0,["sq"],[1],[]]"#,
        r#"["request","https://a/"]"#,
        r#"["response",null]"#,
    ] {
        for message in [format!(r#"["push",{expr}]"#), format!(r#"["push",["pipeline",0,["echo"],[{{"a":{expr}}}]]]"#)]
        {
            let mut server = scripted();
            server.send(&message);
            server.assert_aborted(&format!("unknown special value: {expr}"));
        }
    }
}

#[test]
fn invalid_ids_and_sizes_are_refused() {
    for (expr, message) in [
        (r#"["export",5]"#.to_owned(), "not an id an exporter may give out: 5"),
        (r#"["export",0]"#.into(), "not an id an exporter may give out: 0"),
        (r#"["promise",0]"#.into(), "not an id an exporter may give out: 0"),
        (
            format!(r#"["bigint","{}"]"#, "7".repeat(16_385)),
            "Deserialized bigint exceeds maximum length of 16384 digits.",
        ),
        (
            format!("{}1{}", "[[".repeat(256), "]]".repeat(256)),
            "Deserialization exceeded maximum allowed message depth of 256.",
        ),
    ] {
        let mut server = scripted();
        server.send(&format!(r#"["push",{expr}]"#));
        server.assert_aborted(message);
    }
}

#[test]
fn recoverable_errors_reject_only_the_call() {
    let mut server = scripted();
    for (n, (call, error)) in [
        (r#"["pipeline",0,["nope"],[]]"#, r#"["error","TypeError","'nope' is not a function."]"#),
        (r#"["pipeline",0,["tools","nope"],[1]]"#, r#"["error","TypeError","'tools.nope' is not a function."]"#),
        (r#"["pipeline",0,["err"],[]]"#, r#"["error","TypeError","bad",null,{"code":"E1","details":{"a":[[1]]}}]"#),
        (r#"["pipeline",1,["err"],[]]"#, r#"["error","TypeError","'nope' is not a function."]"#),
        (r#"["pipeline",0,["sq"],[["pipeline",1]]]"#, r#"["error","TypeError","'nope' is not a function."]"#),
    ]
    .into_iter()
    .enumerate()
    {
        let id = n + 1;
        server.says(&format!("c> [\"push\",{call}]\nc> [\"pull\",{id}]\ns> [\"reject\",{id},{error}]"));
    }
    assert!(server.app.closed.is_none());
    // A property of something that does not exist.
    server.says(
        r#"c> ["push",{"a":null}]
           c> ["push",["pipeline",6,["x","y"]]]
           c> ["pull",7]
           s> ["reject",7,["error","TypeError","Cannot read properties of undefined (reading 'y')"]]
           c> ["push",["pipeline",6,["a","y"],[]]]
           c> ["pull",8]
           s> ["reject",8,["error","TypeError","'a.y' is not a function."]]
           c> ["push",["pipeline",6,["toString"]]]
           c> ["pull",9]
           s> ["resolve",9,["undefined"]]"#,
    );
    (1..=9).for_each(|id| drop(server.send(&format!(r#"["release",{id},1]"#))));
    assert_idle("server", &server.app);
}

#[test]
fn pulls_without_a_result_are_rejected() {
    let mut server = scripted();
    server.says(
        r#"c> ["push",["pipeline",0,["mk"],[1]]]
           c> ["pull",1]
           s> ["resolve",1,["export",-1]]
           c> ["pull",-1]
           s> ["reject",-1,["error","Error","Tried to resolve a non-promise stub."]]
           c> ["pull",1]
           c> ["pull",-1]
           c> ["release",1,1]
           c> ["release",-1,1]"#,
    );
    assert_idle("server", &server.app);
}

#[test]
fn reused_promise_id_rejects_the_call() {
    let mut server = scripted();
    server.says(
        r#"c> ["push",["pipeline",0,["sq"],[["promise",-1]]]]
           c> ["push",["pipeline",0,["sq"],[["promise",-1]]]]
           c> ["pull",2]
           s> ["reject",2,["error","Error","Bug in RPC system: The peer sent a promise reusing an existing export ID."]]
           c> ["resolve",-1,2]
           s> ["release",-1,1]
           c> ["pull",1]
           s> ["resolve",1,4]
           c> ["release",1,1]
           c> ["release",2,1]"#,
    );
    assert_idle("server", &server.app);
}

#[test]
fn members_with_inherited_names_are_dropped() {
    let mut server = scripted();
    server.says(
        r#"c> ["push",{"toString":1,"a":2,"__proto__":["export",-1],"b":{"toJSON":3},"constructor":4}]
           s> ["release",-1,1]
           c> ["pull",1]
           s> ["resolve",1,{"a":2,"b":{}}]
           c> ["push",{"valueOf":1,"hasOwnProperty":2}]
           c> ["pull",2]
           s> ["resolve",2,{}]
           c> ["push",["error","E","m",7,{"x":1,"toString":2},["mystery"]]]
           c> ["pull",3]
           s> ["resolve",3,["error","E","m",null,{"x":1}]]
           c> ["push",{"a":1,"b":2,"a":3}]
           c> ["pull",4]
           s> ["resolve",4,{"a":3,"b":2}]"#,
    );
    let mut server = scripted();
    server.send(r#"["push",{"toString":["mystery"]}]"#);
    server.assert_aborted(r#"unknown special value: ["mystery"]"#);
}

#[test]
fn abort_is_not_answered() {
    for (text, name, message) in [
        (r#"["abort",["error","RangeError","bye"]]"#, "RangeError", "bye"),
        (r#"["abort","bye"]"#, "Error", "bye"),
        (r#"["abort"]"#, "Error", "undefined"),
        (r#"["abort",{"a":1}]"#, "Error", r#"{"a":1}"#),
        (r#"["abort",["mystery"]]"#, "Error", r#"["mystery"]"#),
    ] {
        let mut server = scripted();
        server.send(r#"["push",["pipeline",0,["mk"],[1]]]"#);
        assert!(server.send(text).is_empty());
        let closed = server.app.closed.clone().expect("the session has ended");
        assert_eq!((closed.by, closed.cause.name(), closed.message.as_str()), (ClosedBy::Peer, name, message));
        assert_eq!(server.app.objects(), 0);
    }
}

#[test]
fn unusual_texts_and_numbers_are_passed_through() {
    let mut server = scripted();
    server.says(
        "c> [\"push\",[[\"\\ud800\",-0,1e400,18446744073709551616,0.1,\"\\u0000\"]]]\n\
         c> [\"pull\",1]\n\
         s> [\"resolve\",1,[[\"\\ud800\",-0,1e400,18446744073709551616,0.1,\"\\u0000\"]]]\n\
         c> [\"push\",[[[\"nan\",1,[\"x\"]],[\"inf\"],[\"date\",null]]]]\n\
         c> [\"pull\",2]\n\
         s> [\"resolve\",2,[[[\"nan\"],[\"inf\"],[\"date\",null]]]]",
    );
}

#[test]
fn references_in_an_unawaited_answer_are_released() {
    let mut server = Scripted::new(Limits::default());
    server.says(
        r#"c> ["resolve",7,{"a":["export",-1],"b":["promise",-2]}]
           s> ["release",-1,1]
           s> ["release",-2,1]
           c> ["resolve",-2,5]
           c> ["reject",7,[[["export",-3],["promise",-4]]]]
           s> ["release",-3,1]
           s> ["release",-4,1]
           c> ["reject",7,["mystery"]]
           c> ["push",["pipeline",0,["sq"],[3]]]
           c> ["pull",1]
           s> ["resolve",1,9]
           c> ["release",1,1]"#,
    );
    assert_idle("server", &server.app);
}

#[test]
fn exported_objects_cannot_be_pulled_but_for_the_main_object_under_its_id() {
    let mut server = scripted();
    server.says(
        r#"c> ["push",[[["import",0]]]]
           c> ["pull",1]
           s> ["resolve",1,[[["export",-1]]]]
           c> ["pull",-1]
           s> ["reject",-1,["error","Error","Tried to resolve a non-promise stub."]]
           c> ["pull",0]
           s> ["resolve",0,["export",-2]]
           c> ["pull",-2]
           s> ["reject",-2,["error","Error","Tried to resolve a non-promise stub."]]
           c> ["release",1,1]
           c> ["release",-1,1]
           c> ["release",-2,1]"#,
    );
}
