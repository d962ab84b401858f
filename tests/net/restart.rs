//! Replacing the server process. A process is simulated by a runtime, and its end by the end of all tasks of
//! that runtime.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bowline::auth::{Key, KeyRing};
use bowline::durable::RestoreError;
use bowline::error::Never;
use bowline::link::LinkEvent;
use bowline::store::{MemoryStore, SessionStore};
use bowline::{CallError, ErrorCode, Func, Peer, Recovery, Resumption, Service, Session};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::harness::within;

/// What all processes of a test share: the data of the application, and whether access is forbidden.
#[derive(Default)]
pub(crate) struct World {
    counts: Mutex<BTreeMap<String, u64>>,
    forbidden: Mutex<bool>,
    entered: Mutex<Vec<String>>,
    pub(crate) bell: Mutex<Option<BellRef>>,
}

impl World {
    fn enter(&self, what: &str) {
        self.entered.lock().unwrap().push(what.to_owned());
    }

    pub(crate) fn counted(&self, name: &str) -> u64 {
        self.counts.lock().unwrap().get(name).copied().unwrap_or_default()
    }

    pub(crate) fn entered(&self, what: &str) -> usize {
        self.entered.lock().unwrap().iter().filter(|entered| *entered == what).count()
    }
}

#[bowline::interface]
pub(crate) trait Desk {
    async fn counter(&self, name: String) -> CounterRef;
    async fn fleeting(&self) -> CounterRef;
    async fn hang(&self) -> Result<(), Never>;
    #[rpc(idempotent)]
    async fn patient(&self) -> Result<u64, Never>;
    #[rpc(recorded)]
    async fn once(&self) -> Result<u64, Never>;
    async fn bell(&self, ring: Func<u64, ()>) -> BellRef;
    async fn ask(&self, answer: Func<u32, u32>) -> Result<u32, Never>;
    async fn note(&self, text: String) -> Result<(), Never>;
    async fn noted(&self) -> Result<Option<String>, Never>;
    async fn hang_up(&self, bell: BellRef) -> Result<(), Never>;
    async fn ring(&self, n: u64) -> Result<Option<ErrorCode>, Never>;
}

#[bowline::interface]
pub(crate) trait Counter {
    async fn add(&self, n: u64) -> Result<u64, Never>;
}

#[bowline::interface]
pub(crate) trait Bell {
    async fn ring(&self, n: u64) -> Result<(), Never>;
}

struct Front {
    world: Arc<World>,
    peer: Peer,
}

#[bowline::durable(restorer = "counter", version = 1)]
struct Stored {
    name: String,
    #[durable(skip)]
    world: Arc<World>,
}

struct Fleeting;

#[bowline::durable(restorer = "bell", version = 1)]
struct Brass {
    ring: Func<u64, ()>,
}

impl Desk for Front {
    async fn counter(&self, name: String) -> CounterRef {
        CounterRef::durable(Stored { name, world: Arc::clone(&self.world) })
    }
    async fn fleeting(&self) -> CounterRef {
        CounterRef::new(Fleeting)
    }
    async fn hang(&self) -> Result<(), Never> {
        self.world.enter("hang");
        std::future::pending().await
    }
    async fn patient(&self) -> Result<u64, Never> {
        self.world.enter("patient");
        if self.world.entered("patient") == 1 {
            return std::future::pending().await;
        }
        Ok(7)
    }
    async fn once(&self) -> Result<u64, Never> {
        self.world.enter("once");
        Ok(self.world.entered("once") as u64)
    }
    async fn bell(&self, ring: Func<u64, ()>) -> BellRef {
        BellRef::durable(Brass { ring })
    }
    async fn ask(&self, answer: Func<u32, u32>) -> Result<u32, Never> {
        Ok(answer.call(20).await.expect("the callback succeeds"))
    }
    async fn note(&self, text: String) -> Result<(), Never> {
        self.peer.vars.set("note", &text).unwrap();
        Ok(())
    }
    async fn noted(&self) -> Result<Option<String>, Never> {
        Ok(self.peer.vars.get("note").unwrap())
    }
    async fn hang_up(&self, bell: BellRef) -> Result<(), Never> {
        *self.world.bell.lock().unwrap() = Some(bell);
        Ok(())
    }
    async fn ring(&self, n: u64) -> Result<Option<ErrorCode>, Never> {
        let bell = self.world.bell.lock().unwrap().clone().expect("a bell was hung up");
        Ok(bell.ring(n).await.err().and_then(|error| error.code()))
    }
}

