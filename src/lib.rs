//! Bowline is a capability-based RPC framework. It is for services that hand out *objects* and not
//! just endpoints, and whose clients should not notice a lost connection or a restarted server.
//!
//! You export Rust objects. Peers hold references to them, call them, pass them on, and chain calls
//! on results that have not arrived yet, all in one round trip. References outlive the connection: a
//! session between Bowline peers survives a dropped socket, a deploy, and a server crash. The wire
//! protocol is that of Cap'n Web, so every program that runs the `capnweb` package from npm, such as a
//! web page, is already a client.
//!
//! # Example
//!
//! ```
//! use bowline::{Peer, Service};
//!
//! /// An interface. The attribute generates the reference type `GreeterRef`.
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
//!     // The server. The closure returns the root object of each session.
//!     let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//!     let address = listener.local_addr()?;
//!     let service = Service::new(|_peer: Peer| GreeterRef::new(Polite("stranger".to_owned())));
//!     tokio::spawn(service.serve(listener));
//!
//!     // The client.
//!     let session = bowline::connect(format!("ws://{address}")).await?;
//!     let greeter: GreeterRef = session.root();
//!     // Two calls, the second on the result of the first, in one round trip.
//!     assert_eq!(greeter.named("Ann").greet().await?, "Good day, Ann.");
//!     Ok(())
//! }
//! ```
//!
//! **A call is sent when it is made**, not when it is awaited: the methods of a reference return a
//! [`Promise`].
//!
//! # What to read
//!
//! The chapters are in the folder `docs` of the repository; [Getting started] is the first.
//!
//! | to | items | chapter |
//! | --- | --- | --- |
//! | define an interface | [`interface`](macro@interface) | [Interfaces] |
//! | chain calls in one round trip | [`Promise`], [`Pipeline`](derive@Pipeline), [`Elements::map_each`](interface::Elements::map_each) | [Interfaces] |
//! | pass callbacks | [`Func`] | [Interfaces] |
//! | hand out a weaker or revocable reference | [`Attenuate`](interface::Attenuate) | [Interfaces] |
//! | declare and handle errors | [`RpcError`](derive@RpcError), [`CallError`] | [Errors] |
//! | stream data | [`Reader`], [`Writer`], [`mod@stream`] | [Streams] |
//! | serve, alone or inside of another application | [`Service`], [`Peer`] | [Getting started] |
//! | connect, or send calls as one HTTP request | [`connect`], [`SessionBuilder`], [`batch`] | [Getting started] |
//! | follow lost and resumed connections | [`Session::events`], [`LinkEvent`](link::LinkEvent) | [Sessions] |
//! | survive a server restart | [`durable`](macro@durable), [`Restorer`](durable::Restorer), [`Recovery`] | [Durable objects] |
//! | authenticate clients | [`Authenticator`], [`Principal`] | [Security] |
//! | bound what a peer can make the process hold | [`Limits`], [`HttpLimits`] | [Security] |
//! | deploy, drain, and run several processes | [`Service::drain`], [`Resumption`], [`store`] | [Operations], [Session stores] |
//! | generate TypeScript declarations | [`typescript`](mod@typescript), [`TypeScript`](derive@TypeScript) | [Interfaces] |
//! | forward calls without knowing their types | [`Stub`], [`DynTarget`](interface::DynTarget), [`Value`] | [Interfaces] |
//! | test both sides in one process | [`testing`] | [Getting started] |
//! | run a session over a custom transport | [`transport`] | |
//!
//! [Performance] explains where the time of a call goes. [Wire protocol], [Link protocol], and [Token
//! format] are references for those who debug or implement a peer.
//!
//! # Features
//!
//! | feature | default | enables |
//! | --- | --- | --- |
//! | `server` | yes | [`Service`] |
//! | `client` | yes | [`connect`] and [`batch`] |
//! | `macros` | yes | the attributes and derives |
//! | `tls` | yes | `wss:` and `https:` in the client |
//! | `sqlite` | no | `store::SqliteStore`; compiles SQLite, which needs a C compiler |
//! | `redis` | no | `store::RedisStore` |
//!
//! No feature changes what is sent on the wire. Bowline needs a Tokio runtime.
//!
//! [Getting started]: https://github.com/bowline-rpc/bowline/blob/main/docs/getting-started.md
//! [Interfaces]: https://github.com/bowline-rpc/bowline/blob/main/docs/interfaces.md
//! [Errors]: https://github.com/bowline-rpc/bowline/blob/main/docs/errors.md
//! [Streams]: https://github.com/bowline-rpc/bowline/blob/main/docs/streams.md
//! [Sessions]: https://github.com/bowline-rpc/bowline/blob/main/docs/sessions.md
//! [Durable objects]: https://github.com/bowline-rpc/bowline/blob/main/docs/durable.md
//! [Security]: https://github.com/bowline-rpc/bowline/blob/main/docs/security.md
//! [Operations]: https://github.com/bowline-rpc/bowline/blob/main/docs/operations.md
//! [Session stores]: https://github.com/bowline-rpc/bowline/blob/main/docs/store.md
//! [Wire protocol]: https://github.com/bowline-rpc/bowline/blob/main/docs/wire.md
//! [Link protocol]: https://github.com/bowline-rpc/bowline/blob/main/docs/link.md
//! [Token format]: https://github.com/bowline-rpc/bowline/blob/main/docs/token.md
//! [Performance]: https://github.com/bowline-rpc/bowline/blob/main/docs/performance.md

pub mod auth;
pub mod durable;
pub mod error;
pub mod inspect;
pub mod interface;
pub mod link;
#[cfg(feature = "server")]
pub mod server;

pub use bowline_core::error::ErrorCode;
#[doc(hidden)]
pub use bowline_core::generated as __private;
pub use bowline_core::limits::Limits;
pub use bowline_core::peer::stream::{Reader, Writer};
pub use bowline_core::peer::{CallError, Func, Pipeline, Promise, Reference, RpcError, Stub, Thrown, stream, testing};
pub use bowline_core::typescript::{self, TypeScript};
pub use bowline_core::value::{Bytes, Value, bigint, date};

#[cfg(feature = "client")]
pub use bowline_client::{Batch, Session, SessionBuilder, batch, connect};
#[cfg(feature = "macros")]
pub use bowline_macros::{Pipeline, RpcError, TypeScript, durable, interface};
#[cfg(feature = "server")]
pub use bowline_server::{Authenticator, HttpLimits, Peer, Principal, Recovery, Resumption, Service, store};

/// Dynamic values, and values that JavaScript has and Rust has no type for.
///
/// ```
/// use bowline::value::{BigInt, from_value, to_value};
///
/// #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
/// struct Transfer {
///     amount: BigInt,
/// }
///
/// let transfer = Transfer { amount: BigInt::from(1_u64 << 60) };
/// let value = to_value(&transfer).unwrap();
/// assert_eq!(from_value::<Transfer>(&value).unwrap(), transfer);
/// ```
pub mod value {
    pub use bowline_core::value::{
        BigInt, Blob, Body, BytesKind, Date, Headers, Object, Payload, Request, Response, Url, encode, from_value,
        to_value,
    };
}

/// Running a session over a transport of your own.
///
/// Implement [`Transport`](transport::Transport) for what carries the messages, and start a session on it with
/// [`Connection::start`](transport::Connection::start). The session is a plain one: it ends with its transport.
pub mod transport {
    pub use bowline_core::peer::{Connection, Receiving, Sending, SessionOptions, Transport, TransportEnd};
}

/// Compiles the code in README.md and in the chapters of docs/ as documentation tests.
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
