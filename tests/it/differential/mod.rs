//! Random values that pass through the official package and back, in both directions. They must return
//! unchanged, except for the differences that `tests/node/differential/allowed.md` lists.
//!
//! `BOWLINE_SEED` sets another seed; a failure names the seed and the value. `programs` compares whole sessions.

mod allowed; // the list of allowed differences
mod describe; // values as text, exact to the bit
mod generate; // random programs of messages
mod node; // the official package
mod programs; // random programs with both servers
mod texts; // texts that no encoder writes but that can be read
mod values; // random values
mod workshop; // the objects that both servers offer to programs

use bowline_core::limits::Limits;
use bowline_core::peer::SessionOptions;
use bowline_core::session::{Outcome, Output, Session};
use bowline_core::value::{Payload, Value, decode, encode};

use self::allowed::Allowed;
use self::describe::describe;
use self::node::{Made, Node, Reading};
use self::values::Random;

/// The number of values in each direction.
const VALUES: usize = 20_000;
/// An arbitrary seed.
const SEED: u64 = 20_260_727;

/// A session that receives values as results of its calls.
struct Receiver(Session, i64);

impl Receiver {
    fn new() -> Self {
        Self(Session::new(Limits::default(), false), 0)
    }

    /// Returns the value that an application gets from a peer's text, or why the session failed.
    fn receive(&mut self, text: &str) -> Result<Value, String> {
        let Self(session, calls) = self;
        *calls += 1;
        let result = session.call(session.main(), &[], None);
        session.pull(result, &[]);
        session.handle_message(&format!("[\"resolve\",{calls},{text}]"));
        session.release(result);
        while session.poll_transmit().is_some() {}
        let received = match session.poll_output() {
            Some(Output::Settled { outcome: Outcome::Resolved(payload), .. }) => {
                assert!(payload.refs().is_empty(), "values of this test contain no references");
                decode(Payload::plain(payload.into_text())).map_err(|error| error.to_string())
            }
            Some(Output::Closed(closed)) => Err(closed.message),
            other => Err(format!("{other:?}")),
        };
        if session.is_closed() {
            *self = Self::new();
        }
        received
    }
}

/// Returns the text of a value as it is sent.
fn sent(value: &Value) -> String {
    let payload = encode(value).expect("random values can be encoded");
    let message = SessionOptions::new().message_to_send(format!("[\"resolve\",1,{}]", payload.text()));
    message["[\"resolve\",1,".len()..message.len() - 1].to_owned()
}

fn seed() -> u64 {
    match std::env::var("BOWLINE_SEED") {
        Ok(seed) => seed.parse().expect("BOWLINE_SEED is a number"),
        Err(_) => SEED,
    }
}

#[test]
fn values_pass_through_the_official_package_unchanged() {
    let [mut from_rust, mut from_js, mut texts] = Allowed::tables();
    let seed = seed();
    let mut random = Random(seed);
    let ours: Vec<Value> = (0..VALUES).map(|n| random.nth_value(n)).collect();
    let odd = texts::texts(&mut random);

    let Some(node) = Node::start(&from_js.ids, &from_rust.ids) else { return };
    let mut lines: Vec<String> = ours.iter().map(|value| format!("read {}", sent(value))).collect();
    lines.extend(odd.iter().map(|(text, _)| format!("read {text}")));
    lines.push(format!("make {} {VALUES}", seed % (1 << 32)));
    let answers = node.exchange(lines);
    assert_eq!(answers.len(), 2 * VALUES + odd.len(), "some lines were not answered");
    let (about_ours, rest) = answers.split_at(VALUES);
    let (about_texts, made) = rest.split_at(odd.len());

    let mut receiver = Receiver::new();
    for (n, (value, answer)) in ours.iter().zip(about_ours).enumerate() {
        from_rust_and_back(
            &mut receiver,
            &mut from_rust,
            value,
            &read(answer),
            &format!("seed {seed}, value {n} of Rust"),
        );
    }
    for ((text, difference), answer) in odd.iter().zip(about_texts) {
        texts::compare(&mut receiver, &mut texts, text, *difference, &read(answer));
    }
    let made: Vec<Made> = made.iter().map(|answer| serde_json::from_str(answer).expect("the reply is valid")).collect();
    let back = from_js_and_back(&mut receiver, &mut from_js, &made, seed);
    let again = Node::start(&from_js.ids, &from_rust.ids).expect("node is available");
    let answers = again.exchange(back);
    for (n, (made, answer)) in made.iter().zip(&answers).enumerate() {
        let Reading::Read { is, .. } = read(answer) else { panic!("seed {seed}, value {n} of JavaScript: {answer}") };
        assert_eq!(is, made.returns, "seed {seed}, value {n} of JavaScript came back changed: {}", made.wire);
    }
    from_rust.check("of values of Rust");
    from_js.check("of values of JavaScript");
    texts.check("of texts");
}

fn read(answer: &str) -> Reading {
    serde_json::from_str(answer).expect("the reply is valid")
}

fn from_rust_and_back(receiver: &mut Receiver, allowed: &mut Allowed, value: &Value, answer: &Reading, what: &str) {
    let Reading::Read { is, wire } = answer else { panic!("{what} is refused: {answer:?}\n{}", sent(value)) };
    let expected = describe(value, &allowed.ids);
    assert_eq!(*is, expected, "{what} arrives changed: {}", sent(value));
    let back = receiver.receive(wire).unwrap_or_else(|error| panic!("{what} does not come back: {error}\n{wire}"));
    // JavaScript orders properties on the way back, too.
    let order = ["error-property-order", "integer-names-first"];
    assert_eq!(describe(&back, &order), describe_in_order(value, allowed, &order), "{what} comes back changed: {wire}");
    for id in allowed.unmet() {
        if describe(value, &allowed.without(id)) != expected {
            allowed.met(id);
        }
    }
}

fn describe_in_order(value: &Value, allowed: &Allowed, order: &[&str]) -> String {
    let all: Vec<&str> = allowed.ids.iter().chain(order).copied().collect();
    describe(value, &all)
}

/// Checks how values of JavaScript arrive, and returns the lines that send them back.
fn from_js_and_back(receiver: &mut Receiver, allowed: &mut Allowed, made: &[Made], seed: u64) -> Vec<String> {
    let mut lines = Vec::with_capacity(made.len());
    for (n, made) in made.iter().enumerate() {
        let what = format!("seed {seed}, value {n} of JavaScript");
        let arrived =
            receiver.receive(&made.wire).unwrap_or_else(|error| panic!("{what} is refused: {error}\n{}", made.wire));
        let order: &[&str] =
            if allowed.ids.contains(&"error-property-order") { &["error-property-order"] } else { &[] };
        assert_eq!(describe(&arrived, order), made.arrives, "{what} arrives changed: {}", made.wire);
        made.met.iter().for_each(|id| allowed.met(id));
        lines.push(format!("read {}", sent(&arrived)));
    }
    lines
}
