//! The untyped reference. One type covers local objects, remote objects, results that have not
//! arrived, and properties of all of these.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::sync::Arc;

use serde::Serialize;

use crate::id::PromiseId;
use crate::peer::host::remote::{Kind, Remote};
use crate::peer::host::shared::Shared;
use crate::peer::host::wait::{Broken, Ending, Wait};
use crate::peer::interface::description::Repeat;
use crate::peer::interface::error::{CallError, CodecError, Never, SessionError};
use crate::peer::interface::object::{Answer, Args, DynTarget, Object, Reply, error_payload, rejection, reply};
use crate::peer::reference::deliver;
use crate::peer::reference::local::{Body, Local};
use crate::peer::reference::promise::{Promise, Waiting};
use crate::peer::reference::readable::{OfBytes, Readable};
use crate::peer::reference::record::{self, Placeholder};
use crate::peer::reference::spool::Spool;
use crate::peer::reference::typed::IntoStep;
use crate::session::{CloseReason, Path, Ref, Session, Step};
use crate::value::{self, Cap, Capability, Content, Payload, Spread, Value};

/// An untyped reference. Clones refer to the same target; dropping the last one releases it.
///
/// A call is sent when it is made, not when its promise is awaited, so calls through one reference
/// arrive in the order in which they were made. A reference can outlive its session; its calls then
/// fail with [`CallError::Session`].
///
/// ```
/// # mod bowline { pub use bowline_core::peer::{CallError, Stub}; pub use bowline_core::value::Value; }
/// use bowline::{CallError, Stub, Value};
///
/// # async fn example() -> Result<(), CallError> {
/// let sum = Stub::function(|args: Vec<Value>| async move {
///     Ok(args.iter().filter_map(Value::as_f64).sum::<f64>().into())
/// });
/// assert_eq!(sum.apply([1.0.into(), 2.0.into()]).await?.as_f64(), Some(3.0));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Stub(Inner);

/// The target of a reference.
#[derive(Clone)]
pub(crate) enum Inner {
    /// An object of this process.
    Local(Arc<Local>),
    /// A target, an import, or a promise of a session.
    Remote(Arc<Remote>),
    Property(Arc<Property>),
    /// A variable of a mapper function that is being recorded.
    Placeholder(Arc<Placeholder>),
    /// A failure that occurred before a session was involved.
    Broken(Arc<Broken>),
}

/// A property of `base`, which is not a property itself. Nothing is sent before it is used.
#[derive(Debug)]
pub(crate) struct Property {
    base: Stub,
    path: Path,
}

impl Capability for Property {}
impl Capability for Placeholder {}
impl Capability for Broken {}

impl Stub {
    /// Creates a reference to an object of this process.
    pub fn new<O: Object>(object: O) -> Self {
        Self::made(Body::Object(Arc::new(object)))
    }

    /// Creates a reference to a target that handles every method and property name itself.
    pub fn dynamic(target: impl DynTarget) -> Self {
        Self::made(Body::Dynamic(Arc::new(target)))
    }

