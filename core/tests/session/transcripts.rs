//! The messages of ordinary exchanges, one by one: the transcripts of docs/wire.md. Both ends are
//! Bowline; tests/node compares them with the official package.

use bowline_core::limits::Limits;
use bowline_core::session::{Outgoing, Ref};
use bowline_core::value::{PLACEHOLDER, Payload};

use super::app::{hole, path, payload};
use super::pair::{Pair, Scripted};

impl Pair {
    /// Calls a method of the server's main object.
    fn call(&mut self, method: &str, args: Payload<Outgoing>) -> Ref {
        let main = self.client.session.main();
        self.client.session.call(main, &path(method), Some(args))
    }

    fn call_on(&mut self, on: Ref, method: &str, args: &str) -> Ref {
        self.client.session.call(on, &path(method), Some(Payload::plain(args)))
    }

    /// Waits for a result, releases it, and returns its text.
    #[track_caller]
    fn await_and_drop(&mut self, of: Ref) -> String {
        let wait = self.client.session.pull(of, &[]);
        self.client.session.release(of);
        self.settle();
        self.client.settled.remove(&wait).expect("the wait has ended")
    }
}

fn plain(text: &str) -> Payload<Outgoing> {
    Payload::plain(text)
}

#[test]
fn call() {
    let mut pair = Pair::new();
    let result = pair.call("sq", plain("[3]"));
    assert_eq!(pair.await_and_drop(result), "9");
    pair.crossed(
        r#"c> ["push",["pipeline",0,["sq"],[3]]]
           c> ["pull",1]
           s> ["resolve",1,9]
           c> ["release",1,1]"#,
    );
    pair.assert_idle();
}

#[test]
fn pipelined() {
    let mut pair = Pair::new();
    let counter = pair.call("mk", plain("[5]"));
    let result = pair.call_on(counter, "inc", "[2]");
    assert_eq!(pair.await_and_drop(result), "7");
    pair.client.session.release(counter);
    pair.crossed(
        r#"c> ["push",["pipeline",0,["mk"],[5]]]
           c> ["push",["pipeline",1,["inc"],[2]]]
           c> ["pull",2]
           s> ["resolve",2,7]
           c> ["release",2,1]
           c> ["release",1,1]"#,
    );
    pair.assert_idle();
}

#[test]
fn target_outlives_the_calls_sent_before_its_release() {
    let mut pair = Pair::new();
    let counter = pair.call("mk", plain("[5]"));
    let result = pair.call_on(counter, "inc", "[2]");
    pair.client.session.release(counter);
    assert_eq!(pair.await_and_drop(result), "7");
    pair.crossed(
        r#"c> ["push",["pipeline",0,["mk"],[5]]]
           c> ["push",["pipeline",1,["inc"],[2]]]
           c> ["release",1,1]
           c> ["pull",2]
           s> ["resolve",2,7]
           c> ["release",2,1]"#,
    );
    pair.assert_idle();
}

#[test]
fn promise_argument() {
    let mut pair = Pair::new();
    let inner = pair.call("sq", plain("[3]"));
    let result = pair.call("sq", payload("[$]", &[inner]));
    pair.client.session.release(inner);
    assert_eq!(pair.await_and_drop(result), "81");
    pair.crossed(
        r#"c> ["push",["pipeline",0,["sq"],[3]]]
           c> ["push",["pipeline",0,["sq"],[["pipeline",1]]]]
           c> ["release",1,1]
           c> ["pull",2]
           s> ["resolve",2,81]
           c> ["release",2,1]"#,
    );
    pair.assert_idle();
}

