//! The link, which lets a session outlive its connection: its events, statistics, and settings.
//!
//! A client sees what happens to its session as [`LinkEvent`]s:
//!
#![cfg_attr(feature = "client", doc = "```no_run")]
#![cfg_attr(not(feature = "client"), doc = "```ignore")]
//! use bowline::Session;
//! use bowline::link::LinkEvent;
//!
//! async fn show(session: Session) {
//!     let mut events = session.events();
//!     while let Some(event) = events.next().await {
//!         match event {
//!             LinkEvent::Detached { .. } => println!("reconnecting"),
//!             LinkEvent::Resumed { .. } | LinkEvent::Recovered { .. } => println!("back"),
//!             other => println!("{other:?}"),
//!         }
//!     }
//! }
//! # let _ = show;
//! ```
//!
//! A server configures the link with [`Resumption`](crate::Resumption), a client with
//! [`SessionBuilder::link_rules`](crate::SessionBuilder::link_rules).

pub use bowline_core::link::{Features, LinkRules, LinkStats, RuntimeIdentity};
pub use bowline_core::session::{CloseCause, CloseReason, ClosedBy};

#[cfg(all(feature = "client", not(feature = "server")))]
pub use bowline_client::KeepAlive;
#[cfg(feature = "client")]
pub use bowline_client::{LinkEvent, LinkEvents, ServerInfo, SharedLimits};
#[cfg(feature = "server")]
pub use bowline_server::KeepAlive;
