//! What a session holds: listing the objects and results that the server keeps for a client, and counting references.
//!
//! [`Session::list`](crate::Session::list) asks the server for a page of entries; [`Session::stats`](crate::Session::stats)
//! counts the entries of the local tables. A leak shows up as an entry whose `mentions` or age keeps growing.

pub use bowline_core::session::Stats;

#[cfg(feature = "client")]
pub use bowline_client::{EntryKind, ListFilter, ObjectEntry, Objects, Status};
