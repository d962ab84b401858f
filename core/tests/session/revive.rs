//! A server whose process crashes and is recovered from a snapshot, with a client that continues.

use bowline_core::error::ErrorCode;
use bowline_core::id::{Ids, WaitId};
use bowline_core::session::{Kind, Outgoing, Path, Recipe, Ref, Remembered, Report, Revived, Session, Snapshot};
use bowline_core::value::Payload;

use super::app::{App, path, payload};
use super::pair::{Pair, written};

/// A client, a durable server, and what was stored of the server.
struct Durable {
    pair: Pair,
    main: Ref,
    stored: Vec<u8>,
}

fn lives(recipe: Option<&Recipe>, kind: Kind) -> Result<(), ErrorCode> {
    match (recipe, kind) {
        (Some(_), _) => Ok(()),
        (None, Kind::Object) => Err(ErrorCode::CapabilityLost),
        (None, _) => Err(ErrorCode::StreamInterrupted),
    }
}

impl Durable {
    fn new() -> Self {
        let mut pair = Pair::uncut();
        pair.client.session.keep_sent(1 << 20);
        pair.server.session.withhold_releases();
        pair.server.is_durable = true;
        let main = pair.client.session.main();
        let mut durable = Self { pair, main, stored: Vec::new() };
        durable.checkpoint();
        durable
    }

    fn ask(&mut self, on: Ref, method: &str, args: Payload<Outgoing>) -> WaitId {
        let client = &mut self.pair.client.session;
        let result = client.call(on, &path(method), Some(args));
        let wait = client.pull(result, &[]);
        client.release(result);
        wait
    }

    /// Returns a counter of the server.
    fn counter(&mut self, n: i64) -> Ref {
        self.ask(self.main, "mk", Payload::plain(format!("[{n}]")));
        self.pair.settle();
        self.pair.client.received.pop().expect("expected a counter")
    }

    /// Stores the server as it is, and informs the client.
    fn checkpoint(&mut self) {
        self.store();
        let covered = self.pair.server.session.ids().peer_next_positive;
        self.pair.client.session.covered(covered);
        self.pair.settle();
    }

    fn store(&mut self) {
        let server = &mut self.pair.server.session;
        let snapshot = server.snapshot().expect("the session is open");
        self.stored = serde_json::to_vec(&snapshot).expect("plain data");
        server.release_withheld(server.withheld_len());
    }

    /// Crashes the server's process, and recovers the session in another.
    fn crash(&mut self) -> Revived {
        self.pair.lose();
        let revived = self.revive().expect("the client's report is consistent");
        let theirs = Remembered {
            next_positive: self.pair.server.session.ids().peer_next_positive,
            restored: revived.restored.iter().copied().collect(),
            lost: revived.lost.iter().cloned().collect(),
            unknown: revived.unknown.iter().copied().collect(),
            imports: revived.imports.iter().copied().collect(),
        };
        self.pair.client.session.replan(&theirs, written).expect("both sides reconcile");
        self.pair.settle();
        revived
    }

    fn revive(&mut self) -> Result<Revived, bowline_core::session::CloseReason> {
        let report = self.pair.client.session.ids();
        let snapshot: Snapshot = serde_json::from_slice(&self.stored).expect("a checkpoint was stored");
        let limits = self.pair.server.session.limits().clone();
        let mut session = Session::restore(snapshot, limits).expect("the snapshot is valid");
        let revived = session.revive(Report::Whole(report), lives)?;
        self.pair.server = App::revived(session, &revived);
        Ok(revived)
    }

    #[track_caller]
    fn settled(&mut self, wait: WaitId, expected: &str) {
        self.pair.settle();
        let text = &self.pair.client.settled[&wait];
        assert!(text.contains(expected), "{text} is not {expected}");
    }

    /// Asserts that nothing is left on either side once the client has released everything.
    #[track_caller]
    fn assert_idle(mut self, held: &[Ref]) {
        held.iter().for_each(|&of| self.pair.client.session.release(of));
        self.pair.client.release_received();
        self.pair.settle();
        self.checkpoint();
        self.pair.assert_idle();
    }
}

#[test]
fn objects_with_a_recipe_are_restored_and_others_are_lost() {
    let mut durable = Durable::new();
    let counter = durable.counter(5);
    let tools = durable.ask(durable.main, "tools.add", Payload::plain("[1]"));
    durable.settled(tools, "2");
    durable.pair.server.is_durable = false;
    let lost = durable.counter(7);
    durable.checkpoint();
    let revived = durable.crash();
    assert_eq!(revived.restored, [-1]);
    assert_eq!(revived.lost, [(-2, ErrorCode::CapabilityLost)]);
    let lives = durable.ask(counter, "inc", Payload::plain("[1]"));
    durable.settled(lives, "6");
    let gone = durable.ask(lost, "inc", Payload::plain("[1]"));
    durable.settled(gone, "CAPABILITY_LOST");
    durable.assert_idle(&[counter, lost]);
}

