//! A running session: the endpoint behind a short lock, and the objects and waiters of its ids.
//!
//! While the lock is held, no user code runs, no user object is dropped, and nothing is awaited. Outputs
//! of the session are read in `jobs` and carried out in `outputs`. Deliveries, and the conversion of references
//! into ids, are in `reference`.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::{Notify, broadcast};

use crate::endpoint::{Attach, Attached, Endpoint, LinkEvent};
use crate::id::{PromiseId, TargetId, WaitId};
use crate::limits::Limits;
use crate::link::{Attachment, Features, LinkRules, Refused, Role};
use crate::peer::host::dormant::Dormant;
use crate::peer::host::events::Feed;
use crate::peer::host::jobs::Job;
use crate::peer::host::memory::Reported;
use crate::peer::host::nesting;
use crate::peer::host::outputs::Place;
use crate::peer::host::quiescence::Rest;
use crate::peer::host::settings::Settings;
use crate::peer::host::target::{Call, Entry};
use crate::peer::host::wait::{Ending, Wait, Waiter};
use crate::peer::runtime::{self, Host, Instant, Task};
use crate::session::{CloseReason, Ref, Session, Step, Table};
use crate::time::Time;

/// A session and its surroundings.
pub(crate) struct Shared {
    state: Mutex<State>,
    /// Notified when the driver has something to send or to carry out.
    pub(crate) wake: Notify,
    /// The reason that the session ended, set once everything that ends with it has ended.
    pub(crate) ended: OnceLock<CloseReason>,
    /// Notified when `ended` is set.
    pub(crate) is_over: Notify,
    /// Notified when there is a change that a checkpoint would store.
    pub(crate) changed: Notify,
    /// Notified when the session needs a checkpoint at once.
    pub(crate) urgent: Notify,
    /// Notified when the link needs its owner, for example with a token to store or a drain to start.
    pub(crate) asked: Notify,
    /// Notified when messages were sent or the session ended. Streams wait for it.
    pub(crate) room: Notify,
    /// The newest attachment.
    turn: AtomicU64,
    /// The number of references to the peer's main object, which the session does not count.
    roots: AtomicUsize,
    /// Whether calls wait for a place, or got one and have not begun. Further calls queue behind them.
    pub(crate) holds_back: AtomicBool,
    pub(crate) feed: Feed,
    settings: Settings,
    /// The origin of the endpoint's clock.
    started: Instant,
    kind: SessionKind,
}

/// What carries a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionKind {
    Connected,
    /// A batch, over which the peer cannot acknowledge chunks.
    Batch,
    /// Nothing: this is the session of a local object or promise, and its callers run it.
    Private,
}

impl State {
    /// Returns `true` if there is something to send that the driver does not know of.
    pub(crate) fn has_to_send(&self) -> bool {
        self.endpoint.has_transmit() && !(self.postpones && self.endpoint.may_wait())
    }

    /// Returns `true` if there are outputs to carry out.
    pub(crate) fn has_jobs(&self) -> bool {
        self.endpoint.session.has_output() || !self.deferred.is_empty()
    }
}

/// The state behind the lock.
pub(crate) struct State {
    pub(crate) endpoint: Endpoint,
    pub(crate) targets: Table<TargetId, Entry>,
    /// Deliveries that did not complete at their first poll. The thread that removes an entry settles it. The
    /// task is `None` if it cannot be aborted: for a detached method, and between start and registration.
    pub(crate) running: Table<PromiseId, Option<Task>>,
    pub(crate) closed: Option<Box<CloseReason>>,
    pub(crate) waiters: Table<WaitId, Waiter>,
    /// The number of streams being sent.
    pub(crate) pumps: usize,
    /// Waits for the session to become idle. Allocated only while there are any.
    pub(crate) rest: Option<Box<Rest>>,
    /// The list of jobs between its uses, to reuse its memory.
    pub(crate) spare: Vec<Job>,
    /// Jobs that come before the next outputs of the session.
    pub(crate) deferred: Vec<Job>,
    /// The durable local objects that the session exports, by address.
    #[expect(
        clippy::box_collection,
        reason = "most sessions have no durable objects, and an empty map takes 48 bytes"
    )]
    pub(crate) durable_targets: Option<Box<HashMap<usize, TargetId>>>,
    /// Objects from another process that have not been restored.
    pub(crate) dormant: Dormant,
    /// Whether the driver has releases or an ack to send and is delaying them.
    pub(crate) postpones: bool,
    /// What the session has reported to its memory budget.
    pub(crate) reported: Reported,
    /// Calls that wait for a place among the calls of all sessions.
    #[expect(clippy::box_collection, reason = "calls rarely wait for a place")]
    pub(crate) held_back: Option<Box<VecDeque<Call>>>,
    /// Whether the session is queued for a place.
    pub(crate) is_queued: bool,
    /// The runtime of the newest driver, or the one on which the session was created.
    pub(crate) host: Option<Host>,
    /// The transport whose driver is running. The driver is woken for deliveries.
    pub(crate) driver: Option<Attachment>,
    /// Where outputs are being carried out. Only one thread does so at a time, or calls could overtake
    /// each other.
    pub(crate) pumping: Option<Place>,
}

