//! Two sessions that send each other values in which every capability is next to a label, among
//! data that resembles capabilities. Whatever they do, each value arrives as it was sent, and each
//! call reaches the object with its label.
//!
//! The fuzz target `session_labels` runs `replay` on its inputs; the tests here run it on the
//! corpus and on random programs.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, VecDeque};

use bowline_core::id::{PromiseId, TargetId, WaitId};
use bowline_core::limits::Limits;
use bowline_core::session::{
    Delivery, Kind, Outcome, Outgoing, Output, Path, Recipe, Ref, Session, SessionStats, Snapshot, Step,
};
use bowline_core::value::{
    Cap, Capability, ErrorValue, Object, PLACEHOLDER, Payload, Value, decode, decode_args, encode, encode_args,
};

/// Data that resembles a capability or its spelling, in various positions.
pub(crate) const MARKERS: [&str; 18] = [
    "@",
    "[\"@\"]",
    "[[\"@\"]]",
    "\\u0040",
    "\u{1a}",
    "\u{1}",
    "\\u001a",
    "\\u0001",
    "\"",
    "\\",
    "\u{fffd}",
    "$",
    "",
    "[",
    "]",
    "\u{0}\u{1f}",
    "\u{7f}",
    "export",
];

/// The maximum number of operations in a program, and of values in a value.
const OPERATIONS_MAX: usize = 150;
const NODES_MAX: usize = 500;

/// A mapper that calls a capability with the label next to it.
const PROBE_EACH: &str = r#"[["pipeline",0,["cap","probe"],[["pipeline",0,["label"]]]]]"#;

/// A capability in a value that is written or was read.
#[derive(Debug)]
struct Of(Ref);

impl Capability for Of {}

/// The result of a call that returns its argument.
struct Echoed {
    of: Ref,
    /// The argument, with labels in place of capabilities.
    value: Value,
    nodes: usize,
}

/// One side: its objects, what it holds, and messages that have not arrived.
struct Side {
    session: Session,
    labels: BTreeMap<TargetId, u32>,
    /// References whose label is known.
    held: Vec<(Ref, u32)>,
    echoed: Vec<Echoed>,
    /// Calls to answer, with their answers.
    owed: Vec<(PromiseId, Value)>,
    waits: BTreeMap<WaitId, Value>,
    recipes: BTreeMap<TargetId, Value>,
    arriving: VecDeque<String>,
    /// The numbers of labeled calls that were made and received.
    probes: [usize; 2],
}

/// The bytes of a program, with zeros at its end.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn next(&mut self) -> usize {
        let Some((&byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        byte.into()
    }
}

