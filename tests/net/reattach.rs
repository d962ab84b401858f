//! Replacing the client process. A process is simulated by a runtime, and its end by the end of all tasks of
//! that runtime.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bowline::durable::Restorers;
use bowline::error::{ConnectError, Never};
use bowline::{ErrorCode, Session};
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::harness::within;
use crate::restart::{Bell, BellRef, CounterRef, DeskRef, Process, Site, code, kept};

/// The disk of a client, which its processes share.
#[derive(Clone, Default)]
struct Disk {
    bytes: Arc<Mutex<Vec<u8>>>,
    writes: Arc<AtomicUsize>,
    is_full: Arc<AtomicBool>,
    stalls: Arc<AtomicBool>,
}

impl Disk {
    async fn write(self, bytes: Vec<u8>) -> io::Result<()> {
        if self.stalls.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        if self.is_full.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        *self.bytes.lock().unwrap() = bytes;
        self.writes.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn read(&self) -> Vec<u8> {
        self.bytes.lock().unwrap().clone()
    }
}

/// An object of the client, which forwards rings to the test.
#[bowline::durable(restorer = "ear", version = 1)]
struct Ear {
    name: String,
    #[durable(skip)]
    tell: UnboundedSender<(String, u64)>,
}

impl Bell for Ear {
    async fn ring(&self, n: u64) -> Result<(), Never> {
        self.tell.send((self.name.clone(), n)).expect("the test receives rings");
        Ok(())
    }
}

/// A client process.
struct Program {
    runtime: Option<Runtime>,
    session: Session,
    desk: DeskRef,
}

impl Program {
    async fn start(server: &Process, disk: &Disk, tell: &UnboundedSender<(String, u64)>) -> Result<Self, ConnectError> {
        let (disk, saved) = (disk.clone(), disk.read());
        let ears =
            Ear::restorer(tell.clone(), |_ctx, params, tell| async move { Ok(BellRef::durable(params.restore(tell))) });
        let mut connect = Session::builder(format!("ws://{}", server.address))
            .restorers(Restorers::new().with(ears))
            .save(move |bytes| disk.clone().write(bytes));
        if !saved.is_empty() {
            connect = connect.reattach(saved);
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let session = runtime.spawn(connect.connect()).await.unwrap();
        match session {
            Ok(session) => {
                let desk = session.root();
                Ok(Self { runtime: Some(runtime), session, desk })
            }
            Err(error) => {
                runtime.shutdown_background();
                Err(error)
            }
        }
    }

    fn kill(mut self) {
        self.runtime.take().unwrap().shutdown_background();
    }

    async fn add(&self, name: &str, n: u64) -> u64 {
        let counter: CounterRef = self.session.kept(name).expect("the reference was kept");
        within(counter.add(n).into_future()).await.unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[tokio::test]
async fn restarted_client_finds_its_kept_references() {
    let (site, disk, (tell, mut told)) = (Site::new(), Disk::default(), unbounded_channel());
    let server = site.start(None);
    let first = Program::start(&server, &disk, &tell).await.unwrap();
    let id = first.session.server().unwrap().session_id.clone();
    let counter = within(first.desk.counter("a").into_future()).await.unwrap();
    let fleeting = within(first.desk.fleeting().into_future()).await.unwrap();
    let ear = BellRef::durable(Ear { name: "left".to_owned(), tell: tell.clone() });
    within(first.desk.hang_up(ear).into_future()).await.unwrap();
    assert_eq!(within(first.desk.ring(1).into_future()).await.unwrap(), None);
    within(first.desk.note("there").into_future()).await.unwrap();
    assert_eq!(within(counter.add(2).into_future()).await.unwrap(), 2);
    let _hangs = tokio::spawn(first.desk.hang().into_future());
    let hangs = async {
        while site.world.entered("hang") == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within(hangs).await;
    first.session.keep("counter", &counter).unwrap();
    first.session.keep("fleeting", &fleeting).unwrap();
    within(first.session.save()).await.unwrap();
    first.kill();

    let second = Program::start(&server, &disk, &tell).await.unwrap();
    assert_eq!(second.session.server().unwrap().session_id, id);
    assert_eq!(second.session.kept_names(), ["counter", "fleeting"]);
    assert_eq!(second.add("counter", 3).await, 5);
    // The server process is the same, so its object needs no recipe.
    assert_eq!(second.add("fleeting", 4).await, 4);
    assert_eq!(within(second.desk.noted().into_future()).await.unwrap().as_deref(), Some("there"));
    assert_eq!(within(second.desk.ring(2).into_future()).await.unwrap(), None);
    assert_eq!(within(told.recv()).await, Some(("left".to_owned(), 1)));
    assert_eq!(within(told.recv()).await, Some(("left".to_owned(), 2)));
    let listed = within(second.session.list().next_page()).await.unwrap().expect("a page");
    let objects: Vec<_> = listed.iter().filter(|object| object.id < 0).collect();
    assert_eq!(objects.len(), 2, "references that were not kept must be released: {objects:?}");
    assert_eq!(site.world.entered("hang"), 1, "the call of the first process ran again");
}

#[tokio::test]
async fn client_objects_without_a_recipe_are_lost_to_the_server() {
    let (site, disk, (tell, _told)) = (Site::new(), Disk::default(), unbounded_channel());
    let server = site.start(None);
    let first = Program::start(&server, &disk, &tell).await.unwrap();
    let ear = BellRef::new(Ear { name: "right".to_owned(), tell: tell.clone() });
    within(first.desk.hang_up(ear).into_future()).await.unwrap();
    within(first.session.save()).await.unwrap();
    first.kill();
    let second = Program::start(&server, &disk, &tell).await.unwrap();
    let rung = within(second.desk.ring(1).into_future()).await.unwrap();
    assert_eq!(rung, Some(ErrorCode::CapabilityLost));
}

#[tokio::test]
async fn client_and_server_can_both_restart() {
    let (site, disk, (tell, _told)) = (Site::new(), Disk::default(), unbounded_channel());
    let first_server = site.start(None);
    let first = Program::start(&first_server, &disk, &tell).await.unwrap();
    let counter = within(first.desk.counter("a").into_future()).await.unwrap();
    let fleeting = within(first.desk.fleeting().into_future()).await.unwrap();
    within(first.desk.note("there").into_future()).await.unwrap();
    first.session.keep("counter", &counter).unwrap();
    first.session.keep("fleeting", &fleeting).unwrap();
    within(first.session.save()).await.unwrap();
    kept(&first_server).await;
    first.kill();
    let address = first_server.kill();

    let second_server = site.start(Some(address));
    let second = Program::start(&second_server, &disk, &tell).await.unwrap();
    assert_eq!(second.add("counter", 3).await, 3);
    let fleeting: CounterRef = second.session.kept("fleeting").unwrap();
    assert_eq!(code(within(fleeting.add(1).into_future()).await), ErrorCode::CapabilityLost);
    assert_eq!(within(second.desk.noted().into_future()).await.unwrap().as_deref(), Some("there"));
    assert_eq!(within(second.desk.once().into_future()).await.unwrap(), 1, "the call was mistaken for an earlier one");
}

#[tokio::test]
async fn session_survives_alternating_restarts_of_client_and_server() {
    let (site, disk, (tell, mut told)) = (Site::new(), Disk::default(), unbounded_channel());
    let mut server = site.start(None);
    let mut program = Program::start(&server, &disk, &tell).await.unwrap();
    let id = program.session.server().unwrap().session_id.clone();
    let counter = within(program.desk.counter("a").into_future()).await.unwrap();
    program.session.keep("counter", &counter).unwrap();
    drop(counter);
    within(program.session.save()).await.unwrap();
    for n in 1..=8_u64 {
        assert_eq!(program.add("counter", 1).await, n);
        let ear = BellRef::durable(Ear { name: n.to_string(), tell: tell.clone() });
        within(program.desk.hang_up(ear).into_future()).await.unwrap();
        assert_eq!(within(program.desk.ring(n).into_future()).await.unwrap(), None);
        assert_eq!(within(told.recv()).await, Some((n.to_string(), n)));
        if n % 2 == 0 {
            kept(&server).await;
            let address = server.kill();
            server = site.start(Some(address));
        }
        if n % 3 != 0 {
            program.kill();
            program = Program::start(&server, &disk, &tell).await.unwrap();
        }
        assert_eq!(program.session.server().unwrap().session_id, id);
    }
}

#[tokio::test]
async fn session_that_could_not_be_saved_reattaches_from_its_last_save() {
    for stalls in [false, true] {
        let (site, disk, (tell, _told)) = (Site::new(), Disk::default(), unbounded_channel());
        let server = site.start(None);
        let first = Program::start(&server, &disk, &tell).await.unwrap();
        let counter = within(first.desk.counter("a").into_future()).await.unwrap();
        first.session.keep("counter", &counter).unwrap();
        within(first.session.save()).await.unwrap();
        if stalls { &disk.stalls } else { &disk.is_full }.store(true, Ordering::SeqCst);
        if !stalls {
            assert_eq!(within(first.session.save()).await.unwrap_err().kind(), io::ErrorKind::StorageFull);
        }
        // The server takes checkpoints whose tokens reach the client but are not saved.
        for n in 1..=10 {
            assert_eq!(within(counter.add(1).into_future()).await.unwrap(), n);
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        first.kill();
        disk.stalls.store(false, Ordering::SeqCst);
        disk.is_full.store(false, Ordering::SeqCst);
        let second = Program::start(&server, &disk, &tell).await.unwrap();
        assert_eq!(second.add("counter", 1).await, 11);
    }
}

#[tokio::test]
async fn exports_right_after_a_reattach_are_not_released() {
    let (site, disk, (tell, mut told)) = (Site::new(), Disk::default(), unbounded_channel());
    let server = site.start(None);
    let mut program = Program::start(&server, &disk, &tell).await.unwrap();
    for n in 1..=10 {
        program.kill();
        program = Program::start(&server, &disk, &tell).await.unwrap();
        // Both are sent in one write, with the first messages of this process.
        let hung = program.desk.hang_up(BellRef::new(Ear { name: "new".to_owned(), tell: tell.clone() }));
        let rung = program.desk.ring(n);
        within(hung.into_future()).await.unwrap();
        assert_eq!(within(rung.into_future()).await.unwrap(), None);
        assert_eq!(within(told.recv()).await, Some(("new".to_owned(), n)));
    }
}

#[tokio::test]
async fn second_process_takes_over_the_session() {
    let (site, disk, (tell, _told)) = (Site::new(), Disk::default(), unbounded_channel());
    let server = site.start(None);
    let first = Program::start(&server, &disk, &tell).await.unwrap();
    let early = disk.read();
    let second = Program::start(&server, &disk, &tell).await.unwrap();
    let closed = within(first.session.closed()).await;
    assert_eq!(closed.code(), Some(ErrorCode::SessionTakenOver));
    within(second.desk.note("mine").into_future()).await.unwrap();
    let latecomer = Disk { bytes: Arc::new(Mutex::new(early)), ..Disk::default() };
    let refused = Program::start(&server, &latecomer, &tell).await.err().expect("the saved token is outdated");
    assert!(matches!(&refused, ConnectError::Rejected { code: ErrorCode::ResumeTokenReplayed, .. }), "{refused:?}");
    assert_eq!(within(second.desk.noted().into_future()).await.unwrap().as_deref(), Some("mine"));
}

#[tokio::test]
async fn invalid_saved_session_is_refused() {
    let (site, (tell, _told)) = (Site::new(), unbounded_channel());
    let server = site.start(None);
    for bytes in [&b"x"[..], b"{}", b"{\"v\":2}"] {
        let disk = Disk { bytes: Arc::new(Mutex::new(bytes.to_vec())), ..Disk::default() };
        let refused = Program::start(&server, &disk, &tell).await.err().expect("the bytes are invalid");
        assert!(matches!(&refused, ConnectError::Saved(_)), "{refused:?}");
    }
    let disk = Disk::default();
    let first = Program::start(&server, &disk, &tell).await.unwrap();
    let id = first.session.server().unwrap().session_id.clone();
    assert!(server.service.evict(&id, &ErrorCode::PermissionDenied, "enough"));
    let refused = Program::start(&server, &disk, &tell).await.err().expect("the session has ended");
    assert!(matches!(&refused, ConnectError::Rejected { code: ErrorCode::ResumeWindowExpired, .. }), "{refused:?}");
}

#[tokio::test]
async fn idle_session_is_not_saved_again() {
    let (site, disk, (tell, _told)) = (Site::new(), Disk::default(), unbounded_channel());
    let server = site.start(None);
    let program = Program::start(&server, &disk, &tell).await.unwrap();
    let counter = within(program.desk.counter("a").into_future()).await.unwrap();
    let saved = async {
        while disk.writes.load(Ordering::SeqCst) < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within(saved).await;
    // Waits until later writes that the call causes are done.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let before = disk.writes.load(Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(disk.writes.load(Ordering::SeqCst), before);
    drop(counter);
    let given_back = async {
        while disk.writes.load(Ordering::SeqCst) == before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within(given_back).await;
}
