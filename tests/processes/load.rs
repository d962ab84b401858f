//! A client that calls without a pause, remembers what became of every call, and compares that with
//! what the servers have carried out.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bowline::error::Never;
use bowline::link::{LinkEvent, LinkEvents};
use bowline::{CallError, Func, Session, connect};
use tokio::task::JoinHandle;

use crate::ledger::{self, Call, Effects, Ledger, Losses, Outcome};
use crate::shop::{AccountRef, BellRef, ShopRef};

const CALLERS: u64 = 6;

/// Nothing may take longer, whatever happens to servers.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Default)]
struct Notes {
    ledger: Ledger,
    heard: Mutex<BTreeMap<u64, usize>>,
    /// How often the session was recovered, and calls were answered since.
    restored: AtomicUsize,
    answered_since: AtomicUsize,
    next: AtomicU64,
    stop: AtomicBool,
}

/// A session under load.
pub(crate) struct Load {
    session: Session,
    notes: Arc<Notes>,
    callers: Vec<JoinHandle<()>>,
    watching: JoinHandle<u64>,
}

/// What a run came to.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) answered: usize,
    pub(crate) unknown: usize,
    pub(crate) not_attempted: usize,
    /// How often the session was recovered.
    pub(crate) restored: usize,
}

impl Load {
    pub(crate) async fn begin(url: String) -> Self {
        let session = within(connect(url)).await.unwrap();
        let notes = Arc::new(Notes::default());
        let shop: ShopRef = session.root();
        let mut callers = Vec::new();
        for caller in 0..CALLERS {
            let name = format!("account-{caller}");
            let account = within(shop.account(name.clone()).into_future()).await.unwrap();
            callers.push(tokio::spawn(book(account, name, Arc::clone(&notes))));
        }
        let hears = Arc::clone(&notes);
        let heard = Func::new(move |id: u64| {
            *hears.heard.lock().unwrap().entry(id).or_default() += 1;
            async {}
        });
        let bell = within(shop.bell(heard).into_future()).await.unwrap();
        callers.push(tokio::spawn(ring(bell, Arc::clone(&notes))));
        let watching = tokio::spawn(watch(session.events(), Arc::clone(&notes)));
        // The first checkpoint is on its way.
        tokio::time::sleep(Duration::from_millis(200)).await;
        Self { session, notes, callers, watching }
    }

    /// How often the session was recovered.
    pub(crate) fn restored(&self) -> usize {
        self.notes.restored.load(Ordering::SeqCst)
    }

    /// How long it takes from now until the session was recovered more than `before` times, and a
    /// call was answered since.
    pub(crate) async fn until_answered(&self, before: usize) -> Duration {
        self.until_answered_since(Instant::now(), before).await
    }

    /// The same, counted from `began`.
    pub(crate) async fn until_answered_since(&self, began: Instant, before: usize) -> Duration {
        while self.restored() <= before || self.notes.answered_since.load(Ordering::SeqCst) == 0 {
            assert!(began.elapsed() < PATIENCE, "nothing is answered any more");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        began.elapsed()
    }

    /// Ends the load, and compares what its calls were told with what was carried out.
    pub(crate) async fn end(self, history: &Path) -> Tally {
        self.notes.stop.store(true, Ordering::SeqCst);
        for caller in self.callers {
            within(caller).await.unwrap();
        }
        within(self.session.close()).await;
        assert_eq!(within(self.watching).await.unwrap(), 0, "every object is durable");
        let restored = self.notes.restored.load(Ordering::SeqCst);
        let (ledger, heard) = (&self.notes.ledger, self.notes.heard.lock().unwrap());
        // A server that stood still may have done late what its client has given up.
        let answered = |call: &Call| call.0.starts_with("book") && ledger.has(call, Outcome::Answered);
        let effects = Effects::read(history, answered);
        ledger.compare(Losses::OfProcesses, |call| match call.0.as_str() {
            "ring" => heard.get(&call.1).copied().unwrap_or(0),
            _ => effects.times(call),
        });
        assert_eq!(ledger.count(Outcome::Interrupted), 0);
        assert!(effects.calls().all(|call| ledger.contains(call)), "a call ran that was never made");
        Tally {
            answered: ledger.count(Outcome::Answered),
            unknown: ledger.count(Outcome::Unknown),
            not_attempted: ledger.count(Outcome::NotAttempted),
            restored,
        }
    }
}

/// Counts how often the session is recovered, and how many objects that loses.
async fn watch(mut events: LinkEvents, notes: Arc<Notes>) -> u64 {
    let mut all_lost = 0;
    while let Some(event) = events.next().await {
        match event {
            LinkEvent::Recovered { lost, .. } => {
                all_lost += lost as u64;
                notes.answered_since.store(0, Ordering::SeqCst);
                notes.restored.fetch_add(1, Ordering::SeqCst);
            }
            LinkEvent::Lost { code, message, .. } => panic!("the session is lost: {code} {message}"),
            _ => {}
        }
    }
    all_lost
}

async fn book(account: AccountRef, name: String, notes: Arc<Notes>) {
    while !notes.stop.load(Ordering::SeqCst) {
        let id = notes.next.fetch_add(1, Ordering::SeqCst);
        let (kind, result) = match rand::random_range(0..3) {
            0 => ("book", within(account.book(id).into_future()).await),
            1 => ("put", within(account.put(id).into_future()).await),
            _ => ("once", within(account.once(id).into_future()).await),
        };
        notes.note(format!("{kind} {name}"), id, result);
    }
}

async fn ring(bell: BellRef, notes: Arc<Notes>) {
    while !notes.stop.load(Ordering::SeqCst) {
        let id = notes.next.fetch_add(1, Ordering::SeqCst);
        let result = within(bell.ring(id).into_future()).await;
        notes.note("ring".to_owned(), id, result);
    }
}

impl Notes {
    fn note(&self, call: String, id: u64, result: Result<u64, CallError<Never>>) {
        let outcome = Ledger::outcome(&call, id, result);
        if outcome == Outcome::Answered {
            self.answered_since.fetch_add(1, Ordering::SeqCst);
        }
        self.ledger.note(call, id, outcome);
    }
}

#[track_caller]
fn within<F: Future>(future: F) -> impl Future<Output = F::Output> {
    ledger::within(PATIENCE, future)
}
