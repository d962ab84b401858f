//! Clients that call, send and receive streams and drop promises, and the check of what came of it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bowline::link::{LinkEvent, LinkEvents};
use bowline::{Session, connect, stream};
use tokio::task::JoinHandle;

use crate::ledger::{Call, Effects, Ledger, Losses, Outcome, within};
use crate::shop::{AccountRef, ShopRef, write_slowly};

/// No call may take longer, whatever happens.
const PATIENCE: Duration = Duration::from_secs(60);

/// The calls that a client makes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mix {
    /// Callers of each session, each with an object of its own.
    pub(crate) callers: u64,
    /// The longest pause between two calls of a caller.
    pub(crate) pause: Duration,
    /// Whether streams are among them.
    pub(crate) streams: bool,
}

#[derive(Default)]
struct Notes {
    ledger: Ledger,
    next: AtomicU64,
    stop: AtomicBool,
    resumed: AtomicUsize,
    restored: AtomicUsize,
    /// Counts how often the connection was there again.
    returns: AtomicUsize,
    /// Calls answered since it was.
    answered_since: AtomicUsize,
}

/// A session under load.
pub(crate) struct Client {
    pub(crate) session: Session,
    notes: Arc<Notes>,
    callers: Vec<JoinHandle<()>>,
    watching: JoinHandle<()>,
}

/// The sum of a run.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    pub(crate) answered: usize,
    pub(crate) not_awaited: usize,
    pub(crate) unknown: usize,
    pub(crate) not_attempted: usize,
    pub(crate) interrupted: usize,
    pub(crate) resumed: usize,
    pub(crate) restored: usize,
}

impl Client {
    pub(crate) async fn start(url: String, name: String, mix: Mix) -> Self {
        let session = within(PATIENCE, connect(url)).await.unwrap();
        let notes = Arc::new(Notes::default());
        let watching = tokio::spawn(watch(session.events(), Arc::clone(&notes)));
        let shop: ShopRef = session.root();
        let mut callers = Vec::new();
        for caller in 0..mix.callers {
            let name = format!("{name}-{caller}");
            let account = within(PATIENCE, shop.account(name.clone()).into_future()).await.unwrap();
            let caller = Caller { account, name, notes: Arc::clone(&notes) };
            callers.push(tokio::spawn(caller.run(mix)));
        }
        Self { session, notes, callers, watching }
    }

    /// Returns how often the connection was there again.
    pub(crate) fn returns(&self) -> usize {
        self.notes.returns.load(Ordering::SeqCst)
    }

