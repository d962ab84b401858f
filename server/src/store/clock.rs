//! The clock of the stores that have none of their own.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Tells a store the time. Processes that share a store must share the clock.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Duration + Send + Sync>);

impl Clock {
    /// A clock of one's own. It may go back or jump: leases then end late or early, and fences
    /// hold all the same.
    pub fn new(now: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The time of day, which all processes of a host share.
    #[expect(clippy::disallowed_methods, reason = "leases are dated, because other processes read them")]
    pub fn system() -> Self {
        Self::new(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
    }

    /// A clock of this process alone that never goes back.
    pub fn monotonic() -> Self {
        let began = Instant::now();
        Self::new(move || began.elapsed())
    }

    pub(super) fn now(&self) -> Duration {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clock").field(&self.now()).finish()
    }
}