/// Runs the program in `data`.
pub(crate) fn replay(data: &[u8]) {
    let mut sides = [Side::new(), Side::new()];
    let mut label = 0;
    let mut bytes = Bytes(data);
    for _ in 0..OPERATIONS_MAX {
        if bytes.0.is_empty() {
            break;
        }
        let what = bytes.next();
        let side = &mut sides[what % 2];
        if what / 2 % 2 == 0 {
            side.take();
        } else {
            side.act(what / 4, &mut bytes, &mut label);
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
    sides.iter_mut().for_each(Side::store);
    loop {
        exchange(sides);
        let mut is_done = true;
        for side in &mut *sides {
            while side.take() || side.answer(0) {
                is_done = false;
            }
            if is_done {
                is_done = side.let_go();
            }
        }
        if is_done {
            break;
        }
    }
    let [made, arrived] = [0, 1].map(|way| sides.iter().map(|side| side.probes[way]).sum::<usize>());
    assert_eq!(arrived, made, "a call was lost");
    for side in sides {
        assert_eq!(side.waits, BTreeMap::new(), "a wait never ended");
        assert_eq!(side.session.stats(), SessionStats { imports: 1, exports: 1 }, "{:#?}", side.session);
        assert!(side.session.is_idle(), "{:#?}", side.session);
    }
}

impl Side {
    fn new() -> Self {
        Self {
            session: Session::new(Limits::default(), true),
            labels: BTreeMap::new(),
            held: Vec::new(),
            echoed: Vec::new(),
            owed: Vec::new(),
            waits: BTreeMap::new(),
            recipes: BTreeMap::new(),
            arriving: VecDeque::new(),
            probes: [0; 2],
        }
    }

    /// Handles one message, if there is one. Returns whether there was.
    fn take(&mut self) -> bool {
        let Some(text) = self.arriving.pop_front() else { return false };
        self.session.handle_message(&text);
        self.react();
        true
    }

    fn act(&mut self, what: usize, bytes: &mut Bytes<'_>, label: &mut u32) {
        match what % 10 {
            0 | 1 => self.create(label),
            2..=4 => self.echo(bytes),
            5 => self.probe_result(bytes),
            6 => self.map_result(bytes),
            7 => drop(self.answer(bytes.next())),
            8 => match bytes.next() % 3 {
                0 => self.set_recipe(bytes),
                1 => self.pull(bytes),
                _ => self.release(bytes),
            },
            _ => self.store(),
        }
    }

    /// Creates an object with a label of its own.
    fn create(&mut self, label: &mut u32) {
        *label += 1;
        let target = self.session.new_target(Kind::Object);
        self.labels.insert(target, *label);
        self.held.push((Ref::Target(target), *label));
    }

    /// Calls the peer with a value that it is to return.
    fn echo(&mut self, bytes: &mut Bytes<'_>) {
        let mut nodes = 0;
        let (sent, value) = self.value(bytes, &mut nodes, 0);
        let args = outgoing(encode_args(&(sent,)).unwrap());
        let of = self.session.call(self.session.main(), &steps("echo"), Some(args));
        self.echoed.push(Echoed { of, value, nodes });
    }

    /// Returns a value to send, and the same value with labels in place of capabilities.
    fn value(&self, bytes: &mut Bytes<'_>, nodes: &mut usize, depth: usize) -> (Value, Value) {
        *nodes += 1;
        let what = bytes.next();
        let both = |value: Value| (value.clone(), value);
        match what % 8 {
            0 | 1 => both(text(what / 8, bytes).into()),
            2 if depth < 6 => {
                let items = (0..what / 8 % 5).map(|_| self.value(bytes, nodes, depth + 1));
                let (sent, value) = items.unzip();
                (Value::Array(sent), Value::Array(value))
            }
            3 if depth < 6 => {
                let (mut sent, mut value) = (Object::new(), Object::new());
                for n in 0..what / 8 % 4 {
                    let name = format!("{}{n}", text(bytes.next(), bytes));
                    let member = self.value(bytes, nodes, depth + 1);
                    sent.insert(name.clone(), member.0);
                    value.insert(name, member.1);
                }
                (sent.into(), value.into())
            }
            4 => {
                let error = ErrorValue::new("E", text(what / 8, bytes));
                both(error.with_prop("note", Value::Array(vec![text(bytes.next(), bytes).into()])).into())
            }
            // An earlier result, which may not have arrived.
            5 if !self.echoed.is_empty() => {
                let echoed = &self.echoed[what / 8 % self.echoed.len()];
                if *nodes + echoed.nodes > NODES_MAX {
                    return both(Value::Null);
                }
                *nodes += echoed.nodes;
                (Value::Cap(Cap::new(Of(echoed.of))), echoed.value.clone())
            }
            _ => match self.held.get(what / 8 % self.held.len().max(1)) {
                None => both(Value::Null),
                Some(&(of, label)) => (entry(label, Value::Cap(Cap::new(Of(of)))), entry(label, label.into())),
            },
        }
    }

    /// Calls a capability in a result that may not have arrived.
    fn probe_result(&mut self, bytes: &mut Bytes<'_>) {
        let Some(echoed) = self.echoed.get(bytes.next() % self.echoed.len().max(1)) else { return };
        let mut places = Vec::new();
        entries(&echoed.value, &mut Vec::new(), &mut places);
        let Some((path, label)) = places.get(bytes.next() % places.len().max(1)) else { return };
        let path: Path = path.iter().cloned().chain([Step::Name("cap".into()), Step::Name("probe".into())]).collect();
        let of = echoed.of;
        self.probe(of, &path, *label);
    }

    fn probe(&mut self, of: Ref, path: &[Step], label: u32) {
        self.probes[0] += 1;
        let result = self.session.call(of, path, Some(outgoing(encode_args(&(label,)).unwrap())));
        self.session.release(result);
    }

    /// Calls each capability in a result that is a list.
    fn map_result(&mut self, bytes: &mut Bytes<'_>) {
        let Some(echoed) = self.echoed.get(bytes.next() % self.echoed.len().max(1)) else { return };
        let Value::Array(items) = &echoed.value else { return };
        self.probes[0] += items.iter().filter(|item| label_of(item).is_some()).count();
        let result = self.session.map(echoed.of, &[], &[], PROBE_EACH.to_owned());
        self.session.release(result);
    }

    /// Sets the recipe of a local object. Its parameters contain only older objects, so that no
    /// object holds itself.
    fn set_recipe(&mut self, bytes: &mut Bytes<'_>) {
        let own = self.held.iter().filter_map(|&(of, label)| match of {
            Ref::Target(target) => Some((target, label)),
            _ => None,
        });
        let mut own: Vec<(TargetId, u32)> = own.collect();
        own.sort_unstable();
        let Some((target, _)) = own.pop() else { return };
        let older = own.into_iter().filter(|&(of, _)| of < target);
        let older = older.map(|(of, label)| (Ref::Target(of), label)).collect();
        let (sent, value) = Self { held: older, ..Self::new() }.value(bytes, &mut 0, 0);
        let params = encode(&sent).unwrap().map_refs(|cap| reference(&cap));
        params.refs().iter().for_each(|&of| self.session.retain(of));
        self.session.set_recipe(target, Recipe { restorer: "r".into(), version: 1, params });
        self.recipes.insert(target, value);
    }

    fn pull(&mut self, bytes: &mut Bytes<'_>) {
        let Some(echoed) = self.echoed.get(bytes.next() % self.echoed.len().max(1)) else { return };
        let wait = self.session.pull(echoed.of, &[]);
        self.waits.insert(wait, echoed.value.clone());
    }

    fn release(&mut self, bytes: &mut Bytes<'_>) {
        let at = bytes.next();
        if !self.held.is_empty() && at.is_multiple_of(2) {
            let (of, _) = self.held.swap_remove(at / 2 % self.held.len());
            self.session.release(of);
        } else if !self.echoed.is_empty() {
            let echoed = self.echoed.swap_remove(at / 2 % self.echoed.len());
            self.session.release(echoed.of);
        }
    }

    /// Answers a call with its argument. Returns whether there was one.
    fn answer(&mut self, at: usize) -> bool {
        if self.owed.is_empty() {
            return false;
        }
        let (call, value) = self.owed.swap_remove(at % self.owed.len());
        let result = encode(&value).unwrap();
        let refs: Vec<Ref> = result.refs().iter().map(reference).collect();
        self.session.settle(call, Ok(outgoing(result)));
        refs.into_iter().for_each(|of| self.session.release(of));
        self.react();
        true
    }

    /// Replaces the session by what its snapshot restores, and checks the recipes.
    fn store(&mut self) {
        self.react();
        let stored = serde_json::to_string(&self.session.snapshot().expect("the session is open")).expect("plain data");
        let read: Snapshot = serde_json::from_str(&stored).expect("what was written can be read");
        let restored = Session::restore(read, Limits::default()).expect("the snapshot can be restored");
        assert_eq!(restored, self.session);
        self.session = restored;
        for (&target, value) in &self.recipes {
            let params = self.session.recipe(target).expect("the object is held").params.clone();
            let read: Value = decode(params.map_refs(|of| Cap::new(Of(of)))).unwrap();
            self.assert_same(&read, value);
        }
    }

    /// Releases everything. Returns `true` if there was nothing.
    fn let_go(&mut self) -> bool {
        let held: Vec<Ref> = self.held.drain(..).map(|(of, _)| of).collect();
        let refs: Vec<Ref> = held.into_iter().chain(self.echoed.drain(..).map(|echoed| echoed.of)).collect();
        refs.iter().for_each(|&of| self.session.release(of));
        self.react();
        refs.is_empty()
    }

    fn react(&mut self) {
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Deliver(delivery) => self.deliver(delivery),
                Output::Settled { wait, outcome } => {
                    let value = self.waits.remove(&wait).expect("a wait ends once");
                    let Outcome::Resolved(payload) = outcome else { panic!("{outcome:?}") };
                    let read: Value = decode(payload.map_refs(|of| Cap::new(Of(of)))).unwrap();
                    self.receive(&read, &value);
                }
                Output::DropTarget(target) => {
                    self.labels.remove(&target).expect("an object is dropped once");
                    self.recipes.remove(&target);
                }
                Output::Closed(closed) => panic!("a session ends although both sides observe the protocol: {closed:?}"),
                Output::Cancel(_) => {}
                Output::Pump { .. } | Output::Pipe { .. } => panic!("no stream is used"),
            }
        }
    }

    fn deliver(&mut self, delivery: Delivery) {
        let args = delivery.args.expect("only methods are called").map_refs(|of| Cap::new(Of(of)));
        let arg: Value = decode_args(args).unwrap();
        if delivery.target == Session::MAIN {
            assert_eq!(delivery.path, steps("echo"));
            return self.owed.push((delivery.call, arg));
        }
        assert_eq!(delivery.path, steps("probe"));
        assert_eq!(arg, Value::from(self.labels[&delivery.target]), "a call reached another object");
        self.probes[1] += 1;
        self.session.settle(delivery.call, Ok(Payload::plain("null")));
    }

    /// Takes over the references of a value that must equal `sent`, and calls each of them.
    fn receive(&mut self, value: &Value, sent: &Value) {
        self.assert_same(value, sent);
        let mut found = Vec::new();
        entries(value, &mut Vec::new(), &mut found);
        for (path, label) in found {
            let entry = path.iter().fold(value, |value, step| match step {
                Step::Index(index) => value.at(*index as usize).unwrap(),
                Step::Name(name) => value.get(name).unwrap(),
            });
            let of = reference(entry.get("cap").unwrap().as_cap().unwrap());
            if matches!(of, Ref::Import(_)) {
                self.probe(of, &steps("probe"), label);
            }
            self.held.push((of, label));
        }
    }

    /// Asserts that the data is equal, and that local objects are where their labels are.
    fn assert_same(&self, value: &Value, sent: &Value) {
        match (value, sent) {
            (Value::Array(items), Value::Array(others)) => {
                assert_eq!(items.len(), others.len());
                items.iter().zip(others).for_each(|(item, other)| self.assert_same(item, other));
            }
            (Value::Object(object), Value::Object(other)) => {
                assert_eq!(object.len(), other.len());
                for ((name, member), (other_name, other)) in object.iter().zip(other.iter()) {
                    assert_eq!(name, other_name);
                    self.assert_same(member, other);
                }
            }
            (Value::Cap(cap), label) => match reference(cap) {
                Ref::Target(target) => assert_eq!(Value::from(self.labels[&target]), *label, "a capability moved"),
                Ref::Import(_) => assert!(matches!(label, Value::Number(_)), "a capability in the place of {label:?}"),
                Ref::Promise(_) => panic!("a promise remains in a value"),
            },
            _ => assert_eq!(value, sent),
        }
    }
}

