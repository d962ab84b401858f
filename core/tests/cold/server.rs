//! The server: a process with objects that dies with it, but for what their recipes say.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bowline_core::endpoint::{Endpoint, Recovered};
use bowline_core::error::ErrorCode;
use bowline_core::id::{PromiseId, TargetId};
use bowline_core::limits::Limits;
use bowline_core::link::{Attachment, LinkRules, Role};
use bowline_core::session::{Delivery, Kind, Outgoing, Output, Path, Recipe, Ref, Step};
use bowline_core::time::Time;
use bowline_core::value::{PLACEHOLDER, Payload};
use serde_json::Value;

use super::checkpoint::Storing;
use super::client::Method;
use super::dice::Dice;
use super::log::{Begun, CallLog};
use super::tickets::Issuer;

/// What outlives every process: what the calls did, and who may.
#[derive(Debug)]
pub(crate) struct Outside {
    /// How often each call was carried out.
    pub(crate) effects: BTreeMap<u64, u32>,
    /// Objects whose use was forbidden.
    pub(crate) forbidden: BTreeSet<u64>,
    /// The newest call that was carried out on each object.
    pub(crate) newest: BTreeMap<u64, u64>,
    pub(crate) objects: u64,
    /// Which call each push was, by what it results in.
    pushes: BTreeMap<i64, u64>,
    pub(crate) log: CallLog,
    /// Recorded calls that were answered from the log, and those whose end the log does not know.
    pub(crate) recorded: (u64, u64),
}

impl Outside {
    pub(crate) fn new(outcomes_live_as_long_as_sessions: bool) -> Self {
        Self {
            effects: BTreeMap::new(),
            forbidden: BTreeSet::new(),
            newest: BTreeMap::new(),
            objects: 0,
            pushes: BTreeMap::new(),
            log: CallLog::new(outcomes_live_as_long_as_sessions),
            recorded: (0, 0),
        }
    }
}

#[derive(Clone, Debug)]
struct Object {
    id: u64,
    /// What it calls, if it was given something.
    callback: Option<(Ref, u64)>,
    lost: Option<ErrorCode>,
    /// Restored in this process after its use was forbidden.
    forbidden: bool,
}

/// A call whose method has not returned.
struct Running {
    call: PromiseId,
    method: Method,
    callback: Option<(Ref, u64)>,
    number: u64,
    /// What the log of recorded calls has it under.
    recorded: Option<i64>,
}

pub(crate) struct Server {
    pub(crate) endpoint: Endpoint,
    pub(crate) at: Option<Attachment>,
    /// Of its claim in the store.
    pub(crate) epoch: u64,
    pub(crate) relies_until_ms: u64,
    /// The store's clock has jumped, and another may have the session sooner than this one knows: what
    /// it had begun to read may be carried out late, still once at most.
    pub(crate) is_overrun: bool,
    /// What comes over its transport stays there.
    pub(crate) reads_no_more: bool,
    objects: BTreeMap<TargetId, Object>,
    /// What chunks are written to.
    sinks: BTreeSet<TargetId>,
    running: Vec<Running>,
    /// Which tokens count.
    pub(crate) issuer: Issuer,
    /// A checkpoint that is on its way to the store.
    pub(crate) storing: Option<Storing>,
    /// The first call of this process on each object that was unknown: nothing follows it.
    pub(crate) again_is_told: bool,
}

pub(crate) fn lives(recipe: Option<&Recipe>, kind: Kind, outside: &Outside, authorises: bool) -> Result<(), ErrorCode> {
    let Some(recipe) = recipe else {
        return Err(if kind == Kind::Object { ErrorCode::CapabilityLost } else { ErrorCode::StreamInterrupted });
    };
    let forbidden = outside.forbidden.contains(&identity(recipe).0);
    if forbidden && authorises { Err(ErrorCode::PermissionDenied) } else { Ok(()) }
}

