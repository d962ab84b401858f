//! Objects that survive their process: recipes, restorers, session variables, and saved references.
//!
//! A durable object has a [`Recipe`]: the name of a [`Restorer`] and the parameters to rebuild the object from. When
//! another process recovers a session, it restores the object from the recipe. The attribute
//! [`#[bowline::durable]`](macro@crate::durable) derives the recipe of a struct from its fields.
//!
#![cfg_attr(all(feature = "server", feature = "macros"), doc = "```")]
#![cfg_attr(not(all(feature = "server", feature = "macros")), doc = "```ignore")]
//! use bowline::durable::RestoreError;
//! use bowline::store::MemoryStore;
//! use bowline::{Peer, Recovery, Service};
//!
//! #[bowline::interface]
//! pub trait Counter {
//!     async fn name(&self) -> String;
//! }
//!
//! #[bowline::durable(restorer = "counter", version = 1)]
//! struct Named {
//!     name: String,
//! }
//!
//! impl Counter for Named {
//!     async fn name(&self) -> String {
//!         self.name.clone()
//!     }
//! }
//!
//! let counters = Named::restorer((), |_ctx, params, ()| async move {
//!     if params.name.is_empty() {
//!         return Err(RestoreError::PermissionDenied.into());
//!     }
//!     Ok(CounterRef::durable(params.restore()))
//! });
//! let recovery = Recovery::in_store(MemoryStore::new()).restorer(counters);
//! let service = Service::new(|_peer: Peer| CounterRef::durable(Named { name: "first".to_owned() })).recovery(recovery);
//! # let _ = service;
//! ```
//!
//! # Errors
//!
//! A call on an object that cannot be restored fails with a code: `CAPABILITY_LOST` (it has no recipe),
//! `RESTORER_UNKNOWN`, `RESTORE_FAILED`, or `PERMISSION_DENIED`.
//!
//! # Limits
//!
//! The parameters of a recipe take at most 64 KiB, and recipes nest at most 32 deep. A restorer has 2 seconds, and 64 run
//! at a time in a process.

pub use bowline_core::peer::{
    BoxError, CallId, Durable, NotDurable, Recipe, RestoreCtx, RestoreError, Restorer, Restorers, StoredRecipe,
    StoredVars, VarError, Vars, call_id,
};

#[cfg(feature = "client")]
pub use bowline_client::KeepError;
#[cfg(feature = "server")]
pub use bowline_server::{SavedRefs, SturdyError};
