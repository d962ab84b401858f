//! The objects that methods of the root object return.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bowline::error::ErrorValue;
use bowline::{Thrown, Value};

use crate::contract::{Log, Node, NodeRef, Tracked, TrackedRef};
use crate::tables::{LIVE, Life};

/// An object that is counted from its creation until its last reference is released.
pub(crate) struct Alive {
    tag: String,
    index: f64,
    _life: Life,
}

impl Alive {
    pub(crate) fn make(tag: &str, index: f64) -> TrackedRef {
        TrackedRef::new(Self { tag: tag.to_owned(), index, _life: LIVE.begin(tag) })
    }
}

impl Tracked for Alive {
    async fn ping(&self) -> String {
        "pong".to_owned()
    }

    async fn tag(&self) -> String {
        self.tag.clone()
    }

    async fn index(&self) -> f64 {
        self.index
    }

    async fn child(&self) -> TrackedRef {
        Self::make(&self.tag, self.index + 1.0)
    }
}

pub(crate) struct Number(pub(crate) f64);

impl Node for Number {
    async fn value(&self) -> f64 {
        self.0
    }

    async fn next(&self) -> NodeRef {
        NodeRef::new(Self(self.0 + 1.0))
    }

    async fn itself(self: Arc<Self>) -> NodeRef {
        NodeRef::from_arc(self)
    }

    async fn add(&self, amount: f64) -> NodeRef {
        NodeRef::new(Self(self.0 + amount))
    }

    async fn sum_with(&self, other: NodeRef) -> Result<f64, Thrown> {
        Ok(self.0 + other.value().await?)
    }

    async fn fail(&self, message: String) -> Result<(), ErrorValue> {
        Err(ErrorValue::new("Error", message))
    }
}

#[derive(Default)]
pub(crate) struct Entries(Mutex<Vec<Value>>);

impl Log for Entries {
    async fn append(&self, entry: Value) -> usize {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.push(entry);
        entries.len()
    }

    async fn append_later(&self, ms: f64, entry: Value) -> usize {
        pause(ms).await;
        self.append(entry).await
    }

    async fn entries(&self) -> Vec<Value> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Waits for `ms` milliseconds, or not at all if `ms` is negative or not finite.
pub(crate) async fn pause(ms: f64) {
    if let Ok(time) = Duration::try_from_secs_f64(ms / 1000.0) {
        tokio::time::sleep(time).await;
    }
}