#[test]
fn property_of_a_result_as_argument() {
    let mut pair = Pair::new();
    let inner = pair.call("echo", plain(r#"[{"n":[[4,5]]}]"#));
    let args = Payload::new(format!("[{PLACEHOLDER}]"), vec![Outgoing { of: inner, path: path("n.1") }])
        .expect("as many placeholders as references");
    let result = pair.call("sq", args);
    pair.client.session.release(inner);
    assert_eq!(pair.await_and_drop(result), "25");
    pair.crossed(
        r#"c> ["push",["pipeline",0,["echo"],[{"n":[[4,5]]}]]]
           c> ["push",["pipeline",0,["sq"],[["pipeline",1,["n",1]]]]]
           c> ["release",1,1]
           c> ["pull",2]
           s> ["resolve",2,25]
           c> ["release",2,1]"#,
    );
    pair.assert_idle();
}

#[test]
fn stub_result() {
    let mut pair = Pair::new();
    let counter = pair.call("mk", plain("[5]"));
    assert_eq!(pair.await_and_drop(counter), "$");
    let stub = pair.client.received[0];
    let result = pair.call_on(stub, "inc", "[2]");
    assert_eq!(pair.await_and_drop(result), "7");
    pair.client.release_received();
    pair.crossed(
        r#"c> ["push",["pipeline",0,["mk"],[5]]]
           c> ["pull",1]
           s> ["resolve",1,["export",-1]]
           c> ["release",1,1]
           c> ["push",["pipeline",-1,["inc"],[2]]]
           c> ["pull",2]
           s> ["resolve",2,7]
           c> ["release",2,1]
           c> ["release",-1,1]"#,
    );
    pair.assert_idle();
}

#[test]
fn calls_on_a_resolved_promise_go_to_its_result() {
    let mut pair = Pair::new();
    let counter = pair.call("mkIn", plain("[5]"));
    let wait = pair.client.session.pull(counter, &[]);
    pair.settle();
    assert_eq!(pair.client.settled[&wait], r#"{"a":[[0,$]]}"#);
    pair.client.release_received();
    let result = pair.call_on(counter, "a.1.inc", "[1]");
    assert_eq!(pair.await_and_drop(result), "6");
    let zero = pair.client.session.pull(counter, &path("a.0"));
    pair.settle();
    assert_eq!(pair.client.settled[&zero], "0", "the value is known, so nothing is sent");
    pair.client.session.release(counter);
    pair.crossed(
        r#"c> ["push",["pipeline",0,["mkIn"],[5]]]
           c> ["pull",1]
           s> ["resolve",1,{"a":[[0,["export",-1]]]}]
           c> ["release",1,1]
           c> ["push",["pipeline",-1,["inc"],[1]]]
           c> ["pull",2]
           s> ["resolve",2,6]
           c> ["release",2,1]
           c> ["release",-1,1]"#,
    );
    pair.assert_idle();
}

#[test]
fn callback() {
    let mut pair = Pair::new();
    let adder = pair.client.adder(1);
    let result = pair.call("cb", payload("[$,1]", &[adder]));
    pair.client.session.release(adder);
    assert_eq!(pair.await_and_drop(result), "2");
    pair.crossed(
        r#"c> ["push",["pipeline",0,["cb"],[["export",-1],1]]]
           c> ["pull",1]
           s> ["push",["pipeline",-1,[],[1]]]
           s> ["release",-1,1]
           s> ["pull",1]
           c> ["resolve",1,2]
           s> ["release",1,1]
           s> ["resolve",1,2]
           c> ["release",1,1]"#,
    );
    pair.assert_idle();
}

#[test]
fn held_stub() {
    let mut pair = Pair::new();
    let adder = pair.client.adder(1);
    let taken = pair.call("take", payload("[$]", &[adder]));
    pair.client.session.release(adder);
    assert_eq!(pair.await_and_drop(taken), r#"["undefined"]"#);
    let given = pair.call("give", plain("[]"));
    assert_eq!(pair.await_and_drop(given), r#"{"cap":$}"#);
    assert!(matches!(pair.client.received[..], [Ref::Target(_)]), "the returned reference is the local object");
    pair.crossed(
        r#"c> ["push",["pipeline",0,["take"],[["export",-1]]]]
           c> ["pull",1]
           s> ["resolve",1,["undefined"]]
           c> ["release",1,1]
           c> ["push",["pipeline",0,["give"],[]]]
           c> ["pull",2]
           s> ["resolve",2,{"cap":["import",-1]}]
           c> ["release",2,1]"#,
    );
    pair.client.release_received();
    let dropped = pair.call("drop", plain("[]"));
    pair.await_and_drop(dropped);
    pair.assert_idle();
}

#[test]
fn local_promise() {
    let mut pair = Pair::new();
    let promise = pair.client.session.new_promise();
    let result = pair.call("takeP", payload("[$]", &[Ref::Promise(promise)]));
    pair.client.session.release(Ref::Promise(promise));
    let wait = pair.client.session.pull(result, &[]);
    pair.client.session.release(result);
    pair.settle();
    pair.client.session.settle(promise, Ok(plain(r#"{"z":1}"#)));
    pair.crossed(
        r#"c> ["push",["pipeline",0,["takeP"],[["promise",-1]]]]
           c> ["pull",1]
           c> ["resolve",-1,{"z":1}]
           s> ["release",-1,1]
           s> ["resolve",1,"ok"]
           c> ["release",1,1]"#,
    );
    assert_eq!(pair.client.settled[&wait], "\"ok\"");
    assert_eq!(pair.server.entered, [r#"takeP[{"z":1}]"#], "the result replaces the promise");
    pair.assert_idle();
}

#[test]
fn promise_in_a_result() {
    let mut pair = Pair::new();
    let result = pair.call("later", plain("[]"));
    let wait = pair.client.session.pull(result, &[]);
    pair.client.session.release(result);
    pair.settle();
    assert!(!pair.client.settled.contains_key(&wait), "the application receives no incomplete value");
    pair.server.finish("7");
    pair.crossed(
        r#"c> ["push",["pipeline",0,["later"],[]]]
           c> ["pull",1]
           s> ["resolve",1,{"p":["promise",-1]}]
           c> ["release",1,1]
           s> ["resolve",-1,7]
           c> ["release",-1,1]"#,
    );
    assert_eq!(pair.client.settled[&wait], r#"{"p":7}"#);
    pair.assert_idle();
}

#[test]
fn error() {
    let mut pair = Pair::new();
    let result = pair.call("err", plain("[]"));
    let error = r#"["error","TypeError","bad",null,{"code":"E1","details":{"a":[[1]]}}]"#;
    assert_eq!(pair.await_and_drop(result), format!("!{error}"));
    pair.crossed(&format!(
        r#"c> ["push",["pipeline",0,["err"],[]]]
           c> ["pull",1]
           s> ["reject",1,{error}]
           c> ["release",1,1]"#
    ));
    pair.assert_idle();
}

#[test]
fn rejection_may_be_any_value_and_propagates() {
    let mut pair = Pair::new();
    let first = pair.call("boo", plain("[]"));
    let second = pair.call_on(first, "a.b", "[]");
    pair.client.session.release(first);
    assert_eq!(pair.await_and_drop(second), "!\"boo\"");
    pair.assert_idle();
}

#[test]
fn cancel() {
    let mut pair = Pair::new();
    let result = pair.call("slow", plain("[]"));
    pair.client.session.release(result);
    pair.crossed(
        r#"c> ["push",["pipeline",0,["slow"],[]]]
           c> ["release",1,1]"#,
    );
    assert!(pair.server.cancelled.is_empty(), "the call was not awaited, so it runs to completion");
    pair.server.finish("1");
    pair.crossed("");
    pair.assert_idle();
}

#[test]
fn released_result_that_was_awaited_is_canceled() {
    let mut pair = Pair::new();
    let result = pair.call("slow", plain("[]"));
    let wait = pair.client.session.pull(result, &[]);
    pair.settle();
    pair.client.session.forget(wait);
    pair.client.session.release(result);
    pair.crossed(
        r#"c> ["push",["pipeline",0,["slow"],[]]]
           c> ["pull",1]
           c> ["release",1,1]"#,
    );
    assert_eq!(pair.server.cancelled, pair.server.unfinished);
    pair.server.finish("1");
    pair.crossed("");
    pair.assert_idle();
}

#[test]
fn order_is_preserved_across_a_resolution() {
    let mut pair = Pair::new();
    let counter = pair.call("slow", plain("[]"));
    let a = pair.call_on(counter, "inc", "[1]");
    let b = pair.call_on(counter, "inc", "[2]");
    let wait = pair.client.session.pull(counter, &[]);
    pair.carry_from_client();
    let d = pair.call_on(counter, "inc", "[3]");
    // The server creates its object now. The client learns of it only after `d` has been sent.
    let object = pair.server.adder(0);
    let call = pair.server.unfinished.remove(0);
    pair.server.session.settle(call, Ok(hole(object)));
    pair.server.session.release(object);
    pair.settle();
    let e = pair.call_on(counter, "inc", "[4]");
    pair.settle();
    assert_eq!(pair.server.entered, ["slow[]", "inc[1]", "inc[2]", "inc[3]", "inc[4]"]);
    assert_eq!(pair.client.settled[&wait], "$");
    for of in [counter, a, b, d, e] {
        pair.client.session.release(of);
    }
    pair.client.release_received();
    pair.assert_idle();
}

#[test]
fn call_waiting_for_arguments_does_not_block_others() {
    let mut pair = Pair::new();
    let promise = pair.client.session.new_promise();
    let waiting = pair.call("sq", payload("[$]", &[Ref::Promise(promise)]));
    let after = pair.call("sq", plain("[2]"));
    pair.settle();
    assert_eq!(pair.server.entered, ["sq[2]"]);
    pair.client.session.settle(promise, Ok(plain("3")));
    pair.settle();
    assert_eq!(pair.server.entered, ["sq[2]", "sq[3]"]);
    for of in [waiting, after, Ref::Promise(promise)] {
        pair.client.session.release(of);
    }
    pair.assert_idle();
}

#[test]
fn nested_calls_and_plain_values_in_a_push() {
    let mut server = Scripted::new(Limits::default());
    server.says(
        r#"c> ["push",[[["pipeline",0,["sq"],[3]],2]]]
           c> ["pull",1]
           s> ["resolve",1,[[["promise",-1],2]]]
           s> ["resolve",-1,9]
           c> ["release",1,1]
           c> ["release",-1,1]
           c> ["push",{"a":[[1,2]],"d":["date",5]}]
           c> ["push",["pipeline",2,["a"]]]
           c> ["pull",3]
           s> ["resolve",3,[[1,2]]]
           c> ["push",["import",0,["sq"],[4]]]
           c> ["pull",4]
           s> ["resolve",4,16]
           c> ["push",["pipeline",0,["answer"]]]
           c> ["pull",5]
           s> ["resolve",5,42]
           c> ["push",["pipeline",0,["tools","add"],[4]]]
           c> ["pull",6]
           s> ["resolve",6,5]
           c> ["stream",["pipeline",0,["sq"],[5]]]
           s> ["resolve",7,25]
           c> ["pull",0]
           s> ["resolve",0,["export",-2]]
           c> ["release",-2,1]"#,
    );
    for id in 2..=6 {
        assert!(server.send(&format!(r#"["release",{id},1]"#)).is_empty());
    }
    super::pair::assert_idle("server", &server.app);
}

#[test]
fn answers_for_released_imports_are_ignored_and_their_stubs_released() {
    let mut server = Scripted::new(Limits::default());
    server.says(
        r#"c> ["resolve",99,["export",-1]]
           s> ["release",-1,1]
           c> ["resolve",99,{"a":["export",-2],"b":["export",-3]}]
           s> ["release",-2,1]
           s> ["release",-3,1]
           c> ["reject",99,["mystery"]]
           c> ["push",["pipeline",0,["sq"],[3]]]
           c> ["pull",1]
           s> ["resolve",1,9]
           c> ["release",1,1]"#,
    );
    super::pair::assert_idle("server", &server.app);
}

#[test]
fn import_mentioned_twice_is_released_with_a_count_of_two() {
    let mut server = Scripted::new(Limits::default());
    server.says(
        r#"c> ["push",["pipeline",0,["sq"],[1,["export",-7],["export",-7]]]]
           s> ["release",-7,2]
           c> ["release",1,1]"#,
    );
    super::pair::assert_idle("server", &server.app);
}

#[test]
fn calls_without_a_main_object_are_rejected() {
    let mut pair = Pair::new();
    pair.server.session = bowline_core::session::Session::new(Limits::default(), false);
    let result = pair.call("sq", plain("[3]"));
    assert_eq!(pair.await_and_drop(result), r#"!["error","Error","This connection has no main object."]"#);
    assert!(pair.server.session.is_idle() && pair.client.session.is_idle());
}

#[test]
fn whitespace_and_extra_elements_are_ignored() {
    let mut server = Scripted::new(Limits::default());
    server.says(
        r#"c>  [ "push" , [ "pipeline" , 0 , [ "sq" ] , [ 5 ] ] , "extra" , ["@"] ]
           c> ["pull",1,2,3]
           s> ["resolve",1,25]
           c> ["release",1,1,"x"]"#,
    );
    super::pair::assert_idle("server", &server.app);
}

#[test]
fn rejected_argument_rejects_the_call_before_others_arrive() {
    let mut server = Scripted::new(Limits::default());
    server.says(
        r#"c> ["push",["pipeline",0,["err"],[]]]
           c> ["push",["pipeline",0,["echo"],[[[["promise",-1],["pipeline",1],["promise",-2]]]]]]
           s> ["release",-1,1]
           s> ["release",-2,1]
           c> ["pull",2]
           s> ["reject",2,["error","TypeError","bad",null,{"code":"E1","details":{"a":[[1]]}}]]
           c> ["release",2,1]"#,
    );
    // The first failure is reported, even if it is a part of a part.
    server.says(
        r#"c> ["push",["pipeline",0,["echo"],[[[["promise",-3],["promise",-4]]]]]]
           c> ["pull",3]
           c> ["resolve",-3,{"x":[["y",["pipeline",1]]]}]
           s> ["release",-3,1]
           s> ["release",-4,1]
           s> ["reject",3,["error","TypeError","bad",null,{"code":"E1","details":{"a":[[1]]}}]]
           c> ["reject",-4,"too late"]
           c> ["release",3,1]
           c> ["push",["pipeline",0,["echo"],[[[["promise",-5],["promise",-6]]]]]]
           c> ["pull",4]
           c> ["resolve",-5,{"x":["promise",-7]}]
           s> ["release",-5,1]
           c> ["reject",-7,"first"]
           s> ["release",-7,1]
           s> ["release",-6,1]
           s> ["reject",4,"first"]
           c> ["release",4,1]
           c> ["release",1,1]"#,
    );
    super::pair::assert_idle("server", &server.app);
}
