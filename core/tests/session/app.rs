//! A small application that uses the commands of a session directly, as the peer layer does, but
//! without tasks.

use std::collections::BTreeMap;

use bowline_core::id::{PromiseId, TargetId, WaitId};
use bowline_core::session::{
    CloseReason, Delivery, Kind, Outcome, Outgoing, Output, Path, Recipe, Ref, Revived, Session, SessionStats,
    Snapshot, Step,
};
use bowline_core::value::{PLACEHOLDER, Payload};

/// One end of a session and its objects.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) session: Session,
    objects: BTreeMap<TargetId, Object>,
    /// Calls of `slow`, and promises of `later`, that `finish` settles.
    pub(crate) unfinished: Vec<PromiseId>,
    /// References kept by `take`.
    kept: Vec<Ref>,
    /// The outcome of each wait: text, with a leading `!` for a rejection.
    pub(crate) settled: BTreeMap<WaitId, String>,
    /// References received in the outcomes of waits.
    pub(crate) received: Vec<Ref>,
    pub(crate) cancelled: Vec<PromiseId>,
    /// The peer's ends of streams that were sent.
    pub(crate) pumps: Vec<Ref>,
    /// Methods that were called, with their arguments.
    pub(crate) entered: Vec<String>,
    pub(crate) closed: Option<CloseReason>,
    /// Counters have a recipe: their initial number, and the references that `take` has kept.
    pub(crate) is_durable: bool,
    /// Calls that another process may have run are run again.
    pub(crate) runs_again: bool,
    /// The session is arbitrary, so its targets may be unknown.
    pub(crate) ignores_unknown_targets: bool,
}

#[derive(Clone, Debug)]
enum Object {
    Main,
    Counter(i64),
    /// A function that returns its argument plus this.
    Adder(i64),
    /// Accepts chunks when `finish` is called.
    Sink,
    /// Yields what a test writes to it.
    Source,
    /// An object that could not be restored.
    Lost,
}

pub(crate) fn hole(of: Ref) -> Payload<Outgoing> {
    Payload::capability(Outgoing { of, path: Path::new() })
}

/// Returns a payload in which each `$` in `text` is a placeholder.
pub(crate) fn payload(text: &str, refs: &[Ref]) -> Payload<Outgoing> {
    let refs = refs.iter().map(|&of| Outgoing { of, path: Path::new() }).collect();
    Payload::new(text.replace('$', PLACEHOLDER), refs).expect("as many placeholders as references")
}

pub(crate) fn path(dotted: &str) -> Path {
    let steps = dotted.split('.').filter(|step| !step.is_empty());
    steps.map(|step| step.parse().map_or_else(|_| Step::Name(step.into()), Step::Index)).collect()
}

/// Asserts that a session equals what its snapshot restores, to the byte. Skips large sessions.
#[track_caller]
pub(crate) fn assert_survives(session: &Session) {
    let SessionStats { imports, exports } = session.stats();
    if imports + exports > 24 || session.has_work() {
        return;
    }
    let Some(snapshot) = session.snapshot() else { return };
    let bytes = serde_json::to_vec(&snapshot).expect("snapshots serialize");
    let read: Snapshot = serde_json::from_slice(&bytes).expect("what was written can be read");
    let restored = Session::restore(read, session.limits().clone()).expect("the snapshot can be restored");
    assert_eq!(restored, *session);
    let again = restored.snapshot().map(|snapshot| serde_json::to_vec(&snapshot).expect("snapshots serialize"));
    assert_eq!(again, Some(bytes), "equal sessions have equal bytes");
}

impl App {
    pub(crate) fn new(session: Session) -> Self {
        Self {
            session,
            objects: BTreeMap::from([(Session::MAIN, Object::Main)]),
            unfinished: Vec::new(),
            kept: Vec::new(),
            settled: BTreeMap::new(),
            received: Vec::new(),
            cancelled: Vec::new(),
            pumps: Vec::new(),
            entered: Vec::new(),
            closed: None,
            is_durable: false,
            runs_again: false,
            ignores_unknown_targets: false,
        }
    }

    /// Creates the application of another process, for a session that was revived there.
    pub(crate) fn revived(session: Session, revived: &Revived) -> Self {
        let mut app = Self { is_durable: true, ..Self::new(session) };
        for &target in revived.targets.iter().filter(|&&target| target != Session::MAIN) {
            let object = match app.session.recipe(target) {
                Some(recipe) => Object::Counter(number(&recipe.params, 0)),
                None => Object::Lost,
            };
            app.objects.insert(target, object);
        }
        app
    }

