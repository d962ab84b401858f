//! A capability keeps its position in any data: through paths, promises in arguments, maps,
//! snapshots, recipes, and a second session. Each is next to its label.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use bowline_core::id::TargetId;
use bowline_core::limits::Limits;
use bowline_core::session::{Delivery, Kind, Outcome, Outgoing, Output, Path, Recipe, Ref, Session, Snapshot, Step};
use bowline_core::value::{Cap, Capability, ErrorValue, Object, Payload, Value, decode, decode_args, encode};
use proptest::collection::vec;
use proptest::prelude::*;

use super::app::path;
use super::labels::MARKERS;

#[derive(Clone, Debug)]
enum Tree {
    Text(String),
    List(Vec<Self>),
    Object(Vec<(String, Self)>),
    /// An error with properties, which contain no capabilities.
    Error(String, Vec<(String, String)>),
    /// A capability next to its label.
    Labeled,
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => prop::sample::select(&MARKERS[..]).prop_map(str::to_owned),
        2 => vec(prop::sample::select(&MARKERS[..]), 0..4).prop_map(|parts| parts.concat()),
        1 => any::<String>(),
    ]
}

fn tree() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        2 => text().prop_map(Tree::Text),
        1 => (text(), vec((text(), text()), 0..3)).prop_map(|(message, props)| Tree::Error(message, props)),
        2 => Just(Tree::Labeled),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![vec(inner.clone(), 0..4).prop_map(Tree::List), vec((text(), inner), 0..4).prop_map(Tree::Object),]
    })
}

/// Returns a list with at least two capabilities.
fn list() -> impl Strategy<Value = Tree> {
    vec(tree(), 0..4).prop_map(|mut items| {
        items.insert(items.len() / 2, Tree::Labeled);
        items.push(Tree::Labeled);
        Tree::List(items)
    })
}

/// A capability that is the target with this number.
#[derive(Debug)]
struct Numbered(i64);

impl Capability for Numbered {}

/// The value written from a tree.
struct Written {
    value: Value,
    /// The path of each capability, in the order of their labels, which start at 1.
    paths: Vec<Path>,
}

impl Written {
    fn new(tree: &Tree) -> Self {
        let mut paths = Vec::new();
        let value = value_of(tree, &Path::new(), &mut paths);
        Self { value, paths }
    }
}

fn below(at: &Path, step: Step) -> Path {
    at.iter().cloned().chain([step]).collect()
}

fn value_of(tree: &Tree, at: &Path, paths: &mut Vec<Path>) -> Value {
    match tree {
        Tree::Text(text) => text.as_str().into(),
        Tree::List(items) => {
            let items = (0..).zip(items).map(|(n, item)| value_of(item, &below(at, Step::Index(n)), paths));
            Value::Array(items.collect())
        }
        Tree::Object(members) => {
            // Of several members with the same name, only the last counts. So each name is made
            // unique.
            let members = members.iter().enumerate().map(|(n, (name, member))| {
                let name = format!("{name}{n}");
                let member = value_of(member, &below(at, Step::Name(name.as_str().into())), paths);
                (name, member)
            });
            Value::Object(members.collect())
        }
        Tree::Error(message, props) => {
            let error = ErrorValue::new("E", message.as_str());
            let props = props.iter().enumerate();
            props.fold(error, |error, (n, (name, text))| error.with_prop(format!("{name}{n}"), text.as_str())).into()
        }
        Tree::Labeled => {
            paths.push(below(at, Step::Name("cap".into())));
            let label = paths.len() as i64;
            Object::from([("label", Value::from(label as f64)), ("cap", Value::Cap(Cap::new(Numbered(label))))]).into()
        }
    }
}

/// Returns a payload with a capability in place of each reference, with the number of its target or
/// export.
fn numbered(payload: Payload<Ref>) -> Payload<Cap> {
    payload.map_refs(|of| {
        Cap::new(Numbered(match of {
            Ref::Target(target) => target.0,
            Ref::Import(import) => -import.0,
            Ref::Promise(_) => panic!("{of:?}"),
        }))
    })
}

/// Returns the only argument of a call.
fn argument(call: &Delivery) -> Value {
    decode_args(numbered(call.args.clone().unwrap())).unwrap()
}

/// Asserts that each capability is next to its own label. Returns their number.
fn count_labeled(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.iter().map(count_labeled).sum(),
        Value::Object(object) => match (object.get("label"), object.get("cap")) {
            (Some(Value::Number(label)), Some(Value::Cap(cap))) => {
                let Numbered(number) = cap.downcast_ref().unwrap();
                assert_eq!(*number as f64, *label, "a capability has moved");
                1
            }
            _ => object.iter().map(|(_, member)| count_labeled(member)).sum(),
        },
        Value::Cap(_) => panic!("a capability without a label"),
        _ => 0,
    }
}

