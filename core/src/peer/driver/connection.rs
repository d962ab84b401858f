//! The handle on a running session.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use tokio::sync::broadcast;

use crate::endpoint::{Endpoint, LinkEvent};
use crate::error::ErrorCode;
use crate::id::TargetId;
use crate::link::{Attachment, LinkRules, List, Objects, Role};
use crate::peer::driver::options::SessionOptions;
use crate::peer::driver::transport::Transport;
use crate::peer::driver::{self, Turn};
use crate::peer::durable::durability::Durability;
use crate::peer::durable::vars::Vars;
use crate::peer::host::remote::{Kind, Remote};
use crate::peer::host::shared::{SessionKind, Shared};
use crate::peer::host::target::Entry;
use crate::peer::interface::error::SessionError;
use crate::peer::reference::stub::Stub;
use crate::peer::reference::typed::Reference;
use crate::session::{CloseReason, ClosedBy, SessionStats};

/// A handle on a running session. Clones refer to the same session. Dropping them all does not end the
/// session, which lives as long as its transport.
///
/// ```
/// # mod bowline { pub use bowline_core::peer::{CallError, Stub, testing}; pub mod transport { pub use bowline_core::peer::{Connection, SessionOptions}; } }
/// use bowline::testing::link;
/// use bowline::transport::{Connection, SessionOptions};
/// use bowline::{CallError, Stub};
///
/// # async fn example(root: Stub) -> Result<(), CallError> {
/// // Both ends of a transport in memory. Any other `Transport` takes its place.
/// let (here, there, _wire) = link();
/// let (_server, driver) = Connection::start(there, Some(root), SessionOptions::new());
/// tokio::spawn(driver);
/// let (client, driver) = Connection::start(here, None, SessionOptions::new());
/// tokio::spawn(driver);
/// client.root_dyn().call("hello", ()).await?;
/// client.close();
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Connection {
    shared: Arc<Shared>,
}

impl Connection {
    /// Starts a session over `transport` whose main object is `main`.
    ///
    /// `options` can be [`Limits`](crate::limits::Limits) alone. The returned future runs the session and
    /// must be spawned. It completes when the session ends, and dropping it ends the session.
    pub fn start<T: Transport>(
        transport: T,
        main: Option<Stub>,
        options: impl Into<SessionOptions>,
    ) -> (Self, impl Future<Output = CloseReason> + Send + 'static) {
        Self::run(transport, Shared::wired(options.into().into(), main.map(Entry::from), SessionKind::Connected))
    }

    /// Starts a session for a batch: a peer that has sent everything that it will send.
    ///
    /// It differs from [`start`](Self::start) in that nothing waits for acknowledgements, and
    /// [`answered`](Self::answered) waits until streams have been sent completely.
    pub fn start_batch<T: Transport>(
        transport: T,
        main: Option<Stub>,
        options: impl Into<SessionOptions>,
    ) -> (Self, impl Future<Output = CloseReason> + Send + 'static) {
        Self::run(transport, Shared::wired(options.into().into(), main.map(Entry::from), SessionKind::Batch))
    }

    fn run<T: Transport>(
        transport: T,
        shared: Arc<Shared>,
    ) -> (Self, impl Future<Output = CloseReason> + Send + use<T> + 'static) {
        let turn = driver::drive(Arc::clone(&shared), Attachment::PLAIN, transport, None);
        let over = Arc::clone(&shared);
        let driver = async move {
            turn.await;
            over.until_closed().await
        };
        (Self { shared }, driver)
    }

    /// Creates a session that outlives its transports. It has none yet and waits until one is
    /// [attached](Self::attach).
    pub fn linked(main: Option<Stub>, options: impl Into<SessionOptions>, role: Role, rules: LinkRules) -> Self {
        Self { shared: Shared::linked(options.into().into(), main.map(Entry::from), role, rules) }
    }

