//! Objects, references and promises: what applications hold, and the driver that runs a session
//! under them. The only async part of the crate.

mod caps;
mod connection;
mod deliver;
mod driver;
mod error;
mod func;
mod guard;
mod interface;
mod leaving;
mod local;
mod map;
mod object;
mod options;
mod pipeline;
mod promise;
mod recipe;
mod record;
mod reference;
mod restorers;
mod runtime;
mod shared;
mod stage;
pub mod stream;
mod stub;
pub mod testing;
mod transport;
mod wait;

pub use connection::{Connection, Events};
pub use driver::Turn;
pub use error::{CallError, CodecError, ErrorCase, Never, RemoteError, RpcError, SessionError, Thrown};
pub use func::Func;
pub use guard::{Attenuate, Revoke};
pub use interface::{Interface, Member, MemberKind, Repeat};
pub use map::Mapped;
pub use object::{Answer, Args, DynTarget, Object, Reply, reply};
pub use options::Options;
pub use pipeline::{Arg, Elements, FromPromise, IntoArg, Pipeline};
pub use promise::{Promise, Waiting};
pub use recipe::{Durable, NotDurable, Recipe, Restorable, StoredRecipe};
pub use reference::{IntoStep, Reference};
pub use restorers::{RestoreCtx, RestoreError, Restorer, Restorers};
pub use stub::Stub;
pub use transport::{Receiving, Sending, Transport, TransportEnd};
