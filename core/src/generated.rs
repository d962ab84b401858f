//! What the code made by Bowline's macros names. No API: it changes with the macros.

pub use std::sync::Arc;

pub use serde;

pub use crate::peer::{
    Answer, Arg, Args, CallError, FromPromise, IntoArg, Member, MemberKind, Never, Object, Pipeline, Promise,
    Reference, Reply, RpcError, Stub, reply,
};
pub use crate::value::{ErrorValue, Object as Props, Value};
