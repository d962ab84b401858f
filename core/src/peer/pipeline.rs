//! What can be done with a result before it arrives: call through it, take a field of it, pass
//! it on.

use std::fmt;
use std::marker::PhantomData;

use serde::{Serialize, Serializer};

use crate::peer::error::Never;
use crate::peer::promise::Promise;
use crate::peer::reference::Reference;
use crate::peer::stub::Stub;
use crate::value::Value;

/// A type whose results can be used before they arrive. References have it, and data with
/// `#[derive(Pipeline)]`; any other result can still be awaited and passed on.
#[diagnostic::on_unimplemented(
    message = "the result `{Self}` cannot be used before it is awaited",
    note = "`#[derive(bowline::Pipeline)]` on `{Self}` gives its promises a method for each field"
)]
pub trait Pipeline {
    /// What a promise of this type derefs to.
    type Pipelined: FromPromise;
}

/// Something that stands for a result that has not arrived.
pub trait FromPromise: Send + Sync + 'static {
    /// Gives the result its shape. Nothing is checked.
    fn from_promise(stub: Stub) -> Self;
}

impl Pipeline for Stub {
    type Pipelined = Self;
}

impl FromPromise for Stub {
    fn from_promise(stub: Stub) -> Self {
        stub
    }
}

impl Pipeline for Value {
    type Pipelined = Stub;
}

impl<T: Pipeline> Pipeline for Option<T> {
    type Pipelined = T::Pipelined;
}

impl<T: 'static> Pipeline for Vec<T> {
    type Pipelined = Elements<T>;
}

/// A list that has not arrived.
pub struct Elements<T> {
    stub: Stub,
    types: PhantomData<fn() -> T>,
}

impl<T> Elements<T> {
    pub(crate) fn stub(&self) -> &Stub {
        &self.stub
    }

    /// One element. Awaiting it fails when the list is shorter, unless `T` can be undefined.
    pub fn at(&self, index: usize) -> Promise<T, Never> {
        Promise::from_stub(self.stub.get(index))
    }
}

impl<T: 'static> FromPromise for Elements<T> {
    fn from_promise(stub: Stub) -> Self {
        Self { stub, types: PhantomData }
    }
}

impl<T> fmt::Debug for Elements<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Elements").field(&self.stub).finish()
    }
}

/// Whatever can be passed where a `T` is due: a `T`, a promise of one (which is not awaited
/// first), a borrowed promise or reference, and `&str` for `String`.
#[diagnostic::on_unimplemented(message = "`{Self}` cannot be passed as a `{T}`")]
pub trait IntoArg<T> {
    /// The argument.
    fn into_arg(self) -> Arg<T>;
}

/// An argument on its way out: a value, or a promise of one.
pub struct Arg<T>(Kind<T>);

enum Kind<T> {
    Value(T),
    Promised(Stub),
}

impl<T> Arg<T> {
    /// A value.
    pub fn value(value: T) -> Self {
        Self(Kind::Value(value))
    }

    /// A result that may not have arrived; the peer waits for it.
    pub fn promised(stub: Stub) -> Self {
        Self(Kind::Promised(stub))
    }
}

impl<T> IntoArg<T> for T {
    fn into_arg(self) -> Arg<T> {
        Arg::value(self)
    }
}

impl<T, E> IntoArg<T> for Promise<T, E> {
    fn into_arg(self) -> Arg<T> {
        Arg::promised(self.stub().clone())
    }
}

impl<T, E> IntoArg<T> for &Promise<T, E> {
    fn into_arg(self) -> Arg<T> {
        Arg::promised(self.stub().clone())
    }
}

impl<R: Reference> IntoArg<R> for &R {
    fn into_arg(self) -> Arg<R> {
        Arg::value(self.clone())
    }
}

impl IntoArg<String> for &str {
    fn into_arg(self) -> Arg<String> {
        Arg::value(self.to_owned())
    }
}

impl<T: Serialize> Serialize for Arg<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Kind::Value(value) => value.serialize(serializer),
            Kind::Promised(stub) => stub.serialize(serializer),
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Arg<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Value(value) => value.fmt(f),
            Kind::Promised(stub) => stub.fmt(f),
        }
    }
}
