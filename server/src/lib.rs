//! The server of Bowline: a tower service that handles WebSocket sessions and HTTP batches.
//!
//! Mount [`Service`] on a route of an application, or let it [`listen`](Service::listen) by itself.
//! Applications use the `bowline` package, which re-exports this crate.
//!
//! ```no_run
//! # async fn run(root: bowline_core::peer::Stub) -> Result<(), bowline_server::ServerError> {
//! use bowline_server::{Peer, Service};
//!
//! let service = Service::new(move |_peer: Peer| root.clone());
//! service.listen("127.0.0.1:8080").await?;
//! # Ok(())
//! # }
//! ```
mod address;
mod auth;
mod batch;
mod drain;
mod early_messages;
mod error;
mod handshake;
mod host;
mod http_limits;
mod keys;
mod leases;
mod link;
mod listen;
mod origin;
mod peer_info;
mod permits;
mod places;
mod proxies;
mod proxy_header;
mod recovery;
mod registry;
mod reply;
mod resumption;
mod service;
pub mod store;
mod ws;

pub use auth::{Authenticator, Principal};
pub use bowline_core::link::{Credentials, LinkRules, LinkStats, RuntimeIdentity, Secret, TrustLevel};
pub use bowline_core::resume::{Key, KeyError, KeyRing, TokenPolicy};
pub use bowline_transport::KeepAlive;
pub use drain::DrainReport;
pub use error::{Refusal, ServerError};
pub use http_limits::HttpLimits;
pub use keys::Keys;
pub use peer_info::{Peer, PeerAddress, TransportKind};
pub use proxies::TrustedProxies;
pub use recovery::{Recovery, SavedRefs, SturdyError};
pub use resumption::{OnReplay, Reauth, Resumption};
pub use service::{Service, Successor};