#[test]
fn recovery_never_reuses_ids() {
    let mut durable = Durable::new();
    durable.checkpoint();
    let before = durable.counter(1);
    let callback = durable.pair.client.adder(1);
    let called = durable.ask(durable.main, "cb", payload("[$,4]", &[callback]));
    durable.settled(called, "5");
    let seen = durable.pair.client.session.ids();
    durable.crash();
    let ids = durable.pair.server.session.ids();
    assert!(ids.next_negative <= seen.peer_next_negative, "{ids:?} after {seen:?}");
    assert!(ids.next_positive >= seen.peer_next_positive, "{ids:?} after {seen:?}");
    assert_eq!(ids.peer_next_positive, seen.next_positive, "no id of the client is reused");
    let after = durable.counter(2);
    assert_ne!(before, after);
    durable.assert_idle(&[before, after, callback]);
}

#[test]
fn release_of_a_lost_id_is_ignored() {
    let mut durable = Durable::new();
    durable.pair.server.is_durable = false;
    let lost = durable.counter(1);
    durable.crash();
    durable.pair.crossed(
        r#"c> {"hold":[],"pull":[]}
           c> {"next":2}"#,
    );
    durable.pair.client.session.release(lost);
    durable.pair.crossed("");
    durable.assert_idle(&[]);
}

#[test]
fn release_is_withheld_until_a_checkpoint_covers_it() {
    let mut durable = Durable::new();
    let callback = durable.pair.client.adder(1);
    durable.ask(durable.main, "take", payload("[$]", &[callback]));
    durable.pair.client.session.release(callback);
    durable.pair.settle();
    durable.store();
    durable.ask(durable.main, "drop", Payload::plain("[]"));
    durable.pair.settle();
    assert_eq!(durable.pair.client.objects(), 1, "the stored checkpoint still holds it");
    durable.store();
    durable.pair.settle();
    assert_eq!(durable.pair.client.objects(), 0);
    durable.assert_idle(&[]);
}

#[test]
fn second_crash_before_the_first_new_token_is_recovered() {
    let mut durable = Durable::new();
    let counter = durable.counter(1);
    durable.checkpoint();
    for _ in 0..3 {
        let unknown = durable.ask(counter, "inc", Payload::plain("[1]"));
        durable.crash();
        durable.settled(unknown, "CALL_OUTCOME_UNKNOWN");
        let works = durable.ask(counter, "inc", Payload::plain("[1]"));
        durable.settled(works, "2");
    }
    durable.assert_idle(&[counter]);
}

#[test]
fn repeated_recovery_gives_the_same_result() {
    let mut durable = Durable::new();
    let counter = durable.counter(1);
    durable.checkpoint();
    durable.pair.lose();
    let first = durable.revive().expect("the report is consistent");
    assert_eq!(durable.crash(), first);
    let works = durable.ask(counter, "inc", Payload::plain("[1]"));
    durable.settled(works, "2");
    durable.assert_idle(&[counter]);
}

#[test]
fn recipe_can_contain_client_references() {
    let mut durable = Durable::new();
    let callback = durable.pair.client.adder(1);
    durable.ask(durable.main, "take", payload("[$]", &[callback]));
    durable.pair.client.session.release(callback);
    let counter = durable.counter(3);
    durable.checkpoint();
    let revived = durable.crash();
    assert_eq!(revived.imports, [(-1, 1)], "the recipe holds it");
    assert_eq!(durable.pair.client.objects(), 1);
    durable.pair.client.session.release(counter);
    durable.pair.settle();
    durable.checkpoint();
    assert_eq!(durable.pair.client.objects(), 0);
    durable.assert_idle(&[]);
}

#[test]
fn running_call_and_its_dependents_have_unknown_outcome() {
    let mut durable = Durable::new();
    let slow = durable.pair.client.session.call(durable.main, &path("slow"), Some(Payload::plain("[]")));
    let wait = durable.pair.client.session.pull(slow, &[]);
    let after = durable.ask(slow, "name.first", Payload::plain("[]"));
    durable.pair.settle();
    durable.checkpoint();
    let revived = durable.crash();
    assert_eq!(revived.unknown, [1, 2]);
    durable.settled(wait, "CALL_OUTCOME_UNKNOWN");
    durable.settled(after, "CALL_OUTCOME_UNKNOWN");
    durable.assert_idle(&[slow]);
}

