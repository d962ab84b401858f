//! Two sessions that perform a list of operations: calls, answers, maps, and streams, with
//! references of both sides anywhere in them. Messages arrive when the list says so.
//!
//! Both sides observe the protocol, so neither may end the session of the other. Once everything is
//! answered and released, nothing may be left. The fuzz target `session_operations` runs `replay`
//! on its inputs; the tests here run it on the corpus and on random lists.

use std::collections::VecDeque;

use bowline_core::id::{PromiseId, TargetId, WaitId};
use bowline_core::limits::Limits;
use bowline_core::session::{Kind, Outcome, Outgoing, Output, Path, Ref, Session, SessionStats, Step};
use bowline_core::value::{PLACEHOLDER, Payload};

/// What is known of a reference. A result is composed only of references that cannot wait for it:
/// two results that wait for each other wait forever, as in JavaScript.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Grade {
    /// An object, of either side.
    Object,
    /// A local promise, whose result is composed of objects.
    Promise,
    /// The result of a call.
    Result,
}

/// One side: what it holds, what it must answer, and messages that have not arrived.
struct Side {
    session: Session,
    held: Vec<(Ref, Grade)>,
    /// Calls to answer, with the grade of their result.
    owed: Vec<(PromiseId, Grade)>,
    waits: Vec<WaitId>,
    targets: Vec<TargetId>,
    arriving: VecDeque<String>,
}

/// Runs the operations in `text`. Each has three characters: the side and the operation, and two
/// numbers. Whitespace is ignored.
pub(crate) fn replay(text: &str) {
    let mut sides = [Side::new(), Side::new()];
    let bytes: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    for operation in bytes.chunks_exact(3).take(400) {
        let (what, a, b) = (operation[0], usize::from(operation[1]), usize::from(operation[2]));
        let at = usize::from(what.is_ascii_uppercase());
        if what.eq_ignore_ascii_case(&b't') {
            sides[at].take();
        } else {
            sides[at].act(what.to_ascii_lowercase(), a, b);
        }
        exchange(&mut sides);
    }
    finish(&mut sides);
}

/// Moves messages into the queue of the other side.
fn exchange(sides: &mut [Side; 2]) {
    for at in 0..2 {
        sides[at].react();
        while let Some(text) = sides[at].session.poll_transmit() {
            assert!(!text.contains(PLACEHOLDER), "a placeholder is sent: {text}");
            sides[1 - at].arriving.push_back(text);
        }
    }
}

/// Answers and releases everything. Nothing must be left then.
fn finish(sides: &mut [Side; 2]) {
    loop {
        exchange(sides);
        let mut is_done = true;
        for side in &mut *sides {
            while side.take() {
                is_done = false;
            }
            side.react();
            while let Some((call, _)) = side.owed.pop() {
                side.session.settle(call, Ok(Payload::plain("0")));
                side.react();
                is_done = false;
            }
            for (of, _) in std::mem::take(&mut side.held) {
                side.session.release(of);
                is_done = false;
            }
        }
        if is_done {
            break;
        }
    }
    for side in sides {
        assert_eq!(side.session.stats(), SessionStats { imports: 1, exports: 1 }, "{:#?}", side.session);
        assert!(side.session.is_idle(), "{:#?}", side.session);
        assert_eq!((side.waits.len(), side.targets.len()), (0, 0), "waits did not end, or unheld objects remain");
    }
}

/// Mapper functions. The first capture is called or returned.
const MAPPERS: [&str; 5] = [
    r#"[["pipeline",0]]"#,
    r#"[["pipeline",-1,["m"],[["pipeline",0]]]]"#,
    r#"[["pipeline",0,["m"],[]],["pipeline",1,["x"]],{"a":["pipeline",1],"b":["pipeline",2]}]"#,
    r#"[["remap",0,[],[["import",-1],["import",0]],[["pipeline",-1,[],[["pipeline",-2],["pipeline",0]]]]]]"#,
    r#"[["pipeline",-1]]"#,
];

impl Side {
    fn new() -> Self {
        Self {
            session: Session::new(Limits::default(), true),
            held: Vec::new(),
            owed: Vec::new(),
            waits: Vec::new(),
            targets: Vec::new(),
            arriving: VecDeque::new(),
        }
    }

    /// Handles one message, if there is one. Returns whether there was.
    fn take(&mut self) -> bool {
        let Some(text) = self.arriving.pop_front() else { return false };
        self.session.handle_message(&text);
        self.react();
        true
    }

    fn act(&mut self, what: u8, a: usize, b: usize) {
        let main = (self.session.main(), Grade::Object);
        let (on, grade) = self.held.get(a % (self.held.len() + 1)).copied().unwrap_or(main);
        match what {
            b'c' => {
                let args = self.payload(b, None);
                self.keep(|session| session.call(on, &path(a), Some(args)));
            }
            b'g' => self.keep(|session| session.call(on, &[Step::Name("x".into())], None)),
            b'm' => {
                let captures: Vec<Outgoing> = self.payload(b | 1, None).into_refs().into_iter().take(1).collect();
                let captures = if captures.is_empty() { vec![outgoing(self.session.main(), 0)] } else { captures };
                self.keep(|session| session.map(on, &[], &captures, MAPPERS[b % MAPPERS.len()].to_owned()));
            }
            b'p' => {
                let property = [Step::Name("x".into())];
                self.waits.push(self.session.pull(on, &property[..b % 2]));
            }
            b'f' if !self.waits.is_empty() => {
                let wait = self.waits.swap_remove(a % self.waits.len());
                self.session.forget(wait);
            }
            b'r' if !self.held.is_empty() => {
                let (of, _) = self.held.swap_remove(a % self.held.len());
                self.session.release(of);
            }
            b'd' => {
                self.session.retain(on);
                self.held.push((on, grade));
            }
            b'n' => {
                let target = self.session.new_target([Kind::Object, Kind::Writable, Kind::Readable][a % 3]);
                self.targets.push(target);
                self.held.push((Ref::Target(target), Grade::Object));
            }
            b'q' => {
                let promise = self.session.new_promise();
                self.owed.push((promise, Grade::Promise));
                self.held.push((Ref::Promise(promise), Grade::Promise));
            }
            b'w' if self.session.kind(on) == Kind::Writable => {
                let method = ["write", "close", "abort"][a % 3];
                let args = self.payload(b, None);
                let (wait, _) = self.session.stream(on, method, args);
                self.waits.push(wait);
            }
            _ => self.answer(what, a, b),
        }
    }

