//! Promises: a handle for pipelined calls on a result, and a future that waits for it.

use std::any::Any;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::peer::host::wait::{Ending, Wait};
use crate::peer::interface::error::{CallError, CodecError, Never, RpcError, SessionError};
use crate::peer::interface::object::reply;
use crate::peer::reference::pipeline::{FromPromise, Pipeline};
use crate::peer::reference::stub::Stub;
use crate::peer::runtime;
use crate::value::{self, Value};

/// The result of a call, which may not have arrived yet.
///
/// **The call was sent when the promise was created**, not when it is awaited. Order and pipelining
/// depend on that. Awaiting the promise requests the result. Before that, the promise can be called
/// through (`api.authenticate(token).me()`) and passed as an argument, all in one round trip.
///
/// `Promise` dereferences to the reference type of the result, such as `MeRef`. So that it hides none of the
/// interface's methods, its own functions take the promise as an argument, as those of `Arc` do:
/// `Promise::timeout(promise, limit)`.
///
/// ```
/// # mod bowline { pub use bowline_core::peer::{CallError, Promise, Stub}; }
/// use bowline::{CallError, Promise, Stub};
///
/// # async fn example(api: Stub) -> Result<(), CallError> {
/// let user: Promise<_> = api.call("authenticate", "token"); // sent now
/// let name = user.call("name", ()).await?; // sent before the user has arrived
/// # Ok(())
/// # }
/// ```
///
/// # Cancellation
///
/// Dropping a promise that was never awaited lets the call run and discards its result. Dropping it
/// while it is being awaited, as a timeout does, cancels the call at a Bowline peer. Clones wait for
/// the same result.
#[must_use = "the call was sent, but its result, which may be an error, is discarded"]
pub struct Promise<T, E = Never> {
    stub: Stub,
    /// The target of `deref`, created on first use.
    pipelined: OnceLock<Box<dyn Any + Send + Sync>>,
    types: PhantomData<fn() -> (T, E)>,
}

impl<T, E> Promise<T, E> {
    /// Creates a promise from an untyped reference. The type is not checked until the promise is awaited.
    pub fn from_stub(stub: Stub) -> Self {
        Self { stub, pipelined: OnceLock::new(), types: PhantomData }
    }

    /// Creates a promise of this process, to be placed in a result or passed as an argument.
    ///
    /// The future is polled at once. A future that does not complete at its first poll needs a Tokio
    /// runtime.
    pub fn new(future: impl Future<Output = Result<T, E>> + Send + 'static) -> Self
    where
        T: Serialize,
        E: RpcError,
    {
        Self::from_stub(Stub::promised(Box::pin(async move { reply(future.await) })))
    }

    /// Permits the call to run more than once.
    ///
    /// If the server is restarted before it has answered, the call is then repeated instead of failing
    /// with `CALL_OUTCOME_UNKNOWN`. Methods under `#[rpc(idempotent)]` permit this already. Use it
    /// directly on the promise of a call; it does not apply to the calls that the promise is chained
    /// to.
    ///
    /// ```
    /// # use bowline_core::peer::{CallError, Promise, Stub};
    /// # async fn example(api: Stub) -> Result<(), CallError> {
    /// let users = Promise::idempotent(api.call("count", ())).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn idempotent(this: Self) -> Self {
        this.stub.mark_idempotent();
        this
    }

    /// Returns the result as an untyped reference.
    pub fn stub(this: &Self) -> &Stub {
        &this.stub
    }
}

impl<T: DeserializeOwned + Send, E: RpcError> Promise<T, E> {
    /// Requests the result at once and waits at most `limit` for it. After that, the call is canceled and
    /// fails with [`SessionError::TimedOut`].
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use bowline_core::peer::{CallError, Promise, Stub};
    /// # async fn example(api: Stub) -> Result<(), CallError> {
    /// let users = Promise::timeout(api.call("count", ()), Duration::from_secs(5)).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn timeout(this: Self, limit: Duration) -> impl Future<Output = Result<T, CallError<E>>> + Send {
        let waiting = this.into_future();
        async move {
            match runtime::within(limit, waiting).await {
                Some(result) => result,
                None => Err(CallError::Session(SessionError::TimedOut)),
            }
        }
    }
}

impl<T, E> Clone for Promise<T, E> {
    fn clone(&self) -> Self {
        Self::from_stub(self.stub.clone())
    }
}

impl<T: Pipeline, E> Deref for Promise<T, E> {
    type Target = T::Pipelined;

    fn deref(&self) -> &T::Pipelined {
        let pipelined = self.pipelined.get_or_init(|| Box::new(T::Pipelined::from_promise(self.stub.clone())));
        pipelined.downcast_ref().expect("the cell holds only this type")
    }
}

impl<T: 'static, E: 'static> Pipeline for Promise<T, E> {
    type Pipelined = Self;
}

impl<T: 'static, E: 'static> FromPromise for Promise<T, E> {
    fn from_promise(stub: Stub) -> Self {
        Self::from_stub(stub)
    }
}

impl<T: DeserializeOwned, E: RpcError> IntoFuture for Promise<T, E> {
    type Output = Result<T, CallError<E>>;
    type IntoFuture = Waiting<T, E>;

    /// Requests the result and returns the future that waits for it.
    fn into_future(self) -> Waiting<T, E> {
        let wait = self.stub.wait();
        Waiting { wait, held: Some(self.stub), types: PhantomData }
    }
}

impl<T, E> Serialize for Promise<T, E> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.stub.serialize(serializer)
    }
}

impl<'de, T, E> Deserialize<'de> for Promise<T, E> {
    /// Creates a promise that has settled already: promises in arguments and results are resolved
    /// before the application receives them.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        if let Some(stub) = Stub::from_value(&value) {
            return Ok(Self::from_stub(stub));
        }
        let payload = value::encode(&value).map_err(D::Error::custom)?;
        Ok(Self::from_stub(Stub::settled(Ok(payload))))
    }
}

impl<T, E> fmt::Debug for Promise<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Promise").field(&self.stub).finish()
    }
}

/// The future of a promise. Dropping it cancels the call at a Bowline peer.
#[must_use = "futures do nothing unless polled"]
pub struct Waiting<T, E = Never> {
    // Fields are dropped in this order: the wait is withdrawn before the result is released.
    wait: Wait,
    held: Option<Stub>,
    types: PhantomData<fn() -> (T, E)>,
}

impl<T: DeserializeOwned, E: RpcError> Future for Waiting<T, E> {
    type Output = Result<T, CallError<E>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let ending = ready!(Pin::new(&mut self.wait).poll(cx));
        self.held = None;
        Poll::Ready(match ending {
            Ending::Answer(Ok(value)) => value::decode(value).map_err(|e| CallError::Codec(CodecError::Decode(e))),
            Ending::Answer(Err(error)) => Err(CallError::from_rejection(error)),
            Ending::Lost(closed) => Err(CallError::Session(SessionError::Closed(closed))),
            Ending::Unsent(error) => Err(CallError::Codec(error)),
        })
    }
}

impl<T, E> fmt::Debug for Waiting<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Waiting").field(&self.held).finish()
    }
}
