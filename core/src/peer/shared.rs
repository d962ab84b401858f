//! One running session and everything that refers to it: the machine behind a short lock, the
//! objects and waiters that its numbers stand for, and the pump that carries out what it asks.
//!
//! No user code runs, no user object is dropped and nothing is awaited while the lock is held.
//! What the session asks for is read in `stage`, what a delivery does lives in `deliver`, how
//! handles become numbers in `caps`.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::{Notify, broadcast};

use crate::endpoint::{Attached, Endpoint, LinkEvent};
use crate::error::ErrorCode;
use crate::id::{PromiseId, TargetId, WaitId};
use crate::limits::Limits;
use crate::link::{Attachment, Joint, LinkRules, Refused, Role};
use crate::peer::carrying::Place;
use crate::peer::deliver;
use crate::peer::feed::Feed;
use crate::peer::interface::Repeat;
use crate::peer::local::Local;
use crate::peer::memory::Reported;
use crate::peer::nesting;
use crate::peer::options::Options;
use crate::peer::rest::Rest;
use crate::peer::restorers::Unmade;
use crate::peer::revival::Revival;
use crate::peer::runtime::{self, Host, Instant, Task};
use crate::peer::stage::Job;
use crate::peer::stub::Stub;
use crate::peer::wait::{Ending, Wait, Waiter};
use crate::session::{Closed, ClosedBy, Ref, Session, Step, Table};
use crate::time::Time;
use crate::value::{Cap, Payload};

/// A session and its surroundings.
pub(crate) struct Shared {
    state: Mutex<State>,
    /// Tells the driver that there is something to send or to carry out.
    pub(crate) wake: Notify,
    /// How the session ended, once everything that ends with it has ended.
    pub(crate) ended: OnceLock<Closed>,
    /// Tells whoever waits for the end.
    pub(crate) is_over: Notify,
    /// Tells whoever keeps the session that there is something to be kept.
    pub(crate) changed: Notify,
    /// Notified when the session needs a checkpoint at once.
    pub(crate) urgent: Notify,
    /// Tells whoever keeps the session that the link asks something of it.
    pub(crate) asked: Notify,
    /// Tells streams that messages were sent, or that the session is over.
    pub(crate) room: Notify,
    /// Whose turn it is: the newest attachment.
    turn: AtomicU64,
    /// References to the peer's main object, which the session does not count.
    roots: AtomicUsize,
    /// Calls wait for a place, or were given one and have not begun: others go behind them.
    pub(crate) holds_back: AtomicBool,
    pub(crate) feed: Feed,
    options: Options,
    /// From where the endpoint's time is counted.
    started: Instant,
    /// Whether the peer can acknowledge chunks: over a batch it cannot.
    acknowledges: bool,
    /// Without a transport: the session of a local object or promise, run by its callers.
    pub(crate) private: bool,
}

impl State {
    /// There is something to send that the driver does not know of.
    pub(crate) fn has_to_send(&self) -> bool {
        self.endpoint.has_transmit() && !(self.postpones && self.endpoint.may_wait())
    }
}

/// What the lock guards.
pub(crate) struct State {
    pub(crate) endpoint: Endpoint,
    pub(crate) targets: Table<TargetId, Entry>,
    /// Deliveries that did not end at their first poll. Whoever removes one settles it. The
    /// task is missing where it is not to be aborted: a detached method has none, others for the
    /// instant between start and entry.
    pub(crate) running: Table<PromiseId, Option<Task>>,
    pub(crate) closed: Option<Closed>,
    pub(crate) waiters: Table<WaitId, Waiter>,
    /// Streams that are being sent.
    pub(crate) pumps: usize,
    /// Waits for the session to come to rest. Allocated only while there is one.
    pub(crate) rest: Option<Box<Rest>>,
    /// The list of jobs between its uses.
    pub(crate) spare: Vec<Job>,
    /// Jobs that come before what the session asks for next.
    pub(crate) deferred: Vec<Job>,
    /// Which of our durable objects the session has, by their addresses.
    #[expect(
        clippy::box_collection,
        reason = "most sessions have no durable objects, and an empty map takes 48 bytes"
    )]
    pub(crate) durable: Option<Box<HashMap<usize, TargetId>>>,
    /// Objects that another process held.
    pub(crate) revival: Revival,
    /// The driver knows that there are releases or an ack to send, and sends them in a while.
    pub(crate) postpones: bool,
    /// What the session has reported to its memory budget.
    pub(crate) reported: Reported,
    /// Calls that wait for a place among those of all sessions.
    #[expect(clippy::box_collection, reason = "hardly ever does a call wait for a place")]
    pub(crate) held_back: Option<Box<VecDeque<deliver::Call>>>,
    /// The session waits for its turn to be given a place.
    pub(crate) is_queued: bool,
    /// The runtime of the newest driver, or the one that the session was made on.
    pub(crate) host: Option<Host>,
    /// The transport whose driver runs, to be woken for deliveries.
    pub(crate) driver: Option<Attachment>,
    /// Somebody carries out outputs. Only one does at a time, or calls could overtake.
    pub(crate) pumping: bool,
}

