//! What both ends of every session run: an application that knows what each of its calls must be
//! answered, and in which order those of the other side must arrive.

use std::collections::BTreeMap;

use bowline_core::endpoint::Endpoint;
use bowline_core::id::{PromiseId, TargetId, WaitId};
use bowline_core::session::{CloseReason, Delivery, Kind, Outcome, Outgoing, Output, Path, Ref, Session, Step};
use bowline_core::value::{PLACEHOLDER, Payload};

use super::dice::Dice;

const UNDEFINED: &str = r#"["undefined"]"#;

#[derive(Debug)]
enum Object {
    /// Counts its calls, and expects them numbered.
    Counter(u64),
    /// A function that gives its argument back.
    Echo,
    /// A stream's end that is written to, the chunks numbered; `read_by` is its other end.
    Sink { chunks: u64, read_by: Option<TargetId> },
    /// A stream's end that is read from. It has so many chunks.
    Source(u64),
}

#[derive(Debug)]
struct Wait {
    expects: String,
    /// Held until the wait has ended.
    result: Option<Ref>,
}

/// A stream that is being sent.
#[derive(Debug)]
struct Pump {
    into: Ref,
    sent: u64,
    chunks: u64,
}

#[derive(Debug, Default)]
pub(crate) struct App {
    objects: BTreeMap<TargetId, Object>,
    waits: BTreeMap<WaitId, Wait>,
    /// Calls and promises that are settled later, and with what.
    owed: Vec<(PromiseId, u64)>,
    pumps: Vec<Pump>,
    /// Calls that wait for the end of a stream they read.
    readers: BTreeMap<TargetId, PromiseId>,
    /// Numbered calls that were made, and those of the other side that arrived.
    pub(crate) made: u64,
    pub(crate) taken: u64,
    /// What was not as it must be.
    pub(crate) fault: Option<String>,
    pub(crate) closed: Option<CloseReason>,
}

fn hole(of: Ref) -> Payload<Outgoing> {
    Payload::capability(Outgoing { of, path: Path::new() })
}

fn numbers(text: &str) -> Payload<Outgoing> {
    Payload::plain(format!("[{text}]"))
}

fn named(name: &str) -> [Step; 1] {
    [Step::Name(name.into())]
}

impl App {
    /// Does one of the things that applications do.
    pub(crate) fn act(&mut self, endpoint: &mut Endpoint, dice: &mut Dice) {
        let session = endpoint.session_mut();
        if session.is_closed() {
            return;
        }
        let number = 1 + dice.below(4) as u64;
        match dice.below(12) {
            0..=3 => {
                self.made += 1;
                let args = numbers(&self.made.to_string());
                let result = session.call(session.main(), &named("next"), Some(args));
                if dice.one_in(6) {
                    return session.release(result);
                }
                self.expect(session, result, self.made.to_string());
            }
            4 => {
                // Calls on a result that is not there yet.
                let counter = session.call(session.main(), &named("make"), Some(numbers("")));
                for call in 1..=number {
                    let result = session.call(counter, &named("count"), Some(numbers(&call.to_string())));
                    self.expect(session, result, call.to_string());
                }
                session.release(counter);
            }
            5 => self.pass(session, "ask", Object::Echo, Kind::Object, number),
            6 => {
                let result = session.call(session.main(), &named("later"), Some(numbers(&number.to_string())));
                self.expect(session, result, number.to_string());
            }
            7 => self.pass(session, "take", Object::Source(number), Kind::Readable, number),
            8 => self.pass(session, "fill", Object::Sink { chunks: 0, read_by: None }, Kind::Writable, number),
            _ => self.go_on(session, dice),
        }
    }

    /// Continues what was begun: settles something, sends a chunk.
    fn go_on(&mut self, session: &mut Session, dice: &mut Dice) {
        if !self.owed.is_empty() {
            let (call, number) = self.owed.remove(dice.below(self.owed.len()));
            session.settle(call, Ok(Payload::plain(number.to_string())));
        }
        if !self.pumps.is_empty() {
            let at = dice.below(self.pumps.len());
            self.pump(session, at);
        }
    }

    /// Ends everything that was begun.
    pub(crate) fn finish(&mut self, endpoint: &mut Endpoint) {
        for (call, number) in std::mem::take(&mut self.owed) {
            endpoint.session_mut().settle(call, Ok(Payload::plain(number.to_string())));
        }
        while !self.pumps.is_empty() {
            self.pump(endpoint.session_mut(), 0);
        }
    }

    fn pump(&mut self, session: &mut Session, at: usize) {
        let Pump { into, sent, chunks } = &mut self.pumps[at];
        let into = *into;
        if *sent < *chunks {
            *sent += 1;
            let chunk = numbers(&sent.to_string());
            return self.write(session, into, "write", chunk);
        }
        self.pumps.remove(at);
        self.write(session, into, "close", numbers(""));
        session.release(into);
    }

    fn write(&mut self, session: &mut Session, into: Ref, method: &str, args: Payload<Outgoing>) {
        let (wait, _units) = session.stream(into, method, args);
        self.waits.insert(wait, Wait { expects: UNDEFINED.to_owned(), result: None });
    }

    /// Passes a new object to the peer's `method`, which answers `number`.
    fn pass(&mut self, session: &mut Session, method: &str, object: Object, kind: Kind, number: u64) {
        let target = session.new_target(kind);
        self.objects.insert(target, object);
        let of = Outgoing { of: Ref::Target(target), path: Path::new() };
        let args =
            Payload::new(format!("[{PLACEHOLDER},{number}]"), vec![of]).expect("as many placeholders as references");
        let result = session.call(session.main(), &named(method), Some(args));
        session.release(Ref::Target(target));
        self.expect(session, result, number.to_string());
    }

