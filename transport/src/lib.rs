//! How messages travel: [`WebSocket`] for a session on a socket, [`Lines`] for an HTTP batch.
//!
//! Server and client share this crate and nothing else. It knows no HTTP, no TLS and no session;
//! it turns frames or lines into the texts that `bowline_core::peer` runs on. docs/wire.md,
//! "HTTP batch" and "WebSocket", says what is sent.
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
