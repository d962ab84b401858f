//! The client of Bowline: [`connect`] opens a session over a WebSocket, and [`batch`] sends calls
//! as one HTTP request. Applications use the `bowline` package, which re-exports this crate.
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let session = bowline_client::connect("wss://example.com/rpc").await?;
//! let api = session.root_dyn();
//! let greeting = api.call("hello", ("Ann",)).await?;
//! # Ok(())
//! # }
//! ```
mod batch;
mod connect;
mod credentials;
mod dial;
mod error;
mod hello;
mod keeper;
mod listing;
mod plain_servers;
mod reattach;
mod saved_session;
mod session;
#[cfg(feature = "tls")]
mod tls;
mod url;

pub use batch::{Batch, batch};
pub use bowline_core::endpoint::LinkEvent;
pub use bowline_core::link::{
    ClientIdentity, Credentials, LinkRules, LinkStats, ObjectKind, ObjectStatus, RuntimeIdentity, SharedLimits,
    TrustLevel,
};
pub use bowline_core::peer::{KeepError, LinkEvents};
pub use bowline_transport::KeepAlive;
pub use connect::{SessionBuilder, connect};
pub use error::ConnectError;
pub use listing::{ObjectEntry, ObjectPages};
#[cfg(feature = "tls")]
pub use rustls;
pub use session::{ServerInfo, Session};
