//! Pipes, sinks, chunks, and their ends, as messages. Readers and writers are tested in
//! core/tests/streams.

use bowline_core::limits::Limits;
use bowline_core::value::Payload;

use super::app::{path, payload};
use super::pair::{Pair, Scripted, assert_idle};

#[test]
fn peer_opens_a_stream() {
    let mut server = Scripted::new(Limits::default());
    server.says(
        r#"c> ["pipe"]
           c> ["push",["pipeline",0,["take"],[["readable",1]]]]
           c> ["stream",["pipeline",1,["write"],["a"]]]
           c> ["pull",2]
           s> ["resolve",2,["undefined"]]
           c> ["stream",["pipeline",1,["close"],[]]]"#,
    );
    assert_eq!(server.app.entered, ["take[$]", "write[\"a\"]", "close[]"]);
    server.app.finish("[\"undefined\"]");
    server.app.finish("[\"undefined\"]");
    let sent: Vec<_> = std::iter::from_fn(|| server.app.session.poll_transmit()).collect();
    assert_eq!(sent, [r#"["resolve",3,["undefined"]]"#, r#"["resolve",4,["undefined"]]"#]);
    server.says(
        r#"c> ["release",2,1]
           c> ["release",1,1]
           c> ["push",["pipeline",0,["drop"],[]]]
           c> ["release",5,1]"#,
    );
    assert_idle("server", &server.app);
}

#[test]
fn readable_is_claimed_once_and_only_from_a_pipe() {
    for (messages, id) in [
        (vec![r#"["pipe"]"#, r#"["push",[[["readable",1],["readable",1]]]]"#], 1),
        (vec![r#"["push",["readable",0]]"#], 0),
        (vec![r#"["push",["pipeline",0,["mk"],[1]]]"#, r#"["push",["blob","t/t",["readable",1]]]"#], 1),
    ] {
        let mut server = Scripted::new(Limits::default());
        messages.iter().for_each(|message| drop(server.send(message)));
        server.assert_aborted(&format!("Export {id} is not a pipe or its readable end was already consumed."));
    }
}

#[test]
fn unclaimed_pipe_is_dropped_on_release() {
    let mut server = Scripted::new(Limits::default());
    server.says(
        r#"c> ["pipe"]
           c> ["pull",1]
           s> ["reject",1,["error","Error","Cannot pull a WritableStream stub"]]
           c> ["release",1,1]"#,
    );
    assert_idle("server", &server.app);
}

#[test]
fn local_sink_is_written_by_the_peer() {
    let mut server = Scripted::new(Limits::default());
    server.says(
        r#"c> ["push",["pipeline",0,["sink"],[]]]
           c> ["pull",1]
           s> ["resolve",1,["writable",-1]]
           c> ["release",1,1]
           c> ["stream",["pipeline",-1,["write"],[["bytes","aGk"]]]]"#,
    );
    server.app.finish("[\"undefined\"]");
    assert_eq!(server.app.session.poll_transmit().as_deref(), Some(r#"["resolve",2,["undefined"]]"#));
    server.says(r#"c> ["release",-1,1]"#);
    assert_idle("server", &server.app);
}

#[test]
fn writable_as_an_argument() {
    let mut pair = Pair::new();
    let sink = pair.client.sink();
    let main = pair.client.session.main();
    let done = pair.client.session.call(main, &path("writeTo"), Some(payload("[$]", &[sink])));
    let wait = pair.client.session.pull(done, &[]);
    [sink, done].into_iter().for_each(|of| pair.client.session.release(of));
    pair.settle();
    let into = pair.server.take_kept()[0];
    pair.server.session.stream(into, "write", Payload::plain("[\"x\"]"));
    pair.server.session.stream(into, "close", Payload::plain("[]"));
    pair.settle();
    (0..2).for_each(|_| pair.client.finish("[\"undefined\"]"));
    pair.settle();
    pair.server.session.release(into);
    pair.server.finish("\"done\"");
    pair.crossed(
        r#"c> ["push",["pipeline",0,["writeTo"],[["writable",-1]]]]
           c> ["pull",1]
           s> ["stream",["pipeline",-1,["write"],["x"]]]
           s> ["stream",["pipeline",-1,["close"],[]]]
           c> ["resolve",1,["undefined"]]
           c> ["resolve",2,["undefined"]]
           s> ["release",-1,1]
           s> ["resolve",1,"done"]
           c> ["release",1,1]"#,
    );
    assert_eq!(pair.client.settled[&wait], "\"done\"");
    pair.assert_idle();
}

#[test]
fn pipe_is_opened_before_the_message_that_names_it() {
    let mut pair = Pair::new();
    let main = pair.client.session.main();
    let source = pair.client.session.call(main, &path("source"), Some(Payload::plain("[]")));
    let wait = pair.client.session.pull(source, &[]);
    pair.client.session.release(source);
    pair.crossed(
        r#"c> ["push",["pipeline",0,["source"],[]]]
           c> ["pull",1]
           s> ["pipe"]
           s> ["resolve",1,{"s":["readable",1]}]
           c> ["release",1,1]"#,
    );
    assert_eq!(pair.client.settled[&wait], r#"{"s":$}"#);
    let into = pair.server.pumps[0];
    let (_, units) = pair.server.session.stream(into, "write", Payload::plain("[\"é\"]"));
    assert_eq!(units, r#"["stream",["pipeline",1,["write"],["é"]]]"#.chars().count());
    pair.server.session.stream(into, "close", Payload::plain("[]"));
    pair.settle();
    assert_eq!(pair.client.entered, ["write[\"é\"]", "close[]"]);
    pair.client.finish("[\"undefined\"]");
    pair.client.finish("[\"undefined\"]");
    pair.settle();
    assert_eq!(pair.server.settled.len(), 2, "both were acknowledged");
    pair.server.session.release(into);
    pair.client.release_received();
    pair.crossed(
        r#"s> ["stream",["pipeline",1,["write"],["é"]]]
           s> ["stream",["pipeline",1,["close"],[]]]
           c> ["resolve",2,["undefined"]]
           c> ["resolve",3,["undefined"]]
           s> ["release",1,1]"#,
    );
    pair.assert_idle();
}

#[test]
fn chunks_do_not_count_as_running_calls() {
    let mut limits = Limits::default();
    limits.running_calls = 2;
    let mut server = Scripted::new(limits);
    server.send(r#"["pipe"]"#);
    (0..10).for_each(|_| drop(server.send(r#"["stream",["pipeline",1,["write"],[1]]]"#)));
    assert_eq!(server.app.unfinished.len(), 10, "chunks wait to be read");
    server.says(
        r#"c> ["push",["pipeline",0,["sq"],[3]]]
           c> ["pull",12]
           s> ["resolve",12,9]"#,
    );
}

#[test]
fn open_streams_are_limited() {
    let mut limits = Limits::default();
    limits.streams = 2;
    let mut server = Scripted::new(limits);
    (0..3).for_each(|_| drop(server.send(r#"["pipe"]"#)));
    let error = r#"["error","RangeError","limit: open streams of a session (at most 2)"]"#;
    server.says(&format!(
        r#"c> ["stream",["pipeline",3,["write"],[1]]]
           s> ["reject",4,{error}]
           c> ["push",["pipeline",0,["take"],[["readable",3]]]]
           c> ["pull",5]
           s> ["reject",5,{error}]
           c> ["release",5,1]
           c> ["release",3,1]
           c> ["release",2,1]
           c> ["pipe"]
           c> ["release",6,1]
           c> ["release",1,1]"#
    ));
    assert_idle("server", &server.app);
}

#[test]
fn property_of_a_stream_in_a_value_is_undefined() {
    let mut server = Scripted::new(Limits::default());
    server.says(
        r#"c> ["push",["pipeline",0,["source"],[]]]
           c> ["push",["pipeline",1,["s","length"]]]
           c> ["pull",2]
           s> ["resolve",2,["undefined"]]
           c> ["push",["pipeline",1,["s","a","b"]]]
           c> ["pull",3]
           s> ["reject",3,["error","TypeError","Cannot read properties of undefined (reading 'b')"]]
           c> ["release",1,1]
           c> ["release",2,1]
           c> ["release",3,1]"#,
    );
    assert_idle("server", &server.app);
    // The end of a stream has no properties unless it is in a value.
    server.says(
        r#"c> ["pipe"]
           c> ["push",["pipeline",4,["length"]]]
           c> ["pull",5]
           s> ["reject",5,["error","Error","Cannot access properties on a WritableStream stub"]]
           c> ["release",4,1]
           c> ["release",5,1]"#,
    );
    assert_idle("server", &server.app);
}
