//! Deliveries: finding the application code that a path leads to, running it, and settling its call
//! exactly once.

use std::borrow::Cow;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::id::PromiseId;
use crate::peer::host::running::Permit;
use crate::peer::host::shared::Shared;
use crate::peer::host::target::{Call, Entry, Target};
use crate::peer::host::wait::Broken;
use crate::peer::interface::call_log::{CallId, Named};
use crate::peer::interface::description::{Lifetime, Member, MemberKind, Repeat};
use crate::peer::interface::error::{Never, internal_error, object_is_gone, runtime_is_gone};
use crate::peer::interface::lost::{RestoreFailure, outcome_unknown};
use crate::peer::interface::object::{Answer, Args, Object, Reply, error_payload, rejection, reply};
use crate::peer::reference::local::{Body, Local};
use crate::peer::reference::repeats::{Kept, Plan, Recorded, repeat_of};
use crate::peer::reference::stub::Stub;
use crate::peer::runtime;
use crate::peer::unwind::{caught, drop_quietly};
use crate::session::{CloseReason, Kind, Path, Step};
use crate::value::{Cap, Payload};
use crate::wire::is_blocked_name;

/// The outcome of the first step of a delivery.
enum First {
    Answer(Answer),
    Reply(Reply),
    /// Forwarded to another session. The stub is the result there.
    Passed(Stub, Reply),
}

/// The whole path of a delivery whose first step is running, and the arguments of the call at its end.
type Rest = (Path, Option<Payload<Cap>>);

/// A delivery that is running: how to settle it, and its names for logs. It is moved several
/// times during a call, so fields that few calls use are boxed.
struct Running {
    call: PromiseId,
    /// Set if the answer is only that of the first step.
    rest: Option<Box<Rest>>,
    interface: &'static str,
    member: Cow<'static, str>,
    /// The id that `call_id` returns.
    name: Option<CallId>,
    /// What another process needs to run the call again, if the call does not complete at once.
    kept: Option<Box<Kept>>,
    lifetime: Lifetime,
    /// Dropped when the call has returned or was aborted.
    #[expect(dead_code, reason = "held for its drop")]
    permit: Option<Permit>,
}

impl Target for Local {
    fn deliver(self: Arc<Self>, shared: &Arc<Shared>, call: Call) {
        if let Body::Writable(writable) = &self.body
            && call.uses_stream()
        {
            return writable.deliver(shared, call.call, &call.path, call.args);
        }
        let member = member_of(&self.body, &call.path);
        // Only a durable session asks whether a call may be repeated.
        let repeat = match call.origin {
            Some(_) => repeat_of(&self.body, &call.path, call.args.as_ref()),
            None => Repeat::Never,
        };
        start(shared, call, member, repeat, |call, plan, running| {
            running.interface = self.body.interface();
            match (&self.body, plan) {
                (Body::Object(object), Plan::Record(log, number)) => First::Reply(
                    Recorded {
                        object: Arc::clone(object),
                        method: running.member.clone().into_owned(),
                        args: call.args.unwrap_or_default(),
                        name: running.name.clone(),
                        log,
                        number,
                    }
                    .run(),
                ),
                _ => enter(&self, member, call.path, call.args, &mut running.rest),
            }
        });
    }

    fn reference(self: Arc<Self>) -> Cap {
        Cap::from_arc(self)
    }

    fn is_writable(&self) -> bool {
        self.body.kind() == Kind::Writable
    }

    fn is_read(&self) -> bool {
        matches!(&self.body, Body::Writable(writable) if writable.is_read())
    }

    fn lose_writer(&self, closed: &CloseReason) {
        if let Body::Writable(writable) = &self.body {
            writable.lose_writer(closed);
        }
    }
}

/// A reference to which calls are forwarded.
#[derive(Debug)]
pub(crate) struct Forwarded(pub(crate) Stub);

impl Target for Forwarded {
    fn deliver(self: Arc<Self>, shared: &Arc<Shared>, call: Call) {
        start(shared, call, None, Repeat::Never, |call, _, _| forward(&self.0, call.path, call.args));
    }

    fn reference(self: Arc<Self>) -> Cap {
        self.0.clone().into_cap()
    }
}

