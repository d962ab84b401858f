//! A client whose server was recovered: which calls it retransmits, which fail, and what it holds
//! afterwards. The test plays the server.

use std::collections::{BTreeMap, BTreeSet};

use bowline_core::error::ErrorCode;
use bowline_core::id::WaitId;
use bowline_core::limits::Limits;
use bowline_core::session::{Adjustment, ClosedBy, Ref, Remembered, Replanned, Session};
use bowline_core::value::Payload;

use super::app::{App, path, payload};

const KEPT_BYTES: usize = 1 << 20;

struct Client {
    app: App,
    main: Ref,
}

impl Client {
    fn new() -> Self {
        Self::keeping(KEPT_BYTES)
    }

    fn keeping(bytes: usize) -> Self {
        let mut app = App::new(Session::new(Limits::default(), true));
        app.session.keep_sent(bytes);
        let main = app.session.main();
        Self { app, main }
    }

    fn call(&mut self, on: Ref, method: &str, args: Payload<bowline_core::session::Outgoing>) -> Ref {
        self.app.session.call(on, &path(method), Some(args))
    }

    /// Calls a method of the main object and pulls its result.
    fn ask(&mut self, method: &str) -> (Ref, WaitId) {
        self.ask_of(self.main, method)
    }

    fn ask_of(&mut self, on: Ref, method: &str) -> (Ref, WaitId) {
        let result = self.call(on, method, Payload::plain("[]"));
        (result, self.app.session.pull(result, &[]))
    }

    /// Gives all messages to the connection.
    fn hand(&mut self) -> Vec<String> {
        self.app.react();
        let sent = std::iter::from_fn(|| self.app.session.poll_transmit()).collect();
        self.app.react();
        sent
    }

    fn hears(&mut self, text: &str) {
        self.app.session.handle_message(text);
        self.app.react();
    }

    #[track_caller]
    fn replans(&mut self, theirs: &Remembered, expected: &str) -> Replanned {
        let became = self.app.session.replan(theirs, written).expect("both sides reconcile");
        let expected: Vec<_> = expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        assert_eq!(self.hand(), expected);
        became
    }

