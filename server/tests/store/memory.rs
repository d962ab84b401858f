//! The store in memory, on a clock that tests advance.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bowline_server::store::{Clock, MemoryStore, Position, SessionStore, SturdyRecord};
use bytes::Bytes;

use crate::conformance::Bench;

/// A clock that advances only on demand.
#[derive(Clone, Default)]
pub(crate) struct Hands(Arc<AtomicU64>);

impl Hands {
    pub(crate) fn clock(&self) -> Clock {
        let millis = Arc::clone(&self.0);
        Clock::new(move || Duration::from_millis(millis.load(Ordering::SeqCst)))
    }

    #[cfg(feature = "sqlite")]
    pub(crate) fn set(&self, time: Duration) {
        self.0.store(time.as_millis() as u64, Ordering::SeqCst);
    }

    pub(crate) fn advance(&self, time: Duration) {
        self.0.fetch_add(time.as_millis() as u64, Ordering::SeqCst);
    }
}

struct Memory {
    hands: Hands,
    store: Arc<MemoryStore>,
}

impl Memory {
    async fn bench() -> Option<Self> {
        let hands = Hands::default();
        let store = Arc::new(MemoryStore::with_clock(hands.clock()));
        Some(Self { hands, store })
    }
}

#[async_trait]
impl Bench for Memory {
    async fn open(&self) -> Arc<dyn SessionStore> {
        Arc::clone(&self.store) as _
    }

    async fn pass(&self, time: Duration) {
        self.hands.advance(time);
    }

    /// Snapshots stay in memory, so they cannot be corrupted from outside.
    async fn spoil(&self, _sid: &str, _at: Position) -> bool {
        false
    }

    async fn fill(&self, owner: &str, references: usize) {
        for n in 0..references {
            let record = SturdyRecord { owner: owner.to_owned(), label: String::new(), recipe: Bytes::new() };
            self.store.save(&format!("fill-{n}"), record).await.unwrap();
        }
    }

    fn sweeps_itself(&self) -> bool {
        false
    }
}

store_conformance!(Memory::bench());