    /// Creates a reference to a function of this process.
    pub fn function<F, Fut>(function: F) -> Self
    where
        F: Fn(Vec<Value>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Value, Value>> + Send + 'static,
    {
        let function = Arc::new(function);
        Self::raw_function(move |args| {
            let function = Arc::clone(&function);
            Box::pin(async move {
                let values = match args.values() {
                    Ok(values) => values,
                    Err(error) => return reply(Err::<(), _>(error)),
                };
                match function(values).await {
                    Ok(value) => reply(Ok::<_, Never>(value)),
                    Err(error) => Err(rejection(&error)),
                }
            })
        })
    }

    pub(crate) fn raw_function(function: impl Fn(Args) -> Reply + Send + Sync + 'static) -> Self {
        Self::made(Body::Function(Box::new(function)))
    }

    /// Creates a reference to an object that the application supplies. Inside of a mapper function the
    /// reference is broken, because a recording cannot contain new objects.
    fn made(body: Body) -> Self {
        match record::refuse_new() {
            Some(broken) => Self::broken_by(broken),
            None => Self::from_local(Local::new(body)),
        }
    }

    /// Returns a reference to a property. Nothing is sent before the property is awaited, called, or
    /// passed on.
    pub fn get(&self, property: impl IntoStep) -> Self {
        self.at(property.into_step().into())
    }

    /// Calls a method and returns the promise of its result.
    ///
    /// The call is sent at once. An empty `method` calls the target itself. `args` is a tuple for several
    /// arguments, `()` for none, and anything else for one. If the arguments cannot be encoded, nothing is
    /// sent and the promise fails with [`CallError::Codec`].
    pub fn call(&self, method: &str, args: impl Serialize) -> Promise<Value, Never> {
        Promise::from_stub(self.send(method, &args, Repeat::Never))
    }

    /// Calls the target itself with one argument for each value.
    ///
    /// The call is sent at once. This is for proxies and scripts, which learn the number of arguments at
    /// run time.
    pub fn apply(&self, args: impl IntoIterator<Item = Value>) -> Promise<Value, Never> {
        let args = Spread(Vec::from_iter(args));
        Promise::from_stub(self.send("", &args, Repeat::Never))
    }

    /// Waits until the reference is permanently unusable, and returns the reason: the session ended, the
    /// promised result was an error, or the object was lost with its process.
    ///
    /// For a local object this never completes. Cancel-safe.
    pub async fn broken(&self) -> CallError {
        let mut stub = self.clone();
        loop {
            let (base, _) = stub.parts();
            let held = match base.inner() {
                Inner::Remote(remote) if !remote.shared.is_private() => Some((Arc::clone(&remote.shared), remote.of)),
                _ => None,
            };
            if !stub.is_object() {
                match stub.wait().await {
                    Ending::Lost(closed) => return lost(closed),
                    Ending::Unsent(error) => return CallError::Codec(error),
                    Ending::Answer(Err(error)) => return CallError::from_rejection(error),
                    Ending::Answer(Ok(value)) => {
                        if let Some(cap) = value.as_capability() {
                            stub = Self::from_cap(cap);
                            continue;
                        }
                    }
                }
            }
            let Some((shared, of)) = held else { return std::future::pending().await };
            return match shared.until_broken(of).await {
                Ending::Answer(Err(error)) => CallError::from_rejection(error),
                _ => lost(shared.until_closed().await),
            };
        }
    }

    /// Returns `true` if both refer to the same object, or to the same import of a session.
    pub fn ptr_eq(&self, other: &Self) -> bool {
        match (self.inner(), other.inner()) {
            (Inner::Local(a), Inner::Local(b)) => Arc::ptr_eq(a, b),
            (Inner::Remote(a), Inner::Remote(b)) => Arc::ptr_eq(&a.shared, &b.shared) && a.of == b.of,
            (Inner::Property(a), Inner::Property(b)) => Arc::ptr_eq(a, b),
            (Inner::Placeholder(a), Inner::Placeholder(b)) => a.is_same(b),
            (Inner::Broken(a), Inner::Broken(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }

    /// Returns `true` if the target is an object of this process, so that calls never leave the process.
    pub fn is_local(&self) -> bool {
        match self.parts().0.inner() {
            Inner::Local(_) => true,
            Inner::Remote(remote) => remote.shared.is_private() || matches!(remote.of, Ref::Target(_)),
            _ => false,
        }
    }

    /// Returns the reference in `value`, or `None` if `value` is not a capability.
    pub fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Cap(cap) => Some(Self::from_cap(cap)),
            _ => None,
        }
    }

    /// Converts the reference into a value, to be placed among other values.
    pub fn into_value(self) -> Value {
        Value::Cap(self.into_cap())
    }
}

/// Constructors and accessors for the other modules of this layer.
impl Stub {
    pub(crate) fn from_inner(inner: Inner) -> Self {
        Self(inner)
    }

    pub(crate) fn from_local(local: Arc<Local>) -> Self {
        Self(Inner::Local(local))
    }

    pub(crate) fn from_remote(remote: Remote) -> Self {
        Self(Inner::Remote(Arc::new(remote)))
    }

    pub(crate) fn broken_by(broken: Broken) -> Self {
        Self(Inner::Broken(Arc::new(broken)))
    }

    /// Creates a result that has already arrived.
    pub(crate) fn settled(answer: Answer) -> Self {
        let shared = Shared::private(None);
        let promise = shared.new_promise();
        shared.settle(promise, answer);
        Self::from_remote(Remote { shared, of: Ref::Promise(promise), kind: Kind::Result })
    }

    /// Creates a result that `reply` produces. `reply` is polled at once.
    pub(crate) fn promised(reply: Reply) -> Self {
        let (stub, starting) = Self::promised_later(reply);
        starting.start();
        stub
    }

    /// Creates a result that `reply` produces after [`Starting::start`].
    pub(crate) fn promised_later(reply: Reply) -> (Self, Starting) {
        let shared = Shared::private(None);
        let promise = shared.new_promise();
        let stub =
            Self::from_remote(Remote { shared: Arc::clone(&shared), of: Ref::Promise(promise), kind: Kind::Result });
        (stub, Starting { shared, promise, reply })
    }

    pub(crate) fn from_cap(cap: &Cap) -> Self {
        let inner = cap.downcast().map(Inner::Remote).or_else(|| cap.downcast().map(Inner::Local));
        inner.map_or_else(|| Self::from_other_cap(cap), Self)
    }

    fn from_other_cap(cap: &Cap) -> Self {
        if let Some(property) = cap.downcast() {
            return Self(Inner::Property(property));
        }
        if let Some(placeholder) = cap.downcast() {
            return Self(Inner::Placeholder(placeholder));
        }
        if let Some(broken) = cap.downcast() {
            return Self(Inner::Broken(broken));
        }
        if let Some(content) = cap.downcast_ref::<Content>() {
            return Self::from_local(Readable::local(OfBytes::new(Arc::clone(&content.bytes))));
        }
        match cap.downcast::<Spool>() {
            Some(spool) => Self::from_local(Readable::local(spool.reader())),
            None => {
                let error = error_payload("TypeError", "The capability is not a Bowline reference.");
                Self::broken_by(Broken::Rejected(error))
            }
        }
    }

    pub(crate) fn into_cap(self) -> Cap {
        match self.0 {
            Inner::Local(local) => Cap::from_arc(local),
            Inner::Remote(remote) => Cap::from_arc(remote),
            Inner::Property(property) => Cap::from_arc(property),
            Inner::Placeholder(placeholder) => Cap::from_arc(placeholder),
            Inner::Broken(broken) => Cap::from_arc(broken),
        }
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.0
    }

    pub(crate) fn as_local(&self) -> Option<&Arc<Local>> {
        match self.inner() {
            Inner::Local(local) => Some(local),
            _ => None,
        }
    }

    /// Returns the base reference, which is not a property, and the path from it.
    pub(crate) fn parts(&self) -> (&Self, &[Step]) {
        match self.inner() {
            Inner::Property(property) => (&property.base, &property.path),
            _ => (self, &[]),
        }
    }

    /// Returns a reference to the property at `path`.
    pub(crate) fn at(&self, mut path: Path) -> Self {
        if path.is_empty() {
            return self.clone();
        }
        let (base, start) = self.parts();
        if !start.is_empty() {
            path = start.iter().cloned().chain(path).collect();
        }
        Self(Inner::Property(Arc::new(Property { base: base.clone(), path })))
    }

    /// Calls the target itself with encoded arguments.
    pub(crate) fn call_payload(&self, args: Payload<Cap>) -> Self {
        let (base, path) = self.parts();
        base.call_at(path, args, Repeat::Never)
    }

    /// Permits the session to repeat the call that produces this result. Does nothing unless the result
    /// is an import.
    pub(crate) fn mark_idempotent(&self) {
        if let Inner::Remote(remote) = self.inner()
            && let of @ Ref::Import(_) = remote.of
        {
            remote.shared.lock().endpoint.session.mark_idempotent(of);
        }
    }

    /// Starts to wait for the result. The pull is sent at once.
    pub(crate) fn wait(&self) -> Wait {
        let (base, path) = self.parts();
        if base.is_object() && path.is_empty() {
            let this = Payload::capability(self.clone().into_cap());
            return Wait::ready(Ending::Answer(Ok(this)));
        }
        match base.session() {
            Ok((shared, of)) => shared.pull(of, path),
            Err(Broken::Lost(closed)) => Wait::ready(Ending::Lost(closed)),
            Err(Broken::Codec(error)) => Wait::ready(Ending::Unsent(error)),
            Err(Broken::Rejected(error)) => Wait::ready(Ending::Answer(Err(error))),
        }
    }

    /// Returns `true` if the target is known to be an object rather than a result.
    pub(crate) fn is_object(&self) -> bool {
        match self.inner() {
            Inner::Local(_) => true,
            Inner::Remote(remote) => remote.kind == Kind::Stub,
            Inner::Property(_) | Inner::Placeholder(_) | Inner::Broken(_) => false,
        }
    }

    /// Calls a method, or the target itself if `method` is empty.
    pub(crate) fn send(&self, method: &str, args: &(impl Serialize + ?Sized), repeat: Repeat) -> Self {
        let args = match value::encode_args(args) {
            Ok(args) => args,
            Err(error) => return Self::broken_by(Broken::Codec(CodecError::Encode(error))),
        };
        let (base, start) = self.parts();
        if method.is_empty() {
            return base.call_at(start, args, repeat);
        }
        let last = Step::Name(method.into());
        if start.is_empty() {
            return base.call_at(&[last], args, repeat);
        }
        base.call_at(&[start, &[last]].concat(), args, repeat)
    }

    fn call_at(&self, path: &[Step], args: Payload<Cap>, repeat: Repeat) -> Self {
        if let Some(recorder) = record::current() {
            return recorder.call(self, path, &args);
        }
        let (shared, of) = match self.session() {
            Ok(found) => found,
            Err(broken) => return Self::broken_by(broken),
        };
        match shared.call(of, path, Some(args), repeat) {
            Ok(of) => Self::from_remote(Remote { shared, of, kind: Kind::Result }),
            Err(closed) => Self::broken_by(Broken::Lost(closed)),
        }
    }

    /// Returns the session through which calls go, and the target in it.
    pub(crate) fn session(&self) -> Result<(Arc<Shared>, Ref), Broken> {
        match self.inner() {
            Inner::Local(local) => Ok((local.private(), Ref::Target(Session::MAIN))),
            Inner::Remote(remote) => Ok((Arc::clone(&remote.shared), remote.of)),
            Inner::Property(property) => property.base.session(),
            Inner::Placeholder(_) => Err(record::misused()),
            Inner::Broken(broken) => Err((**broken).clone()),
        }
    }
}

/// The future behind a local promise, before its first poll.
pub(crate) struct Starting {
    shared: Arc<Shared>,
    promise: PromiseId,
    reply: Reply,
}

impl Starting {
    /// Polls the future for the first time, which runs code of the application. Must not be called while
    /// a lock is held.
    pub(crate) fn start(self) {
        deliver::run(&self.shared, self.promise, self.reply);
    }
}

impl IntoFuture for Stub {
    type Output = Result<Value, CallError>;
    type IntoFuture = Waiting<Value, Never>;

    fn into_future(self) -> Self::IntoFuture {
        Promise::<Value, Never>::from_stub(self).into_future()
    }
}

impl fmt::Debug for Stub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Stub").field(&self.0).finish()
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(local) => local.fmt(f),
            Self::Remote(remote) => remote.fmt(f),
            Self::Property(property) => write!(f, "{:?}{:?}", property.base.inner(), property.path),
            Self::Placeholder(placeholder) => placeholder.fmt(f),
            Self::Broken(_) => f.write_str("Broken"),
        }
    }
}

fn lost<E>(closed: CloseReason) -> CallError<E> {
    CallError::Session(SessionError::Closed(closed))
}
