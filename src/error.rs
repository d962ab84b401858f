//! Why calls, sessions, and connections fail.
//!
//! A call fails with [`CallError`](crate::CallError), whose variants say who can do something about the failure. An error
//! type that a method returns implements [`RpcError`](crate::RpcError), most often by its derive.
//!
#![cfg_attr(feature = "macros", doc = "```")]
#![cfg_attr(not(feature = "macros"), doc = "```ignore")]
//! use bowline::CallError;
//! use bowline::error::{RemoteError, SessionError};
//!
//! #[derive(Debug, thiserror::Error, bowline::RpcError)]
//! #[error("there is no item {item}")]
//! pub struct NoItem {
//!     item: u64,
//! }
//!
//! fn describe(error: CallError<NoItem>) -> String {
//!     match error {
//!         CallError::App(NoItem { item }) => format!("no item {item}"),
//!         CallError::Session(SessionError::TimedOut) => "no answer in time".to_owned(),
//!         CallError::Session(_) => "the session ended".to_owned(),
//!         CallError::Remote(error) => format!("the server failed: {error}"),
//!         other => other.to_string(),
//!     }
//! }
//! # let _ = describe;
//! ```
//!
//! [`CallError::code`](crate::CallError::code) returns the [`ErrorCode`](crate::ErrorCode) of a failure that Bowline itself
//! reports.

pub use bowline_core::peer::{CodecError, ErrorCase, ErrorDescription, Never, RemoteError, SessionError};
pub use bowline_core::value::{DecodeError, EncodeError, ErrorKind, ErrorValue};

#[cfg(feature = "client")]
pub use bowline_client::ConnectError;
#[cfg(feature = "server")]
pub use bowline_server::ServerError;
