//! Results that have not arrived: a handle to call through, and a future to wait with.

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

use crate::peer::error::{CallError, CodecError, Never, RpcError, SessionError};
use crate::peer::object::reply;
use crate::peer::pipeline::{FromPromise, Pipeline};
use crate::peer::runtime;
use crate::peer::stub::Stub;
use crate::peer::wait::{Ending, Wait};
use crate::value::{self, Value};

/// The result of a call, perhaps not there yet.
///
/// **The call was sent when the promise was made**, not when it is awaited: order and pipelining
/// rest on that. Awaiting it asks for the result. Until then it can be called through
/// (`api.authenticate(token).me()`) and passed as an argument, all in one round trip.
///
/// Dropping a promise that was never awaited lets the call run and discards its result. Dropping
/// it while it is awaited, as a timeout does, cancels the call at a Bowline peer. Clones wait for
/// the same result.
#[must_use = "the call was sent, but its result, an error included, is lost"]
pub struct Promise<T, E = Never> {
    stub: Stub,
    /// What this promise derefs to, made when it is first needed.
    pipelined: OnceLock<Box<dyn Any + Send + Sync>>,
    types: PhantomData<fn() -> (T, E)>,
}

impl<T, E> Promise<T, E> {
    /// Gives a result its type. Nothing is checked before it is awaited.
    pub fn from_stub(stub: Stub) -> Self {
        Self { stub, pipelined: OnceLock::new(), types: PhantomData }
    }

    /// A promise of ours, to put in a result or to pass as an argument. The future starts now;
    /// one that does not end at once needs a Tokio runtime.
    pub fn new(future: impl Future<Output = Result<T, E>> + Send + 'static) -> Self
    where
        T: Serialize,
        E: RpcError,
    {
        Self::from_stub(Stub::promised(Box::pin(async move { reply(future.await) })))
    }

    /// Says that the call may be carried out more than once: should a server be restarted before
    /// it has answered, the call is made again instead of failing with `CALL_OUTCOME_UNKNOWN`.
    /// Methods under `#[rpc(idempotent)]` need no such word. Said right after the call; it says
    /// nothing of the calls that led to it.
    ///
    /// ```
    /// # use bowline_core::peer::{CallError, Stub};
    /// # async fn example(api: Stub) -> Result<(), CallError> {
    /// let users = api.call("count", ()).idempotent().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn idempotent(self) -> Self {
        self.stub.mark_idempotent();
        self
    }

    /// The result as a reference without a type.
    pub fn stub(&self) -> &Stub {
        &self.stub
    }
}

impl<T: DeserializeOwned + Send, E: RpcError> Promise<T, E> {
    /// Asks for the result now, and waits for it no longer than `limit`; then the call is
    /// cancelled and fails with [`SessionError::TimedOut`].
    pub fn timeout(self, limit: Duration) -> impl Future<Output = Result<T, CallError<E>>> + Send {
        let waiting = self.into_future();
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
        pipelined.downcast_ref().expect("nothing else is ever put there")
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

    /// Asks for the result.
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
    /// Promises in arguments and results have been awaited before an application sees them, so
    /// this is one that is kept already.
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

/// A promise that is being awaited. Dropping it cancels the call at a Bowline peer.
#[must_use = "futures do nothing unless polled"]
pub struct Waiting<T, E = Never> {
    // Dropped in this order: the wait is taken back before the result is released.
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
