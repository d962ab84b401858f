//! Stores of sessions: one suite, run against each (T22), and what each does beyond it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

/// What every store does.
#[macro_use]
mod conformance;
/// A store that fails and lags.
mod faulty;
/// The arithmetic of a lease.
mod lease;
/// What was done although nobody was told.
mod lost_answers;
/// The store of one process.
mod memory;
/// The store of many hosts.
#[cfg(feature = "redis")]
mod redis;
/// A folder for a test.
#[cfg(any(feature = "redis", feature = "sqlite"))]
mod scratch;
/// The store of one host.
#[cfg(feature = "sqlite")]
mod sqlite;