/// The attachment of no transport.
const NO_TURN: u64 = u64::MAX;

/// What a call fails with while too much waits for a transport.
fn overflow() -> Closed {
    let message = "too much waits to be sent while there is no connection".to_owned();
    Closed { by: ClosedBy::Transport, name: ErrorCode::BufferOverflow.to_string(), message }
}

/// What a [`TargetId`] stands for.
#[derive(Clone, Debug)]
pub(crate) enum Entry {
    /// An object of ours.
    Local(Arc<Local>),
    /// Something of another session: calls are forwarded.
    Foreign(Stub),
    /// An object that has not been made again yet, by its place among those.
    Dormant(usize),
    /// An object that is gone.
    Lost(Box<Unmade>),
}

impl From<Stub> for Entry {
    fn from(stub: Stub) -> Self {
        match stub.as_local() {
            Some(local) => Self::Local(Arc::clone(local)),
            None => Self::Foreign(stub),
        }
    }
}

impl Shared {
    /// The session of a connection.
    pub(crate) fn wired(options: Options, main: Option<Stub>, acknowledges: bool) -> Arc<Self> {
        let endpoint = Endpoint::plain(options.limits.clone(), main.is_some());
        Self::new(endpoint, options, main.map(Entry::from), acknowledges, false)
    }

    /// A session that can change its transport, and has none yet.
    pub(crate) fn linked(options: Options, main: Option<Stub>, role: Role, rules: LinkRules) -> Arc<Self> {
        let endpoint = Endpoint::linked(options.limits.clone(), main.is_some(), role, rules);
        Self::new(endpoint, options, main.map(Entry::from), true, false)
    }

    /// A session that has no transport. Its peer is its own caller, so nothing is bounded.
    pub(crate) fn private(main: Option<Entry>) -> Arc<Self> {
        let limits = Limits {
            running_calls: usize::MAX / 4,
            table_entries: usize::MAX / 4,
            held_bytes: usize::MAX / 4,
            work_bytes: usize::MAX / 4,
            ..Limits::default()
        };
        Self::new(Endpoint::plain(limits, main.is_some()), Options::default(), main, true, true)
    }

    pub(crate) fn new(
        endpoint: Endpoint,
        options: Options,
        main: Option<Entry>,
        acknowledges: bool,
        private: bool,
    ) -> Arc<Self> {
        let mut endpoint = endpoint;
        if !private {
            endpoint.session.work_in_slices();
        }
        let targets = main.map(|entry| (Session::MAIN, entry));
        let shared = Arc::new(Self {
            state: Mutex::new(State {
                endpoint,
                targets: targets.into_iter().collect(),
                running: Table::default(),
                closed: None,
                waiters: Table::default(),
                pumps: 0,
                rest: None,
                spare: Vec::new(),
                deferred: Vec::new(),
                durable: None,
                revival: Revival::default(),
                postpones: false,
                reported: Reported::default(),
                held_back: None,
                is_queued: false,
                host: if private { None } else { Host::current() },
                driver: None,
                pumping: false,
            }),
            wake: Notify::new(),
            ended: OnceLock::new(),
            is_over: Notify::new(),
            changed: Notify::new(),
            urgent: Notify::new(),
            asked: Notify::new(),
            room: Notify::new(),
            feed: Feed::default(),
            options,
            started: runtime::now(),
            turn: AtomicU64::new(0),
            roots: AtomicUsize::new(0),
            holds_back: AtomicBool::new(false),
            acknowledges,
            private,
        });
        // It was never kept as it is.
        let is_due = shared.is_change_due(&shared.lock());
        shared.tell_change(is_due);
        shared
    }