#[test]
fn repeatable_call_is_delivered_again() {
    for again in [true, false] {
        let mut durable = Durable::new();
        let wait = durable.ask(durable.main, "slow", Payload::plain("[[[1]]]"));
        durable.pair.settle();
        let server = &mut durable.pair.server;
        let call = server.unfinished[0];
        let args = Some(Payload::plain("[[[1]]]"));
        server.session.keep_for_rerun(call, Session::MAIN, path("slow"), args);
        durable.checkpoint();
        let revived = {
            durable.pair.lose();
            let revived = durable.revive().expect("the report is consistent");
            durable.pair.server.runs_again = again;
            revived
        };
        assert_eq!((revived.restored.as_slice(), revived.unknown.as_slice()), ([1].as_slice(), [].as_slice()));
        let theirs = Remembered { next_positive: 2, restored: [1].into(), ..Remembered::default() };
        durable.pair.client.session.replan(&theirs, written).expect("both sides reconcile");
        durable.pair.settle();
        if again {
            durable.pair.server.finish("\"done\"");
            durable.settled(wait, "done");
        } else {
            durable.settled(wait, "CALL_OUTCOME_UNKNOWN");
        }
        durable.assert_idle(&[]);
    }
}

#[test]
fn unpulled_result_is_preserved() {
    let mut durable = Durable::new();
    let list = durable.pair.client.session.call(durable.main, &path("lst"), Some(Payload::plain("[]")));
    let made = durable.pair.client.session.call(durable.main, &path("mkIn"), Some(Payload::plain("[4]")));
    durable.pair.settle();
    durable.checkpoint();
    durable.crash();
    let wait = durable.pair.client.session.pull(list, &[]);
    durable.settled(wait, "[[1,2]]");
    let wait = durable.ask(made, "a.1.inc", Payload::plain("[1]"));
    durable.settled(wait, "5");
    durable.assert_idle(&[list, made]);
}

#[test]
fn exported_promise_of_the_old_process_is_rejected() {
    let mut durable = Durable::new();
    let wait = durable.ask(durable.main, "later", Payload::plain("[]"));
    durable.pair.settle();
    durable.checkpoint();
    durable.crash();
    durable.settled(wait, "CALL_OUTCOME_UNKNOWN");
    durable.assert_idle(&[]);
}

#[test]
fn waiting_map_is_not_repeated() {
    let mut durable = Durable::new();
    let client = &mut durable.pair.client.session;
    let slow = client.call(durable.main, &path("slow"), Some(Payload::plain("[]")));
    let main = Outgoing { of: durable.main, path: Path::new() };
    let mapped = client.map(slow, &[], &[main], r#"[["pipeline",-1,["sq"],[["pipeline",0]]]]"#.to_owned());
    let wait = client.pull(mapped, &[]);
    durable.pair.settle();
    durable.checkpoint();
    durable.crash();
    durable.settled(wait, "CALL_OUTCOME_UNKNOWN");
    durable.assert_idle(&[slow, mapped]);
}

#[test]
fn contradictory_report_is_refused() {
    let mut durable = Durable::new();
    durable.counter(1);
    durable.checkpoint();
    let snapshot: Snapshot = serde_json::from_slice(&durable.stored).expect("a checkpoint was stored");
    let truth = durable.pair.client.session.ids();
    for report in [
        Ids { peer_next_positive: 1 << 40, ..truth },
        Ids { peer_next_negative: -(1 << 40), ..truth },
        Ids { next_negative: i64::MIN, ..truth },
        Ids { next_positive: 1, ..truth },
    ] {
        let limits = durable.pair.server.session.limits().clone();
        let mut session = Session::restore(snapshot.clone(), limits).expect("the snapshot is valid");
        let refused = session.revive(Report::Whole(report), lives).expect_err("so many ids were never assigned");
        assert_eq!(refused.cause.name(), "RESUME_GAP", "{report:?}");
    }
}

#[test]
fn messages_before_reconciliation_are_refused() {
    for message in [r#"["push",["pipeline",0,["mk"],[1]]]"#, r#"["pull",1]"#, "not JSON"] {
        let mut durable = Durable::new();
        durable.pair.lose();
        durable.revive().expect("the report is consistent");
        let server = &mut durable.pair.server;
        server.session.handle_message(message);
        server.react();
        let closed = server.closed.as_ref().expect("the session has ended");
        assert_eq!(closed.message, "the session is not reconciled yet");
    }
}

#[test]
fn reconciling_an_unknown_export_ends_the_session() {
    for text in [r#"{"hold":[7],"pull":[]}"#, r#"{"hold":[],"pull":[1]}"#, r#"{"next":0}"#, r#"{"next":5000000000}"#] {
        let mut durable = Durable::new();
        durable.pair.lose();
        durable.revive().expect("the report is consistent");
        super::pair::take(&mut durable.pair.server.session, text);
        durable.pair.server.react();
        assert!(durable.pair.server.closed.is_some(), "{text}");
    }
}
