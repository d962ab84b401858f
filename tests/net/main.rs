//! Tests of Bowline's client with Bowline's server over real sockets.
#![allow(clippy::unwrap_used, reason = "a failed unwrap reports where a test failed")]

/// Credentials, leases, and moves between servers.
mod authority;
/// HTTP batches.
mod batch;
/// A client's session when its task, its runtime, or its handles end.
mod client_tasks;
/// What the link and a store cost a call.
mod cost;
/// Draining a server.
mod drain;
/// Failures of the network, row by row of docs/link.md.
mod failures;
/// A store with injected faults and delays.
#[path = "../../server/tests/store/faulty.rs"]
mod faulty;
/// The objects under test, and a server for them.
mod harness;
/// Sessions that outlive their connections.
mod link;
/// A proxy that fails on demand.
mod proxy;
/// Replacing the client process.
mod reattach;
/// Several server processes that share a store.
mod replicas;
/// Replacing the server process.
mod restart;
/// Sessions on a WebSocket.
mod session;
/// Stores that fail.
mod stores;
/// Saved references.
mod sturdy;
/// Sessions and batches over TLS.
mod tls;
/// Secrets are not sent unencrypted.
mod unencrypted;