    pub(crate) fn is_private(&self) -> bool {
        self.private
    }

    /// What the session was started with.
    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    /// Queues what has happened to the link, and returns whether anything has. Called under the lock, so that events keep their order;
    /// [`Feed::flush`] is called without it, because that wakes listeners.
    pub(crate) fn tell(&self, state: &mut State) -> bool {
        let mut is_news = false;
        while let Some(event) = state.endpoint.poll_event() {
            self.feed.push(event);
            is_news = true;
        }
        is_news
    }

    /// What happens to the link from now on, to the end of the session.
    pub(crate) fn events(&self) -> broadcast::Receiver<LinkEvent> {
        self.feed.subscribe()
    }

    /// The newest attachment.
    pub(crate) fn turn(&self) -> Attachment {
        Attachment(self.turn.load(Ordering::SeqCst))
    }

    /// Begins the turn of a new transport; that of the one before is over when this returns. Runs
    /// no user code.
    ///
    /// # Errors
    /// As [`Endpoint::attach`].
    pub(crate) fn attach(self: &Arc<Self>, joint: Joint) -> Result<Attached, Refused> {
        self.attach_by(|endpoint, now| endpoint.attach(now, joint))
    }

    /// As [`attach`](Self::attach), however the endpoint begins the turn.
    pub(crate) fn attach_by(
        self: &Arc<Self>,
        attach: impl FnOnce(&mut Endpoint, Time) -> Result<Attached, Refused>,
    ) -> Result<Attached, Refused> {
        let now = self.now();
        let mut state = self.lock();
        let attached = attach(&mut state.endpoint, now)?;
        self.turn.store(attached.attachment.0, Ordering::SeqCst);
        let is_news = self.tell(&mut state);
        let is_due = self.is_change_due(&state);
        drop(state);
        if is_news {
            self.feed.flush();
        }
        self.tell_change(is_due);
        // The driver before has to see it, and the one to come has what waits to be sent.
        self.wake.notify_waiters();
        self.wake.notify_one();
        Ok(attached)
    }

    /// Ends the turn of the transport that a session with a link has, if it has one, as if a newer
    /// one had come. Runs no user code.
    pub(crate) fn supersede(&self, reason: &str) {
        let now = self.now();
        let mut state = self.lock();
        state.endpoint.detach_newest(now, reason);
        self.turn.store(NO_TURN, Ordering::SeqCst);
        let is_news = self.tell(&mut state);
        drop(state);
        if is_news {
            self.feed.flush();
        }
        self.wake.notify_waiters();
        self.wake.notify_one();
    }

    /// The time as the endpoint counts it.
    pub(crate) fn now(&self) -> Time {
        Time(runtime::now().saturating_duration_since(self.started))
    }

    /// A time of the endpoint's on the runtime's clock.
    pub(crate) fn instant(&self, time: Time) -> Instant {
        runtime::after(self.started, time.0)
    }

    /// Whether the peer can acknowledge chunks.
    pub(crate) fn acknowledges(&self) -> bool {
        self.acknowledges
    }

    /// How the session ended, if it has, and how many bytes wait to be sent.
    pub(crate) fn outbound(&self) -> (Option<Closed>, usize) {
        let state = self.lock();
        (state.closed.clone(), state.endpoint.session.transmit_bytes())
    }

    /// A stream of ours was sent to its end.
    pub(crate) fn pump_ended(self: &Arc<Self>) {
        let mut state = self.lock();
        state.pumps -= 1;
        self.leave(state);
    }

    /// Drops the objects of a session that nothing refers to any more. They may hold the last reference
    /// to a session that holds the last one to another, and so on.
    pub(crate) fn drop_targets(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        nesting::drop_flat(std::mem::take(&mut state.targets));
    }