/// The object that a recipe makes, and the callback that it names.
fn identity(recipe: &Recipe) -> (u64, Option<(Ref, u64)>) {
    let params: Value =
        serde_json::from_str(&recipe.params.text().replace(PLACEHOLDER, "null")).expect("it was written by us");
    let callback = recipe.params.refs().first().map(|&of| (of, params[1].as_u64().expect("callbacks are named")));
    (params[0].as_u64().expect("objects are named"), callback)
}

impl Server {
    pub(crate) fn new(issuer: Issuer) -> Self {
        let mut endpoint = Endpoint::linked(Limits::default(), true, Role::Server, LinkRules::default());
        endpoint.keep_checkpoints();
        Self::of(endpoint, issuer)
    }

    fn of(endpoint: Endpoint, issuer: Issuer) -> Self {
        let main = Object { id: 0, callback: None, lost: None, forbidden: false };
        let objects = BTreeMap::from([(TargetId(0), main)]);
        Self {
            endpoint,
            at: None,
            epoch: 0,
            relies_until_ms: 0,
            is_overrun: false,
            reads_no_more: false,
            objects,
            sinks: BTreeSet::new(),
            running: Vec::new(),
            issuer,
            storing: None,
            again_is_told: true,
        }
    }

    /// The process of a session that was recovered.
    pub(crate) fn revived(restored: Recovered, issuer: Issuer, outside: &Outside, authorises: bool) -> Self {
        let mut server = Self::of(restored.endpoint, issuer);
        for target in restored.revived.targets.into_iter().filter(|target| target.0 != 0) {
            let recipe = server.endpoint.session().recipe(target).cloned();
            let lost = lives(recipe.as_ref(), Kind::Object, outside, authorises).err();
            let (id, callback) = recipe.as_ref().map_or((u64::MAX, None), identity);
            if let Some((of, _)) = callback {
                server.endpoint.session_mut().retain(of);
            }
            let forbidden = outside.forbidden.contains(&id);
            server.objects.insert(target, Object { id, callback, lost, forbidden });
        }
        server
    }

    /// Nothing that comes later is carried out.
    pub(crate) fn rely_on_lease(&mut self, epoch: u64, until_ms: u64) {
        (self.epoch, self.relies_until_ms) = (epoch, until_ms);
        self.endpoint.extend_lease(Time(Duration::from_millis(until_ms)));
    }

    /// False if its lease is over.
    pub(crate) fn hear(&mut self, text: &str, now_ms: u64, outside: &mut Outside) -> bool {
        let at = self.at.expect("only an attached server receives");
        let heard = self.endpoint.handle_text(at, Time(Duration::from_millis(now_ms)), text);
        self.react(outside);
        heard
    }

    pub(crate) fn react(&mut self, outside: &mut Outside) {
        while let Some(output) = self.endpoint.session_mut().poll_output() {
            match output {
                Output::Deliver(delivery) => self.deliver(delivery, outside),
                Output::DropTarget(target) => {
                    self.sinks.remove(&target);
                    if let Some(Object { callback: Some((of, _)), .. }) = self.objects.remove(&target) {
                        self.endpoint.session_mut().release(of);
                    }
                }
                Output::Closed(closed) => panic!("I9 the server's session ended: {closed:?}"),
                Output::Settled { .. } | Output::Cancel(_) | Output::Pipe { .. } | Output::Pump { .. } => {}
            }
        }
        while self.endpoint.poll_event().is_some() {}
    }

