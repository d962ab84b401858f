//! A server on real sockets, port 0, spoken to in raw frames and raw HTTP so that no client of
//! ours can hide a fault.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

/// Which messages have numbers.
mod authority;
mod counted;
/// How it stops.
mod drain;
/// A store that fails and lags.
#[path = "../store/faulty.rs"]
mod faulty;
/// The server under test, a hand-written object, and peers that speak raw WebSocket and HTTP.
mod harness;
/// What breaks WebSocket's rules or tries to use up memory.
mod hostile;
/// Batches, and everything answered without a session.
mod http;
/// The keys that sign tokens.
mod kept;
mod keys;
/// How many connections and sessions there may be.
mod limits;
/// The link: what opens a session and what has it back.
mod link;
/// Where it can be mounted: axum, bare hyper.
mod mounted;
/// What clients of other addresses, and of the same one, cannot do to each other.
mod neighbors;
/// Pages of other sites, and host names that are not the service's.
mod origin;
/// How often and how large sessions are stored.
mod pace;
/// What clients may hold together, and what one may take from others.
mod quotas;
/// Sessions of peers that behave, and of peers that break Cap'n Web's rules only.
mod session;
/// Which tokens of sessions that are kept count, and with which key.
mod tokens;
mod watched;
