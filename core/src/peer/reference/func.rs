//! References to functions, for callbacks that do not need a whole interface.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::peer::interface::description::Repeat;
use crate::peer::interface::error::{Never, RpcError};
use crate::peer::interface::object::{Reply, reply};
use crate::peer::reference::pipeline::{FromPromise, Pipeline};
use crate::peer::reference::promise::Promise;
use crate::peer::reference::stub::Stub;
use crate::peer::reference::typed::Reference;

/// A reference to a function.
///
/// `A` is the type of the arguments: a tuple for several, `()` for none. `R` is the result and `E` the
/// error.
///
/// ```
/// # mod bowline { pub use bowline_core::peer::{CallError, Func}; }
/// use bowline::{CallError, Func};
///
/// # async fn example() -> Result<(), CallError> {
/// let double = Func::new(|n: u32| async move { n * 2 });
/// assert_eq!(double.call(21).await?, 42);
/// # Ok(())
/// # }
/// ```
pub struct Func<A, R, E = Never> {
    stub: Stub,
    types: PhantomData<fn(A) -> (R, E)>,
}

impl<A, R> Func<A, R, Never>
where
    A: DeserializeOwned + 'static,
    R: Serialize + Send + 'static,
{
    /// Creates a reference to a function that cannot fail.
    ///
    /// Calls begin in the order in which they were made: each runs up to its first await before the next
    /// one begins.
    pub fn new<F, Fut>(function: F) -> Self
    where
        F: Fn(A) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = R> + Send + 'static,
    {
        Self::from_replies(move |args| {
            let running = function(args);
            Box::pin(async move { reply(Ok::<R, Never>(running.await)) })
        })
    }
}

impl<A, R, E> Func<A, R, E>
where
    A: DeserializeOwned + 'static,
    R: Serialize + Send + 'static,
    E: RpcError,
{
    /// Creates a reference to a function that can fail.
    pub fn try_new<F, Fut>(function: F) -> Self
    where
        F: Fn(A) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, E>> + Send + 'static,
    {
        Self::from_replies(move |args| {
            let running = function(args);
            Box::pin(async move { reply(running.await) })
        })
    }
}

impl<A: Serialize, R, E> Func<A, R, E> {
    /// Calls the function. The call is sent at once.
    pub fn call(&self, args: A) -> Promise<R, E> {
        Promise::from_stub(self.stub.send("", &args, Repeat::Never))
    }
}

impl<A: DeserializeOwned + 'static, R, E> Func<A, R, E> {
    fn from_replies(function: impl Fn(A) -> Reply + Send + Sync + 'static) -> Self {
        Self::with_stub(Stub::raw_function(move |args| match args.decode() {
            Ok(args) => function(args),
            Err(error) => Box::pin(std::future::ready(reply(Err::<(), _>(error)))),
        }))
    }
}

impl<A, R, E> Func<A, R, E> {
    fn with_stub(stub: Stub) -> Self {
        Self { stub, types: PhantomData }
    }
}

impl<A, R, E> Clone for Func<A, R, E> {
    fn clone(&self) -> Self {
        Self::with_stub(self.stub.clone())
    }
}

impl<A, R, E> Serialize for Func<A, R, E> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.stub.serialize(serializer)
    }
}

impl<'de, A, R, E> Deserialize<'de> for Func<A, R, E> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Stub::deserialize(deserializer).map(Self::with_stub)
    }
}

impl<A: 'static, R: 'static, E: 'static> Reference for Func<A, R, E> {
    fn from_stub(stub: Stub) -> Self {
        Self::with_stub(stub)
    }

    fn stub(&self) -> &Stub {
        &self.stub
    }
}

impl<A: 'static, R: 'static, E: 'static> Pipeline for Func<A, R, E> {
    type Pipelined = Self;
}

impl<A: 'static, R: 'static, E: 'static> FromPromise for Func<A, R, E> {
    fn from_promise(stub: Stub) -> Self {
        Self::with_stub(stub)
    }
}

impl<A, R, E> fmt::Debug for Func<A, R, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Func").field(&self.stub).finish()
    }
}