/// Returns the data without capabilities.
fn without_caps(value: &Value) -> Value {
    match value {
        Value::Array(items) => Value::Array(items.iter().map(without_caps).collect()),
        Value::Object(object) => {
            let members = object.iter().map(|(name, member)| (name.to_owned(), without_caps(member)));
            Value::Object(members.collect())
        }
        Value::Cap(_) => Value::Null,
        other => other.clone(),
    }
}

#[track_caller]
fn assert_in_place(written: &Written, arrived: &Value) {
    assert_eq!(count_labeled(arrived), written.paths.len());
    assert_eq!(without_caps(arrived), without_caps(&written.value));
}

fn deliveries(session: &mut Session) -> Vec<Delivery> {
    let outputs = std::iter::from_fn(|| session.poll_output());
    outputs.filter_map(|output| if let Output::Deliver(delivery) = output { Some(delivery) } else { None }).collect()
}

/// Returns a payload of `value` with a new target for each capability, of the same number.
fn with_targets(session: &mut Session, value: &Value) -> Payload<Outgoing> {
    encode(value).unwrap().map_refs(|cap| {
        let target = session.new_target(Kind::Object);
        let Numbered(number) = cap.downcast_ref().unwrap();
        assert_eq!(target, TargetId(*number));
        Outgoing { of: Ref::Target(target), path: Path::new() }
    })
}

/// A server whose peer is the test, and one of whose calls resulted in a value.
struct Server(Session);

impl Server {
    fn with_result(written: &Written) -> Self {
        let mut session = Session::new(Limits::default(), true);
        let payload = with_targets(&mut session, &written.value);
        session.handle_message(r#"["push",["pipeline",0,["get"],[]]]"#);
        let [get] = &deliveries(&mut session)[..] else { panic!("one call") };
        session.settle(get.call, Ok(payload));
        Self(session)
    }

    fn hear(&mut self, message: &str) -> Vec<Delivery> {
        self.0.handle_message(message);
        assert_eq!(self.0.closed(), None, "{message}");
        deliveries(&mut self.0)
    }

    /// Asserts that a call along the path of each capability reaches it.
    fn assert_paths(&mut self, written: &Written) {
        for (label, at) in (1..).zip(&written.paths) {
            let steps: Vec<serde_json::Value> = at
                .iter()
                .map(|step| match step {
                    Step::Index(index) => (*index).into(),
                    Step::Name(name) => name.to_string().into(),
                })
                .chain(["f".into()])
                .collect();
            let message = serde_json::json!(["push", ["pipeline", 1, steps, []]]).to_string();
            let [called] = &self.hear(&message)[..] else { panic!("{message}") };
            assert_eq!((called.target, &called.path), (TargetId(label), &path("f")), "{message}");
        }
    }
}

/// A client and a server.
struct Pair {
    client: Session,
    server: Session,
}

impl Pair {
    fn new() -> Self {
        let session = || Session::new(Limits::default(), true);
        Self { client: session(), server: session() }
    }

    /// Exchanges all messages, and returns the deliveries of the server.
    fn carry(&mut self) -> Vec<Delivery> {
        while let Some(message) = self.client.poll_transmit() {
            self.server.handle_message(&message);
        }
        let delivered = deliveries(&mut self.server);
        while let Some(message) = self.server.poll_transmit() {
            self.client.handle_message(&message);
        }
        assert_eq!((self.client.closed(), self.server.closed()), (None, None));
        delivered
    }

    /// Returns the result of a client's call that the server answers with `value`, in which
    /// capabilities are new targets.
    fn result(&mut self, value: &Value) -> Payload<Ref> {
        let call = self.client.call(self.client.main(), &path("get"), Some(Payload::plain("[]")));
        self.client.pull(call, &[]);
        let [get] = &self.carry()[..] else { panic!("one call") };
        let payload = with_targets(&mut self.server, value);
        self.server.settle(get.call, Ok(payload));
        self.carry();
        match self.client.poll_output() {
            Some(Output::Settled { outcome: Outcome::Resolved(payload), .. }) => payload,
            other => panic!("{other:?}"),
        }
    }