    /// Waits until the connection was there again more often than `before`, and a call was answered since.
    pub(crate) async fn returned(&self, before: usize) {
        let began = Instant::now();
        while self.returns() <= before || self.notes.answered_since.load(Ordering::SeqCst) == 0 {
            let (returns, stats) = (self.returns(), self.session.link_stats());
            assert!(began.elapsed() < PATIENCE, "nothing is answered any more: {returns} after {before}, {stats:?}");
            self.assert_well();
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Makes an idempotent call of its own, and returns how long its answer takes.
    pub(crate) async fn answers_after(&self) -> Duration {
        let began = Instant::now();
        let shop: ShopRef = self.session.root();
        within(PATIENCE, shop.account("probe".to_owned()).into_future()).await.unwrap();
        began.elapsed()
    }

    /// Panics if one of the tasks has.
    pub(crate) fn assert_well(&self) {
        let has_failed = self.watching.is_finished() || self.callers.iter().any(JoinHandle::is_finished);
        assert!(!has_failed, "a call or the session has failed");
    }
}

/// Ends all clients, and compares what their calls were told with what was carried out.
pub(crate) async fn settle(clients: Vec<Client>, history: &Path, losses: Losses) -> Summary {
    for client in &clients {
        client.assert_well();
        client.notes.stop.store(true, Ordering::SeqCst);
    }
    let mut ledgers = Vec::new();
    let mut summary = Summary::default();
    for client in clients {
        for caller in client.callers {
            within(2 * PATIENCE, caller).await.unwrap();
        }
        within(PATIENCE, client.session.close()).await;
        within(PATIENCE, client.watching).await.unwrap();
        summary.resumed += client.notes.resumed.load(Ordering::SeqCst);
        summary.restored += client.notes.restored.load(Ordering::SeqCst);
        ledgers.push(client.notes);
    }
    let effects = Effects::read(history, |call| call.0.starts_with("note"));
    for Notes { ledger, .. } in ledgers.iter().map(|notes| &**notes) {
        ledger.compare(losses, |call| match call.0.split(' ').next() {
            // It has no effect, and its reader compares it.
            Some("download") => usize::from(ledger.has(call, Outcome::Answered)),
            _ => effects.times(call),
        });
        summary.answered += ledger.count(Outcome::Answered);
        summary.not_awaited += ledger.count(Outcome::NotAwaited);
        summary.unknown += ledger.count(Outcome::Unknown);
        summary.not_attempted += ledger.count(Outcome::NotAttempted);
        summary.interrupted += ledger.count(Outcome::Interrupted);
    }
    let is_known = |call: &Call| ledgers.iter().any(|notes| notes.ledger.contains(call));
    assert!(effects.calls().all(is_known), "a call ran that was never made");
    summary
}

async fn watch(mut events: LinkEvents, notes: Arc<Notes>) {
    while let Some(event) = events.next().await {
        match event {
            LinkEvent::Recovered { .. } => {
                notes.restored.fetch_add(1, Ordering::SeqCst);
                notes.returned();
            }
            LinkEvent::Resumed { .. } => {
                notes.resumed.fetch_add(1, Ordering::SeqCst);
                notes.returned();
            }
            LinkEvent::Lost { code, message, .. } => panic!("the session is lost: {code} {message}"),
            _ => {}
        }
    }
}

impl Notes {
    fn returned(&self) {
        self.answered_since.store(0, Ordering::SeqCst);
        self.returns.fetch_add(1, Ordering::SeqCst);
    }

    fn note(&self, call: String, id: u64, outcome: Outcome) {
        if outcome == Outcome::Answered {
            self.answered_since.fetch_add(1, Ordering::SeqCst);
        }
        self.ledger.note(call, id, outcome);
    }
}

struct Caller {
    account: AccountRef,
    name: String,
    notes: Arc<Notes>,
}

impl Caller {
    async fn run(self, mix: Mix) {
        while !self.notes.stop.load(Ordering::SeqCst) {
            match rand::random_range(0..if mix.streams { 9 } else { 7 }) {
                0 => self.call("book").await,
                1 => self.call("put").await,
                2 => self.call("once").await,
                3 | 4 => self.burst().await,
                5 => self.drop_promise(),
                6 => self.call("note").await,
                7 => self.upload().await,
                _ => self.download().await,
            }
            tokio::time::sleep(mix.pause.mul_f64(rand::random())).await;
        }
        // Calls whose promises were dropped have begun before this one does.
        self.call("note").await;
    }

    fn next(&self) -> u64 {
        self.notes.next.fetch_add(1, Ordering::SeqCst)
    }

    fn note(&self, method: &str, id: u64, outcome: Outcome) {
        self.notes.note(format!("{method} {}", self.name), id, outcome);
    }

    async fn call(&self, method: &'static str) {
        let id = self.next();
        let promise = match method {
            "book" => self.account.book(id),
            "put" => self.account.put(id),
            "once" => self.account.once(id),
            _ => self.account.note(id),
        };
        let result = within(PATIENCE, promise.into_future()).await;
        self.note(method, id, Ledger::outcome(method, id, result));
    }

    /// Makes several calls before it awaits the first.
    async fn burst(&self) {
        let ids: Vec<_> = (0..rand::random_range(2..6)).map(|_| self.next()).collect();
        let promises: Vec<_> = ids.iter().map(|id| self.account.note(*id)).collect();
        for (id, promise) in ids.into_iter().zip(promises) {
            let result = within(PATIENCE, promise.into_future()).await;
            self.note("note", id, Ledger::outcome("note", id, result));
        }
    }

    fn drop_promise(&self) {
        let id = self.next();
        self.note("note", id, Outcome::NotAwaited);
        drop(self.account.note(id));
    }

    async fn upload(&self) {
        let (id, chunks) = (self.next(), rand::random_range(1..200));
        let (writer, reader) = stream::channel(4);
        let uploading = self.account.upload(id, reader);
        let writing = write_slowly(writer, chunks);
        let (result, ()) = tokio::join!(within(PATIENCE, uploading.into_future()), within(PATIENCE, writing));
        let outcome = match result {
            Ok(read) if read.code.is_empty() => {
                assert_eq!(read.chunks, chunks, "upload {id}");
                Outcome::Answered
            }
            Ok(read) => {
                assert_eq!(read.code, "STREAM_INTERRUPTED", "upload {id}");
                Outcome::Interrupted
            }
            Err(error) => Ledger::failure("upload", id, &error),
        };
        self.note("upload", id, outcome);
    }

    async fn download(&self) {
        let (id, chunks) = (self.next(), rand::random_range(1..200));
        let mut reader = match within(PATIENCE, self.account.download(chunks).into_future()).await {
            Ok(reader) => reader,
            Err(error) => return self.note("download", id, Ledger::failure("download", id, &error)),
        };
        let mut came = 0;
        while let Some(chunk) = within(PATIENCE, reader.next()).await {
            match chunk {
                Ok(chunk) => assert_eq!(chunk, came, "download {id}"),
                Err(error) => {
                    let code = error.code().map(|code| code.to_string());
                    assert_eq!(code.as_deref(), Some("STREAM_INTERRUPTED"), "download {id}: {error}");
                    return self.note("download", id, Outcome::Interrupted);
                }
            }
            came += 1;
        }
        assert_eq!(came, chunks, "download {id}");
        self.note("download", id, Outcome::Answered);
    }
}