    #[track_caller]
    fn settled(&self, wait: WaitId, code: &str) {
        let text = &self.app.settled[&wait];
        assert!(text.contains(&format!(r#"{{"code":"{code}"}}"#)), "{text}");
    }
}

fn written(adjustment: Adjustment) -> String {
    match adjustment {
        Adjustment::Reconcile { hold, pull } => format!("hold {hold:?} pull {pull:?}"),
        Adjustment::Skip { next_positive } => format!("skip {next_positive}"),
    }
}

/// Returns what a recovered server with these exports remembers.
fn remembers(next_positive: i64, restored: &[i64]) -> Remembered {
    Remembered { next_positive, restored: BTreeSet::from_iter(restored.iter().copied()), ..Remembered::default() }
}

#[test]
fn unsent_calls_are_retransmitted_unchanged() {
    let mut client = Client::new();
    let (result, _) = client.ask("sq");
    client.app.session.release(result);
    let became = client.replans(
        &remembers(1, &[]),
        r#"hold [] pull []
           ["push",["pipeline",0,["sq"],[]]]
           ["pull",1]"#,
    );
    assert_eq!((became.resent, became.unknown), (1, 0));
    client.hears(r#"["resolve",1,9]"#);
    assert_eq!(client.hand(), [r#"["release",1,1]"#]);
}

#[test]
fn call_that_may_have_run_is_unknown_unless_idempotent() {
    let mut client = Client::new();
    let (_, once) = client.ask("sq");
    let (again, _) = client.ask_of(client.main, "profile");
    client.app.session.mark_idempotent(again);
    client.hand();
    let became = client.replans(&remembers(1, &[]), "hold [] pull []\nskip 3");
    // Both were on the same object, and nothing may run behind a call that may not have run.
    assert_eq!((became.resent, became.unknown), (0, 2));
    client.settled(once, "CALL_OUTCOME_UNKNOWN");
}

#[test]
fn idempotent_call_is_retransmitted_under_its_id() {
    let mut client = Client::new();
    let (dropped, _) = client.ask("sq");
    client.hand();
    client.hears(r#"["resolve",1,9]"#);
    let (again, wait) = client.ask("profile");
    client.app.session.mark_idempotent(again);
    [dropped, again].into_iter().for_each(|of| client.app.session.release(of));
    client.hand();
    client.replans(
        &remembers(1, &[]),
        r#"hold [] pull []
           skip 2
           ["push",["pipeline",0,["profile"],[]]]
           ["pull",2]"#,
    );
    client.hears(r#"["resolve",2,"Ann"]"#);
    assert_eq!(client.app.settled[&wait], "\"Ann\"");
}

#[test]
fn unknown_call_blocks_later_calls_on_the_same_object_only() {
    let mut client = Client::new();
    let (stubs, _) = client.ask("two");
    client.hand();
    client.hears(r#"["resolve",1,[[["export",-1],["export",-2]]]]"#);
    client.hand();
    let [a, b] = client.app.received[..] else { panic!("expected two stubs") };
    let (_, unknown) = client.ask_of(a, "inc");
    client.hand();
    let (_, behind) = client.ask_of(a, "inc");
    let (_, beside) = client.ask_of(b, "inc");
    client.app.session.release(stubs);
    let became = client.replans(
        &remembers(2, &[-1, -2]),
        r#"hold [-2, -1] pull []
           skip 4
           ["push",["pipeline",-2,["inc"],[]]]
           ["pull",4]"#,
    );
    assert_eq!((became.resent, became.unknown, became.not_attempted), (1, 1, 1));
    client.settled(unknown, "CALL_OUTCOME_UNKNOWN");
    client.settled(behind, "CALL_NOT_ATTEMPTED");
    assert!(!client.app.settled.contains_key(&beside));
}

#[test]
fn call_lost_by_the_server_blocks_later_calls() {
    let mut client = Client::new();
    let (_, running) = client.ask("slow");
    client.hand();
    let (_, behind) = client.ask("sq");
    let theirs = Remembered { unknown: BTreeSet::from([1]), ..remembers(2, &[1]) };
    client.replans(&theirs, "hold [1] pull [1]\nskip 3");
    client.settled(behind, "CALL_NOT_ATTEMPTED");
    client.hears(r#"["reject",1,["error","Error","lost",null,{"code":"CALL_OUTCOME_UNKNOWN"}]]"#);
    client.settled(running, "CALL_OUTCOME_UNKNOWN");
}

#[test]
fn results_known_to_the_server_are_held_and_pulled() {
    let mut client = Client::new();
    let (asked, wait) = client.ask("slow");
    let unasked = client.call(client.main, "slow", Payload::plain("[]"));
    client.hand();
    client.app.session.covered(3);
    client.replans(&remembers(3, &[1, 2]), "hold [1, 2] pull [1]");
    client.hears(r#"["resolve",1,"done"]"#);
    assert_eq!(client.app.settled[&wait], "\"done\"");
    client.app.session.release(asked);
    client.app.session.release(unasked);
    assert_eq!(client.hand(), [r#"["release",1,1]"#, r#"["release",2,1]"#]);
}

#[test]
fn references_needed_by_a_retransmitted_call_are_held_for_it() {
    let mut client = Client::new();
    let made = client.call(client.main, "mk", Payload::plain("[1]"));
    client.hand();
    client.app.session.covered(2);
    let (_, wait) = client.ask_of(made, "inc");
    client.app.session.release(made);
    client.replans(
        &remembers(2, &[1]),
        r#"hold [1] pull []
           ["push",["pipeline",1,["inc"],[]]]
           ["pull",2]
           ["release",1,1]"#,
    );
    client.hears(r#"["resolve",2,2]"#);
    assert_eq!(client.app.settled[&wait], "2");
}

#[test]
fn call_on_a_lost_object_is_not_attempted() {
    let mut client = Client::new();
    let (result, _) = client.ask("mk");
    client.hand();
    client.hears(r#"["resolve",1,["export",-1]]"#);
    client.hand();
    let counter = client.app.received[0];
    let (_, wait) = client.ask_of(counter, "inc");
    let theirs = Remembered { lost: BTreeMap::from([(-1, ErrorCode::from("RESTORER_UNKNOWN"))]), ..remembers(2, &[]) };
    let became = client.replans(&theirs, "hold [] pull []\nskip 3");
    assert_eq!((became.lost, became.not_attempted), (1, 1));
    client.settled(wait, "CALL_NOT_ATTEMPTED");
    let (_, after) = client.ask_of(counter, "inc");
    assert_eq!(client.hand(), [""; 0], "calls on it fail here");
    client.settled(after, "RESTORER_UNKNOWN");
    client.app.session.release(result);
}

#[test]
fn callback_counts_follow_the_server() {
    let mut client = Client::new();
    let (kept, given_up) = (client.app.adder(1), client.app.adder(2));
    for of in [kept, kept, given_up] {
        let result = client.call(client.main, "take", payload("[$]", &[of]));
        client.app.session.release(result);
    }
    client.hand();
    client.app.session.covered(4);
    let again = client.call(client.main, "take", payload("[$]", &[kept]));
    [kept, given_up, again].into_iter().for_each(|of| client.app.session.release(of));
    let theirs = Remembered { imports: BTreeMap::from([(-1, 1)]), ..remembers(4, &[]) };
    client.replans(
        &theirs,
        r#"hold [] pull []
           ["push",["pipeline",0,["take"],[["export",-4]]]]
           ["release",4,1]"#,
    );
    assert_eq!(client.app.objects(), 1, "the unheld export is dropped");
    client.hears(r#"["release",-1,1]"#);
    client.hears(r#"["release",-4,1]"#);
    assert_eq!(client.app.objects(), 0);
}

#[test]
fn promise_held_by_the_server_is_answered_again() {
    let mut client = Client::new();
    let promise = client.app.session.new_promise();
    let result = client.call(client.main, "take", payload("[$]", &[Ref::Promise(promise)]));
    client.app.session.settle(promise, Ok(Payload::plain("7")));
    client.hand();
    client.app.session.covered(2);
    client.app.session.release(result);
    client.hand();
    let theirs = Remembered { imports: BTreeMap::from([(-1, 1)]), ..remembers(2, &[]) };
    client.replans(&theirs, "hold [] pull []\n[\"resolve\",-1,7]");
    client.hears(r#"["release",-1,1]"#);
    client.app.session.release(Ref::Promise(promise));
    assert!(client.app.session.is_idle(), "{:#?}", client.app.session);
}

#[test]
fn streams_end_on_the_client() {
    let mut client = Client::new();
    let sink = client.app.sink();
    let done = client.call(client.main, "writeTo", payload("[$]", &[sink]));
    let (out, _) = client.ask("sink");
    client.hand();
    client.hears(r#"["resolve",2,["writable",-1]]"#);
    client.hand();
    let into = client.app.received[0];
    let (chunk, _) = client.app.session.stream(into, "write", Payload::plain("[1]"));
    client.hand();
    client.app.session.covered(3);
    [sink, done, out].into_iter().for_each(|of| client.app.session.release(of));
    client.hand();
    client.replans(&remembers(3, &[]), "hold [] pull []\nskip 4");
    client.settled(chunk, "STREAM_INTERRUPTED");
    let last = client.app.entered.last().map_or("", String::as_str);
    assert!(last.starts_with(r#"abort[["error","#), "the reason is the only argument: {last}");
    assert!(last.ends_with(r#"{"code":"STREAM_INTERRUPTED"}]]"#), "{last}");
    let (next, _) = client.app.session.stream(into, "write", Payload::plain("[2]"));
    client.app.react();
    client.settled(next, "STREAM_INTERRUPTED");
}

/// Returns a writable of the server, which was -1 in the answer to a call.
fn writable(client: &mut Client) -> Ref {
    let (result, _) = client.ask("sink");
    client.hand();
    client.hears(r#"["resolve",1,["writable",-1]]"#);
    client.app.session.release(result);
    client.hand();
    client.app.received.pop().expect("expected a writable")
}

/// Sends chunks and acknowledges them. Each takes an id that no call has.
fn stream(client: &mut Client, into: Ref, chunks: i64) {
    for _ in 0..chunks {
        client.app.session.stream(into, "write", Payload::plain("[1]"));
        let id = client.app.session.ids().next_positive - 1;
        client.hand();
        client.hears(&format!(r#"["resolve",{id},["undefined"]]"#));
        client.hand();
    }
}

#[test]
fn calls_are_retransmitted_in_order_across_chunks() {
    for chunks in [0, 3, 60, 64, 65, 200, 1000] {
        let mut client = Client::new();
        let into = writable(&mut client);
        let (first, _) = client.ask("profile");
        client.app.session.mark_idempotent(first);
        client.hand();
        stream(&mut client, into, chunks);
        let (second, _) = client.ask("profile");
        client.app.session.mark_idempotent(second);
        client.hand();
        let (one, two) = (2, 3 + chunks);
        let skip = if chunks > 0 { format!("skip {two}") } else { String::new() };
        let call = r#"["push",["pipeline",0,["profile"],[]]]"#;
        let expected = format!("hold [] pull []\n{call}\n[\"pull\",{one}]\n{skip}\n{call}\n[\"pull\",{two}]");
        let became = client.replans(&remembers(2, &[]), &expected);
        assert_eq!((became.resent, became.unknown), (2, 0), "{chunks} chunks");
    }
}

#[test]
fn call_behind_one_of_unknown_outcome_never_runs() {
    for chunks in [0, 10, 64, 65, 100, 1000] {
        let mut client = Client::new();
        let into = writable(&mut client);
        let (_, book) = client.ask("sq");
        client.hand();
        stream(&mut client, into, chunks);
        let (put, behind) = client.ask("profile");
        client.app.session.mark_idempotent(put);
        client.hand();
        let became = client.replans(&remembers(2, &[]), &format!("hold [] pull []\nskip {}", 4 + chunks));
        assert_eq!((became.resent, became.unknown), (0, 2), "{chunks} chunks");
        client.settled(book, "CALL_OUTCOME_UNKNOWN");
        client.settled(behind, "CALL_OUTCOME_UNKNOWN");
    }
}

#[test]
fn calls_covered_by_a_checkpoint_are_not_retransmitted() {
    for chunks in [0, 65, 200] {
        let mut client = Client::new();
        let into = writable(&mut client);
        let (_, early) = client.ask("sq");
        client.hand();
        stream(&mut client, into, chunks);
        let (_, late) = client.ask("sq");
        client.hand();
        client.app.session.covered(4 + chunks);
        let became = client.replans(&remembers(4 + chunks, &[]), "hold [] pull []");
        assert_eq!((became.resent, became.unknown), (0, 2), "{chunks} chunks");
        client.settled(early, "CALL_OUTCOME_UNKNOWN");
        client.settled(late, "CALL_OUTCOME_UNKNOWN");
    }
}

#[test]
fn call_with_a_stream_is_never_retransmitted() {
    let mut client = Client::new();
    let sink = client.app.sink();
    let result = client.call(client.main, "writeTo", payload("[$]", &[sink]));
    client.app.session.mark_idempotent(result);
    let wait = client.app.session.pull(result, &[]);
    client.hand();
    client.replans(&remembers(1, &[]), "hold [] pull []\nskip 2");
    client.settled(wait, "CALL_OUTCOME_UNKNOWN");
}

#[test]
fn calls_beyond_the_log_limit_have_unknown_outcome() {
    let mut client = Client::keeping(200);
    let waits: Vec<WaitId> = (0..20)
        .map(|_| {
            let (result, wait) = client.ask("profile");
            client.app.session.mark_idempotent(result);
            client.hand();
            wait
        })
        .collect();
    let became = client.app.session.replan(&remembers(1, &[]), written).expect("both sides reconcile");
    client.hand();
    assert_eq!(became.resent + became.unknown, 20);
    assert!((1..=4).contains(&became.resent), "{became:?}");
    client.settled(waits[0], "CALL_OUTCOME_UNKNOWN");
}

#[test]
fn second_recovery_before_anything_was_sent_gives_the_same_plan() {
    let mut client = Client::new();
    let (given_up, _) = client.ask("sq");
    client.hand();
    let (again, _) = client.ask("profile");
    client.app.session.mark_idempotent(again);
    client.hand();
    client.app.session.release(given_up);
    let other = client.call(client.main, "mk", Payload::plain("[1]"));
    let theirs = remembers(2, &[1]);
    let expected = r#"hold [1] pull [1]
           ["push",["pipeline",0,["profile"],[]]]
           ["pull",2]
           ["push",["pipeline",0,["mk"],[1]]]"#;
    client.app.session.replan(&theirs, written).expect("both sides reconcile");
    client.replans(&theirs, expected);
    client.replans(&theirs, "hold [1] pull [1]\n[\"push\",[\"pipeline\",0,[\"profile\"],[]]]\n[\"pull\",2]\nskip 4");
    client.app.session.release(other);
}

#[test]
fn server_claiming_unknown_references_is_refused() {
    let mut client = Client::new();
    let theirs = Remembered { imports: BTreeMap::from([(-1, 1)]), ..remembers(1, &[]) };
    let refused = client.app.session.replan(&theirs, written).expect_err("nothing was exported");
    assert_eq!((refused.by, refused.cause.name()), (ClosedBy::Protocol, "RESUME_GAP"));
}
