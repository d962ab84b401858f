//! Bowline: capability RPC for Rust whose references outlive the connection.

#[cfg(feature = "client")]
pub use bowline_client::{Batch, Connect, ConnectError, Session, batch, connect};
#[doc(hidden)]
pub use bowline_core::generated as __private;
pub use bowline_core::limits::Limits;
pub use bowline_core::peer::{
    Attenuate, CallError, DynTarget, FromPromise, Func, Interface, IntoArg, Member, MemberKind, Never, Pipeline,
    Promise, Reference, RemoteError, Revoke, RpcError, SessionError, Stub, Stub as Dyn, Thrown, testing,
};
pub use bowline_core::session::{Closed, ClosedBy, Path, Stats, Step};
pub use bowline_core::value::{self, BigInt, Bytes, BytesKind, Date, ErrorValue, Value, bigint, date};
#[cfg(feature = "macros")]
pub use bowline_macros::{Pipeline, RpcError, interface};
#[cfg(feature = "server")]
pub use bowline_server::{HttpLimits, KeepAlive, Peer, PeerAddress, Refusal, ServerError, Service, Via};