impl Target for RestoreFailure {
    fn deliver(self: Arc<Self>, shared: &Arc<Shared>, call: Call) {
        start(shared, call, None, Repeat::Never, |_, _, _| First::Answer(Err(self.payload())));
    }

    fn reference(self: Arc<Self>) -> Cap {
        Stub::broken_by(Broken::Rejected(self.payload())).into_cap()
    }
}

impl From<Stub> for Entry {
    fn from(stub: Stub) -> Self {
        match stub.as_local() {
            Some(local) => Self::Object(Arc::clone(local) as Arc<dyn Target>),
            None => Self::new(Forwarded(stub)),
        }
    }
}

/// Runs the first step of a delivery. All calls into the application are made in `enter`.
fn start(
    shared: &Arc<Shared>,
    mut call: Call,
    member: Option<&'static Member>,
    repeat: Repeat,
    enter: impl FnOnce(Call, Plan, &mut Running) -> First,
) {
    let mut running = Running { permit: call.permit.take(), ..Running::new(call.call, "") };
    running.member = match (member, call.path.first()) {
        (Some(member), _) => Cow::Borrowed(member.name),
        (None, Some(step)) => Cow::Owned(step.to_string()),
        (None, None) => Cow::Borrowed(""),
    };
    if let Some(member) = member {
        running.lifetime = member.lifetime;
    }
    let origin = call.origin.take();
    let plan = origin.as_ref().map_or(Plan::Once, |origin| shared.plan(origin, repeat));
    if matches!(plan, Plan::Repeat | Plan::Record(..)) {
        let kept = Kept { target: call.target, path: call.path.clone(), args: call.args.clone() };
        running.kept = Some(Box::new(kept));
    }
    running.name = origin.and_then(|origin| origin.name);
    let entered = caught(|| {
        let _named = running.name.as_ref().map(Named::enter);
        match plan {
            Plan::Refuse => {
                drop(call);
                First::Answer(Err(outcome_unknown()))
            }
            plan => enter(call, plan, &mut running),
        }
    });
    let first = entered.unwrap_or_else(|_| First::Answer(running.panicked()));
    running.poll_first(shared, first);
}

/// Settles a local promise with the result of `stub`.
pub(crate) fn follow(shared: &Arc<Shared>, promise: PromiseId, stub: Stub) {
    let first = forward(&stub, Path::new(), None);
    Running::new(promise, "promise").poll_first(shared, first);
}

/// Settles a local promise with the result of `reply`.
pub(crate) fn run(shared: &Arc<Shared>, promise: PromiseId, reply: Reply) {
    Running::new(promise, "promise").poll_first(shared, First::Reply(reply));
}

/// Returns the member of an object that a path begins with.
fn member_of(body: &Body, path: &[Step]) -> Option<&'static Member> {
    let (Body::Object(object), Some(Step::Name(name))) = (body, path.first()) else { return None };
    object.members().iter().find(|member| member.name == name)
}

fn enter(
    local: &Arc<Local>,
    member: Option<&Member>,
    path: Path,
    args: Option<Payload<Cap>>,
    rest: &mut Option<Box<Rest>>,
) -> First {
    match &local.body {
        // A gate answers with itself: its target must not be handed out.
        _ if path.is_empty() && args.is_none() => {
            let this = Stub::from_local(Arc::clone(local));
            First::Answer(Ok(Payload::capability(this.into_cap())))
        }
        Body::Gate(gate) => match gate.admit(&path) {
            Ok(stub) => forward(&stub, path, args),
            Err(None) => nothing_there(path, args, rest),
            Err(Some(error)) => First::Answer(Err(error)),
        },
        Body::Gone => First::Answer(Err(object_is_gone())),
        Body::Writable(_) | Body::Readable(_) => {
            let message = "Cannot access properties on a ReadableStream stub";
            First::Answer(Err(error_payload("Error", message)))
        }
        Body::Object(object) => enter_object(object, member, path, args, rest),
        Body::Function(function) if path.is_empty() => First::Reply(function(Args::new(args.unwrap_or_default()))),
        Body::Bound(bound) if path.is_empty() => {
            let (object, method) = &**bound;
            let args = Args::new(args.unwrap_or_default());
            match Arc::clone(object).call(method, args) {
                Some(reply) => First::Reply(reply),
                None => First::Answer(Err(not_a_function(&path))),
            }
        }
        Body::Dynamic(_) if !path.iter().any(is_blocked) => enter_dynamic(local, path, args),
        Body::Function(_) | Body::Bound(..) | Body::Dynamic(_) => nothing_there(path, args, rest),
    }
}

