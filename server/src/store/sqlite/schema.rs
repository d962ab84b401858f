//! Opening the file, and its tables.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::Fault;
use crate::store::StoreError;

/// The number of the layout. Another layout gets another number, and code that converts files from
/// the previous one.
const LAYOUT: i64 = 1;

/// The application id, "bwln". Files of other programs are refused.
const APPLICATION: i64 = 0x62_77_6c_6e;

/// How often a connection checks whether other writers are done, and how many times: 2 s in all.
/// SQLite's own handler checks ten times a second, and may find a busy process between two of its
/// transactions every time.
const LOOK: Duration = Duration::from_millis(4);
const LOOKS: i32 = 500;

/// The number of pages in the write-ahead log from which a commit folds it into the file, and the
/// bytes of the log that may stay on disk after that. With SQLite's default of 1,000 pages, a small
/// disk could fill up with a log that is never folded.
const LOG_PAGES: i64 = 256;
const LOG_BYTES: i64 = 1 << 20;

/// The number of prepared statements that a connection caches, which is more than there are.
const STATEMENTS: usize = 64;

/// How often switching a new file to a write-ahead log is tried, while other processes try as well.
const TRIES: usize = 20;

const TABLES: &str = "
CREATE TABLE owners (
    owner TEXT PRIMARY KEY, ends INTEGER NOT NULL, length INTEGER NOT NULL,
    locked INTEGER NOT NULL, instance TEXT, address TEXT
) STRICT;
CREATE TABLE sessions (
    sid TEXT PRIMARY KEY, owner TEXT, claimed INTEGER NOT NULL, known_epoch INTEGER NOT NULL,
    tokens TEXT NOT NULL, ends INTEGER NOT NULL, lifetime_ends INTEGER NOT NULL,
    account TEXT, quota INTEGER, size INTEGER NOT NULL, wanted TEXT,
    forgotten INTEGER NOT NULL DEFAULT -1
) STRICT;
CREATE INDEX sessions_end ON sessions (ends);
CREATE INDEX sessions_account ON sessions (account, ends, size);
CREATE INDEX sessions_wanted ON sessions (owner) WHERE wanted IS NOT NULL;
CREATE TABLE checkpoints (
    sid TEXT NOT NULL REFERENCES sessions ON DELETE CASCADE,
    lineage INTEGER NOT NULL, number INTEGER NOT NULL, sum TEXT NOT NULL, bytes BLOB NOT NULL,
    PRIMARY KEY (sid, lineage, number)
) STRICT;
CREATE TABLE recorded (
    sid TEXT NOT NULL REFERENCES sessions ON DELETE CASCADE,
    call INTEGER NOT NULL, outcome BLOB NOT NULL, size INTEGER NOT NULL,
    PRIMARY KEY (sid, call)
) STRICT;
CREATE INDEX recorded_age ON recorded (sid, abs(call), size);
CREATE TABLE sturdy (id TEXT PRIMARY KEY, owner TEXT NOT NULL, label TEXT NOT NULL, recipe BLOB NOT NULL) STRICT;
CREATE INDEX sturdy_owner ON sturdy (owner, id);
";

/// Opens a connection to the file, and creates the file if it does not exist.
pub(super) fn open(path: &Path) -> Result<Connection, Fault> {
    if path.as_os_str() == ":memory:" {
        return Err(StoreError::Unavailable("`:memory:` is not a file: use MemoryStore".to_owned()).into());
    }
    create_private(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_handler(Some(waits))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    write_ahead(&mut connection)?;
    // Every commit is on disk before it is acknowledged.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", LOG_PAGES)?;
    connection.pragma_update(None, "journal_size_limit", LOG_BYTES)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    prepare(&mut connection)?;
    Ok(connection)
}

/// Waits for other writers. Returns `false` when that has taken too long.
#[expect(clippy::disallowed_methods, reason = "connections are used on blocking threads")]
fn waits(looks: i32) -> bool {
    std::thread::sleep(LOOK);
    looks < LOOKS
}

/// Folds the write-ahead log into the file and truncates it, as far as that is possible without
/// waiting.
pub(super) fn fold_log(connection: &Connection) {
    let folded = connection
        .busy_timeout(Duration::ZERO)
        .and_then(|()| connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0)));
    if let Err(error) = folded {
        tracing::debug!(%error, "cannot fold the write-ahead log");
    }
}

/// Creates the file with permissions for its owner only, because snapshots are confidential. SQLite
/// gives the files beside it the same mode.
fn create_private(path: &Path) -> Result<(), Fault> {
    let mut options = fs::OpenOptions::new();
    options.read(true).append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let made = options.open(path).map_err(|error| StoreError::Unavailable(format!("{}: {error}", path.display())));
    Ok(made.map(drop)?)
}

/// Switches the file to a write-ahead log. That needs exclusive access and does not wait for it.
/// Beginning a transaction does wait, so the attempts alternate with empty transactions.
fn write_ahead(connection: &mut Connection) -> Result<(), Fault> {
    let mut last = None;
    for _ in 0..TRIES {
        match connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0)) {
            Ok(mode) if mode == "wal" => return Ok(()),
            Ok(mode) => {
                last = Some(
                    StoreError::Unavailable(format!("cannot use a write-ahead log here, only the journal mode {mode}"))
                        .into(),
                )
            }
            Err(error) => last = Some(Fault::from(error)),
        }
        connection.transaction_with_behavior(TransactionBehavior::Immediate)?.commit()?;
    }
    Err(last.expect("TRIES is not 0"))
}

/// Creates the tables in an empty file, and refuses a file with another layout.
fn prepare(connection: &mut Connection) -> Result<(), Fault> {
    if pragma(connection, "user_version")? == LAYOUT && pragma(connection, "application_id")? == APPLICATION {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found = pragma(&transaction, "user_version")?;
    let tables: i64 = transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if found == 0 && tables == 0 {
        transaction.execute_batch(TABLES)?;
        transaction.pragma_update(None, "user_version", LAYOUT)?;
        transaction.pragma_update(None, "application_id", APPLICATION)?;
    } else if found != LAYOUT || pragma(&transaction, "application_id")? != APPLICATION {
        return Err(StoreError::Layout { found, known: LAYOUT }.into());
    }
    Ok(transaction.commit()?)
}

fn pragma(connection: &Connection, name: &str) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, name, |row| row.get(0))
}
