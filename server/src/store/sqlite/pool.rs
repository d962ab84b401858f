//! Connections to the file, and blocking threads for them.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode};
use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

use super::batch::Writes;
use super::schema;
use super::sql::Millis;
use crate::store::StoreError;

/// How long an operation waits for a connection. A connection then waits for other processes in
/// addition.
const WAIT: Duration = Duration::from_secs(5);

/// Why an operation was not executed.
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

/// The turn to write. SQLite has one writer at a time, and within a process, waiting here is cheap
/// and fair.
///
/// In each pool that writes, one operation at a time waits for the turn. So an operation of a
/// rarely used pool waits for at most one transaction of each other pool, however many are queued
/// there.
#[derive(Clone, Debug)]
pub(super) struct Turn(Arc<Semaphore>);

impl Turn {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

/// What the connections of a pool are used for.
#[derive(Clone, Debug)]
pub(super) enum Role {
    /// Reading, with this many connections.
    Read(usize),
    /// Writing sessions. These connections fold the write-ahead log into the file.
    Write(Turn),
    /// Renewing leases, which must not wait while the log is folded.
    Lease(Turn),
}

/// Connections with the same role. There are at most as many as permits.
pub(super) struct Pool {
    path: PathBuf,
    role: Role,
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<Connection>>,
    writes: Writes,
}

impl Pool {
    pub(super) fn new(path: PathBuf, role: Role) -> Self {
        let connections = if let Role::Read(connections) = role { connections } else { 1 };
        let permits = Arc::new(Semaphore::new(connections));
        Self { path, role, permits, idle: Mutex::default(), writes: Writes::default() }
    }

    /// Opens a connection on this thread, so that a file that cannot be opened is reported at once.
    pub(super) fn open_one(&self) -> Result<(), StoreError> {
        let connection = self.open().map_err(|Fault(error)| error)?;
        self.put_back(connection);
        Ok(())
    }

    /// Runs `work` on a blocking thread.
    pub(super) async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&mut Connection) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        let permit = tokio::time::timeout(WAIT, self.permit()).await.map_err(|_elapsed| busy())?;
        let permit = permit.map_err(|_closed| busy())?;
        let pool = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || {
            // Held until the connection is returned, even if the future was dropped.
            let _permit = permit;
            pool.with_connection(work).map_err(|Fault(error)| error)
        });
        done.await.unwrap_or_else(|error| Err(StoreError::Unavailable(error.to_string())))
    }

    /// Runs `work`, which writes about so many bytes, in a transaction, together with other writes
    /// that are waiting. No other writer runs meanwhile. If this is dropped before the transaction
    /// has begun, `work` is not executed.
    pub(super) async fn write<T: Send + 'static>(
        self: &Arc<Self>,
        bytes: usize,
        now: impl Fn() -> Millis + Clone + Send + 'static,
        work: impl FnOnce(&Connection, Millis) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        let mut written = self.writes.add(bytes, work);
        loop {
            let ran = tokio::select! {
                biased;
                ended = &mut written => return ended.unwrap_or_else(|_gone| Err(busy())),
                ran = self.run_writes(now.clone()) => ran,
            };
            match (written.try_recv(), ran) {
                (Ok(ended), _) => return ended,
                (Err(_), Err(error)) => return Err(error),
                // More writes had been waiting than share a transaction.
                (Err(TryRecvError::Empty), Ok(())) => {}
                (Err(TryRecvError::Closed), Ok(())) => return Err(busy()),
            }
        }
    }

    /// Runs the writes that are waiting in one transaction.
    async fn run_writes(self: &Arc<Self>, now: impl Fn() -> Millis + Send + 'static) -> Result<(), StoreError> {
        let pool = Arc::clone(self);
        self.run(move |connection| pool.writes.run(connection, now)).await
    }

    /// Waits for a permit of the pool, and for the turn if the pool writes. The order matters: if
    /// operations waited for the turn first, all queued operations of a busy pool would be ahead of
    /// those of other pools.
    async fn permit(&self) -> Result<(OwnedSemaphorePermit, Option<OwnedSemaphorePermit>), AcquireError> {
        let place = Arc::clone(&self.permits).acquire_owned().await?;
        let turn = match &self.role {
            Role::Read(_) => None,
            Role::Write(Turn(turn)) | Role::Lease(Turn(turn)) => Some(Arc::clone(turn).acquire_owned().await?),
        };
        Ok((place, turn))
    }

    fn open(&self) -> Result<Connection, Fault> {
        let connection = schema::open(&self.path)?;
        if let Role::Lease(_) = self.role {
            connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        }
        Ok(connection)
    }

    fn with_connection<T>(&self, work: impl FnOnce(&mut Connection) -> Result<T, Fault>) -> Result<T, Fault> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut connection = idle.map_or_else(|| self.open(), Ok)?;
        let done = work(&mut connection);
        if !matches!(done, Err(Fault(StoreError::Unavailable(_) | StoreError::Corrupt(_)))) {
            self.put_back(connection);
        } else if let Role::Write(_) = self.role {
            // The log may have filled the disk. Its contents must be moved before it can shrink.
            schema::fold_log(&connection);
        }
        // After an error of the file, the connection is dropped: a new one may work.
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
    StoreError::Unavailable("too many operations are waiting for the database file".to_owned())
}