fn enter_object(
    object: &Arc<dyn Object>,
    member: Option<&Member>,
    path: Path,
    args: Option<Payload<Cap>>,
    rest: &mut Option<Box<Rest>>,
) -> First {
    let kind = member.filter(|member| !is_blocked_name(member.name)).map(|member| member.kind);
    let (Some(kind), Some(Step::Name(name))) = (kind, path.first()) else {
        return nothing_there(path, args, rest);
    };
    let first = match (kind, path.len(), args) {
        (MemberKind::Method, 1, Some(args)) => {
            return match Arc::clone(object).call(name, Args::new(args)) {
                Some(reply) => First::Reply(reply),
                None => First::Answer(Err(not_a_function(&path))),
            };
        }
        (MemberKind::Method, _, args) => {
            let bound = Body::Bound(Box::new((Arc::clone(object), name.to_string())));
            let bound = Stub::from_local(Local::new(bound));
            (First::Answer(Ok(Payload::capability(bound.into_cap()))), args)
        }
        (MemberKind::Property, _, args) => match Arc::clone(object).get(name) {
            Some(reply) => (First::Reply(reply), args),
            None => return nothing_there(path, args, rest),
        },
    };
    let (first, args) = first;
    if path.len() > 1 || args.is_some() {
        *rest = Some(Box::new((path, args)));
    }
    first
}

/// The first step leads to nothing. Calling it is an error and reading it is undefined; for a longer
/// path, the session rejects the next step.
fn nothing_there(path: Path, args: Option<Payload<Cap>>, rest: &mut Option<Box<Rest>>) -> First {
    if path.len() <= 1 {
        return First::Answer(match args {
            Some(_) => Err(not_a_function(&path)),
            None => Ok(undefined()),
        });
    }
    *rest = Some(Box::new((path, args)));
    First::Answer(Ok(undefined()))
}

fn enter_dynamic(local: &Arc<Local>, path: Path, args: Option<Payload<Cap>>) -> First {
    let local = Arc::clone(local);
    First::Reply(Box::pin(async move {
        let Body::Dynamic(target) = &local.body else {
            return Ok(undefined());
        };
        let result = match args.map(|args| Args::new(args).values()) {
            Some(Ok(values)) => target.call(path, values).await,
            Some(Err(error)) => return reply(Err::<(), _>(error)),
            None => target.get(path).await,
        };
        match result {
            Ok(value) => reply(Ok::<_, Never>(value)),
            Err(error) => Err(rejection(&error)),
        }
    }))
}

/// Forwards a delivery to another session at once, and waits for its result.
fn forward(stub: &Stub, path: Path, args: Option<Payload<Cap>>) -> First {
    let stub = stub.at(path);
    let (stub, wait) = match args {
        Some(args) => {
            let result = stub.call_payload(args);
            let wait = result.wait();
            (result, wait)
        }
        None => {
            let wait = stub.wait();
            (stub, wait)
        }
    };
    let held = stub.clone();
    let reply = Box::pin(async move {
        // Declared first, so dropped last: the wait is withdrawn before its result is released.
        let _held = held;
        wait.await.into_answer()
    });
    First::Passed(stub, reply)
}

fn park(shared: &Arc<Shared>, running: Running, reply: Reply) {
    let (call, lifetime) = (running.call, running.lifetime);
    let mut state = shared.lock();
    let host = state.host.clone();
    let is_possible = host.is_some() || runtime::can_spawn();
    if is_possible {
        state.running.insert(call, None);
    }
    drop(state);
    if !is_possible {
        drop_quietly(reply);
        let message = "A method that waits needs an async runtime.";
        return running.finish(shared, Err(error_payload("Error", message)));
    }
    let parked = Parked { owner: Arc::clone(shared), delivery: Some((running, reply)) };
    let task = match host {
        Some(host) => Some(host.spawn(parked.run())),
        None => runtime::spawn(parked.run()),
    };
    if lifetime == Lifetime::Detached {
        return;
    }
    let mut state = shared.lock();
    if let Some(entry) = state.running.get_mut(call) {
        *entry = task;
        return;
    }
    drop(state);
    // The call was canceled or the session ended before the task was registered. If the call has
    // returned, this does nothing.
    if let Some(task) = task {
        task.abort();
    }
}