    fn deliver(&mut self, delivery: Delivery, outside: &mut Outside) {
        let Delivery { call, target, path, args, id, again } = delivery;
        if self.sinks.contains(&target) {
            return self.endpoint.session_mut().settle(call, Ok(Payload::plain("[\"undefined\"]")));
        }
        let object = self.objects.get(&target).cloned().expect("deliveries are for objects that are there");
        let Some(args) = args else {
            return self.endpoint.session_mut().settle(call, Ok(Payload::plain("[\"undefined\"]")));
        };
        let Some(Step::Name(name)) = path.first() else { panic!("a call has a name") };
        let (method, _) = Method::ALL.into_iter().find(|(_, of)| name == of).expect("only these are called");
        if id.0 > 0 {
            let said: Value =
                serde_json::from_str(&args.text().replace(PLACEHOLDER, "null")).expect("arguments are JSON");
            let number = said[0].as_u64().expect("calls are numbered");
            let before = *outside.pushes.entry(id.0).or_insert(number);
            assert_eq!(before, number, "I7 two calls have the same name, {id}");
        }
        let again = again && self.again_is_told;
        let is_recorded = method == Method::Record && id.0 > 0 && object.lost.is_none();
        let mut refused = match (&object.lost, again && !method.is_idempotent() && !is_recorded) {
            (_, true) => Some(ErrorCode::CallOutcomeUnknown),
            (lost, false) => lost.clone(),
        };
        if is_recorded {
            match outside.log.begin(self.epoch, id.0) {
                Begun::Now => {}
                Begun::Ended(outcome) => {
                    outside.recorded.0 += 1;
                    self.endpoint.session_mut().settle(call, Ok(Payload::plain(outcome.to_string())));
                    return args.into_refs().into_iter().for_each(|of| self.endpoint.session_mut().release(of));
                }
                Begun::Before => {
                    outside.recorded.1 += 1;
                    refused = Some(ErrorCode::CallOutcomeUnknown);
                }
                Begun::Fenced => refused = Some(ErrorCode::SessionElsewhere),
            }
        }
        if let Some(code) = refused {
            self.reject(call, &code);
            return args.into_refs().into_iter().for_each(|of| self.endpoint.session_mut().release(of));
        }
        self.carry_out(call, method, &object, args, outside);
        if let Some(running) = self.running.last_mut().filter(|_| is_recorded) {
            running.recorded = Some(id.0);
        }
    }

    fn carry_out(
        &mut self,
        call: PromiseId,
        method: Method,
        object: &Object,
        args: Payload<Ref>,
        outside: &mut Outside,
    ) {
        let said: Value = serde_json::from_str(&args.text().replace(PLACEHOLDER, "null")).expect("arguments are JSON");
        let number = said[0].as_u64().expect("calls are numbered");
        if let Some(expected) = said[1].as_u64() {
            assert_eq!(object.id, expected, "I7 call {number} reached another object");
        }
        assert!(!object.forbidden, "I17 call {number} on an object that may not be used any more");
        let effects = outside.effects.entry(number).or_default();
        *effects += 1;
        assert!(*effects == 1 || method.is_idempotent(), "I10 call {number} was carried out twice");
        if *effects == 1 && said[2] == true && !self.is_overrun {
            let newest = outside.newest.entry(object.id).or_default();
            assert!(*newest < number, "I13 call {number} on {} after {newest}", object.id);
            *newest = number.max(*newest);
        }
        let callback = said[3].as_u64().map(|callback| (args.refs()[0], callback));
        if method.is_idempotent() || method == Method::Slow {
            if method.is_idempotent() {
                args.refs().iter().for_each(|&of| self.endpoint.session_mut().retain(of));
                let path = Method::ALL.iter().filter(|(of, _)| *of == method);
                let path = path.map(|(_, name)| Step::Name((*name).into())).collect();
                let target = self.objects.iter().find(|(_, of)| of.id == object.id).map(|(&target, _)| target);
                let target = target.expect("the object is there");
                self.endpoint.session_mut().keep_for_rerun(call, target, path, Some(args.clone()));
            }
            self.running.push(Running { call, method, callback: None, number, recorded: None });
            return args.into_refs().into_iter().for_each(|of| self.endpoint.session_mut().release(of));
        }
        let kept = usize::from(callback.is_some());
        args.into_refs().into_iter().skip(kept).for_each(|of| self.endpoint.session_mut().release(of));
        self.running.push(Running { call, method, callback, number, recorded: None });
    }

