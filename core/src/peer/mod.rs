//! Objects, references, and promises, which applications use, and the driver that runs a session for
//! them. This is the only async module of the crate. Protocol logic belongs in `session`.

mod driver;
mod durable;
mod host;
mod interface;
mod reference;
mod runtime;
pub mod stream;
mod unwind;

pub use driver::Turn;
pub use driver::connection::{Connection, LinkEvents};
pub use driver::kept_references::{KEPT_MAX, KEPT_NAME_BYTES_MAX, KeepError};
pub use driver::memory_shares::MemoryShare;
pub use driver::options::SessionOptions;
pub use driver::testing;
pub use driver::transport::{Receiving, Sending, Transport, TransportEnd};
pub use durable::durability::Durability;
pub use durable::restorers::{BoxError, RestoreCtx, RestoreError, Restorer, Restorers};
pub use durable::vars;
pub use durable::vars::{StoredVars, VarError, Vars};
pub use host::memory::MemoryBudget;
pub use host::running::RunningCalls;
pub use interface::call_log::{Begun, CallId, CallLog, call_id};
pub use interface::description::{Interface, Lifetime, Member, MemberKind, Repeat};
pub use interface::error::{
    CallError, CodecError, ErrorCase, ErrorDescription, Never, RemoteError, RpcError, SessionError, Thrown,
};
pub use interface::object::{Answer, Args, DynTarget, Object, Reply, reply};
pub use reference::attenuation::{Attenuate, Revoke};
pub use reference::func::Func;
pub use reference::map::Mapped;
pub use reference::pipeline::{Arg, Elements, FromPromise, IntoArg, Pipeline};
pub use reference::promise::{Promise, Waiting};
pub use reference::recipe::{Durable, NotDurable, Recipe, StoredRecipe};
pub use reference::stub::Stub;
pub use reference::typed::{IntoStep, Reference};
