//! Settings and reports of a [`Service`](crate::Service): draining, addresses, and how requests arrive.
//!
#![cfg_attr(feature = "macros", doc = "```no_run")]
#![cfg_attr(not(feature = "macros"), doc = "```ignore")]
//! use std::time::Duration;
//!
//! use bowline::server::{Successor, TrustedProxies};
//! use bowline::{Peer, Service};
//!
//! #[bowline::interface]
//! pub trait Greeter {
//!     async fn greet(&self) -> String;
//! }
//!
//! struct Hello;
//!
//! impl Greeter for Hello {
//!     async fn greet(&self) -> String {
//!         "Hello.".to_owned()
//!     }
//! }
//!
//! # async fn run(stop: impl Future<Output = ()>) -> Result<(), Box<dyn std::error::Error>> {
//! let service = Service::new(|_peer: Peer| GreeterRef::new(Hello))
//!     .trusted_proxies(TrustedProxies::x_forwarded_for(["10.0.0.0/8"]));
//! let listener = tokio::net::TcpListener::bind("0.0.0.0:8080").await?;
//! tokio::spawn(service.clone().serve(listener));
//! stop.await;
//! // Clients reconnect after half a second, by when the next process listens.
//! let report = service.drain_to(Duration::from_secs(30), Successor::after(Duration::from_millis(500))).await;
//! println!("{report:?}");
//! # Ok(())
//! # }
//! ```

pub use bowline_server::{DrainReport, PeerAddress, Successor, TransportKind, TrustedProxies};
