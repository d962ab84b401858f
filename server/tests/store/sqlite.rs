//! The store in SQLite, with several connections and processes on one file.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bowline_server::store::{Claim, Position, SessionStore, SqliteStore, StoreError};
use bytes::Bytes;
use rusqlite::Connection;

use crate::conformance::{Bench, at, checkpoint};
use crate::memory::Hands;
use crate::scratch::Scratch;

pub(crate) struct Sqlite {
    pub(crate) scratch: Scratch,
    hands: Hands,
}

impl Sqlite {
    async fn bench() -> Option<Self> {
        Some(Self::new())
    }

    pub(crate) fn new() -> Self {
        Self { scratch: Scratch::new("sqlite"), hands: Hands::default() }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.scratch.path("sessions.db")
    }

    pub(crate) fn store(&self) -> SqliteStore {
        SqliteStore::open_with_clock(self.path(), self.hands.clock()).unwrap()
    }
}

#[async_trait]
impl Bench for Sqlite {
    async fn open(&self) -> Arc<dyn SessionStore> {
        Arc::new(self.store())
    }

    async fn pass(&self, time: Duration) {
        self.hands.advance(time);
    }

    async fn spoil(&self, sid: &str, at: Position) -> bool {
        let update = "UPDATE checkpoints SET bytes = CAST(x'ff' || substr(bytes, 2) AS BLOB)
            WHERE sid = ?1 AND lineage = ?2 AND number = ?3";
        let connection = Connection::open(self.path()).unwrap();
        connection.execute(update, (sid, at.lineage, at.number)).unwrap() == 1
    }

    async fn fill(&self, owner: &str, references: usize) {
        let fill = "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?2)
            INSERT INTO sturdy SELECT 'fill-' || n, ?1, '', x'' FROM n";
        Connection::open(self.path()).unwrap().execute(fill, (owner, references)).unwrap();
    }

    fn sweeps_itself(&self) -> bool {
        false
    }
}

store_conformance!(Sqlite::bench());

pub(crate) const DAY: Duration = Duration::from_secs(86_400);

#[tokio::test]
async fn confirmed_writes_are_there_for_the_next_process() {
    let bench = Sqlite::new();
    let store = bench.store();
    store.open_owner("a", DAY).await.unwrap();
    let fence = store.create("s", "a", DAY, None).await.unwrap();
    store.checkpoint(&fence, checkpoint(at(1, 1), "one"), at(1, 1)).await.unwrap();
    drop(store);
    let next = bench.store();
    assert_eq!(next.load(&fence, at(1, 1)).await, Ok(Bytes::from("one")));
}

#[tokio::test]
async fn clock_that_is_set_back_strands_no_session() {
    let bench = Sqlite::new();
    bench.hands.set(Duration::from_secs(1_000_000));
    let store = bench.store();
    store.open_owner("a", Duration::from_secs(10)).await.unwrap();
    store.open_owner("b", Duration::from_secs(10)).await.unwrap();
    store.create("s", "a", DAY, None).await.unwrap();
    bench.hands.set(Duration::from_secs(5_000));
    // The owner may be alive, so its lease lasts for its full length from now, and no longer.
    assert_eq!(lease_left(&store).await, Duration::from_secs(10));
    bench.hands.advance(Duration::from_secs(6));
    store.renew_owner("b", Duration::from_secs(10)).await.unwrap();
    assert_eq!(lease_left(&store).await, Duration::from_secs(4));
    bench.hands.advance(Duration::from_secs(4));
    assert!(matches!(store.claim("s", "b", 0).await, Ok(Claim::Claimed(_))));
}

#[tokio::test]
async fn foreign_file_is_refused_and_left_unchanged() {
    let bench = Sqlite::new();
    let theirs = bench.scratch.path("theirs.db");
    Connection::open(&theirs).unwrap().execute_batch("CREATE TABLE notes (text TEXT)").unwrap();
    assert_eq!(SqliteStore::open(&theirs).unwrap_err(), StoreError::Layout { found: 0, known: 1 });
    drop(bench.store());
    let newer = Connection::open(bench.path()).unwrap();
    newer.pragma_update(None, "user_version", 2).unwrap();
    assert_eq!(SqliteStore::open(bench.path()).unwrap_err(), StoreError::Layout { found: 2, known: 1 });
    let noise = bench.scratch.path("noise.db");
    std::fs::write(&noise, vec![b'x'; 8_192]).unwrap();
    assert!(matches!(SqliteStore::open(&noise).unwrap_err(), StoreError::Corrupt(_)));
    let nowhere = bench.scratch.path("no/such/folder.db");
    assert!(matches!(SqliteStore::open(nowhere).unwrap_err(), StoreError::Unavailable(_)));
    assert!(matches!(SqliteStore::open(":memory:").unwrap_err(), StoreError::Unavailable(_)));
}

