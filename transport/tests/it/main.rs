//! Transports without a session and without sockets, on a paused clock.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

/// The lines of a batch.
mod lines;
/// Slow, silent, and unresponsive peers of a WebSocket.
mod websocket;