    /// Creates a local function, held by the caller.
    pub(crate) fn adder(&mut self, n: i64) -> Ref {
        self.add(Object::Adder(n))
    }

    /// Creates a local sink, held by the caller.
    pub(crate) fn sink(&mut self) -> Ref {
        self.add(Object::Sink)
    }

    /// Returns the references that `writeTo` has received.
    pub(crate) fn take_kept(&mut self) -> Vec<Ref> {
        std::mem::take(&mut self.kept)
    }

    /// Returns the number of objects other than the main one.
    pub(crate) fn objects(&self) -> usize {
        self.objects.len() - usize::from(self.objects.contains_key(&Session::MAIN))
    }

    /// Performs the outputs of the session until there are none.
    pub(crate) fn react(&mut self) {
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Deliver(delivery) => self.deliver(delivery),
                Output::Settled { wait, outcome } => self.end_wait(wait, outcome),
                Output::DropTarget(target) => drop(self.objects.remove(&target)),
                Output::Cancel(call) => self.cancelled.push(call),
                Output::Pipe { sink, source } => {
                    self.objects.insert(sink, Object::Sink);
                    self.objects.insert(source, Object::Source);
                }
                Output::Pump { into, .. } => self.pumps.push(Ref::Import(into)),
                Output::Closed(closed) => self.closed = Some(closed),
            }
        }
        if !self.ignores_unknown_targets {
            assert_survives(&self.session);
        }
    }

    /// Settles the oldest unfinished call or promise.
    pub(crate) fn finish(&mut self, text: &str) {
        let call = self.unfinished.remove(0);
        self.session.settle(call, Ok(Payload::plain(text)));
        self.react();
    }

    /// Settles a call with `text`, in which `$` is a new counter.
    pub(crate) fn finish_with_counter(&mut self, n: i64, text: &str) {
        let call = self.unfinished.remove(0);
        self.settle_with_new(call, Object::Counter(n), text);
        self.react();
    }

    pub(crate) fn release_received(&mut self) {
        for of in std::mem::take(&mut self.received) {
            self.session.release(of);
        }
        self.react();
    }

    fn add(&mut self, object: Object) -> Ref {
        let kind = match object {
            Object::Sink => Kind::Writable,
            Object::Source => Kind::Readable,
            _ => Kind::Object,
        };
        let target = self.session.new_target(kind);
        if let (Object::Counter(n), true) = (&object, self.is_durable) {
            self.kept.iter().for_each(|&of| self.session.retain(of));
            let holes = vec![PLACEHOLDER; self.kept.len()].join(",");
            let params = Payload::new(format!("[{n},[[{holes}]]]"), self.kept.clone())
                .expect("as many placeholders as references");
            self.session.set_recipe(target, Recipe { restorer: "counter".into(), version: 1, params });
        }
        self.objects.insert(target, object);
        Ref::Target(target)
    }

    fn end_wait(&mut self, wait: WaitId, outcome: Outcome) {
        let text = match outcome {
            Outcome::Resolved(value) => {
                self.received.extend(value.refs());
                value.text().replace(PLACEHOLDER, "$")
            }
            Outcome::Rejected(reason) => {
                self.received.extend(reason.refs());
                format!("!{}", reason.text())
            }
            Outcome::Lost(closed) => format!("lost: {}", closed.message),
        };
        self.settled.insert(wait, text);
    }

    fn deliver(&mut self, delivery: Delivery) {
        let object = self.objects.get(&delivery.target).cloned();
        let object = object.or_else(|| self.ignores_unknown_targets.then_some(Object::Lost));
        let object = object.expect("deliveries name live objects");
        let name = delivery.path.iter().map(Step::to_string).collect::<Vec<_>>().join(".");
        let args = delivery.args.clone().unwrap_or_else(|| Payload::plain("[]"));
        self.entered.push(format!("{name}{}", args.text().replace(PLACEHOLDER, "$")));
        let call = delivery.call;
        if delivery.again && !self.runs_again {
            let text = r#"["error","Error","again",null,{"code":"CALL_OUTCOME_UNKNOWN"}]"#;
            self.session.settle(call, Err(Payload::plain(text)));
            return args.into_refs().into_iter().for_each(|of| self.session.release(of));
        }
        match (object, name.as_str(), &delivery.args) {
            (Object::Lost, ..) => {
                let text = r#"["error","Error","lost",null,{"code":"CAPABILITY_LOST"}]"#;
                self.session.settle(call, Err(Payload::plain(text)));
            }
            (Object::Main, "tools.add", Some(_)) => {
                let adder = self.add(Object::Adder(1));
                let tools = payload(r#"{"add":$}"#, &[adder]);
                self.session.settle_from(call, tools, delivery.path, 1, delivery.args);
                self.session.release(adder);
                return;
            }
            (Object::Main, method, Some(_)) => self.call_main(call, method, &args),
            (Object::Main, "answer", None) => self.session.settle(call, Ok(Payload::plain("42"))),
            (Object::Counter(value), "inc", Some(_)) => {
                let value = value + number(&args, 0);
                self.objects.insert(delivery.target, Object::Counter(value));
                self.session.settle(call, Ok(Payload::plain(value.to_string())));
            }
            (Object::Adder(n), "", Some(_)) => {
                let sum = n + number(&args, 0);
                self.session.settle(call, Ok(Payload::plain(sum.to_string())));
            }
            (Object::Sink, _, Some(_)) => {
                self.unfinished.push(call);
            }
            (_, _, None) => self.session.settle(call, Ok(Payload::plain("[\"undefined\"]"))),
            _ => {
                let text = format!(r#"["error","TypeError","'{name}' is not a function."]"#);
                self.session.settle(call, Err(Payload::plain(text)));
            }
        }
        for of in args.into_refs() {
            self.session.release(of);
        }
    }

    fn call_main(&mut self, call: PromiseId, method: &str, args: &Payload<Ref>) {
        let result = match method {
            "sq" => Ok(Payload::plain((number(args, 0) * number(args, 0)).to_string())),
            "echo" => Ok(first(args)),
            "err" => {
                let text = r#"["error","TypeError","bad",null,{"code":"E1","details":{"a":[[1]]}}]"#;
                Err(Payload::plain(text))
            }
            "boo" => Err(Payload::plain("\"boo\"")),
            "lst" => Ok(Payload::plain("[[1,2]]")),
            "take" => {
                args.refs().iter().for_each(|&of| self.session.retain(of));
                self.kept.extend(args.refs());
                Ok(Payload::plain("[\"undefined\"]"))
            }
            "drop" => {
                self.kept.drain(..).for_each(|of| self.session.release(of));
                Ok(Payload::plain("[\"undefined\"]"))
            }
            "give" => Ok(payload(r#"{"cap":$}"#, &self.kept)),
            "takeP" => Ok(Payload::plain("\"ok\"")),
            "slow" => return self.unfinished.push(call),
            "writeTo" => {
                args.refs().iter().for_each(|&of| self.session.retain(of));
                self.kept.extend(args.refs());
                return self.unfinished.push(call);
            }
            "sink" => return self.settle_with_new(call, Object::Sink, "$"),
            "source" => return self.settle_with_new(call, Object::Source, r#"{"s":$}"#),
            "mk" => return self.settle_with_new(call, Object::Counter(number(args, 0)), "$"),
            "mkIn" => return self.settle_with_new(call, Object::Counter(number(args, 0)), r#"{"a":[[0,$]]}"#),
            "later" => {
                let promise = self.session.new_promise();
                self.unfinished.push(promise);
                self.session.settle(call, Ok(payload(r#"{"p":$}"#, &[Ref::Promise(promise)])));
                return self.session.release(Ref::Promise(promise));
            }
            "cb" => {
                let call_args = Payload::plain(format!("[{}]", number(args, 1)));
                let answer = self.session.call(args.refs()[0], &[], Some(call_args));
                for &of in args.refs() {
                    self.session.retain(of);
                }
                self.session.release(args.refs()[0]);
                self.session.settle(call, Ok(hole(answer)));
                return self.session.release(answer);
            }
            _ => Err(Payload::plain(format!(r#"["error","TypeError","'{method}' is not a function."]"#))),
        };
        self.session.settle(call, result);
    }

    fn settle_with_new(&mut self, call: PromiseId, object: Object, text: &str) {
        let of = self.add(object);
        self.session.settle(call, Ok(payload(text, &[of])));
        self.session.release(of);
    }
}

fn values(args: &Payload<Ref>) -> Vec<serde_json::Value> {
    serde_json::from_str(&args.text().replace(PLACEHOLDER, "null")).expect("arguments are JSON")
}

fn number(args: &Payload<Ref>, at: usize) -> i64 {
    values(args).get(at).and_then(serde_json::Value::as_i64).unwrap_or_default()
}

/// Returns the first argument as a result, with its references.
fn first(args: &Payload<Ref>) -> Payload<Outgoing> {
    let text = values(args).first().map_or_else(|| "[\"undefined\"]".to_owned(), ToString::to_string);
    Payload::new(text, args.refs().iter().map(|&of| Outgoing { of, path: Path::new() }).collect())
        .expect("as many placeholders as references")
}
