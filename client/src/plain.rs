//! Servers that turned out not to speak the link, so that they are not asked each time.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long a server is taken for what it was.
const REMEMBERED: Duration = Duration::from_secs(600);

/// More servers are not remembered.
const SERVERS_MAX: usize = 1_024;

static PLAIN: Mutex<Option<HashMap<String, Instant>>> = Mutex::new(None);

/// Whether a server has lately shown that it does not speak the link.
pub(crate) fn is_plain(authority: &str) -> bool {
    let plain = lock();
    let since = plain.as_ref().and_then(|plain| plain.get(authority));
    since.is_some_and(|since| since.elapsed() < REMEMBERED)
}

/// Remembers that a server does not speak the link.
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

/// Nothing that can panic runs while the lock is held.
fn lock() -> MutexGuard<'static, Option<HashMap<String, Instant>>> {
    PLAIN.lock().unwrap_or_else(PoisonError::into_inner)
}
