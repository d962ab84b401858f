//! Session stores: one conformance suite for all of them, and tests of what is specific to each.

#![allow(clippy::unwrap_used, reason = "a failed unwrap reports where a test failed")]

/// Writes of the store in SQLite that share a transaction.
#[cfg(feature = "sqlite")]
mod batch;
/// The conformance suite.
#[macro_use]
mod conformance;
/// A store with injected faults and delays.
mod faulty;
/// The arithmetic of a lease.
mod lease;
/// Operations whose replies are lost.
mod lost_answers;
/// The store in memory.
mod memory;
/// Processes whose end a Redis server sees.
#[cfg(feature = "redis")]
mod presence;
/// The store in Redis.
#[cfg(feature = "redis")]
mod redis;
/// Temporary folders.
#[cfg(any(feature = "redis", feature = "sqlite"))]
mod scratch;
/// The store in SQLite.
#[cfg(feature = "sqlite")]
mod sqlite;