/// The attachment while there is no transport.
const NO_TURN: u64 = u64::MAX;

impl Shared {
    /// Creates a plain session, which ends with its connection.
    pub(crate) fn wired(settings: Settings, main: Option<Entry>, kind: SessionKind) -> Arc<Self> {
        let endpoint = Endpoint::plain(settings.limits.clone(), main.is_some());
        Self::new(endpoint, settings, main, kind)
    }

    /// Creates a session with a link. It has no transport yet.
    pub(crate) fn linked(settings: Settings, main: Option<Entry>, role: Role, rules: LinkRules) -> Arc<Self> {
        let endpoint = Endpoint::linked(settings.limits.clone(), main.is_some(), role, rules);
        Self::new(endpoint, settings, main, SessionKind::Connected)
    }

    /// Creates a session without a transport. Its peer is its own caller, so nothing is bounded.
    pub(crate) fn private(main: Option<Entry>) -> Arc<Self> {
        let limits = Limits {
            running_calls: usize::MAX / 4,
            table_entries: usize::MAX / 4,
            held_bytes: usize::MAX / 4,
            work_bytes: usize::MAX / 4,
            ..Limits::default()
        };
        Self::new(Endpoint::plain(limits, main.is_some()), Settings::default(), main, SessionKind::Private)
    }

