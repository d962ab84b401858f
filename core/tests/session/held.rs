//! Everything that a session holds for its peer counts against `held_bytes`. Each test sends many
//! times the limit, and less than twice the limit is held. `assert_survives` compares the count
//! with what is stored after every message.

use bowline_core::limits::Limits;
use bowline_core::session::Session;

use super::pair::{Scripted, assert_idle};

const HELD_BYTES: usize = 50_000;
const NAMED: &str = "limit: bytes held by a session (at most 50000)";

fn limits() -> Limits {
    let mut limits = Limits::default();
    (limits.held_bytes, limits.message_bytes, limits.running_calls) = (HELD_BYTES, 20_000, 1_000);
    limits
}

/// A server whose peer makes it hold as much as possible.
struct Greedy {
    server: Scripted,
    sent_bytes: usize,
    most_held: usize,
    rejected: usize,
    /// The number of the peer's pushes so far.
    pushes: usize,
}

impl Greedy {
    fn new() -> Self {
        Self { server: Scripted::new(limits()), sent_bytes: 0, most_held: 0, rejected: 0, pushes: 0 }
    }

    fn send(&mut self, text: &str) {
        self.sent_bytes += text.len();
        let answers = self.server.send(text);
        self.rejected += answers.iter().filter(|answer| answer.contains(NAMED)).count();
        self.most_held = self.most_held.max(self.server.app.session.held_bytes());
    }

    /// Sends a push and its pull.
    fn push(&mut self, expression: &str) {
        self.pushes += 1;
        self.send(&format!("[\"push\",{expression}]"));
        self.send(&format!("[\"pull\",{}]", self.pushes));
    }

    /// Sends forty times the limit, unless the session ends before.
    fn send_much(&mut self, mut send: impl FnMut(&mut Self)) {
        while self.sent_bytes < 40 * HELD_BYTES && self.server.app.closed.is_none() {
            send(self);
        }
    }

    #[track_caller]
    fn assert_bounded(&self) {
        let aborted = self.server.app.closed.as_ref().is_some_and(|closed| closed.message == NAMED);
        assert!(self.rejected > 0 || aborted, "{:?}", self.server.app.closed);
        assert!(self.most_held > HELD_BYTES / 2, "at most {} bytes were counted", self.most_held);
        assert!(self.most_held < 2 * HELD_BYTES, "{} bytes are held", self.most_held);
    }
}

/// A promise of the server that is never settled.
const SLOW: &str = r#"["pipeline",0,["slow"],[]]"#;

