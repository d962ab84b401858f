//! What interfaces are made of: descriptions of their members, arguments, pipelined results, and weaker references.
//!
//! The attribute [`#[bowline::interface]`](macro@crate::interface) generates everything that an application needs. The
//! types here appear in the signatures of generated code, and serve programs that work without an interface: proxies,
//! gateways, and command-line tools.
//!
//! - [`Attenuate`] makes a weaker reference of a reference: one that admits some methods only, or that can be revoked.
//! - [`DynTarget`] is an object that receives every call as a path and arguments.
//! - [`Elements::map_each`] applies a function to a list that has not arrived.
//! - [`Interface`] describes the members of an interface.
//!
#![cfg_attr(feature = "macros", doc = "```")]
#![cfg_attr(not(feature = "macros"), doc = "```ignore")]
//! use bowline::interface::Attenuate;
//!
//! #[bowline::interface]
//! pub trait Room {
//!     async fn history(&self) -> Vec<String>;
//!     async fn post(&self, text: String);
//! }
//!
//! /// Returns a reference that can read the room, and cannot post.
//! fn read_only(room: &RoomRef) -> RoomRef {
//!     room.only(["history"])
//! }
//! # let _ = read_only;
//! ```

pub use bowline_core::peer::{
    Arg, Attenuate, DynTarget, Elements, FromPromise, Interface, IntoArg, IntoStep, Lifetime, Mapped, Member,
    MemberKind, Repeat, Revoke,
};
pub use bowline_core::session::{Path, Step};
