//! The client: it calls, passes callbacks, drops what it holds, and writes down how each call ended.

use std::collections::{BTreeMap, BTreeSet};

use bowline_core::endpoint::{Attach, Endpoint, LinkEvent};
use bowline_core::error::ErrorCode;
use bowline_core::id::{Ids, TargetId, WaitId};
use bowline_core::limits::Limits;
use bowline_core::link::{Attachment, Features, Left, LinkRules, Role, Ticket};
use bowline_core::session::{Delivery, Kind, Outcome, Outgoing, Output, Path, Recipe, Ref, Session, Step};
use bowline_core::time::Time;
use bowline_core::value::{PLACEHOLDER, Payload};
use serde_json::Value;

use super::dice::Dice;
use super::tickets::{Holding, Mint};

/// What is called how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    /// Has an effect, once.
    Inc,
    /// May have it again.
    Idem,
    /// Makes an object that lives on.
    MakeDurable,
    /// Makes one that does not.
    MakeFleeting,
    /// Makes one that lives on, perhaps again.
    IdemMake,
    /// Keeps a callback in an object that lives on, and calls it.
    Watch,
    /// Never answers before it is told to.
    Slow,
    /// Gives a stream to write to.
    Sink,
    /// Has an effect, once; called again, it has the outcome that it had.
    Record,
}

