//! What became of each call by what its caller was told, and what the servers have carried out.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use bowline::error::Never;
use bowline::{CallError, ErrorCode};

/// Method and object, and the number of the call.
pub(crate) type Call = (String, u64);

/// The outcome of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    Answered,
    /// It may have been carried out.
    Unknown,
    /// It was not carried out.
    NotAttempted,
    /// A stream among its arguments, or the stream that is its result, was interrupted.
    Interrupted,
    /// Its promise was dropped at once.
    NotAwaited,
}

/// What may happen to the calls of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Losses {
    /// No process ends without a drain, so each call is carried out once and answered.
    None,
    /// The same, but a stream may be interrupted, and its call with it.
    OfStreams,
    /// Processes are killed.
    OfProcesses,
    /// Processes are killed, and a call may have been made before an earlier one on its object was answered. Behind a
    /// call of unknown outcome it is not repeated, even if it is idempotent.
    OfProcessesInBursts,
}

/// The calls of a session and their outcomes.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<BTreeMap<Call, Outcome>>);

impl Ledger {
    pub(crate) fn note(&self, call: String, id: u64, outcome: Outcome) {
        let before = self.0.lock().unwrap().insert((call, id), outcome);
        assert_eq!(before, None);
    }

    pub(crate) fn contains(&self, call: &Call) -> bool {
        self.0.lock().unwrap().contains_key(call)
    }

    pub(crate) fn has(&self, call: &Call, outcome: Outcome) -> bool {
        self.0.lock().unwrap().get(call) == Some(&outcome)
    }

    pub(crate) fn count(&self, of: Outcome) -> usize {
        self.0.lock().unwrap().values().filter(|outcome| **outcome == of).count()
    }

    /// Compares each outcome with how many times the call was carried out. A method whose name begins with `put`
    /// is idempotent.
    pub(crate) fn compare(&self, losses: Losses, times: impl Fn(&Call) -> usize) {
        let outcomes = self.0.lock().unwrap().clone();
        for (call, outcome) in &outcomes {
            let times = times(call);
            let may_repeat = call.0.starts_with("put");
            let is_of_stream = call.0.starts_with("upload") || call.0.starts_with("download");
            let of_processes = matches!(losses, Losses::OfProcesses | Losses::OfProcessesInBursts);
            let may_be_lost = of_processes || (losses == Losses::OfStreams && is_of_stream);
            let fits = match outcome {
                Outcome::Answered => times == 1 || (may_repeat && of_processes && times > 1),
                Outcome::Unknown => {
                    may_be_lost && if may_repeat { losses == Losses::OfProcessesInBursts } else { times <= 1 }
                }
                Outcome::NotAttempted => may_be_lost && times == 0,
                Outcome::Interrupted => losses != Losses::None && times == 0,
                Outcome::NotAwaited => times == 1 || (of_processes && times == 0),
            };
            assert!(fits, "{call:?} is {outcome:?}, and was carried out {times} times");
        }
    }

    /// Returns the outcome of a call that answers its number.
    pub(crate) fn outcome(call: &str, id: u64, result: Result<u64, CallError<Never>>) -> Outcome {
        match result {
            Ok(answer) => {
                assert_eq!(answer, id, "{call} got the answer of another");
                Outcome::Answered
            }
            Err(error) => Self::failure(call, id, &error),
        }
    }

    pub(crate) fn failure(call: &str, id: u64, error: &CallError<Never>) -> Outcome {
        match error.code() {
            Some(ErrorCode::CallOutcomeUnknown) => Outcome::Unknown,
            Some(ErrorCode::CallNotAttempted) => Outcome::NotAttempted,
            // That it begins could not be recorded, because the store is away, or the lease has ended meanwhile.
            Some(ErrorCode::StoreUnavailable | ErrorCode::SessionElsewhere) if call.starts_with("once") => {
                Outcome::NotAttempted
            }
            Some(ErrorCode::StreamInterrupted) => Outcome::Interrupted,
            code => panic!("{call} {id} failed with {code:?}: {error}"),
        }
    }
}

/// What was carried out: each call with how many times.
#[derive(Debug, Default)]
pub(crate) struct Effects(BTreeMap<Call, usize>);

impl Effects {
    /// Reads a history. Calls for which `is_ordered` holds have to be in the order of their numbers, those on each
    /// object by themselves.
    pub(crate) fn read(history: &Path, is_ordered: impl Fn(&Call) -> bool) -> Self {
        let mut done = BTreeMap::new();
        let mut last: BTreeMap<String, u64> = BTreeMap::new();
        for line in std::fs::read_to_string(history).unwrap().lines() {
            let (call, id) = line.rsplit_once(' ').unwrap();
            let key = (call.to_owned(), id.parse().unwrap());
            if is_ordered(&key) {
                let before = last.insert(key.0.clone(), key.1);
                assert!(before.is_none_or(|before| before < key.1), "{call} {id} comes after {before:?}");
            }
            *done.entry(key).or_default() += 1;
        }
        Self(done)
    }

    pub(crate) fn times(&self, call: &Call) -> usize {
        self.0.get(call).copied().unwrap_or(0)
    }

    pub(crate) fn calls(&self) -> impl Iterator<Item = &Call> {
        self.0.keys()
    }
}

/// Waits for a call, which may not take longer than `restore_timeout` whatever happens.
#[track_caller]
pub(crate) fn within<F: Future>(restore_timeout: Duration, future: F) -> impl Future<Output = F::Output> {
    let caller = std::panic::Location::caller();
    async move { tokio::time::timeout(restore_timeout, future).await.unwrap_or_else(|_elapsed| panic!("{caller} hangs")) }
}
