//! Transports without a session and without sockets, on a paused clock.
#![allow(clippy::unwrap_used, reason = "a failed unwrap reports where a test failed")]

/// The lines of a batch.
mod lines;
/// Slow, silent, and unresponsive peers of a WebSocket.
mod websocket;
