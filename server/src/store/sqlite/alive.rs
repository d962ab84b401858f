//! Detects whether the process of an owner has ended. Each owner holds a lock on a file beside the
//! database, which the kernel releases when the process ends, however it ends.

use std::collections::HashMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bowline_core::resume::snapshot_sum;

/// The locks of the owners that this process has opened.
#[derive(Debug)]
pub(super) struct Alive {
    database: PathBuf,
    held: Mutex<HashMap<String, File>>,
}

impl Alive {
    pub(super) fn new(database: &Path) -> Self {
        Self { database: database.to_owned(), held: Mutex::default() }
    }

    /// Takes the lock of an owner. Returns `false` if the file system does not support locks, or if
    /// the lock is taken. The lock is taken before the owner is in the database, so a free lock is
    /// that of a process that has ended.
    pub(super) fn lock(&self, owner: &str) -> bool {
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let path = self.path(owner);
        let locked = options.open(&path).and_then(|file| Ok(file.try_lock().map(|()| file)?));
        match locked {
            Ok(file) => {
                self.held().insert(owner.to_owned(), file);
                true
            }
            Err(error) => {
                self.remove(owner);
                tracing::debug!(path = %path.display(), %error, "cannot lock a file as proof that this process runs");
                false
            }
        }
    }

    /// Releases the lock of an owner that was closed.
    pub(super) fn unlock(&self, owner: &str) {
        if self.held().remove(owner).is_some() {
            self.remove(owner);
        }
    }

    /// Returns whether the process of an owner that had a lock has ended, and removes its file
    /// then. A file that cannot be opened or does not exist proves nothing.
    pub(super) fn is_dead(&self, owner: &str) -> bool {
        if self.held().contains_key(owner) {
            return false;
        }
        let Ok(file) = File::open(self.path(owner)) else { return false };
        match file.try_lock_shared() {
            Ok(()) => {
                self.remove(owner);
                true
            }
            Err(TryLockError::WouldBlock | TryLockError::Error(_)) => false,
        }
    }

    fn remove(&self, owner: &str) {
        // If the file cannot be removed, an empty file remains, whose name is never used again.
        drop(std::fs::remove_file(self.path(owner)));
    }

    /// Returns the path of an owner's file. The hash makes every owner name a valid file name.
    fn path(&self, owner: &str) -> PathBuf {
        let mut path = self.database.clone().into_os_string();
        path.push("-owner-");
        path.push(snapshot_sum(owner.as_bytes()));
        path.into()
    }

    fn held(&self) -> MutexGuard<'_, HashMap<String, File>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
