//! Transports of sessions: [`WebSocket`] for a connection, [`Lines`] for an HTTP batch.
//!
//! This crate is all that server and client share besides `bowline_core`. It converts frames and
//! lines to the messages that `bowline_core::peer` handles, and knows nothing of HTTP, TLS, and
//! sessions. See docs/wire.md, "HTTP batch" and "WebSocket".
mod ahead;
mod deadline;
mod ending;
mod keep_alive;
mod lines;
mod metered;
mod opening;
mod receiver;
mod sender;
mod websocket;

pub use deadline::{FAR, after, deadline};
pub use ending::{Ending, Parting};
pub use keep_alive::KeepAlive;
pub use lines::{Lines, LinesControl, LinesReceiver, LinesSender};
pub use metered::{Metered, Traffic};
pub use receiver::WebSocketReceiver;
pub use sender::WebSocketSender;
pub use websocket::{WebSocket, config};