    fn expect(&mut self, session: &mut Session, result: Ref, expects: String) {
        let wait = session.pull(result, &[]);
        self.waits.insert(wait, Wait { expects, result: Some(result) });
    }

    /// Does what the session asks for, until it asks for nothing more.
    pub(crate) fn react(&mut self, endpoint: &mut Endpoint) {
        let session = endpoint.session_mut();
        while let Some(output) = session.poll_output() {
            match output {
                Output::Deliver(delivery) => self.deliver(session, delivery),
                Output::Settled { wait, outcome } => self.settled(session, wait, outcome),
                Output::Pipe { sink, source } => {
                    self.objects.insert(sink, Object::Sink { chunks: 0, read_by: Some(source) });
                    self.objects.insert(source, Object::Source(0));
                }
                Output::Pump { source, into } => match self.objects.get(&source) {
                    Some(&Object::Source(chunks)) => {
                        self.pumps.push(Pump { into: Ref::Import(into), sent: 0, chunks });
                    }
                    other => self.fault = Some(format!("a pump of {other:?}")),
                },
                Output::DropTarget(target) => drop(self.objects.remove(&target)),
                Output::Cancel(_) => {}
                Output::Closed(closed) => {
                    self.owed.clear();
                    self.pumps.clear();
                    self.readers.clear();
                    self.closed = Some(closed);
                }
            }
        }
    }

    fn deliver(&mut self, session: &mut Session, delivery: Delivery) {
        let Delivery { call, target, path, args, .. } = delivery;
        let name = path.first().map(Step::to_string).unwrap_or_default();
        let args = args.unwrap_or_else(|| Payload::plain("[]"));
        let number: u64 =
            args.text().trim_matches(['[', ']']).rsplit(',').next().unwrap_or_default().parse().unwrap_or(0);
        let is_main = target == Session::MAIN;
        match (self.objects.get_mut(&target), name.as_str()) {
            (None, "next") if is_main => {
                self.taken += 1;
                if number != self.taken {
                    self.fault = Some(format!("I1, I2: call {number} arrives as number {}", self.taken));
                }
                if number.is_multiple_of(4) {
                    return self.owed.push((call, number));
                }
                session.settle(call, Ok(Payload::plain(number.to_string())));
            }
            (None, "make") if is_main => {
                let target = session.new_target(Kind::Object);
                self.objects.insert(target, Object::Counter(0));
                session.settle(call, Ok(hole(Ref::Target(target))));
                session.release(Ref::Target(target));
            }
            (None, "ask") if is_main => {
                let answer = session.call(args.refs()[0], &[], Some(numbers(&number.to_string())));
                session.settle(call, Ok(hole(answer)));
                session.release(answer);
            }
            (None, "later") if is_main => {
                let promise = session.new_promise();
                session.settle(call, Ok(hole(Ref::Promise(promise))));
                self.owed.push((promise, number));
                session.release(Ref::Promise(promise));
            }
            (None, "take") if is_main => {
                let Ref::Target(source) = args.refs()[0] else {
                    self.fault = Some(format!("{:?} is no stream", args.refs()));
                    return;
                };
                // Held until the stream has ended.
                self.readers.insert(source, call);
                return;
            }
            (None, "fill") if is_main => {
                // The pump keeps the hold.
                self.pumps.push(Pump { into: args.refs()[0], sent: 0, chunks: number });
                return session.settle(call, Ok(Payload::plain(number.to_string())));
            }
            (Some(Object::Counter(calls)), "count") => {
                *calls += 1;
                if number != *calls {
                    self.fault = Some(format!("I1, I2: call {number} of an object arrives as number {calls}"));
                }
                session.settle(call, Ok(Payload::plain(number.to_string())));
            }
            (Some(Object::Echo), "") => session.settle(call, Ok(Payload::plain(number.to_string()))),
            (Some(Object::Sink { chunks, .. }), "write") => {
                *chunks += 1;
                if number != *chunks {
                    self.fault = Some(format!("I1, I2: chunk {number} arrives as number {chunks}"));
                }
                session.settle(call, Ok(Payload::plain(UNDEFINED)));
            }
            (Some(Object::Sink { chunks, read_by }), "close") => {
                let (chunks, read_by) = (*chunks, *read_by);
                session.settle(call, Ok(Payload::plain(UNDEFINED)));
                if let Some((source, reader)) = read_by.and_then(|source| self.readers.remove_entry(&source)) {
                    session.settle(reader, Ok(Payload::plain(chunks.to_string())));
                    session.release(Ref::Target(source));
                }
            }
            (object, name) => self.fault = Some(format!("`{name}` is called on {object:?}")),
        }
        for of in args.into_refs() {
            session.release(of);
        }
    }

    fn settled(&mut self, session: &mut Session, wait: WaitId, outcome: Outcome) {
        let Some(Wait { expects, result }) = self.waits.remove(&wait) else {
            self.fault = Some("I12: a wait ends twice".to_owned());
            return;
        };
        match outcome {
            Outcome::Resolved(value) if value.text() == expects => {
                value.into_refs().into_iter().for_each(|of| session.release(of));
            }
            // Whether the session may be lost is asked elsewhere.
            Outcome::Lost(_) => {}
            other => self.fault = Some(format!("I12: {expects} was expected, and it is {other:?}")),
        }
        result.into_iter().for_each(|result| session.release(result));
    }

    /// Nothing is waited for.
    pub(crate) fn is_answered(&self) -> bool {
        self.waits.is_empty()
    }

    /// Nothing is under way, and no object is left.
    pub(crate) fn is_idle(&self) -> bool {
        self.objects.is_empty() && self.owed.is_empty() && self.pumps.is_empty() && self.readers.is_empty()
    }
}