    /// Settles a call that must be answered.
    fn answer(&mut self, what: u8, a: usize, b: usize) {
        if self.owed.is_empty() || !b"sevh".contains(&what) {
            return;
        }
        if what == b'h' {
            // Calls on the result are redirected to an object. The answer is still owed.
            if let Some(&target) = self.targets.first() {
                let (call, _) = self.owed[a % self.owed.len()];
                self.session.redirect(call, target);
            }
            return;
        }
        let (call, grade) = self.owed.swap_remove(a % self.owed.len());
        let result = self.payload(b, Some(grade));
        match what {
            b'e' => self.session.settle(call, Err(result)),
            // The target of the call would become the result of a promise, which might wait for
            // itself.
            b'v' if grade == Grade::Result => {
                self.session.settle_from(call, result, path(b), 0, Some(Payload::plain("[]")));
            }
            _ => self.session.settle(call, Ok(result)),
        }
    }

    fn keep(&mut self, make: impl FnOnce(&mut Session) -> Ref) {
        let of = make(&mut self.session);
        self.held.push((of, Grade::Result));
    }

    /// Returns a list of arguments, or a result of some grade, with up to three references.
    fn payload(&self, b: usize, result: Option<Grade>) -> Payload<Outgoing> {
        let may = |grade| result.is_none_or(|result| grade < result);
        let known: Vec<Ref> = self.held.iter().filter(|(_, grade)| may(*grade)).map(|(of, _)| *of).collect();
        // A property is the result of a call as well.
        let steps = if result == Some(Grade::Promise) { 0 } else { b / 16 % 2 };
        let refs: Vec<Outgoing> =
            (0..b % 4).filter_map(|n| Some(outgoing(*known.get((b / 4 + n) % known.len().max(1))?, steps))).collect();
        let text = match (result, refs.as_slice()) {
            (Some(_), [_]) => PLACEHOLDER.to_owned(),
            (Some(_), _) => format!("{{\"x\":[[{}]]}}", vec![PLACEHOLDER; refs.len()].join(",")),
            (None, _) => format!("[{}]", vec![PLACEHOLDER; refs.len()].join(",")),
        };
        Payload::new(text, refs).expect("as many placeholders as references")
    }

    fn react(&mut self) {
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Deliver(delivery) => {
                    assert!(
                        delivery.target == Session::MAIN || self.targets.contains(&delivery.target),
                        "a call of a dropped object"
                    );
                    self.owed.push((delivery.call, Grade::Result));
                    let refs = delivery.args.into_iter().flat_map(Payload::into_refs);
                    self.held.extend(refs.map(|of| (of, Grade::Object)));
                }
                Output::Settled { wait, outcome } => {
                    let place = self.waits.iter().position(|&other| other == wait);
                    self.waits.swap_remove(place.expect("a wait ends once, and never after it was forgotten"));
                    match outcome {
                        Outcome::Resolved(value) => {
                            self.held.extend(value.into_refs().into_iter().map(|of| (of, Grade::Object)));
                        }
                        // Promises in a reason are not awaited.
                        Outcome::Rejected(reason) => {
                            self.held.extend(reason.into_refs().into_iter().map(|of| (of, Grade::Result)));
                        }
                        Outcome::Lost(closed) => {
                            panic!("a session ends although both sides observe the protocol: {closed:?}")
                        }
                    }
                }
                Output::Pump { into, .. } => self.held.push((Ref::Import(into), Grade::Object)),
                Output::Pipe { sink, source } => self.targets.extend([sink, source]),
                Output::DropTarget(target) => {
                    let place = self.targets.iter().position(|&other| other == target);
                    self.targets.swap_remove(place.expect("an object is dropped once"));
                }
                Output::Cancel(call) => {
                    assert!(self.owed.iter().any(|(other, _)| *other == call), "a settled call is canceled")
                }
                Output::Closed(closed) => panic!("a session ends although both sides observe the protocol: {closed:?}"),
            }
        }
    }
}

fn outgoing(of: Ref, steps: usize) -> Outgoing {
    Outgoing { of, path: vec![Step::Name("x".into()); steps].into() }
}

fn path(a: usize) -> Path {
    ["x", "m", "m.x", ""][a % 4].split('.').filter(|step| !step.is_empty()).map(|s| Step::Name(s.into())).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    #[test]
    fn fuzz_corpus_is_handled() {
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/session_operations");
        let entries: Vec<_> = std::fs::read_dir(corpus).unwrap().collect();
        assert!(entries.len() >= 10);
        for entry in entries {
            super::replay(&std::fs::read_to_string(entry.unwrap().path()).unwrap());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

        #[test]
        fn random_operations_leave_no_state(list in "([cgmpfrdnqwsevhtttCGMPFRDNQWSEVHTTT][0-9a-z]{2}){0,80}") {
            super::replay(&list);
        }
    }
}