/// A delivery that became a task. It is settled however the task ends: by its answer, or because the
/// runtime dropped the task.
struct Parked {
    owner: Arc<Shared>,
    /// `None` once the delivery has ended.
    delivery: Option<(Running, Reply)>,
}

impl Parked {
    async fn run(mut self) {
        let answer = poll_fn(|cx| match &mut self.delivery {
            Some((running, reply)) => running.poll(reply, cx),
            None => Poll::Pending,
        })
        .await;
        self.end(answer);
    }

    fn end(&mut self, answer: Answer) {
        let Some((running, reply)) = self.delivery.take() else { return };
        drop_quietly(reply);
        // A delivery can be ended by its task, by a cancel, and by the end of the session. The one that
        // removes the entry settles it.
        let entry = self.owner.lock().running.remove(running.call);
        if entry.is_some() {
            running.finish(&self.owner, answer);
        } else {
            drop_quietly(running);
        }
    }
}

impl Drop for Parked {
    fn drop(&mut self) {
        if self.delivery.is_some() {
            self.end(Err(runtime_is_gone()));
        }
    }
}

impl Running {
    fn new(call: PromiseId, interface: &'static str) -> Self {
        let (member, lifetime) = (Cow::Borrowed(""), Lifetime::Session);
        Self { call, rest: None, interface, member, name: None, kept: None, lifetime, permit: None }
    }

    /// Polls the reply once. If it is pending, it becomes a task.
    fn poll_first(mut self, shared: &Arc<Shared>, first: First) {
        let (via, mut reply) = match first {
            First::Answer(answer) => return self.finish(shared, answer),
            First::Reply(reply) => (None, reply),
            First::Passed(stub, reply) => (Some(stub), reply),
        };
        match self.poll(&mut reply, &mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => {
                // Arguments are released before the answer is sent.
                if let Some(kept) = self.kept.take() {
                    drop_quietly(kept);
                }
                drop_quietly(reply);
                if via.is_some() {
                    drop_quietly(via);
                }
                self.finish(shared, answer);
            }
            Poll::Pending => {
                if let Some(kept) = self.kept.take() {
                    shared.keep_for_rerun(self.call, *kept);
                }
                if let Some(via) = via {
                    shared.redirect(self.call, via);
                }
                park(shared, self, reply);
            }
        }
    }

    fn poll(&self, reply: &mut Reply, cx: &mut Context<'_>) -> Poll<Answer> {
        let polled = caught(|| {
            let _named = self.name.as_ref().map(Named::enter);
            Pin::new(reply).poll(cx)
        });
        polled.unwrap_or_else(|_| Poll::Ready(self.panicked()))
    }

    fn panicked(&self) -> Answer {
        tracing::error!(interface = self.interface, method = &*self.member, "panic in a method");
        Err(internal_error())
    }

    fn finish(self, shared: &Arc<Shared>, answer: Answer) {
        if self.kept.is_some() {
            drop_quietly(self.kept);
        }
        match (answer, self.rest) {
            (Ok(value), Some(rest)) => {
                let (path, args) = *rest;
                shared.settle_from(self.call, value, path, args);
            }
            (answer, rest) => {
                if rest.is_some() {
                    drop_quietly(rest);
                }
                shared.settle(self.call, answer);
            }
        }
    }
}

fn not_a_function(path: &Path) -> Payload<Cap> {
    error_payload("TypeError", &format!("'{}' is not a function.", path.dotted()))
}

fn undefined() -> Payload<Cap> {
    Payload::undefined()
}

fn is_blocked(step: &Step) -> bool {
    matches!(step, Step::Name(name) if is_blocked_name(name))
}