    /// Returns the target that a call on `of` reaches.
    fn called(&mut self, of: Ref) -> TargetId {
        self.client.call(of, &path("f"), Some(Payload::plain("[]")));
        let [called] = &self.carry()[..] else { panic!("one call") };
        called.target
    }
}

/// Returns a JSON string in which some characters are escaped unnecessarily.
fn spelled(text: &str, spelling: u8) -> String {
    if spelling == 0 {
        return serde_json::to_string(text).unwrap();
    }
    let mut out = String::from("\"");
    for (n, unit) in text.encode_utf16().enumerate() {
        match unit {
            // A lone surrogate reads as this character.
            0xfffd => out.push_str("\\ud800"),
            0x20..0x7f if spelling == 2 && n % 2 == 0 && unit != 0x22 && unit != 0x5c => {
                out.push(char::from(unit as u8))
            }
            _ => out.push_str(&format!("\\u{unit:04x}")),
        }
    }
    out + "\""
}

/// Returns an expression of a peer for `value`, whose capabilities are exported under their labels.
fn expression(value: &Value, spelling: u8) -> String {
    let list = |items: Vec<String>| items.join(if spelling == 2 { " ,\t" } else { "," });
    match value {
        Value::Array(items) => format!("[[{}]]", list(items.iter().map(|item| expression(item, spelling)).collect())),
        Value::Object(object) => {
            let member = |(name, member): (&str, &Value)| {
                format!("{}:{}", spelled(name, spelling), expression(member, spelling))
            };
            format!("{{{}}}", list(object.iter().map(member).collect()))
        }
        Value::String(text) => spelled(text, spelling),
        Value::Cap(cap) => {
            let Numbered(number) = cap.downcast_ref().unwrap();
            format!("[ {},{}]", spelled("export", spelling), -number)
        }
        other => encode(other).unwrap().into_text().into(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn paths_lead_to_the_named_capabilities(tree in tree()) {
        let written = Written::new(&tree);
        let mut server = Server::with_result(&written);
        server.assert_paths(&written);
        let stored = serde_json::to_string(&server.0.snapshot().unwrap()).unwrap();
        let read: Snapshot = serde_json::from_str(&stored).unwrap();
        let restored = Session::restore(read, Limits::default()).unwrap();
        prop_assert_eq!(&restored, &server.0);
        Server(restored).assert_paths(&written);
    }

    #[test]
    fn arguments_arrive_in_any_spelling(tree in list(), spelling in 0..3_u8) {
        let written = Written::new(&tree);
        let mut session = Session::new(Limits::default(), true);
        let args = expression(&written.value, spelling);
        session.handle_message(&format!(r#"["push",["pipeline",0,["f"],[{args}]]]"#));
        prop_assert_eq!(session.closed(), None);
        let [call] = &deliveries(&mut session)[..] else { panic!("one call") };
        assert_in_place(&written, &argument(call));
        let kept = session.snapshot().unwrap();
        prop_assert_eq!(Session::restore(kept, Limits::default()).unwrap(), session);
    }

    #[test]
    fn promise_argument_keeps_its_capabilities(tree in list(), beside in text()) {
        let written = Written::new(&tree);
        let mut server = Server::with_result(&written);
        let beside = serde_json::to_string(&beside).unwrap();
        let message = format!(r#"["push",["pipeline",0,["f"],[[[[[{beside}]],["pipeline",1],{beside},["pipeline",1]]]]]]"#);
        let [call] = &server.hear(&message)[..] else { panic!("one call") };
        let args = argument(call);
        assert_in_place(&written, args.at(1).unwrap());
        assert_in_place(&written, args.at(3).unwrap());
        prop_assert_eq!(args.at(0).unwrap().at(0), args.at(2));
    }

    #[test]
    fn mapped_list_keeps_the_capabilities_of_each_element(tree in list()) {
        let written = Written::new(&tree);
        let mut server = Server::with_result(&written);
        let calls = server.hear(r#"["push",["remap",1,[],[["import",0]],[["pipeline",-1,["f"],[["pipeline",0]]]]]]"#);
        let elements: Vec<Value> = calls.iter().map(argument).collect();
        assert_in_place(&written, &Value::Array(elements));
    }

    #[test]
    fn recipe_keeps_its_capabilities(tree in list()) {
        let written = Written::new(&tree);
        let mut session = Session::new(Limits::default(), true);
        let params = encode(&written.value).unwrap().map_refs(|_| Ref::Target(session.new_target(Kind::Object)));
        let made = session.new_target(Kind::Object);
        session.set_recipe(made, Recipe { restorer: "r".into(), version: 1, params });
        let stored = serde_json::to_string(&session.snapshot().unwrap()).unwrap();
        let restored = Session::restore(serde_json::from_str(&stored).unwrap(), Limits::default()).unwrap();
        let params = restored.recipe(made).unwrap().params.clone();
        assert_in_place(&written, &decode(numbered(params)).unwrap());
    }

    #[test]
    fn capabilities_are_forwarded_through_a_second_session(tree in list()) {
        let written = Written::new(&tree);
        let mut first = Pair::new();
        let got = first.result(&written.value);
        assert_in_place(&written, &decode(numbered(got.clone())).unwrap());
        for (label, &of) in (1..).zip(got.refs()) {
            prop_assert_eq!(first.called(of), TargetId(label));
        }
        // A gateway has an object of its own for each.
        let mut second = Pair::new();
        let relayed: Value = decode(numbered(got)).unwrap();
        let passed = second.result(&relayed);
        assert_in_place(&written, &decode(numbered(passed.clone())).unwrap());
        for (label, &of) in (1..).zip(passed.refs()) {
            prop_assert_eq!(second.called(of), TargetId(label));
        }
    }
}
