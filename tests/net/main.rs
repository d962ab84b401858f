//! Client and server of ours over real sockets, port 0.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

/// Who the client is, and where its server goes.
mod authority;
/// Calls that share one request.
mod batch;
/// A client's session when its task, its runtime or its handles end.
mod client_tasks;
/// What the link costs, on demand.
mod cost;
/// Servers that stop.
mod drain;
/// What goes wrong with a link, row by row.
mod failures;
/// A store that fails and lags.
#[path = "../../server/tests/store/faulty.rs"]
mod faulty;
/// The objects under test and a server for them.
mod harness;
/// Sessions that outlive their connections.
mod link;
/// A network that fails when it is told to.
mod proxy;
/// Sessions that outlive the process of their client.
mod reattach;
/// Several servers that share what they keep.
mod replicas;
/// Sessions that outlive the process of their server.
mod restart;
/// Sessions on a WebSocket.
mod session;
/// Stores that fail.
mod stores;
/// References that outlive their session.
mod sturdy;
/// The same over TLS, with a certificate of the test's own.
mod tls;
/// Secrets that are not sent in the clear.
mod unencrypted;
