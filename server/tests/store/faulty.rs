//! A wrapper around a store that injects faults and delays.

#![allow(dead_code, reason = "each suite that includes it uses some of the faults")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bowline_server::store::{
    Checkpoint, Claim, Fence, OwnerInfo, Place, Position, Quota, Recorded, SessionStore, StoreError, SturdyEntry,
    SturdyRecord, Wanted,
};
use bytes::Bytes;
use tokio::sync::watch;

/// How the store handles operations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Operations succeed.
    #[default]
    None,
    /// Operations have no effect and return an error.
    Refuse,
    /// Operations take effect but return an error, as if the reply was lost.
    LoseAnswer,
    /// Operations take effect but never return.
    Stall,
    /// Snapshots are corrupted when they are loaded.
    Spoil,
    /// Nothing more can be stored.
    Full,
}

/// Forwards operations to another store, with the current fault and delay.
#[derive(Clone, Debug)]
pub(crate) struct FaultyStore {
    inner: Arc<Mutex<Arc<dyn SessionStore>>>,
    state: Arc<Mutex<(Fault, Duration)>>,
    /// Whether the store may take owners for dead.
    doubts: watch::Sender<bool>,
    checkpoints: Arc<AtomicUsize>,
}

impl FaultyStore {
    pub(crate) fn new(inner: Arc<dyn SessionStore>) -> Self {
        let inner = Arc::new(Mutex::new(inner));
        Self { inner, state: Arc::default(), doubts: watch::Sender::new(false), checkpoints: Arc::default() }
    }

    /// Replaces the inner store. With an empty one this simulates the loss of all data.
    pub(crate) fn replace(&self, inner: Arc<dyn SessionStore>) {
        *self.inner.lock().unwrap() = inner;
    }

    fn inner(&self) -> Arc<dyn SessionStore> {
        Arc::clone(&self.inner.lock().unwrap())
    }

    /// Returns the number of attempts to store a checkpoint.
    pub(crate) fn checkpoints(&self) -> usize {
        self.checkpoints.load(Ordering::SeqCst)
    }

    /// Sets the fault of later operations.
    pub(crate) fn set_fault(&self, fault: Fault) {
        self.state.lock().unwrap().0 = fault;
    }

    /// Sets the delay of later operations.
    pub(crate) fn set_lag(&self, lag: Duration) {
        self.state.lock().unwrap().1 = lag;
    }

    /// Sets whether owners are in doubt from now on.
    pub(crate) fn set_doubts(&self, doubts: bool) {
        self.doubts.send_replace(doubts);
    }

    fn fault(&self) -> Fault {
        self.state.lock().unwrap().0
    }

    /// Fails if nothing more can be stored.
    fn room(&self) -> Result<(), StoreError> {
        match self.fault() {
            Fault::Full => Err(StoreError::TooMuch { what: "the store", size: 2, max: 1 }),
            _ => Ok(()),
        }
    }

    async fn pass<T>(&self, operation: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        let (fault, lag) = *self.state.lock().unwrap();
        if !lag.is_zero() {
            tokio::time::sleep(lag).await;
        }
        if fault == Fault::Refuse {
            return Err(StoreError::Unavailable("it was told to refuse".to_owned()));
        }
        let done = operation.await;
        if fault == Fault::Stall {
            return std::future::pending().await;
        }
        if fault == Fault::LoseAnswer { Err(StoreError::Unavailable("the answer was lost".to_owned())) } else { done }
    }
}

#[async_trait]
impl SessionStore for FaultyStore {
    async fn open_owner(&self, owner: &str, lease: Duration) -> Result<(), StoreError> {
        self.pass(self.inner().open_owner(owner, lease)).await
    }

    async fn describe_owner(&self, owner: &str, info: &OwnerInfo, place: Place) -> Result<(), StoreError> {
        self.pass(self.inner().describe_owner(owner, info, place)).await
    }

    async fn want(&self, wanted: &Wanted) -> Result<(), StoreError> {
        self.pass(self.inner().want(wanted)).await
    }

    async fn wanted(&self, owner: &str) -> Result<Vec<Wanted>, StoreError> {
        self.pass(self.inner().wanted(owner)).await
    }

    async fn doubted(&self, _owner: &str) {
        drop(self.doubts.subscribe().wait_for(|doubts| *doubts).await);
    }

    async fn renew_owner(&self, owner: &str, lease: Duration) -> Result<(), StoreError> {
        if *self.doubts.borrow() {
            return Err(StoreError::Unavailable("the owner is in doubt".to_owned()));
        }
        self.pass(self.inner().renew_owner(owner, lease)).await
    }

    async fn close_owner(&self, owner: &str) -> Result<(), StoreError> {
        self.pass(self.inner().close_owner(owner)).await
    }

    async fn create(
        &self,
        sid: &str,
        owner: &str,
        lifetime: Duration,
        quota: Option<&Quota>,
    ) -> Result<Fence, StoreError> {
        self.room()?;
        self.pass(self.inner().create(sid, owner, lifetime, quota)).await
    }

    async fn claim(&self, sid: &str, owner: &str, seen: u64) -> Result<Claim, StoreError> {
        self.pass(self.inner().claim(sid, owner, seen)).await
    }

    async fn checkpoint(&self, fence: &Fence, checkpoint: Checkpoint, keep_from: Position) -> Result<(), StoreError> {
        self.checkpoints.fetch_add(1, Ordering::SeqCst);
        self.room()?;
        self.pass(self.inner().checkpoint(fence, checkpoint, keep_from)).await
    }

    async fn load(&self, fence: &Fence, at: Position) -> Result<Bytes, StoreError> {
        let bytes = self.pass(self.inner().load(fence, at)).await?;
        match self.fault() {
            Fault::Spoil => Err(StoreError::Corrupt("it was told to spoil".to_owned())),
            _ => Ok(bytes),
        }
    }

    async fn release(&self, fence: &Fence, unclaimed: Duration) -> Result<(), StoreError> {
        self.pass(self.inner().release(fence, unclaimed)).await
    }

    async fn delete(&self, fence: &Fence) -> Result<(), StoreError> {
        self.pass(self.inner().delete(fence)).await
    }

    async fn record(&self, fence: &Fence, call: i64, outcome: Bytes) -> Result<(), StoreError> {
        self.room()?;
        self.pass(self.inner().record(fence, call, outcome)).await
    }

    async fn forget(&self, fence: &Fence, call: i64) -> Result<(), StoreError> {
        self.pass(self.inner().forget(fence, call)).await
    }

    async fn recorded(&self, fence: &Fence, call: i64) -> Result<Recorded, StoreError> {
        self.pass(self.inner().recorded(fence, call)).await
    }

    async fn save(&self, id: &str, record: SturdyRecord) -> Result<(), StoreError> {
        self.room()?;
        self.pass(self.inner().save(id, record)).await
    }

    async fn sturdy(&self, id: &str) -> Result<Option<SturdyRecord>, StoreError> {
        self.pass(self.inner().sturdy(id)).await
    }

    async fn list_sturdy(&self, owner: &str, after: &str, limit: usize) -> Result<Vec<SturdyEntry>, StoreError> {
        self.pass(self.inner().list_sturdy(owner, after, limit)).await
    }

    async fn revoke(&self, owner: &str, id: &str) -> Result<bool, StoreError> {
        self.pass(self.inner().revoke(owner, id)).await
    }

    async fn gc(&self) -> Result<u64, StoreError> {
        self.pass(self.inner().gc()).await
    }
}
