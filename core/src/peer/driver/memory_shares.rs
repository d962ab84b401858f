//! The sessions of a memory budget, with what each holds.

use crate::peer::driver::connection::Connection;
use crate::peer::host::memory::{MemoryBudget, STEP_BYTES};

/// The share of a session at the time of the request.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MemoryShare {
    /// The session.
    pub connection: Connection,
    /// The bytes that the session holds.
    pub bytes: usize,
    /// Whether the session waits for its client to reconnect.
    pub is_detached: bool,
}

impl MemoryBudget {
    /// Returns the sessions that hold at least 4 KiB, with their shares.
    pub fn shares(&self) -> Vec<MemoryShare> {
        let shares = self.sessions().into_iter().map(|shared| {
            let (bytes, is_detached) = {
                let state = shared.lock();
                (state.endpoint.held_bytes(), state.endpoint.is_linked() && state.endpoint.is_detached())
            };
            MemoryShare { connection: Connection::of(shared), bytes, is_detached }
        });
        shares.filter(|share| share.bytes >= STEP_BYTES).collect()
    }
}
