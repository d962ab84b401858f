//! A client that calls without a pause, remembers what became of every call, and compares that with
//! what the servers have carried out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bowline::{CallError, ErrorCode, Events, Func, LinkEvent, Never, Session, connect};
use tokio::task::JoinHandle;

use crate::shop::{AccountRef, BellRef, ShopRef};

const CALLERS: u64 = 6;

/// Nothing may take longer, whatever happens to servers.
const PATIENCE: Duration = Duration::from_secs(30);

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Answered,
    /// It may have been carried out.
    Unknown,
    /// It was not carried out.
    NotAttempted,
}

#[derive(Default)]
struct Notes {
    outcomes: Mutex<BTreeMap<(String, u64), Outcome>>,
    heard: Mutex<BTreeMap<u64, usize>>,
    /// How often the session was made again, and calls were answered since.
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
    /// How often the session was made again.
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

    /// How often the session was made again.
    pub(crate) fn restored(&self) -> usize {
        self.notes.restored.load(Ordering::SeqCst)
    }

    /// How long it takes from now until the session was made again more than `before` times, and a
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
        let outcomes = self.notes.outcomes.lock().unwrap().clone();
        let heard = self.notes.heard.lock().unwrap().clone();
        let mut done: BTreeMap<(String, u64), usize> = BTreeMap::new();
        let mut last: BTreeMap<String, u64> = BTreeMap::new();
        for line in std::fs::read_to_string(history).unwrap().lines() {
            let (call, id) = line.rsplit_once(' ').unwrap();
            let (key, id) = ((call.to_owned(), id.parse().unwrap()), id.parse().unwrap());
            // A server that stood still may have done late what its client has given up.
            if call.starts_with("book") && outcomes.get(&key) == Some(&Outcome::Answered) {
                let before = last.insert(call.to_owned(), id);
                assert!(before.is_none_or(|before| before < id), "{call} {id} comes after {before:?}");
            }
            *done.entry(key).or_default() += 1;
        }
        for ((call, id), outcome) in &outcomes {
            let key = (call.clone(), *id);
            let times = if call == "ring" { heard.get(id) } else { done.get(&key) }.copied().unwrap_or(0);
            let may_repeat = call.starts_with("put");
            let fits = match outcome {
                Outcome::Answered => times == 1 || (may_repeat && times > 1),
                Outcome::Unknown => times <= 1 && !may_repeat,
                Outcome::NotAttempted => times == 0,
            };
            assert!(fits, "{call} {id} is {outcome:?}, and was carried out {times} times");
        }
        let made: BTreeSet<_> = outcomes.keys().collect();
        assert!(done.keys().all(|call| made.contains(call)), "nothing was carried out that nobody called");
        let count = |of| outcomes.values().filter(|outcome| **outcome == of).count();
        Tally {
            answered: count(Outcome::Answered),
            unknown: count(Outcome::Unknown),
            not_attempted: count(Outcome::NotAttempted),
            restored,
        }
    }
}

/// Counts how often the session is made again, and how many objects that loses.
async fn watch(mut events: Events, notes: Arc<Notes>) -> u64 {
    let mut all_lost = 0;
    while let Some(event) = events.next().await {
        match event {
            LinkEvent::Restored { lost, .. } => {
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
        let outcome = match result {
            Ok(answer) => {
                assert_eq!(answer, id, "{call} got the answer of another");
                self.answered_since.fetch_add(1, Ordering::SeqCst);
                Outcome::Answered
            }
            Err(error) => match error.code() {
                Some(ErrorCode::CallOutcomeUnknown) => Outcome::Unknown,
                Some(ErrorCode::CallNotAttempted) => Outcome::NotAttempted,
                _ => panic!("{call} {id} failed: {error}"),
            },
        };
        let before = self.outcomes.lock().unwrap().insert((call, id), outcome);
        assert_eq!(before, None);
    }
}

#[track_caller]
fn within<F: Future>(future: F) -> impl Future<Output = F::Output> {
    let caller = std::panic::Location::caller();
    async move { tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_elapsed| panic!("{caller} hangs")) }
}
