//! Sessions that outlive a process: snapshots, recovery from them, and reconciling with the peer.

mod audit;
mod durable;
mod kept_references;
mod reattach;
pub(crate) mod reconcile;
pub(crate) mod revive;
pub(crate) mod snapshot;