#[test]
fn path_names_of_waiting_calls_are_counted_as_held() {
    let mut peer = Greedy::new();
    peer.push(SLOW);
    let name = "x".repeat(5_000);
    peer.send_much(|peer| peer.push(&format!(r#"["pipeline",1,["{name}"]]"#)));
    peer.assert_bounded();
}

#[test]
fn path_steps_of_waiting_calls_are_counted_as_held() {
    let mut peer = Greedy::new();
    peer.push(SLOW);
    let steps = ["0"; 60].join(",");
    peer.send_much(|peer| peer.push(&format!(r#"["pipeline",1,[{steps}]]"#)));
    peer.assert_bounded();
}

#[test]
fn path_names_of_waiting_maps_are_counted_as_held() {
    let mut peer = Greedy::new();
    peer.push(SLOW);
    let name = "x".repeat(5_000);
    peer.send_much(|peer| peer.push(&format!(r#"["remap",1,["{name}"],[],[["pipeline",0,["a"]]]]"#)));
    peer.assert_bounded();
}

#[test]
fn captures_and_instructions_of_waiting_maps_are_counted_as_held() {
    for (captures, instructions) in [
        (vec![r#"["import",0]"#; 300].join(","), "1".to_owned()),
        (String::new(), format!("\"{}\"", "x".repeat(5_000))),
    ] {
        let mut peer = Greedy::new();
        peer.push(SLOW);
        peer.send_much(|peer| peer.push(&format!(r#"["remap",1,[],[{captures}],[{instructions}]]"#)));
        peer.assert_bounded();
    }
}

#[test]
fn arguments_of_waiting_calls_are_counted_as_held() {
    let mut peer = Greedy::new();
    peer.push(SLOW);
    let text = "x".repeat(5_000);
    peer.send_much(|peer| peer.push(&format!(r#"["pipeline",1,["f"],["{text}"]]"#)));
    peer.assert_bounded();
}

#[test]
fn arguments_of_running_calls_are_counted_as_held_until_they_return() {
    let mut peer = Greedy::new();
    let text = "x".repeat(5_000);
    // Four times the limit. Rejections are held as well, so more would end the session.
    (0..40).for_each(|_| peer.push(&format!(r#"["pipeline",0,["slow"],["{text}"]]"#)));
    peer.assert_bounded();
    let before = peer.server.app.session.held_bytes();
    peer.server.app.finish("1");
    let after = peer.server.app.session.held_bytes();
    assert!(after + 5_000 <= before, "{before} bytes are held, then {after}");
}

#[test]
fn arguments_of_running_calls_are_counted_at_their_decoded_size() {
    for (value, times) in [("[[]],", 500), ("0,", 1_000), (r#"{"":0},"#, 500), (r#""","#, 1_000)] {
        let mut server = Scripted::new(limits());
        server.send(&format!(r#"["push",["pipeline",0,["slow"],[[[{}0]]]]]"#, value.repeat(times)));
        let held = server.app.session.held_bytes();
        assert!(held >= times * 64, "{held} bytes are held for {value}, {times} times");
        server.app.finish("1");
        assert!(server.app.session.held_bytes() < 100);
    }
}

#[test]
fn unread_chunks_are_counted_as_held() {
    let mut peer = Greedy::new();
    peer.send(r#"["pipe"]"#);
    peer.pushes += 1;
    peer.push(r#"["pipeline",0,["take"],[["readable",1]]]"#);
    let text = "x".repeat(5_000);
    peer.send_much(|peer| peer.send(&format!(r#"["stream",["pipeline",1,["write"],["{text}"]]]"#)));
    peer.assert_bounded();
}

#[test]
fn retained_results_and_errors_are_counted_as_held() {
    for what in [r#""$""#, r#"["error","Error","$"]"#] {
        let mut peer = Greedy::new();
        let what = what.replace('$', &"x".repeat(5_000));
        let mut promise = 0;
        peer.send_much(|peer| {
            promise -= 1;
            peer.push(&format!(r#"["pipeline",0,["take"],[["promise",{promise}]]]"#));
            peer.send(&format!(r#"["reject",{promise},{what}]"#));
            peer.push(&what);
        });
        peer.assert_bounded();
    }
}

#[test]
fn references_in_retained_values_are_counted_as_held() {
    let mut peer = Greedy::new();
    let refs = [r#"["import",0]"#; 600].join(",");
    peer.send_much(|peer| peer.push(&format!("[[{refs}]]")));
    peer.assert_bounded();
}

#[test]
fn values_waiting_for_parts_are_counted_as_held() {
    let mut peer = Greedy::new();
    peer.push(SLOW);
    let parts = [r#"["pipeline",1]"#; 600].join(",");
    peer.send_much(|peer| peer.push(&format!(r#"["pipeline",0,["take"],[{parts}]]"#)));
    peer.assert_bounded();
}

#[test]
fn stream_readers_are_counted_as_held() {
    let mut limits = limits();
    limits.streams = 1_000;
    let mut server = Scripted::new(limits);
    for n in 1..=1_000 {
        server.send(r#"["pipe"]"#);
        server.send(&format!(r#"["push",["pipeline",0,["take"],[["readable",{}]]]]"#, 2 * n - 1));
        if server.app.closed.is_some() {
            break;
        }
    }
    server.assert_aborted(NAMED);
}

#[test]
fn oversized_name_in_a_path_is_rejected() {
    let mut limits = Limits::default();
    limits.key_bytes = 4;
    let mut server = Scripted::new(limits);
    server.says(
        r#"c> ["push",["pipeline",0,["abcde"]]]
           c> ["pull",1]
           s> ["reject",1,["error","RangeError","limit: bytes of a name in a property path (at most 4)"]]
           c> ["release",1,1]"#,
    );
    assert_idle("server", &server.app);
}

#[test]
fn answers_beyond_the_outbound_limit_are_not_written() {
    let mut limits = Limits::default();
    limits.outbound_bytes = 100_000;
    let mut server = Scripted::new(limits);
    server.send(SLOW_PUSH);
    for id in 2..100 {
        server.send(r#"["push",["pipeline",1]]"#);
        server.send(&format!("[\"pull\",{id}]"));
    }
    let call = server.app.unfinished.remove(0);
    let long = bowline_core::value::Payload::plain(format!("\"{}\"", "x".repeat(40_000)));
    server.app.session.settle(call, Ok(long));
    assert!(server.app.session.is_closed(), "98 answers of 40,000 bytes");
    let waiting = server.app.session.transmit_bytes();
    assert!(waiting < 200_000, "{waiting} bytes wait to be sent");
}

const SLOW_PUSH: &str = r#"["push",["pipeline",0,["slow"],[]]]"#;

#[test]
fn abort_reason_is_truncated() {
    let mut session = Session::new(Limits::default(), true);
    let long = "日".repeat(100_000);
    session.handle_message(&format!(r#"["abort",["error","{long}","{long}"]]"#));
    let closed = session.closed().expect("the session has ended");
    assert_eq!((closed.cause.name().len(), closed.message.len()), (255, 4_095), "whole characters");
}