impl Counter for Stored {
    async fn add(&self, n: u64) -> Result<u64, Never> {
        let mut counts = self.world.counts.lock().unwrap();
        let count = counts.entry(self.name.clone()).or_default();
        *count += n;
        Ok(*count)
    }
}

impl Counter for Fleeting {
    async fn add(&self, n: u64) -> Result<u64, Never> {
        Ok(n)
    }
}

impl Bell for Brass {
    async fn ring(&self, n: u64) -> Result<(), Never> {
        self.ring.call(n).await.ok();
        Ok(())
    }
}

/// A server process.
pub(crate) struct Process {
    runtime: Option<Runtime>,
    pub(crate) service: Service,
    pub(crate) address: SocketAddr,
}

pub(crate) struct Site {
    pub(crate) world: Arc<World>,
    pub(crate) store: Arc<dyn SessionStore>,
    pub(crate) tune: fn(&mut Resumption, &mut Recovery),
}

impl Site {
    pub(crate) fn new() -> Self {
        Self { world: Arc::default(), store: Arc::new(MemoryStore::new()), tune: |_, _| {} }
    }

    pub(crate) fn start(&self, at: Option<SocketAddr>) -> Process {
        self.start_with(at, |recovery| recovery)
    }

    pub(crate) fn start_with(&self, at: Option<SocketAddr>, adjust: impl FnOnce(Recovery) -> Recovery) -> Process {
        let mut resumption = Resumption::default();
        resumption.keys = KeyRing::new(Key::new("test", &[7; 32]).unwrap()).into();
        let counter = Stored::restorer(Arc::clone(&self.world), |_ctx, params, world| async move {
            if *world.forbidden.lock().unwrap() {
                return Err(RestoreError::PermissionDenied.into());
            }
            Ok(CounterRef::durable(params.restore(world)))
        });
        let bell = Brass::restorer((), |_ctx, params, ()| async move { Ok(BellRef::durable(params.restore())) });
        let mut recovery = Recovery::in_shared_store(Arc::clone(&self.store)).restorer(counter).restorer(bell);
        recovery.idle = Duration::from_millis(20);
        recovery.latest = Duration::from_millis(50);
        recovery.lease = Duration::from_millis(1_500);
        (self.tune)(&mut resumption, &mut recovery);
        let recovery = adjust(recovery);
        let world = Arc::clone(&self.world);
        let service = Service::new(move |peer| DeskRef::new(Front { world: Arc::clone(&world), peer }));
        let service = service.resumption(resumption).recovery(recovery);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let at = at.unwrap_or_else(|| "127.0.0.1:0".parse().unwrap());
        // The previous process may take a moment to release the port.
        let listener = (0..200).find_map(|_| {
            let bound = std::net::TcpListener::bind(at).ok();
            bound.or_else(|| {
                std::thread::sleep(Duration::from_millis(10));
                None
            })
        });
        let listener = listener.expect("the port is free");
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let serving = service.clone();
        runtime.spawn(async move { serving.serve(TcpListener::from_std(listener).unwrap()).await });
        Process { runtime: Some(runtime), service, address }
    }
}