fn text(what: usize, bytes: &mut Bytes<'_>) -> String {
    let parts = (0..what % 3 + 1).map(|_| MARKERS[bytes.next() % MARKERS.len()]);
    parts.collect()
}

/// Returns a capability with its label next to it.
fn entry(label: u32, cap: Value) -> Value {
    Object::from([("label", label.into()), ("cap", cap)]).into()
}

/// Returns the label of a value that is a capability with its label.
fn label_of(value: &Value) -> Option<u32> {
    value.get("cap")?;
    value.get("label")?.as_f64().map(|label| label as u32)
}

/// Collects the labels of the capabilities in a value, with the path to each.
fn entries(value: &Value, at: &mut Vec<Step>, found: &mut Vec<(Vec<Step>, u32)>) {
    if let Some(label) = label_of(value) {
        return found.push((at.clone(), label));
    }
    let mut below = |step, value| {
        at.push(step);
        entries(value, at, found);
        at.pop();
    };
    match value {
        Value::Array(items) => (0..).zip(items).for_each(|(n, item)| below(Step::Index(n), item)),
        Value::Object(object) => object.iter().for_each(|(name, member)| below(Step::Name(name.into()), member)),
        _ => {}
    }
}

fn reference(cap: &Cap) -> Ref {
    cap.downcast_ref::<Of>().expect("no other capability is used").0
}

fn outgoing(payload: Payload<Cap>) -> Payload<Outgoing> {
    payload.map_refs(|cap| Outgoing { of: reference(&cap), path: Path::new() })
}

fn steps(name: &str) -> Path {
    [Step::Name(name.into())].into_iter().collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    #[test]
    fn fuzz_corpus_is_handled() {
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/session_labels");
        let entries: Vec<_> = std::fs::read_dir(corpus).unwrap().collect();
        assert!(entries.len() >= 4);
        for entry in entries {
            super::replay(&std::fs::read(entry.unwrap().path()).unwrap());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(150) })]

        #[test]
        fn every_call_reaches_its_labeled_object(program in prop::collection::vec(any::<u8>(), 0..400)) {
            super::replay(&program);
        }
    }
}
