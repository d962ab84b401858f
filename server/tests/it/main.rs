//! Tests of a server over real sockets. They use raw frames and raw HTTP, so that a bug in Bowline's
//! client cannot hide one in the server.

#![allow(clippy::unwrap_used, reason = "a failed unwrap reports where a test failed")]

/// The numbering of messages.
mod authority;
mod counted;
/// Draining.
mod drain;
/// A store with injected faults and delays.
#[path = "../store/faulty.rs"]
mod faulty;
/// The server under test, a hand-written object, and peers that speak raw WebSocket and HTTP.
mod harness;
/// Peers that violate the WebSocket protocol or try to exhaust memory.
mod hostile;
/// HTTP batches, and requests that are answered without a session.
mod http;
/// The default signing keys.
mod kept;
mod keys;
/// Limits on connections.
mod limits;
/// The link: opening and resuming a session.
mod link;
/// Mounting in axum and in bare hyper.
mod mounted;
/// Isolation between clients, of different addresses and of the same one.
mod neighbors;
/// Checks of `Origin` and `Host`.
mod origin;
/// How often sessions are stored, and how large they may be.
mod pace;
/// Quotas over all clients of a service.
mod quotas;
/// Sessions of peers that behave, and of peers that violate only Cap'n Web's rules.
mod session;
/// Tokens and keys of stored sessions.
mod tokens;
mod watched;
