//! Writes that wait for the file share one transaction, and so one flush to the disk.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::oneshot;

use super::pool::Fault;
use super::sql::Millis;
use crate::store::StoreError;

/// How many writes share a transaction, and how many bytes of them together. Leases and new
/// sessions wait for that long, so a larger write has a transaction of its own.
const WRITES_MAX: usize = 64;
const BYTES_MAX: usize = 1 << 20;

/// Answers a write when its transaction has been committed, or has failed.
type Answer = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// Runs a write, or answers that its transaction could not begin.
type Work = Box<dyn FnOnce(Result<(&Connection, Millis), StoreError>) -> Ended + Send>;

enum Ended {
    /// The write has succeeded, unless the transaction fails.
    Done(Answer),
    /// The write was refused, and must not change anything.
    Refused(Answer),
    /// The file has failed, and the transaction with it.
    Broken(StoreError),
    /// Nothing is left to do.
    Answered,
}

struct Write {
    bytes: usize,
    work: Work,
}

/// The writes that wait for the file.
#[derive(Default)]
pub(super) struct Writes(Mutex<VecDeque<Write>>);

impl Writes {
    /// Adds a write of about so many bytes. It is not executed if its result is dropped before.
    pub(super) fn add<T: Send + 'static>(
        &self,
        bytes: usize,
        work: impl FnOnce(&Connection, Millis) -> Result<T, Fault> + Send + 'static,
    ) -> oneshot::Receiver<Result<T, StoreError>> {
        let (tell, told) = oneshot::channel();
        let work: Work = Box::new(move |begun| {
            if tell.is_closed() {
                return Ended::Answered;
            }
            // Fails if the caller does not wait anymore.
            let tell = move |result| drop(tell.send(result));
            let (db, now) = match begun {
                Ok(begun) => begun,
                Err(error) => {
                    tell(Err(error));
                    return Ended::Answered;
                }
            };
            match work(db, now) {
                Ok(value) => Ended::Done(Box::new(move |ended: Result<(), StoreError>| tell(ended.map(|()| value)))),
                Err(Fault(error @ (StoreError::Unavailable(_) | StoreError::Corrupt(_)))) => {
                    tell(Err(error.clone()));
                    Ended::Broken(error)
                }
                Err(Fault(error)) => {
                    Ended::Refused(Box::new(move |ended: Result<(), StoreError>| tell(ended.and(Err(error)))))
                }
            }
        });
        self.waiting().push_back(Write { bytes, work });
        told
    }

    /// Runs the writes that have waited for longest in one transaction.
    ///
    /// # Errors
    /// Returns the error of the file, which the writes were answered with.
    pub(super) fn run(&self, connection: &mut Connection, now: impl Fn() -> Millis) -> Result<(), Fault> {
        let mut writes = self.take();
        let mut answers = Vec::new();
        let committed = match connection.transaction_with_behavior(TransactionBehavior::Immediate) {
            // Read inside of the transaction, so that it is the time of the change and not of the
            // request.
            Ok(mut transaction) => run_in(&mut transaction, &mut writes, now(), &mut answers)
                .and_then(|()| transaction.commit().map_err(Fault::from)),
            Err(error) => Err(error.into()),
        };
        let ended = committed.as_ref().map(drop).map_err(|Fault(error)| error.clone());
        answers.into_iter().for_each(|answer| answer(ended.clone()));
        if let Err(error) = ended {
            writes.into_iter().for_each(|write| drop((write.work)(Err(error.clone()))));
        }
        committed
    }

    fn take(&self) -> VecDeque<Write> {
        let mut waiting = self.waiting();
        let (mut taken, mut bytes) = (0, 0);
        for write in waiting.iter().take(WRITES_MAX) {
            bytes += write.bytes;
            if taken > 0 && bytes > BYTES_MAX {
                break;
            }
            taken += 1;
        }
        waiting.drain(..taken).collect()
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Write>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs writes until one finds that the file has failed.
fn run_in(
    transaction: &mut Transaction<'_>,
    writes: &mut VecDeque<Write>,
    now: Millis,
    answers: &mut Vec<Answer>,
) -> Result<(), Fault> {
    while let Some(write) = writes.pop_front() {
        let savepoint = transaction.savepoint()?;
        match (write.work)(Ok((&savepoint, now))) {
            Ended::Done(answer) => {
                answers.push(answer);
                savepoint.commit()?;
            }
            Ended::Refused(answer) => {
                answers.push(answer);
                savepoint.finish()?;
            }
            Ended::Broken(error) => return Err(Fault(error)),
            Ended::Answered => {}
        }
    }
    Ok(())
}
