//! Who a peer is: credentials, principals, and the keys that protect resume tokens.
//!
//! A service authenticates its peers with an [`Authenticator`](crate::Authenticator), or with a closure from a bearer
//! token to an optional [`Principal`](crate::Principal). A client presents credentials with
//! [`SessionBuilder::bearer`](crate::SessionBuilder::bearer), [`SessionBuilder::credentials`](crate::SessionBuilder::credentials), or
//! [`SessionBuilder::identity`](crate::SessionBuilder::identity).
//!
#![cfg_attr(all(feature = "server", feature = "macros"), doc = "```")]
#![cfg_attr(not(all(feature = "server", feature = "macros")), doc = "```ignore")]
//! use bowline::auth::{Credentials, Refusal};
//! use bowline::{Authenticator, Peer, Principal, Service};
//! use http::StatusCode;
//!
//! #[bowline::interface]
//! pub trait Api {
//!     async fn name(&self) -> String;
//! }
//!
//! struct Named(String);
//!
//! impl Api for Named {
//!     async fn name(&self) -> String {
//!         self.0.clone()
//!     }
//! }
//!
//! struct Accounts;
//!
//! #[async_trait::async_trait]
//! impl Authenticator for Accounts {
//!     async fn authenticate(&self, _peer: &Peer, credentials: &Credentials) -> Result<Principal, Refusal> {
//!         match (credentials.scheme.as_str(), &credentials.token) {
//!             (Credentials::BEARER, Some(token)) if token.expose() == "sesame" => Ok(Principal::new("ann")),
//!             _ => Err(Refusal::new(StatusCode::UNAUTHORIZED, "a bearer token is required")),
//!         }
//!     }
//! }
//!
//! let service = Service::new(|peer: Peer| ApiRef::new(Named(peer.principal.id))).authenticate(Accounts);
//! # let _ = service;
//! ```
//!
//! # Errors
//!
//! A refused client receives the status of the [`Refusal`]: over the link as `UNAUTHENTICATED` or `PERMISSION_DENIED`, on
//! a plain WebSocket or for a batch as the HTTP status. With status 401 it may try again, three times on a connection.
//!
//! # Limits
//!
//! An authenticator is dropped when its client disconnects, and after
//! [`HttpLimits::handshake`](crate::HttpLimits::handshake).
//!
//! # Keys
//!
//! Resume tokens are signed or sealed with the keys of a [`KeyRing`]. All processes of a service share the ring. Without
//! one, a service generates a key when it starts, and its sessions end with its process.

pub use bowline_core::link::{Credentials, Secret, TrustLevel};

#[cfg(feature = "client")]
pub use bowline_client::ClientIdentity;
#[cfg(feature = "server")]
pub use bowline_server::{Key, KeyError, KeyRing, Keys, OnReplay, Reauth, Refusal, TokenPolicy};
