//! Connections to the file, and the threads that wait for it.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode};
use tokio::sync::Semaphore;

use super::schema;
use crate::store::StoreError;

/// How long an operation waits for a connection, beyond what a connection waits for others.
const WAIT: Duration = Duration::from_secs(5);

/// Why an operation was not carried out, on this side of the store.
#[derive(Debug)]
pub(super) struct Fault(pub(super) StoreError);

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self(error)
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        let is_corrupt =
            matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
                || matches!(
                    error,
                    rusqlite::Error::InvalidColumnType(..) | rusqlite::Error::IntegralValueOutOfRange(..)
                );
        Self(if is_corrupt {
            StoreError::Corrupt(error.to_string())
        } else {
            StoreError::Unavailable(error.to_string())
        })
    }
}

/// Connections of one kind, at most as many at a time as there are permits. SQLite has one writer
/// at a time: within a process those who want to write wait here, where waiting is cheap and fair.
pub(super) struct Pool {
    path: PathBuf,
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<Connection>>,
}

impl Pool {
    pub(super) fn new(path: PathBuf, connections: usize) -> Self {
        Self { path, permits: Arc::new(Semaphore::new(connections)), idle: Mutex::default() }
    }

    /// Opens a connection on this thread, so that a file that cannot be opened is found at once.
    pub(super) fn open_one(&self) -> Result<(), StoreError> {
        let connection = schema::open(&self.path).map_err(|Fault(error)| error)?;
        self.put_back(connection);
        Ok(())
    }

    /// Runs `work` on a thread that may wait.
    pub(super) async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&mut Connection) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        let permits = Arc::clone(&self.permits).acquire_owned();
        let permit = tokio::time::timeout(WAIT, permits).await.map_err(|_elapsed| busy())?.map_err(|_closed| busy())?;
        let pool = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || {
            // Held until the connection is back, though nobody may wait for the outcome any more.
            let _permit = permit;
            pool.with_connection(work).map_err(|Fault(error)| error)
        });
        done.await.unwrap_or_else(|error| Err(StoreError::Unavailable(error.to_string())))
    }

    fn with_connection<T>(&self, work: impl FnOnce(&mut Connection) -> Result<T, Fault>) -> Result<T, Fault> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut connection = idle.map_or_else(|| schema::open(&self.path), Ok)?;
        let done = work(&mut connection);
        // After a fault of the file another connection may fare better.
        if !matches!(done, Err(Fault(StoreError::Unavailable(_) | StoreError::Corrupt(_)))) {
            self.put_back(connection);
        }
        done
    }

    fn put_back(&self, connection: Connection) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("path", &self.path).finish_non_exhaustive()
    }
}

fn busy() -> StoreError {
    StoreError::Unavailable("too many operations wait for the file".to_owned())
}