#[cfg(unix)]
#[tokio::test]
async fn files_are_readable_only_by_their_owner() {
    use std::os::unix::fs::PermissionsExt;

    let bench = Sqlite::new();
    let store = bench.store();
    store.open_owner("a", DAY).await.unwrap();
    for name in ["sessions.db", "sessions.db-wal", "sessions.db-shm"] {
        let mode = std::fs::metadata(bench.scratch.path(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{name}: {mode:o}");
    }
}

/// Another writer holds the lock. The operation fails within the documented time, without blocking a thread
/// of the runtime.
#[tokio::test]
async fn operation_on_a_locked_file_times_out() {
    let bench = Sqlite::new();
    let store = bench.store();
    let other = Connection::open(bench.path()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let blocked = tokio::spawn(async move { (store.open_owner("a", DAY).await, store) });
    let mut ticks = 0;
    while !blocked.is_finished() {
        tokio::time::sleep(Duration::from_millis(10)).await;
        ticks += 1;
        assert!(ticks < 1_000, "the operation does not time out");
    }
    assert!(ticks > 10, "the runtime was blocked meanwhile");
    let (refused, store) = blocked.await.unwrap();
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    other.execute_batch("COMMIT").unwrap();
    store.open_owner("a", DAY).await.unwrap();
}

/// Set in the environment of a second process. Its value is the path of the store.
const SECOND: &str = "BOWLINE_TEST_SECOND_PROCESS";

/// How long a second process runs at most, in case the first one is killed.
const PATIENCE: Duration = Duration::from_secs(60);

/// A child process that is killed when this is dropped.
struct Process(Child);

impl Process {
    /// Starts this test program again to run a single test.
    fn second(test: &str, path: &Path) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .env(SECOND, path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }

    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail if the process has already exited.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Four processes create the file concurrently and increment a number in one session, each as an owner that
/// waits for the others to release it.
#[tokio::test]
async fn several_processes_update_one_session() {
    if let Some(path) = std::env::var_os(SECOND) {
        return count(&SqliteStore::open(path).unwrap(), &std::process::id().to_string()).await;
    }
    let bench = Sqlite::new();
    let children: Vec<_> =
        (0..3).map(|_| Process::second("sqlite::several_processes_update_one_session", &bench.path())).collect();
    let store = SqliteStore::open(bench.path()).unwrap();
    count(&store, "first").await;
    for mut child in children {
        let status = tokio::task::spawn_blocking(move || child.0.wait()).await.unwrap().unwrap();
        assert!(status.success(), "{status}");
    }
    store.open_owner("reader", DAY).await.unwrap();
    let Ok(Claim::Claimed(last)) = store.claim("s", "reader", 0).await else { panic!("the session was not released") };
    assert_eq!(last.checkpoints.last(), Some(&at(1, 4 * TURNS)), "an increment was lost");
}

const TURNS: u64 = 25;

async fn count(store: &SqliteStore, owner: &str) {
    store.open_owner(owner, DAY).await.unwrap();
    let first = store.create("s", owner, DAY, None).await;
    if let Ok(fence) = &first {
        store.release(fence, DAY).await.unwrap();
    }
    let (mut turns, began) = (0, Instant::now());
    while turns < TURNS {
        assert!(began.elapsed() < PATIENCE, "another process owns the session and makes no progress");
        let Claim::Claimed(claimed) = store.claim("s", owner, 0).await.unwrap() else {
            tokio::task::yield_now().await;
            continue;
        };
        let newest = claimed.checkpoints.last().copied().unwrap_or_default();
        let next = at(1, newest.number + 1);
        store.checkpoint(&claimed.fence, checkpoint(next, next.number.to_string()), next).await.unwrap();
        store.release(&claimed.fence, DAY).await.unwrap();
        turns += 1;
    }
}

/// The process of the owner is killed. Another owner gets the session, with the checkpoints that were
/// written, and the file is intact.
#[tokio::test]
async fn session_of_a_killed_process_can_be_claimed() {
    let lease = Duration::from_secs(3);
    if let Some(path) = std::env::var_os(SECOND) {
        let store = SqliteStore::open(path).unwrap();
        store.open_owner("killed", lease).await.unwrap();
        let fence = store.create("s", "killed", DAY, None).await.unwrap();
        let began = Instant::now();
        for number in (1..).take_while(|_| began.elapsed() < PATIENCE) {
            store.checkpoint(&fence, checkpoint(at(1, number), vec![7; 4_096]), at(1, number)).await.unwrap();
        }
        return;
    }
    let bench = Sqlite::new();
    let mut child = Process::second("sqlite::session_of_a_killed_process_can_be_claimed", &bench.path());
    let store = SqliteStore::open(bench.path()).unwrap();
    store.open_owner("heir", DAY).await.unwrap();
    let began = Instant::now();
    let mut held = false;
    let claimed = loop {
        match store.claim("s", "heir", 0).await.unwrap() {
            Claim::Claimed(claimed) => break claimed,
            Claim::Held(_) if !held => {
                held = true;
                child.kill();
            }
            _ => tokio::time::sleep(Duration::from_millis(10)).await,
        }
        assert!(began.elapsed() < Duration::from_secs(20), "the session was never released");
    };
    assert!(held, "the session was claimed before its owner was killed");
    assert_eq!(claimed.checkpoints.len(), usize::from(!claimed.checkpoints.is_empty()));
    for position in claimed.checkpoints {
        assert_eq!(store.load(&claimed.fence, position).await, Ok(Bytes::from(vec![7; 4_096])));
    }
    let check = Connection::open(bench.path()).unwrap();
    let verdict: String = check.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(verdict, "ok");
}

/// They wait only for the checkpoint that is being written, however many are queued behind it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lease_renewals_and_new_sessions_overtake_queued_checkpoints() {
    let bench = Sqlite::new();
    let store = bench.store();
    store.open_owner("a", DAY).await.unwrap();
    let written = Arc::new(AtomicUsize::new(0));
    let mut fences = Vec::new();
    for n in 0..24 {
        fences.push(store.create(&format!("s{n}"), "a", DAY, None).await.unwrap());
    }
    let mut writers = Vec::new();
    for fence in fences {
        let (store, written) = (store.clone(), Arc::clone(&written));
        writers.push(tokio::spawn(async move {
            store.checkpoint(&fence, checkpoint(at(1, 1), vec![7; 1 << 20]), at(1, 1)).await.unwrap();
            written.fetch_add(1, Ordering::SeqCst);
        }));
    }
    while written.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let before = written.load(Ordering::SeqCst);
    store.renew_owner("a", DAY).await.unwrap();
    store.create("new", "a", DAY, None).await.unwrap();
    let after = written.load(Ordering::SeqCst);
    assert!(after - before <= 6 && after < 20, "{before} checkpoints were written before, and {after} after");
    for writer in writers {
        writer.await.unwrap();
    }
}

fn log_bytes(bench: &Sqlite) -> u64 {
    std::fs::metadata(bench.scratch.path("sessions.db-wal")).map_or(0, |log| log.len())
}

#[tokio::test]
async fn write_ahead_log_stays_small() {
    let bench = Sqlite::new();
    let store = bench.store();
    store.open_owner("a", DAY).await.unwrap();
    let fence = store.create("s", "a", DAY, None).await.unwrap();
    for number in 1..=300 {
        let bytes = if number % 100 == 0 { 6 << 20 } else { 16 << 10 };
        store.checkpoint(&fence, checkpoint(at(1, number), vec![7; bytes]), at(1, number)).await.unwrap();
    }
    for number in 301..=310 {
        store.checkpoint(&fence, checkpoint(at(1, number), vec![7; 16]), at(1, number)).await.unwrap();
    }
    assert!(log_bytes(&bench) < 2 << 20, "{} bytes", log_bytes(&bench));
}

/// A disk of 3 MB is full while checkpoints are stored, and then has room again. The test passes without effect
/// where it cannot mount a file system.
#[tokio::test]
async fn store_recovers_from_a_full_disk() {
    let scratch = Scratch::new("small-disk");
    let Some(path) = std::env::var_os(SECOND).map(PathBuf::from) else {
        let script = format!(
            "mount -t tmpfs -o size=3m none '{0}' || exit 77; '{1}' --exact '{2}' --nocapture",
            scratch.path("").display(),
            std::env::current_exe().unwrap().display(),
            "sqlite::store_recovers_from_a_full_disk",
        );
        let run = Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", &script])
            .env(SECOND, scratch.path(""))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status();
        let code = run.ok().and_then(|status| status.code());
        // 77, 1, or no code mean that the file system could not be mounted; 101 is a failed test.
        assert_ne!(code, Some(101), "the second process failed");
        return;
    };
    let store = SqliteStore::open(path.join("sessions.db")).unwrap();
    store.open_owner("a", DAY).await.unwrap();
    let fence = store.create("s", "a", DAY, None).await.unwrap();
    let put =
        async |number: u64| store.checkpoint(&fence, checkpoint(at(1, number), vec![7; 20 << 10]), at(1, number)).await;
    for number in 1..=20 {
        put(number).await.unwrap();
    }
    let filler = path.join("filler");
    fill(&filler);
    let mut refused = 0;
    for number in 21..=200 {
        refused += u32::from(put(number).await.is_err());
    }
    assert!(refused > 0, "the disk did not fill up");
    std::fs::remove_file(filler).unwrap();
    let mut good = 0;
    for number in 201..=210 {
        good += u32::from(put(number).await.is_ok());
    }
    assert!(good >= 8, "only {good} of 10 checkpoints were stored after the disk had room again");
    for number in 211..=600 {
        put(number).await.unwrap();
    }
}

/// Writes until the disk is full.
fn fill(path: &Path) {
    let mut file = std::fs::File::create(path).unwrap();
    for size in [64 << 10, 4 << 10, 512] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
}

/// Returns the remaining time of the lease of the session's owner.
async fn lease_left(store: &SqliteStore) -> Duration {
    match store.claim("s", "b", 0).await.unwrap() {
        Claim::Held(held) => held.left,
        other => panic!("{other:?}"),
    }
}

fn lock_files(bench: &Sqlite) -> usize {
    let folder = bench.path().parent().unwrap().to_owned();
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.contains("-owner-")).count()
}

#[tokio::test]
async fn sessions_of_an_ended_process_can_be_claimed_at_once() {
    let bench = Sqlite::new();
    let (gone, here) = (bench.store(), bench.store());
    gone.open_owner("a", DAY).await.unwrap();
    let fence = gone.create("s", "a", DAY, None).await.unwrap();
    gone.create("t", "a", DAY, None).await.unwrap();
    here.open_owner("b", DAY).await.unwrap();
    assert!(matches!(here.claim("s", "b", 0).await, Ok(Claim::Held(_))));
    // The lock is released with the last handle on the store, as it is when the process ends.
    let clone = gone.clone();
    drop(gone);
    assert!(matches!(here.claim("s", "b", 0).await, Ok(Claim::Held(_))));
    drop(clone);
    assert!(matches!(here.claim("s", "b", 0).await, Ok(Claim::Claimed(_))));
    assert!(matches!(here.claim("t", "b", 0).await, Ok(Claim::Claimed(_))));
    // If the owner still ran, it would find that its lease has ended.
    assert_eq!(here.renew_owner("a", DAY).await, Err(StoreError::Fenced));
    assert_eq!(here.release(&fence, DAY).await, Err(StoreError::Fenced));
    assert_eq!(lock_files(&bench), 1);
    here.close_owner("b").await.unwrap();
    assert_eq!(lock_files(&bench), 0);
}

#[tokio::test]
async fn missing_lock_file_does_not_end_an_owner() {
    let bench = Sqlite::new();
    let (one, other) = (bench.store(), bench.store());
    one.open_owner("a", DAY).await.unwrap();
    one.create("s", "a", DAY, None).await.unwrap();
    other.open_owner("b", DAY).await.unwrap();
    for entry in std::fs::read_dir(bench.path().parent().unwrap()).unwrap() {
        let path = entry.unwrap().path();
        if path.to_str().unwrap().contains("-owner-") {
            std::fs::remove_file(path).unwrap();
        }
    }
    drop(one);
    assert!(matches!(other.claim("s", "b", 0).await, Ok(Claim::Held(_))));
    bench.hands.advance(DAY);
    other.open_owner("c", DAY).await.unwrap();
    assert_eq!(other.claim("s", "c", 0).await, Ok(Claim::NotFound));
}

#[tokio::test]
async fn ended_owners_leave_no_lock_files() {
    let bench = Sqlite::new();
    for n in 0..3 {
        bench.store().open_owner(&format!("gone-{n}"), DAY).await.unwrap();
    }
    assert_eq!(lock_files(&bench), 1, "a process that starts removes the lock files of ended ones");
    let store = bench.store();
    bench.hands.advance(DAY);
    store.gc().await.unwrap();
    assert_eq!(lock_files(&bench), 0);
}
