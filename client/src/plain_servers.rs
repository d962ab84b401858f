//! A cache of servers that do not speak the link protocol, so that new sessions do not try it each
//! time.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long an entry is valid.
const REMEMBERED: Duration = Duration::from_secs(600);

/// The maximum number of entries. Further servers are not remembered.
const SERVERS_MAX: usize = 1_024;

static PLAIN: Mutex<Option<HashMap<String, Instant>>> = Mutex::new(None);

/// Returns whether the server has recently declined the link protocol.
pub(crate) fn is_plain(authority: &str) -> bool {
    let plain = lock();
    let since = plain.as_ref().and_then(|plain| plain.get(authority));
    since.is_some_and(|since| since.elapsed() < REMEMBERED)
}

/// Records that a server does not speak the link protocol.
pub(crate) fn remember(authority: &str) {
    let mut plain = lock();
    let plain = plain.get_or_insert_default();
    if plain.len() >= SERVERS_MAX {
        plain.retain(|_, since| since.elapsed() < REMEMBERED);
    }
    if plain.len() < SERVERS_MAX {
        plain.insert(authority.to_owned(), Instant::now());
    }
}

/// Locks the cache. Nothing that can panic runs while the lock is held, so poisoning is ignored.
fn lock() -> MutexGuard<'static, Option<HashMap<String, Instant>>> {
    PLAIN.lock().unwrap_or_else(PoisonError::into_inner)
}
