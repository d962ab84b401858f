//! Store operations that took effect although their reply was lost.

use std::sync::Arc;
use std::time::Duration;

use bowline_server::store::{Checkpoint, Claim, MemoryStore, Position, SessionStore, StoreError};
use bytes::Bytes;

use crate::faulty::{Fault, FaultyStore};

#[tokio::test(start_paused = true)]
async fn operation_whose_reply_was_lost_can_be_repeated() {
    let faulty = FaultyStore::new(Arc::new(MemoryStore::new()));
    let day = Duration::from_secs(86_400);
    let position = Position { lineage: 1, number: 1 };
    let checkpoint = Checkpoint { at: position, epoch: 1, tokens: Vec::new(), bytes: Bytes::from("one") };
    faulty.open_owner("a", day).await.unwrap();
    faulty.set_fault(Fault::LoseAnswer);
    faulty.create("s", "a", day, None).await.unwrap_err();
    faulty.set_fault(Fault::None);
    let fence = faulty.create("s", "a", day, None).await.unwrap();
    faulty.set_fault(Fault::LoseAnswer);
    faulty.checkpoint(&fence, checkpoint.clone(), position).await.unwrap_err();
    faulty.claim("s", "a", 0).await.unwrap_err();
    faulty.set_fault(Fault::None);
    let Ok(Claim::Claimed(claimed)) = faulty.claim("s", "a", 0).await else {
        panic!("the owner could not claim its own session")
    };
    assert_eq!((claimed.fence.epoch, claimed.checkpoints), (3, vec![position]));
    faulty.checkpoint(&claimed.fence, checkpoint, position).await.unwrap();
    faulty.set_fault(Fault::Spoil);
    assert!(matches!(faulty.load(&claimed.fence, position).await, Err(StoreError::Corrupt(_))));
    faulty.set_fault(Fault::Refuse);
    assert!(matches!(faulty.release(&claimed.fence, day).await, Err(StoreError::Unavailable(_))));
    faulty.set_fault(Fault::LoseAnswer);
    faulty.set_lag(Duration::from_secs(2));
    let asked = tokio::time::Instant::now();
    faulty.release(&claimed.fence, day).await.unwrap_err();
    assert_eq!(asked.elapsed(), Duration::from_secs(2));
    faulty.set_fault(Fault::None);
    // The release took effect, although its reply was lost.
    assert_eq!(faulty.release(&claimed.fence, day).await, Err(StoreError::Fenced));
}