    /// The state, for a moment.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls (`args: Some`) or reads (`None`); the result is held once.
    ///
    /// # Errors
    /// The session is over.
    pub(crate) fn call(
        self: &Arc<Self>,
        of: Ref,
        path: &[Step],
        args: Option<Payload<Cap>>,
        repeat: Repeat,
    ) -> Result<Ref, Closed> {
        let mut state = self.lock();
        if let Some(closed) = &state.closed {
            return Err(closed.clone());
        }
        if state.endpoint.is_overfull() {
            return Err(overflow());
        }
        let mut lowering = self.lowering(&mut state);
        let args = args.map(|args| lowering.lower(args));
        let lowered = lowering.done();
        let result = state.endpoint.session.call(of, path, args);
        if repeat != Repeat::Never {
            state.endpoint.session.mark_idempotent(result);
        }
        self.finish_lowering(state, lowered);
        Ok(result)
    }

    /// Applies a recorded function; the result is held once.
    ///
    /// # Errors
    /// The session is over.
    pub(crate) fn map(
        self: &Arc<Self>,
        of: Ref,
        path: &[Step],
        captures: Vec<Cap>,
        instructions: String,
    ) -> Result<Ref, Closed> {
        let mut state = self.lock();
        if let Some(closed) = &state.closed {
            return Err(closed.clone());
        }
        let mut lowering = self.lowering(&mut state);
        let captures = lowering.lower_all(captures);
        let lowered = lowering.done();
        let result = state.endpoint.session.map(of, path, &captures, instructions);
        self.finish_lowering(state, lowered);
        Ok(result)
    }

    /// Waits for a result or a property of one.
    pub(crate) fn pull(self: &Arc<Self>, of: Ref, path: &[Step]) -> Wait {
        let mut state = self.lock();
        if let Some(closed) = &state.closed {
            return Wait::ready(Ending::Lost(closed.clone()));
        }
        let wait = state.endpoint.session.pull(of, path);
        state.waiters.insert(wait, Waiter::Task(None));
        self.pump(state);
        Wait::pulled(Arc::clone(self), wait)
    }

    /// Gives up a wait. Safe to call while dropping.
    pub(crate) fn forget(self: &Arc<Self>, wait: WaitId) {
        let mut state = self.lock();
        let waiter = state.waiters.remove(wait);
        if waiter.is_some() && state.closed.is_none() {
            state.endpoint.session.forget(wait);
        }
        self.leave(state);
        drop(waiter);
    }

    /// Gives back one hold. Safe to call while dropping.
    pub(crate) fn release(self: &Arc<Self>, of: Ref) {
        let mut state = self.lock();
        if state.closed.is_none() {
            state.endpoint.session.release(of);
        }
        self.leave(state);
    }

    /// Counts a reference to the peer's main object.
    pub(crate) fn add_root(&self) {
        self.roots.fetch_add(1, Ordering::SeqCst);
    }

    /// Gives one back. Safe to call while dropping.
    pub(crate) fn drop_root(self: &Arc<Self>) {
        if self.roots.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.leave(self.lock());
        }
    }

    pub(crate) fn has_roots(&self) -> bool {
        self.roots.load(Ordering::SeqCst) > 0
    }

    /// One message or other event, and all that follows from it; false once the session is over.
    pub(crate) fn input(self: &Arc<Self>, input: impl FnOnce(&mut Endpoint)) -> bool {
        self.input_at(Place::Elsewhere, input)
    }

    /// Hands the endpoint an input, on the given kind of thread.
    pub(crate) fn input_at(self: &Arc<Self>, place: Place, input: impl FnOnce(&mut Endpoint)) -> bool {
        let mut state = self.lock();
        input(&mut state.endpoint);
        let is_open = !state.endpoint.session.is_closed();
        let is_due = self.is_change_due(&state);
        if self.carry_out(state, place) {
            self.wake.notify_one();
        }
        self.tell_change(is_due);
        is_open
    }

    /// After something that may not run user code: the driver does what is to be done. A
    /// private session has no driver; there, it is the caller's own objects that are called.
    fn leave(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        if self.private {
            return self.pump(state);
        }
        state.endpoint.mark_changed();
        let is_due = self.is_change_due(&state);
        let is_wanted = state.has_to_send()
            || state.endpoint.session.has_work()
            || state.endpoint.session.has_output()
            || state.endpoint.session.is_closed()
            || self.may_be_at_rest(&state);
        // Without a transport there is no driver to look.
        let told = self.at_rest(&mut state);
        drop(state);
        self.tell_change(is_due);
        if let Some(told) = told {
            told.tell();
        }
        if is_wanted {
            self.wake.notify_one();
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.private { "private" } else { "wired" };
        write!(f, "Shared({kind})")
    }
}
