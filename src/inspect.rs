//! What a session holds: listing the objects and results that the server keeps for a client, and counting references.
//!
//! [`Session::list`](crate::Session::list) asks the server for its entries, page by page;
//! [`Session::stats`](crate::Session::stats) counts the entries of the local tables. A leak shows up as an entry whose
//! `mentions` or age keeps growing.
//!
#![cfg_attr(feature = "client", doc = "```no_run")]
#![cfg_attr(not(feature = "client"), doc = "```ignore")]
//! use std::time::{Duration, SystemTime};
//!
//! use bowline::Session;
//! use bowline::inspect::ObjectKind;
//!
//! /// Prints the objects that the server has held for more than an hour.
//! async fn old_objects(session: &Session) -> Result<(), Box<dyn std::error::Error>> {
//!     let an_hour_ago = SystemTime::now() - Duration::from_secs(3_600);
//!     let mut objects = session.list().kind(ObjectKind::Object).created_before(an_hour_ago);
//!     while let Some(page) = objects.next_page().await? {
//!         for object in page {
//!             println!("object {} is referred to {} times", object.id, object.mentions);
//!         }
//!     }
//!     Ok(())
//! }
//! # let _ = old_objects;
//! ```

pub use bowline_core::session::SessionStats;

#[cfg(feature = "client")]
pub use bowline_client::{ObjectEntry, ObjectKind, ObjectPages, ObjectStatus};