    /// Creates a session that another process held, from its recovered `endpoint`. It has no transport yet.
    ///
    /// `main` is the main object, created anew. `targets` are the objects that
    /// [`Session::revive`](crate::session::Session::revive) kept. The options contain the restorers: each
    /// object is restored when it is first used, unless its restorer is eager, which needs a Tokio
    /// runtime. Calls on an object without a recipe fail with `CAPABILITY_LOST`.
    pub fn recovered(
        endpoint: Endpoint,
        targets: &[TargetId],
        main: Option<Stub>,
        options: impl Into<SessionOptions>,
    ) -> Self {
        let options = options.into();
        let durability = options.durability.clone();
        Self { shared: Shared::recovered(endpoint, targets, main, options.into(), durability.as_deref()) }
    }

    pub(crate) fn of(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Returns `true` if both are handles on the same session.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// Returns the number of bytes of messages and values that the session holds for its peer.
    pub fn held_bytes(&self) -> usize {
        self.shared.lock().endpoint.held_bytes()
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Reads from the endpoint between two inputs, after every call that was taken from the session has
    /// begun. For tests and diagnosis. Cancel-safe.
    pub async fn inspect<T>(&self, look: impl FnOnce(&Endpoint) -> T) -> T {
        self.between_calls(|endpoint| look(endpoint)).await
    }

    /// Waits until a durable session has changed, in a way that a checkpoint would store, since the last
    /// call completed. Cancel-safe.
    pub async fn changed(&self) {
        let mut of_session = pin!(self.until_due());
        let Some(durability) = Durability::of(&self.shared) else { return of_session.await };
        let mut of_vars = pin!(durability.vars.changed());
        let mut of_urgent = pin!(self.shared.urgent.notified());
        poll_fn(|cx| {
            if of_urgent.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            if of_vars.as_mut().poll(cx).is_ready() {
                self.shared.lock().endpoint.mark_urgent();
                return Poll::Ready(());
            }
            of_session.as_mut().poll(cx)
        })
        .await;
    }

    /// Waits until a checkpoint of a durable session is due at once: a durable object was exported for the
    /// first time, or a variable was set. Cancel-safe.
    pub async fn urgent(&self) {
        let Some(durability) = Durability::of(&self.shared) else { return std::future::pending().await };
        let mut of_vars = pin!(durability.vars.changed());
        let mut of_session = pin!(self.shared.urgent.notified());
        poll_fn(|cx| {
            if of_vars.as_mut().poll(cx).is_ready() {
                self.shared.lock().endpoint.mark_urgent();
            }
            if self.shared.lock().endpoint.is_checkpoint_urgent() {
                return Poll::Ready(());
            }
            of_session.as_mut().poll(cx)
        })
        .await;
    }

    async fn until_due(&self) {
        loop {
            self.shared.changed.notified().await;
            // A checkpoint may have been taken since the notification.
            if self.shared.lock().endpoint.is_checkpoint_due() {
                return;
            }
        }
    }

    /// Returns the variables of a durable session, or `None` if the session is not durable.
    pub fn vars(&self) -> Option<Vars> {
        Durability::of(&self.shared).map(|durability| durability.vars.clone())
    }

    /// Marks the session as changed, so that [`changed`](Self::changed) completes once more.
    pub fn touch(&self) {
        self.shared.lock().endpoint.mark_changed();
        self.shared.changed.notify_one();
    }

    /// Runs the session over the attached transport, and sends `greeting` first.
    ///
    /// The future must be run. It completes when the transport ends or is superseded, and dropping it
    /// detaches the transport.
    pub fn drive<T: Transport>(
        &self,
        at: Attachment,
        transport: T,
        greeting: Option<String>,
    ) -> impl Future<Output = Turn> + Send + use<T> + 'static {
        driver::drive(Arc::clone(&self.shared), at, transport, greeting)
    }

    /// Ends a session that has a link, with a code as the reason. Everything that ends with the session has
    /// been dropped when this returns.
    pub fn end_with(&self, by: ClosedBy, code: &ErrorCode, message: &str) {
        self.shared.input(|endpoint| endpoint.end(by, code, message));
    }

    /// Requests from the server a list of what it holds for this session. Cancel-safe. The request survives
    /// a change of the transport.
    ///
    /// # Errors
    /// The session has ended, or the server does not support the request.
    pub async fn list(&self, list: List) -> Result<Objects, SessionError> {
        self.shared.list(list).await
    }

    /// Starts to record when objects and calls are created, for [`list`](Self::list). `unix_ms` is the wall
    /// clock's current time in milliseconds since the Unix epoch.
    pub fn date_from(&self, unix_ms: u64) {
        let now = self.shared.now();
        self.shared.lock().endpoint.date_from(unix_ms, now);
    }

    /// Waits until no call from the peer is running. Cancel-safe.
    pub async fn quiet(&self) {
        self.shared.until_quiet().await;
    }

    /// Waits until no call from the peer is running and every requested answer is written, or the session
    /// has ended. Cancel-safe.
    pub async fn settled(&self) {
        loop {
            self.shared.until_quiet().await;
            self.shared.until_answered().await;
            // A call may have begun while the last answer was being written.
            if self.is_closed() || self.calls_running() == 0 {
                return;
            }
        }
    }

    /// Waits until the calls from the peer that are running now have ended, or the session has. Calls that
    /// begin meanwhile are not waited for. Cancel-safe.
    pub async fn running_calls_ended(&self) {
        self.shared.until_earlier_done().await;
    }

    /// Waits until the application holds no reference to the peer, waits for no result, and reads no stream
    /// from the peer, or the session has ended. Cancel-safe.
    pub async fn unused(&self) {
        self.shared.until_unused().await;
    }

    /// Returns the number of calls from the peer that are running or about to run.
    pub fn calls_running(&self) -> usize {
        self.shared.lock().endpoint.session.calls_running()
    }

    /// Ends every stream that the peer writes to. Its readers fail with `STREAM_INTERRUPTED`.
    pub fn interrupt_streams(&self, message: &str) {
        self.shared.input(|endpoint| endpoint.session.interrupt_streams(message));
    }

    /// Returns the events of the link from now on.
    pub fn events(&self) -> LinkEvents {
        LinkEvents(self.shared.events())
    }

    /// Returns a reference to the peer's main object.
    pub fn root<R: Reference>(&self) -> R {
        R::from_stub(self.root_dyn())
    }

    /// Returns an untyped reference to the peer's main object.
    pub fn root_dyn(&self) -> Stub {
        let of = self.shared.lock().endpoint.session.main();
        self.shared.add_root();
        Stub::from_remote(Remote { shared: Arc::clone(&self.shared), of, kind: Kind::Stub })
    }

    /// Returns how many references each side holds of the other. The main objects count, so an idle
    /// session has one of each.
    pub fn stats(&self) -> SessionStats {
        self.shared.lock().endpoint.session.stats()
    }

    /// Ends the session. Calls in flight fail. Messages that were sent before still arrive.
    pub fn close(&self) {
        let closed = ended_here("Error", "the session was closed");
        self.shared.input(|endpoint| endpoint.session.close(closed));
    }

    /// Ends the session with an error that is sent to the peer.
    pub fn abort(&self, name: &str, message: &str) {
        let closed = ended_here(name, message);
        self.shared.input(|endpoint| endpoint.session.abort(closed));
    }

    /// Waits for the end of the session and returns the reason. Cancel-safe.
    pub async fn closed(&self) -> CloseReason {
        self.shared.until_closed().await
    }

    /// Returns the reason that the session has ended, or `None` if it is open.
    pub fn close_reason(&self) -> Option<CloseReason> {
        self.read(|endpoint| endpoint.session.closed().cloned())
    }

    /// Returns `true` if the session has ended.
    pub fn is_closed(&self) -> bool {
        self.shared.lock().endpoint.session.is_closed()
    }

    /// Waits until every requested answer is written, or the session has ended. Cancel-safe.
    pub async fn answered(&self) {
        self.shared.until_answered().await;
    }
}

fn ended_here(name: &str, message: &str) -> CloseReason {
    CloseReason::new(ClosedBy::Local, name.to_owned(), message)
}

/// The events of a session's link.
#[derive(Debug)]
pub struct LinkEvents(broadcast::Receiver<LinkEvent>);

impl LinkEvents {
    /// Returns the next event, or `None` after the last event of an ended session. A receiver that falls
    /// behind misses the oldest events. Cancel-safe.
    pub async fn next(&mut self) -> Option<LinkEvent> {
        loop {
            match self.0.recv().await {
                Ok(event) => return Some(event),
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}
