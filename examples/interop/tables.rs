//! Tables shared by all sessions of the process, with keys that callers choose.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use bowline::Stub;
use bowline::error::ErrorValue;

use crate::contract::SinkStatus;

/// The number of live objects by tag.
pub(crate) static LIVE: LazyLock<Lives> = LazyLock::new(Lives::default);
/// Capabilities that are held after the call that passed them.
pub(crate) static HELD: LazyLock<Held> = LazyLock::new(Held::default);
/// The status of sinks.
pub(crate) static SINKS: LazyLock<Sinks> = LazyLock::new(Sinks::default);

#[derive(Default)]
pub(crate) struct Lives(Mutex<HashMap<String, usize>>);

impl Lives {
    /// Counts an object under `tag` until the returned `Life` is dropped.
    pub(crate) fn begin(&'static self, tag: &str) -> Life {
        *locked(&self.0).entry(tag.to_owned()).or_default() += 1;
        Life { of: self, tag: tag.to_owned() }
    }

    pub(crate) fn count(&self, tag: &str) -> usize {
        locked(&self.0).get(tag).copied().unwrap_or_default()
    }
}

pub(crate) struct Life {
    of: &'static Lives,
    tag: String,
}

impl Drop for Life {
    fn drop(&mut self) {
        let mut lives = locked(&self.of.0);
        if let Some(count) = lives.get_mut(&self.tag) {
            *count -= 1;
            if *count == 0 {
                lives.remove(&self.tag);
            }
        }
    }
}

#[derive(Default)]
pub(crate) struct Held(Mutex<HashMap<String, Stub>>);

impl Held {
    /// Holds `cap` under `key`. The capability that was there before is dropped after the lock is
    /// released, because dropping it sends a message.
    pub(crate) fn put(&self, key: String, cap: Stub) {
        let before = locked(&self.0).insert(key, cap);
        drop(before);
    }

    /// Returns the capability held under `key`.
    ///
    /// # Errors
    /// A `RangeError` if there is none.
    pub(crate) fn get(&self, key: &str) -> Result<Stub, ErrorValue> {
        let found = locked(&self.0).get(key).cloned();
        found.ok_or_else(|| ErrorValue::new("RangeError", format!("no such held capability: {key}")))
    }

    pub(crate) fn remove(&self, key: &str) -> Option<Stub> {
        locked(&self.0).remove(key)
    }

    pub(crate) fn contains(&self, key: &str) -> bool {
        locked(&self.0).contains_key(key)
    }
}

#[derive(Default)]
pub(crate) struct Sinks(Mutex<HashMap<String, Arc<Mutex<SinkStatus>>>>);

impl Sinks {
    pub(crate) fn put(&self, key: String, status: Arc<Mutex<SinkStatus>>) {
        locked(&self.0).insert(key, status);
    }

    /// Returns the status of a sink.
    ///
    /// # Errors
    /// A `RangeError` if there is no such sink.
    pub(crate) fn status(&self, key: &str) -> Result<SinkStatus, ErrorValue> {
        let found = locked(&self.0).get(key).cloned();
        let sink = found.ok_or_else(|| ErrorValue::new("RangeError", format!("no such sink: {key}")))?;
        let status = locked(&sink).clone();
        Ok(status)
    }
}

fn locked<T>(table: &Mutex<T>) -> MutexGuard<'_, T> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}