    pub(crate) fn new(endpoint: Endpoint, settings: Settings, main: Option<Entry>, kind: SessionKind) -> Arc<Self> {
        let mut endpoint = endpoint;
        if kind != SessionKind::Private {
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
                durable_targets: None,
                dormant: Dormant::default(),
                postpones: false,
                reported: Reported::default(),
                held_back: None,
                is_queued: false,
                host: if kind == SessionKind::Private { None } else { Host::current() },
                driver: None,
                pumping: None,
            }),
            wake: Notify::new(),
            ended: OnceLock::new(),
            is_over: Notify::new(),
            changed: Notify::new(),
            urgent: Notify::new(),
            asked: Notify::new(),
            room: Notify::new(),
            feed: Feed::default(),
            settings,
            started: runtime::now(),
            turn: AtomicU64::new(0),
            roots: AtomicUsize::new(0),
            holds_back: AtomicBool::new(false),
            kind,
        });
        // A new session has no checkpoint yet.
        let is_due = shared.is_change_due(&shared.lock());
        shared.notify_changed(is_due);
        shared
    }

    pub(crate) fn is_private(&self) -> bool {
        self.kind == SessionKind::Private
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Queues the events of the link, and returns `true` if there were any. Called under the lock, so that
    /// events keep their order. [`Feed::flush`] is called without it, because it wakes listeners.
    pub(crate) fn queue_events(&self, state: &mut State) -> bool {
        let mut is_news = false;
        while let Some(event) = state.endpoint.poll_event() {
            self.feed.push(event);
            is_news = true;
        }
        is_news
    }

    /// Returns the events of the link from now on, until the session ends.
    pub(crate) fn events(&self) -> broadcast::Receiver<LinkEvent> {
        self.feed.subscribe()
    }

    /// Returns the newest attachment.
    pub(crate) fn turn(&self) -> Attachment {
        Attachment(self.turn.load(Ordering::SeqCst))
    }

    /// Attaches a new transport. The previous one is superseded when this returns. Runs no user code.
    ///
    /// # Errors
    /// Those of [`Endpoint::attach`].
    pub(crate) fn attach(self: &Arc<Self>, features: Features, how: Attach<'_>) -> Result<Attached, Refused> {
        let now = self.now();
        let mut state = self.lock();
        let attached = state.endpoint.attach(now, features, how)?;
        self.turn.store(attached.attachment.0, Ordering::SeqCst);
        let is_news = self.queue_events(&mut state);
        let is_due = self.is_change_due(&state);
        drop(state);
        if is_news {
            self.feed.flush();
        }
        self.notify_changed(is_due);
        // The previous driver has to notice, and the next one sends what waits to be sent.
        self.wake.notify_waiters();
        self.wake.notify_one();
        Ok(attached)
    }

    /// Detaches the current transport, if any, as if a newer one had been attached. Runs no user code.
    pub(crate) fn supersede(&self, reason: &str) {
        let mut state = self.lock();
        state.endpoint.detach_newest(reason);
        self.turn.store(NO_TURN, Ordering::SeqCst);
        let is_news = self.queue_events(&mut state);
        drop(state);
        if is_news {
            self.feed.flush();
        }
        self.wake.notify_waiters();
        self.wake.notify_one();
    }

    /// Returns the current time of the endpoint's clock.
    pub(crate) fn now(&self) -> Time {
        Time(runtime::now().saturating_duration_since(self.started))
    }

    /// Converts a time of the endpoint's clock into one of the runtime's clock.
    pub(crate) fn instant(&self, time: Time) -> Instant {
        runtime::after(self.started, time.0)
    }

    /// Returns `true` if the peer can acknowledge chunks.
    pub(crate) fn acknowledges(&self) -> bool {
        self.kind != SessionKind::Batch
    }

    /// Returns the end of the session, if it has ended, and the number of bytes that wait to be sent.
    pub(crate) fn outbound(&self) -> (Option<CloseReason>, usize) {
        let state = self.lock();
        (state.closed.as_deref().cloned(), state.endpoint.session.transmit_bytes())
    }

    /// Records that a stream of this side has been sent to its end.
    pub(crate) fn pump_ended(self: &Arc<Self>) {
        let mut state = self.lock();
        state.pumps -= 1;
        self.notify_driver(state);
    }

    /// Drops the objects of a session to which no references are left. Done iteratively: they may hold the
    /// last reference to a session that holds the last one to a third, and so on.
    pub(crate) fn drop_targets(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        nesting::drop_flat(std::mem::take(&mut state.targets));
    }

    /// Locks the state. Must be held only briefly.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts to wait for a result or a property of one.
    pub(crate) fn pull(self: &Arc<Self>, of: Ref, path: &[Step]) -> Wait {
        let mut state = self.lock();
        if let Some(closed) = state.closed.as_deref() {
            return Wait::ready(Ending::Lost(closed.clone()));
        }
        let wait = state.endpoint.session.pull(of, path);
        state.waiters.insert(wait, Waiter::Task(None));
        self.after_input(state);
        Wait::pulled(Arc::clone(self), wait)
    }

    /// Cancels a wait. Safe to call while dropping.
    pub(crate) fn forget(self: &Arc<Self>, wait: WaitId) {
        let mut state = self.lock();
        let waiter = state.waiters.remove(wait);
        if waiter.is_some() && state.closed.is_none() {
            state.endpoint.session.forget(wait);
        }
        self.notify_driver(state);
        drop(waiter);
    }

    /// Releases one reference. Safe to call while dropping.
    pub(crate) fn release(self: &Arc<Self>, of: Ref) {
        let mut state = self.lock();
        if state.closed.is_none() {
            state.endpoint.session.release(of);
        }
        self.notify_driver(state);
    }

    /// Adds a reference to the peer's main object.
    pub(crate) fn add_root(&self) {
        self.roots.fetch_add(1, Ordering::SeqCst);
    }

    /// Releases a reference to the peer's main object. Safe to call while dropping.
    pub(crate) fn drop_root(self: &Arc<Self>) {
        if self.roots.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.notify_driver(self.lock());
        }
    }

    pub(crate) fn has_roots(&self) -> bool {
        self.roots.load(Ordering::SeqCst) > 0
    }

    /// Passes an input to the endpoint and carries out its outputs. Returns `false` if the session has
    /// ended.
    pub(crate) fn input(self: &Arc<Self>, input: impl FnOnce(&mut Endpoint)) -> bool {
        let (is_open, is_wanted) = self.input_at(Place::Elsewhere, input);
        if is_wanted {
            self.wake.notify_one();
        }
        is_open
    }

    /// Passes an input to the endpoint, on the given kind of thread. Returns whether the session is open,
    /// and whether the driver has to be woken, which is left to the caller.
    pub(crate) fn input_at(self: &Arc<Self>, place: Place, input: impl FnOnce(&mut Endpoint)) -> (bool, bool) {
        let mut state = self.lock();
        input(&mut state.endpoint);
        let is_open = !state.endpoint.session.is_closed();
        let is_due = self.is_change_due(&state);
        let is_wanted = self.drain_outputs(state, place);
        self.notify_changed(is_due);
        (is_open, is_wanted)
    }

    /// Finishes an operation that must not run user code, such as a drop: the driver carries out the
    /// outputs. A private session has no driver; its outputs call only objects of the caller.
    fn notify_driver(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        if self.is_private() {
            return self.after_input(state);
        }
        state.endpoint.mark_changed();
        let is_due = self.is_change_due(&state);
        let is_wanted = state.has_to_send()
            || state.endpoint.session.has_work()
            || state.endpoint.session.has_output()
            || state.endpoint.session.is_closed()
            || self.may_have_ended_waits(&state);
        // Without a transport there is no driver that would check for rest.
        let ended_waits = self.ended_waits(&mut state);
        drop(state);
        self.notify_changed(is_due);
        if let Some(ended) = ended_waits {
            ended.notify();
        }
        if is_wanted {
            self.wake.notify_one();
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shared({:?})", self.kind)
    }
}
