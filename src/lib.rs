//! Capability RPC for Rust, on the wire of Cap'n Web.
//!
//! An attribute on a trait makes its implementors objects that other processes can hold: call
//! them, pass them on, and chain calls on results that have not arrived, all in one round trip.
//! Browsers and scripts do the same with the `capnweb` package from npm; Bowline is a server and a
//! client for it. Between Bowline peers a session outlives its connection.
//!
//! ```
//! use bowline::{Peer, Service};
//!
//! /// An interface. The macro makes the reference type `GreeterRef` from it.
//! #[bowline::interface]
//! pub trait Greeter {
//!     async fn named(&self, name: String) -> GreeterRef;
//!     async fn greet(&self) -> String;
//! }
//!
//! struct Polite(String);
//!
//! impl Greeter for Polite {
//!     async fn named(&self, name: String) -> GreeterRef {
//!         GreeterRef::new(Polite(name))
//!     }
//!     async fn greet(&self) -> String {
//!         format!("Good day, {}.", self.0)
//!     }
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//!     let address = listener.local_addr()?;
//!     let service = Service::new(|_peer: Peer| GreeterRef::new(Polite("stranger".to_owned())));
//!     tokio::spawn(service.serve(listener));
//!
//!     let session = bowline::connect(format!("ws://{address}")).await?;
//!     let greeter: GreeterRef = session.root();
//!     // Two calls, the second on the result of the first; one round trip.
//!     assert_eq!(greeter.named("Ann").greet().await?, "Good day, Ann.");
//!     Ok(())
//! }
//! ```
//!
//! # Where to read on
//!
//! - [`interface`]: what an interface can have, how names, errors, cancellation and compatibility
//!   work. [`Pipeline`](derive@Pipeline) and [`RpcError`](derive@RpcError) are the derives that go
//!   with it.
//! - [`Promise`]: **a call is sent when it is made**, awaited or not.
//! - [`Service`]: serving alone or in an application that has a router. [`connect`] and [`batch`]:
//!   the two ways to be a client.
//! - [`Func`] for callbacks, [`Stub`] for references without a type, [`DynTarget`] for objects
//!   without one, [`Attenuate`] for handing on less than one has.
//! - [`Elements::map_each`]: a function over a list that has not arrived, in the same round trip.
//! - [`Reader`] and [`Writer`]: streams, as arguments, as results and inside of data; [`stream`]
//!   says how they are made.
//! - [`CallError`]: how calls fail, sorted by who can do something about it.
//! - [`Limits`] and [`HttpLimits`]: the bounds on what a peer can make us hold.
//! - [`typescript`](fn@typescript): a `.d.ts` of an interface, for pages and scripts.
//! - [`testing`]: two connected sessions in one process, and what crossed between them.
//!
//! # Features
//!
//! `server`, `client` and `macros`, and `tls` for `wss:` and `https:` in the client, are on by
//! default. `sqlite` and `redis` are the stores of those names, off by default: the one compiles
//! SQLite, for which a C compiler is needed. None changes what is on the wire. A Tokio runtime is
//! needed.

pub use bowline_core::error::ErrorCode;
#[doc(hidden)]
pub use bowline_core::generated as __private;
pub use bowline_core::limits::Limits;
pub use bowline_core::link::{Credentials, Features, LinkRules, LinkStats, RuntimeIdentity, Secret, TrustLevel};
pub use bowline_core::peer::stream::{Reader, Writer};
pub use bowline_core::peer::{
    Arg, Attenuate, CallError, CallId, CodecError, Durable, DynTarget, Elements, ErrorCase, FromPromise, Func,
    Interface, IntoArg, IntoStep, Lifetime, Mapped, Member, MemberKind, Never, NotDurable, Options, Pipeline, Promise,
    Recipe, Reference, RemoteError, Repeat, Restorable, RestoreCtx, RestoreError, Restorer, Restorers, Revoke,
    RpcError, SessionError, StoredRecipe, StoredVars, Stub, Thrown, VarError, Vars, call_id, stream, testing,
};
pub use bowline_core::session::{Closed, ClosedBy, Path, Stats, Step};
pub use bowline_core::typescript::{self, TypeScript, typescript};
pub use bowline_core::value::{BigInt, Blob, Bytes, BytesKind, Date, ErrorKind, ErrorValue, Value, bigint, date};

#[cfg(all(feature = "client", not(feature = "server")))]
pub use bowline_client::KeepAlive;
#[cfg(feature = "client")]
pub use bowline_client::{
    Batch, ClientIdentity, Connect, ConnectError, EntryKind, Events, KeepError, LinkEvent, ListFilter, ObjectEntry,
    Objects, Server, Session, SharedLimits, Status, batch, connect,
};
#[cfg(feature = "macros")]
pub use bowline_macros::{Pipeline, RpcError, TypeScript, durable, interface};
#[cfg(feature = "server")]
pub use bowline_server::{
    Authenticator, DrainReport, HttpLimits, KeepAlive, Key, KeyError, KeyRing, Keys, OnReplay, Peer, PeerAddress,
    Principal, Reauth, Refusal, Restoration, Resumption, SavedRefs, ServerError, Service, SturdyError, Successor,
    TokenPolicy, TrustedProxies, Via, store,
};

/// A reference without a type, by the name that reads better in signatures.
pub type Dyn = Stub;

/// Values that a program rarely names: what JavaScript has and Rust has no type for.
pub mod value {
    pub use bowline_core::value::{
        Body, DecodeError, EncodeError, Headers, Object, Payload, Request, Response, Url, encode, from_value, to_value,
    };
}

/// Running a session over a carrier of one's own.
pub mod transport {
    pub use bowline_core::peer::{Connection, Receiving, Sending, Transport, TransportEnd};
}

/// The code in README.md and in the chapters of docs/ is compiled.
#[cfg(all(doctest, feature = "client", feature = "macros", feature = "server"))]
mod documents {
    #[doc = include_str!("../README.md")]
    mod readme {}
    #[doc = include_str!("../docs/getting-started.md")]
    mod getting_started {}
    #[doc = include_str!("../docs/interfaces.md")]
    mod interfaces {}
    #[doc = include_str!("../docs/errors.md")]
    mod errors {}
    #[doc = include_str!("../docs/streams.md")]
    mod streams {}
    #[doc = include_str!("../docs/sessions.md")]
    mod sessions {}
    #[doc = include_str!("../docs/durable.md")]
    mod durable {}
    #[doc = include_str!("../docs/security.md")]
    mod security {}
}
