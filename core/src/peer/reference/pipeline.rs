//! Operations on a result that has not arrived: calling it, taking a field of it, and passing it on.

use std::fmt;
use std::marker::PhantomData;

use serde::{Serialize, Serializer};

use crate::peer::interface::error::Never;
use crate::peer::reference::promise::Promise;
use crate::peer::reference::stub::Stub;
use crate::peer::reference::typed::Reference;
use crate::value::Value;

/// A type whose results can be used before they arrive. References implement it, and so does data with
/// `#[derive(Pipeline)]`. Any other result can still be awaited and passed on.
#[diagnostic::on_unimplemented(
    message = "the result `{Self}` cannot be used before it is awaited",
    note = "`#[derive(bowline::Pipeline)]` on `{Self}` gives its promises a method for each field"
)]
pub trait Pipeline {
    /// The type that a promise of this type dereferences to.
    type Pipelined: FromPromise;
}

/// A type that stands for a result that has not arrived.
pub trait FromPromise: Send + Sync + 'static {
    /// Creates a typed view of a result. The type is not checked.
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

/// A list that has not arrived yet.
pub struct Elements<T> {
    stub: Stub,
    types: PhantomData<fn() -> T>,
}

impl<T> Elements<T> {
    pub(crate) fn stub(&self) -> &Stub {
        &self.stub
    }

    /// Returns the promise of one element. Awaiting it fails if the list is shorter, unless `T` can be
    /// undefined.
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

/// A value that can be passed as an argument of type `T`: a `T`, a promise of one, which need not be
/// awaited, a borrowed promise or reference, and a `&str` for a `String`.
#[diagnostic::on_unimplemented(message = "`{Self}` cannot be passed as a `{T}`")]
pub trait IntoArg<T> {
    /// Converts `self` into an argument.
    fn into_arg(self) -> Arg<T>;
}

/// An argument of a call: a value, or the promise of one.
pub struct Arg<T>(Kind<T>);

enum Kind<T> {
    Value(T),
    Promised(Stub),
}

impl<T> Arg<T> {
    /// Creates an argument from a value.
    pub fn value(value: T) -> Self {
        Self(Kind::Value(value))
    }

    /// Creates an argument from a result that may not have arrived. The peer waits for it.
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
        Arg::promised(Self::stub(&self).clone())
    }
}

impl<T, E> IntoArg<T> for &Promise<T, E> {
    fn into_arg(self) -> Arg<T> {
        Arg::promised(Promise::stub(self).clone())
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