    /// Lets one of the methods return.
    pub(crate) fn finish_one(&mut self, dice: &mut Dice, outside: &mut Outside) {
        if self.running.is_empty() {
            return;
        }
        let running = self.running.remove(dice.below(self.running.len()));
        let Running { call, method, callback, number, recorded } = running;
        recorded.into_iter().for_each(|id| outside.log.end(self.epoch, id, number));
        match method {
            Method::Inc | Method::Idem | Method::Slow | Method::Record => {
                self.endpoint.session_mut().settle(call, Ok(Payload::plain(number.to_string())));
                callback.into_iter().for_each(|(of, _)| self.endpoint.session_mut().release(of));
            }
            Method::Sink => {
                let sink = self.endpoint.session_mut().new_target(Kind::Writable);
                self.sinks.insert(sink);
                let refs = vec![Outgoing { of: Ref::Target(sink), path: Path::new() }];
                let result = Payload::new(format!("{{\"sink\":{PLACEHOLDER}}}"), refs).expect("one reference");
                self.endpoint.session_mut().settle(call, Ok(result));
                self.endpoint.session_mut().release(Ref::Target(sink));
                callback.into_iter().for_each(|(of, _)| self.endpoint.session_mut().release(of));
            }
            Method::MakeDurable | Method::IdemMake => self.settle_with_object(call, callback, true, outside),
            Method::MakeFleeting => self.settle_with_object(call, callback, false, outside),
            Method::Watch => {
                callback.into_iter().for_each(|callback| self.ring(callback));
                self.settle_with_object(call, callback, true, outside);
            }
        }
        self.react(outside);
    }

    fn ring(&mut self, (of, number): (Ref, u64)) {
        let args = Payload::plain(format!("[{number}]"));
        let result = self.endpoint.session_mut().call(of, &[], Some(args));
        self.endpoint.session_mut().release(result);
    }

    fn settle_with_object(
        &mut self,
        call: PromiseId,
        callback: Option<(Ref, u64)>,
        is_durable: bool,
        outside: &mut Outside,
    ) {
        outside.objects += 1;
        let id = outside.objects;
        let session = self.endpoint.session_mut();
        let target = session.new_target(Kind::Object);
        if is_durable {
            let params = match callback {
                Some((of, number)) => {
                    session.retain(of);
                    Payload::new(format!("[{id},{number},{PLACEHOLDER}]"), vec![of]).expect("one placeholder")
                }
                None => Payload::plain(format!("[{id},null]")),
            };
            session.set_recipe(target, Recipe { restorer: "object".to_owned(), version: 1, params });
        }
        self.objects.insert(target, Object { id, callback, lost: None, forbidden: false });
        let result = Payload::new(
            format!("{{\"cap\":{PLACEHOLDER},\"object\":{id}}}"),
            vec![Outgoing { of: Ref::Target(target), path: Path::new() }],
        )
        .expect("one placeholder");
        session.settle(call, Ok(result));
        session.release(Ref::Target(target));
    }

    fn reject(&mut self, call: PromiseId, code: &ErrorCode) {
        let text = format!("[\"error\",\"Error\",\"no\",null,{{\"code\":\"{code}\"}}]");
        self.endpoint.session_mut().settle(call, Err(Payload::plain(text)));
    }

    pub(crate) fn is_busy(&self) -> bool {
        !self.running.is_empty()
    }

    pub(crate) fn calls_running(&self) -> usize {
        self.running.len()
    }

    /// A client loses the permission for an object; in this process the object stays usable.
    pub(crate) fn forbid_one(&self, dice: &mut Dice, outside: &mut Outside) {
        let ids: Vec<u64> = self.objects.values().map(|object| object.id).filter(|&id| id != 0).collect();
        if !ids.is_empty() {
            outside.forbidden.insert(ids[dice.below(ids.len())]);
        }
    }
}
