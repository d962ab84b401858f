//! Bowline: capability RPC for Rust whose references outlive the connection.

#[doc(hidden)]
pub use bowline_core::generated as __private;
pub use bowline_core::limits::Limits;
pub use bowline_core::peer::{
    CallError, FromPromise, Func, Interface, IntoArg, Member, MemberKind, Never, Pipeline, Promise, Reference,
    RemoteError, RpcError, SessionError, Stub, testing,
};
pub use bowline_core::typescript::{TypeScript, typescript};
pub use bowline_core::value::{BigInt, Bytes, Date, ErrorValue, Value};
#[cfg(feature = "macros")]
pub use bowline_macros::{Pipeline, RpcError, TypeScript, interface};