impl Method {
    pub(crate) const ALL: [(Self, &'static str); 9] = [
        (Self::Inc, "inc"),
        (Self::Idem, "idem"),
        (Self::MakeDurable, "makeDurable"),
        (Self::MakeFleeting, "makeFleeting"),
        (Self::IdemMake, "idemMake"),
        (Self::Watch, "watch"),
        (Self::Slow, "slow"),
        (Self::Sink, "sink"),
        (Self::Record, "record"),
    ];

    pub(crate) fn is_idempotent(self) -> bool {
        matches!(self, Self::Idem | Self::IdemMake)
    }

    /// Whether a client may send it again that does not know what became of it.
    fn may_be_sent_again(self) -> bool {
        self.is_idempotent() || self == Self::Record
    }
}

/// Something of the server's, and which of its objects it must be: `None` for results that have
/// not arrived.
#[derive(Clone, Copy, Debug)]
struct Held {
    of: Ref,
    object: Option<u64>,
}

/// A call as it was made.
#[derive(Clone, Copy, Debug)]
struct Made {
    on: Ref,
    id: i64,
    is_repeatable: bool,
}

/// Chunks that are written at a time: more than tables keep room for.
const CHUNKS_MAX: usize = 90;

/// The number of a callback that cannot be restored.
const LOST: u64 = u64::MAX;

/// A callback lives on if it has a recipe.
fn lives(recipe: Option<&Recipe>, _kind: Kind) -> Result<(), ErrorCode> {
    recipe.map(drop).ok_or(ErrorCode::CapabilityLost)
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum End {
    Answered,
    Failed(String),
}

/// What of the client outlives its process.
#[derive(Clone)]
pub(crate) struct Saved {
    bytes: Vec<u8>,
    token: u64,
    holding: Option<Holding>,
    seen: BTreeMap<i64, u64>,
    /// Which object is kept under which name.
    kept: BTreeMap<String, u64>,
}

pub(crate) struct Client {
    pub(crate) endpoint: Endpoint,
    pub(crate) at: Option<Attachment>,
    /// The checkpoint of the newest token.
    pub(crate) token: u64,
    /// The newest token, and its key.
    pub(crate) holding: Option<Holding>,
    held: Vec<Held>,
    /// Streams of the server's, and the chunks that are not acknowledged.
    sinks: Vec<Ref>,
    chunks: BTreeSet<WaitId>,
    /// Chunks that a restart interrupted.
    pub(crate) interrupted: u64,
    /// The server's process has stopped in a way that may cost no call its outcome.
    pub(crate) lost_nothing: bool,
    /// Calls that are awaited, by what waits.
    waits: BTreeMap<WaitId, u64>,
    pub(crate) calls: BTreeMap<u64, Option<End>>,
    /// What each call was made on, and under which id.
    made: BTreeMap<u64, Made>,
    callbacks: BTreeMap<TargetId, u64>,
    /// Which object an id of the server's has been.
    seen: BTreeMap<i64, u64>,
    pub(crate) heard: BTreeSet<u64>,
    next: u64,
    saved: Option<Saved>,
    kept: BTreeMap<String, u64>,
    /// Restarted, and the server has not been informed: what it has to receive.
    pub(crate) left: Option<Left>,
}

impl Client {
    pub(crate) fn new() -> Self {
        let mut endpoint = Endpoint::linked(Limits::default(), true, Role::Client, LinkRules::default());
        endpoint.keep_sent(1 << 20);
        endpoint.save_tokens();
        let main = Held { of: endpoint.session().main(), object: Some(0) };
        Self {
            endpoint,
            at: None,
            token: 0,
            holding: None,
            held: vec![main],
            sinks: Vec::new(),
            chunks: BTreeSet::new(),
            interrupted: 0,
            lost_nothing: false,
            waits: BTreeMap::new(),
            calls: BTreeMap::new(),
            made: BTreeMap::new(),
            callbacks: BTreeMap::new(),
            seen: BTreeMap::new(),
            heard: BTreeSet::new(),
            next: 1,
            saved: None,
            kept: BTreeMap::new(),
            left: None,
        }
    }

    /// Keeps some of what it holds, and saves what outlives the process. The server may hear of the
    /// newest token after that, or, without the rule, hears of it in any case.
    pub(crate) fn save(&mut self, dice: &mut Dice, tokens_wait: bool) {
        let session = self.endpoint.session_mut();
        let names: Vec<String> = session.kept_names().map(str::to_owned).collect();
        for name in &names {
            session.forget_kept(name);
        }
        let mut kept = BTreeMap::new();
        for (number, held) in self.held.iter().enumerate().skip(1) {
            if let (Some(object), Ref::Import(_), true) = (held.object, held.of, dice.one_in(2)) {
                session.keep(&number.to_string(), held.of);
                kept.insert(number.to_string(), object);
            }
        }
        self.kept = kept;
        self.react();
        self.write(tokens_wait);
    }

    /// What is shown to the server has to outlive the process.
    pub(crate) fn save_token(&mut self, tokens_wait: bool) {
        if self.endpoint.unsaved().is_some() {
            self.write(tokens_wait);
        }
    }

    /// Takes a token and its key. They belong together, whichever frame brought them.
    pub(crate) fn take(&mut self, ticket: Ticket, mint: &Mint) {
        let holding = Holding::of(ticket, self.holding.as_ref());
        self.token = mint.open(&holding).ck;
        self.holding = Some(holding);
    }

    /// Goes on over a new transport with the token that came with it, which has to outlive the
    /// process before the server hears anything.
    pub(crate) fn resumed(&mut self, ticket: Ticket, mint: &Mint, tokens_wait: bool) {
        self.take(ticket, mint);
        if self.saved.is_some() {
            self.write(tokens_wait);
        }
    }

    /// Writes some chunks, each of which takes an id that no call has.
    pub(crate) fn stream(&mut self, dice: &mut Dice) {
        if self.sinks.is_empty() {
            return;
        }
        let into = self.sinks[dice.below(self.sinks.len())];
        for _ in 0..=dice.below(CHUNKS_MAX) {
            let (wait, _units) = self.endpoint.session_mut().stream(into, "write", Payload::plain("[1]"));
            self.chunks.insert(wait);
        }
        self.react();
    }

    fn write(&mut self, tokens_wait: bool) {
        let bytes = self.endpoint.saved_state(lives).expect("the session is open");
        if tokens_wait || self.saved.is_none() {
            let (token, holding) = (self.token, self.holding.clone());
            self.saved = Some(Saved { bytes, token, holding, seen: self.seen.clone(), kept: self.kept.clone() });
        }
        if let Some(covers) = self.endpoint.unsaved() {
            self.endpoint.token_saved(covers);
        }
    }

    /// The process dies, and another goes on from what was saved. False if nothing was.
    pub(crate) fn restart(&mut self) -> bool {
        let Some(saved) = self.saved.clone() else { return false };
        let limits = Limits::default();
        let restored =
            Endpoint::from_saved_state(&saved.bytes, limits, LinkRules::default(), lives).expect("it was saved");
        let left = restored.left();
        self.endpoint = restored.endpoint;
        self.endpoint.keep_sent(1 << 20);
        self.endpoint.save_tokens();
        self.at = None;
        self.lost_nothing = false;
        (self.token, self.holding) = (saved.token, saved.holding);
        self.made.clear();
        self.waits.clear();
        self.sinks.clear();
        self.chunks.clear();
        for end in self.calls.values_mut().filter(|end| end.is_none()) {
            *end = Some(End::Failed("its process died".to_owned()));
        }
        let session = self.endpoint.session_mut();
        self.callbacks.clear();
        for target in restored.revived.targets.into_iter().filter(|target| target.0 != 0) {
            let number = session.recipe(target).map_or(LOST, |recipe| recipe.params.text().parse().expect("a number"));
            self.callbacks.insert(target, number);
        }
        self.held.truncate(1);
        for (name, &object) in &saved.kept {
            let of = session.kept(name).expect("it was kept");
            session.retain(of);
            self.held.push(Held { of, object: Some(object) });
        }
        self.kept = saved.kept;
        self.left = Some(left);
        true
    }

    /// The server's process is another too: of what was not saved, neither side knows.
    pub(crate) fn forget_unsaved(&mut self) {
        self.seen = self.saved.as_ref().expect("it was saved").seen.clone();
    }

    pub(crate) fn call(&mut self, dice: &mut Dice) {
        let (method, name) = Method::ALL[dice.below(Method::ALL.len())];
        let on = self.held[dice.below(self.held.len())];
        let call = self.next;
        self.next += 1;
        let mut refs = Vec::new();
        let mut callback = "null".to_owned();
        if method == Method::Watch || dice.one_in(6) {
            let (of, number) = self.callback(dice);
            refs.push(of);
            callback = number.to_string();
        }
        // What waits for a result, or is called through one, may be overtaken.
        let mut is_ordered = on.object.is_some();
        if dice.one_in(8) {
            let held = self.held[dice.below(self.held.len())];
            is_ordered &= held.object.is_some();
            refs.push(held.of);
        }
        let holes = vec![PLACEHOLDER; refs.len()].join(",");
        let expected = on.object.map_or_else(|| "null".to_owned(), |object| object.to_string());
        let args = Payload::new(
            format!("[{call},{expected},{is_ordered},{callback},[[{holes}]]]"),
            refs.iter().map(|&of| Outgoing { of, path: Path::new() }).collect(),
        )
        .expect("as many placeholders as references");
        let path = if on.object.is_none() { vec![Step::Name("cap".into())] } else { Vec::new() };
        let path = [path, vec![Step::Name(name.into())]].concat();
        let session = self.endpoint.session_mut();
        let result = session.call(on.of, &path, Some(args));
        if let Ref::Import(id) = result {
            self.made.insert(call, Made { on: on.of, id: id.0, is_repeatable: method.may_be_sent_again() });
        }
        if method.may_be_sent_again() {
            session.mark_idempotent(result);
        }
        refs.iter().filter(|of| matches!(of, Ref::Target(_))).for_each(|&of| session.release(of));
        if dice.one_in(8) {
            self.calls.insert(call, Some(End::Failed("not awaited".to_owned())));
        } else {
            self.waits.insert(session.pull(result, &[]), call);
            self.calls.insert(call, None);
        }
        if method != Method::Slow && dice.one_in(4) {
            self.held.push(Held { of: result, object: None });
        } else {
            self.endpoint.session_mut().release(result);
        }
        self.react();
    }

    /// A callback and its number, sometimes one that the server may have already; held once.
    fn callback(&mut self, dice: &mut Dice) -> (Ref, u64) {
        let known: Vec<(TargetId, u64)> = self.callbacks.iter().map(|(&target, &number)| (target, number)).collect();
        if !known.is_empty() && dice.one_in(2) {
            let (target, number) = known[dice.below(known.len())];
            self.endpoint.session_mut().retain(Ref::Target(target));
            return (Ref::Target(target), number);
        }
        let target = self.endpoint.session_mut().new_target(Kind::Object);
        self.callbacks.insert(target, self.next);
        if !dice.one_in(3) {
            let params = Payload::plain(self.next.to_string());
            let recipe = Recipe { restorer: "callback".to_owned(), version: 1, params };
            self.endpoint.session_mut().set_recipe(target, recipe);
        }
        (Ref::Target(target), self.next)
    }

    /// Lets go of something.
    pub(crate) fn drop_one(&mut self, dice: &mut Dice) {
        if self.held.len() > 1 {
            let held = self.held.swap_remove(1 + dice.below(self.held.len() - 1));
            self.endpoint.session_mut().release(held.of);
            self.react();
        }
    }

    pub(crate) fn drop_all(&mut self) {
        let session = self.endpoint.session_mut();
        let names: Vec<String> = session.kept_names().map(str::to_owned).collect();
        for name in &names {
            session.forget_kept(name);
        }
        for of in self.held.drain(1..).map(|held| held.of).chain(self.sinks.drain(..)) {
            self.endpoint.session_mut().release(of);
        }
        self.react();
    }

    pub(crate) fn hear(&mut self, text: &str, mint: &Mint) {
        let at = self.at.expect("only an attached client receives");
        self.endpoint.handle_text(at, Time::default(), text);
        if let Some(ticket) = self.endpoint.take_token() {
            self.take(ticket, mint);
        }
        self.react();
    }

    pub(crate) fn react(&mut self) {
        while let Some(output) = self.endpoint.session_mut().poll_output() {
            match output {
                Output::Deliver(delivery) => self.called_back(delivery),
                Output::Settled { wait, outcome } => self.settled(wait, outcome),
                Output::DropTarget(target) => drop(self.callbacks.remove(&target)),
                Output::Closed(closed) => panic!("I9 the client's session ended: {closed:?}"),
                Output::Cancel(_) | Output::Pipe { .. } | Output::Pump { .. } => {}
            }
        }
        while let Some(event) = self.endpoint.poll_event() {
            if let LinkEvent::Recovered { unknown, .. } = event {
                assert!(unknown == 0 || !self.lost_nothing, "I18 a drain costs {unknown} calls their outcomes");
                self.lost_nothing = false;
            }
        }
    }

    /// Nothing runs behind a call on the same object whose outcome is unknown,
    /// now that the server's process is another, which had come as far as `left` says. These calls were
    /// `open` before.
    pub(crate) fn assert_nothing_overtakes(&self, open: &[u64], left: &Left) {
        let unknown = End::Failed("CALL_OUTCOME_UNKNOWN".to_owned());
        let blocks = |call: u64| {
            let made = self.made.get(&call).filter(|made| !made.is_repeatable)?;
            let may_have_been = made.id >= left.next_positive || left.unknown.contains(&made.id);
            (may_have_been && self.calls[&call].as_ref() == Some(&unknown)).then_some((call, made.on))
        };
        let blocking: Vec<(u64, Ref)> = open.iter().filter_map(|&call| blocks(call)).collect();
        for call in self.waits.values() {
            let Some(made) = self.made.get(call).filter(|made| made.id >= left.next_positive) else { continue };
            let before = blocking.iter().find(|(before, on)| before < call && *on == made.on);
            assert!(before.is_none(), "I13 call {call} is sent again behind {before:?}, whose outcome is unknown");
        }
    }

    /// It is not on its way back to its session.
    pub(crate) fn is_there(&self, waits: bool) -> bool {
        self.left.is_none() && !(waits && self.session().is_unreconciled())
    }

    /// Both sides go on; what the server does not have any more is broken.
    pub(crate) fn reattach(&mut self, ids: Ids, left: &Left, ticket: Ticket, mint: &Mint) {
        self.take(ticket, mint);
        let features = Features { heartbeat: false, ..Features::ALL };
        let attached = self.endpoint.attach(Time::default(), features, Attach::Reattach { ids, left });
        self.at = Some(attached.expect("I8 both sides agree").attachment);
        self.left = None;
        self.react();
        // Before anything is said: no id that it gives from now on may be given again.
        self.write(true);
    }

    fn called_back(&mut self, Delivery { call, target, args, .. }: Delivery) {
        let args = args.expect("callbacks are called");
        let callback = self.callbacks.get(&target).copied().expect("I9 a callback is there while the server has it");
        let said: Value = serde_json::from_str(&args.text().replace(PLACEHOLDER, "null")).expect("arguments are JSON");
        if callback == LOST {
            let reason = "[\"error\",\"Error\",\"it is lost\"]";
            return self.endpoint.session_mut().settle(call, Err(Payload::plain(reason)));
        }
        assert_eq!(said[0].as_u64(), Some(callback), "I7 a callback is the one that was given");
        self.heard.insert(callback);
        args.into_refs().into_iter().for_each(|of| self.endpoint.session_mut().release(of));
        self.endpoint.session_mut().settle(call, Ok(Payload::plain(callback.to_string())));
    }

    /// A chunk is acknowledged, or the stream was interrupted, and says so.
    fn chunk_settled(&mut self, outcome: &Outcome) {
        if let Outcome::Rejected(reason) = outcome {
            let text = reason.text();
            assert!(text.contains("\"code\":\"STREAM_INTERRUPTED\""), "I12 a stream ends with its code: {text}");
            self.interrupted += 1;
        }
    }

    fn settled(&mut self, wait: WaitId, outcome: Outcome) {
        if self.chunks.remove(&wait) {
            return self.chunk_settled(&outcome);
        }
        let call = self.waits.remove(&wait).expect("I11 a wait ends once");
        let end = match outcome {
            Outcome::Resolved(value) => {
                self.take_in(value);
                End::Answered
            }
            Outcome::Rejected(reason) => {
                let code = reason.text().split("\"code\":\"").nth(1).and_then(|rest| rest.split('"').next());
                End::Failed(code.map_or_else(|| reason.text().to_owned(), str::to_owned))
            }
            Outcome::Lost(closed) => panic!("the session was lost: {closed:?}"),
        };
        let before = self.calls.insert(call, Some(end));
        assert_eq!(before, Some(None), "I11 a call ends once");
    }

    /// `{"cap": $, "object": n}`, or data.
    fn take_in(&mut self, value: Payload<Ref>) {
        let said: Value = serde_json::from_str(&value.text().replace(PLACEHOLDER, "null")).expect("results are JSON");
        for &of in value.refs() {
            if said["sink"].is_null() && said.get("sink").is_some() {
                self.sinks.push(of);
                continue;
            }
            let object = said["object"].as_u64().expect("objects are named");
            if let Ref::Import(id) = of {
                let before = self.seen.insert(id.0, object);
                assert!(before.is_none_or(|before| before == object), "I7 {id} was object {before:?}, is {object}");
            }
            self.held.push(Held { of, object: Some(object) });
        }
    }

    pub(crate) fn open_calls(&self) -> Vec<u64> {
        self.calls.iter().filter(|(_, end)| end.is_none()).map(|(&call, _)| call).collect()
    }

    pub(crate) fn session(&self) -> &Session {
        self.endpoint.session()
    }
}