impl Process {
    /// Spawns a task that ends with the process.
    pub(crate) fn spawn<F>(&self, task: F) -> tokio::task::JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.runtime.as_ref().expect("the process is running").spawn(task)
    }

    /// Stops all tasks of the process at once, and returns its address.
    pub(crate) fn kill(mut self) -> SocketAddr {
        self.runtime.take().unwrap().shutdown_background();
        self.address
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

pub(crate) async fn connect(process: &Process) -> (Session, DeskRef) {
    let session = within(bowline::connect(format!("ws://{}", process.address))).await.unwrap();
    let desk = session.root();
    (session, desk)
}

/// Waits for the next event other than `Detached`.
pub(crate) async fn restored(events: &mut bowline::link::LinkEvents) -> LinkEvent {
    loop {
        match within(events.next()).await.expect("the session is open") {
            LinkEvent::Detached { .. } => {}
            event => return event,
        }
    }
}

/// Stores the sessions of the process, and waits until their clients have acknowledged that.
pub(crate) async fn kept(process: &Process) {
    let service = process.service.clone();
    let keeping = process.runtime.as_ref().unwrap().spawn(async move { service.checkpoint().await });
    within(keeping).await.unwrap();
}

pub(crate) fn code<T: std::fmt::Debug, E: bowline::RpcError + std::fmt::Debug>(
    result: Result<T, CallError<E>>,
) -> ErrorCode {
    let error = result.expect_err("the call fails");
    error.code().unwrap_or_else(|| panic!("{error:?} has no code"))
}

#[tokio::test]
async fn durable_objects_survive_a_crash_and_others_are_lost() {
    let site = Site::new();
    let first = site.start(None);
    let (session, desk) = connect(&first).await;
    let mut events = session.events();
    let counter = within(desk.counter("a").into_future()).await.unwrap();
    assert_eq!(within(counter.add(2).into_future()).await.unwrap(), 2);
    let fleeting = within(desk.fleeting().into_future()).await.unwrap();
    within(desk.note("kept").into_future()).await.unwrap();
    let breaking = bowline::Reference::stub(&fleeting).clone();
    let breaks = tokio::spawn(async move { breaking.broken().await });
    kept(&first).await;
    let address = first.kill();
    let _second = site.start(Some(address));
    let event = restored(&mut events).await;
    assert!(matches!(event, LinkEvent::Recovered { lost: 1, .. }), "{event:?}");
    assert_eq!(within(counter.add(3).into_future()).await.unwrap(), 5);
    assert_eq!(code(within(fleeting.add(1).into_future()).await), ErrorCode::CapabilityLost);
    assert_eq!(within(breaks).await.unwrap().code(), Some(ErrorCode::CapabilityLost));
    assert_eq!(within(desk.noted().into_future()).await.unwrap().as_deref(), Some("kept"));
    within(session.close()).await;
}

#[tokio::test]
async fn running_calls_have_unknown_outcome_unless_they_are_idempotent() {
    let site = Site::new();
    let first = site.start(None);
    let (session, desk) = connect(&first).await;
    let hangs = tokio::spawn(desk.hang().into_future());
    let patient = tokio::spawn(desk.patient().into_future());
    let begun = async {
        while site.world.entered("hang") + site.world.entered("patient") < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within(begun).await;
    kept(&first).await;
    let address = first.kill();
    let _second = site.start(Some(address));
    assert_eq!(code(within(hangs).await.unwrap()), ErrorCode::CallOutcomeUnknown);
    assert_eq!(within(patient).await.unwrap().unwrap(), 7);
    assert_eq!((site.world.entered("hang"), site.world.entered("patient")), (1, 2));
    within(session.close()).await;
}

#[tokio::test]
async fn restored_object_calls_the_callback_of_the_client() {
    let site = Site::new();
    let first = site.start(None);
    let (session, desk) = connect(&first).await;
    let mut events = session.events();
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let ring = Func::new(move |n: u64| {
        let tell = tell.clone();
        async move { tell.send(n).expect("the test receives rings") }
    });
    let bell = within(desk.bell(ring).into_future()).await.unwrap();
    within(bell.ring(1).into_future()).await.unwrap();
    kept(&first).await;
    let address = first.kill();
    let _second = site.start(Some(address));
    restored(&mut events).await;
    within(bell.ring(2).into_future()).await.unwrap();
    assert_eq!((within(told.recv()).await, within(told.recv()).await), (Some(1), Some(2)));
}

#[tokio::test]
async fn revoked_permissions_apply_after_recovery() {
    let site = Site::new();
    let first = site.start(None);
    let (session, desk) = connect(&first).await;
    let mut events = session.events();
    let counter = within(desk.counter("a").into_future()).await.unwrap();
    kept(&first).await;
    *site.world.forbidden.lock().unwrap() = true;
    let address = first.kill();
    let _second = site.start(Some(address));
    restored(&mut events).await;
    assert_eq!(code(within(counter.add(1).into_future()).await), ErrorCode::PermissionDenied);
    assert!(site.world.counts.lock().unwrap().is_empty());
}

#[tokio::test]
async fn drained_server_hands_its_sessions_to_the_next() {
    let site = Site::new();
    let first = site.start(None);
    let (session, desk) = connect(&first).await;
    let mut events = session.events();
    let counter = within(desk.counter("a").into_future()).await.unwrap();
    assert_eq!(within(counter.add(1).into_future()).await.unwrap(), 1);
    let service = first.service.clone();
    let draining = first.runtime.as_ref().unwrap().spawn(async move { service.drain(Duration::from_secs(2)).await });
    within(draining).await.unwrap();
    let address = first.kill();
    let _second = site.start(Some(address));
    restored(&mut events).await;
    assert_eq!(within(counter.add(1).into_future()).await.unwrap(), 2);
}

#[tokio::test]
async fn root_object_survives_a_crash_before_the_first_checkpoint() {
    let site = Site::new();
    let first = site.start(None);
    let (session, desk) = connect(&first).await;
    let mut events = session.events();
    let address = first.kill();
    let _second = site.start(Some(address));
    restored(&mut events).await;
    let counter = desk.counter("a");
    assert_eq!(within(counter.add(4).into_future()).await.unwrap(), 4);
}

#[tokio::test]
async fn session_survives_many_crashes() {
    let site = Site::new();
    let mut process = site.start(None);
    let (session, desk) = connect(&process).await;
    let mut events = session.events();
    let counter = within(desk.counter("a").into_future()).await.unwrap();
    for n in 1..=5 {
        assert_eq!(within(counter.add(1).into_future()).await.unwrap(), n);
        kept(&process).await;
        let address = process.kill();
        process = site.start(Some(address));
        restored(&mut events).await;
    }
}

#[tokio::test]
async fn session_without_a_store_is_recovered_from_its_token() {
    let mut site = Site::new();
    site.tune = |_, recovery| {
        let mut unfenced = Recovery::in_tokens_unfenced();
        std::mem::swap(recovery, &mut unfenced);
        recovery.idle = Duration::from_millis(20);
        recovery.latest = Duration::from_millis(50);
    };
    let first = site.start(None);
    let (session, desk) = connect(&first).await;
    let mut events = session.events();
    within(desk.note("in the token").into_future()).await.unwrap();
    kept(&first).await;
    let address = first.kill();
    let _second = site.start(Some(address));
    restored(&mut events).await;
    assert_eq!(within(desk.noted().into_future()).await.unwrap().as_deref(), Some("in the token"));
}

#[tokio::test]
async fn callback_dropped_in_an_idle_session_is_released() {
    let site = Site::new();
    let server = site.start(None);
    let (session, desk) = connect(&server).await;
    let ring = Func::new(|_: u64| std::future::ready(()));
    within(desk.hang_up(BellRef::new(Brass { ring })).into_future()).await.unwrap();
    kept(&server).await;
    assert_eq!(session.stats().exports, 2);
    drop(site.world.bell.lock().unwrap().take());
    let given_back = async {
        while session.stats().exports > 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within(given_back).await;
}
