//! The handle on a running session.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::broadcast;

use crate::endpoint::{Attached, Endpoint, LinkEvent};
use crate::error::ErrorCode;
use crate::id::TargetId;
use crate::link::{Features, Joint, Left, LinkRules, List, Objects, Refused, Role};
use crate::peer::driver::{self, Turn};
use crate::peer::error::SessionError;
use crate::peer::options::Options;
use crate::peer::reference::Reference;
use crate::peer::shared::Shared;
use crate::peer::stub::{Kind, Remote, Stub};
use crate::peer::transport::Transport;
use crate::peer::vars::Vars;
use crate::session::{Closed, ClosedBy, Stats};

/// A running session. Clones are the same session; dropping them all does not end it: it lives
/// as long as its transport.
#[derive(Clone, Debug)]
pub struct Connection {
    shared: Arc<Shared>,
}

impl Connection {
    /// A session over `transport` in which the peer finds `main`; [`Limits`](crate::limits::Limits)
    /// alone will do for options. The future runs it and must be spawned; it ends when the session
    /// does, and dropping it ends the session.
    pub fn start<T: Transport>(
        transport: T,
        main: Option<Stub>,
        options: impl Into<Options>,
    ) -> (Self, impl Future<Output = Closed> + Send + 'static) {
        Self::run(transport, Shared::wired(options.into(), main, true))
    }

    /// As [`start`](Self::start), for a peer that has said all it will say: nothing waits for
    /// acknowledgements, and [`answered`](Self::answered) waits for streams to be sent whole.
    pub fn start_batch<T: Transport>(
        transport: T,
        main: Option<Stub>,
        options: impl Into<Options>,
    ) -> (Self, impl Future<Output = Closed> + Send + 'static) {
        Self::run(transport, Shared::wired(options.into(), main, false))
    }

    fn run<T: Transport>(
        transport: T,
        shared: Arc<Shared>,
    ) -> (Self, impl Future<Output = Closed> + Send + use<T> + 'static) {
        let attachment = shared.lock().endpoint.attach_plain();
        let turn = driver::drive(Arc::clone(&shared), attachment, transport, None);
        let over = Arc::clone(&shared);
        let driver = async move {
            turn.await;
            over.until_closed().await
        };
        (Self { shared }, driver)
    }

    /// A session that outlives its transports, and has none yet; see [`attach`](Self::attach). It
    /// waits for one until it is ended.
    pub fn linked(main: Option<Stub>, options: impl Into<Options>, role: Role, rules: LinkRules) -> Self {
        Self { shared: Shared::linked(options.into(), main, role, rules) }
    }

    /// A session that another process held, as it was made again from what was kept of it, and has
    /// no transport yet. `main` is made anew for the peer; `targets` are what
    /// [`Session::revive`](crate::session::Session::revive) says is left. The options say who
    /// restores objects: each when it is first used, unless its restorer is eager, which needs a
    /// Tokio runtime. An object without a recipe fails its calls with `CAPABILITY_LOST`.
    pub fn restored(endpoint: Endpoint, targets: &[TargetId], main: Option<Stub>, options: impl Into<Options>) -> Self {
        Self { shared: Shared::restored(endpoint, targets, main, options.into()) }
    }

    pub(crate) fn of(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Returns whether both are handles on the same session.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// Returns the bytes of messages and values that the session holds for its peer.
    pub fn held_bytes(&self) -> usize {
        self.shared.lock().endpoint.held_bytes()
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Takes a look at the session between two inputs, when all that it has asked for is taken:
    /// for checkpoints. Runs no user code.
    pub fn between_inputs<T>(&self, look: impl FnOnce(&mut Endpoint) -> T) -> T {
        self.shared.between_inputs(look)
    }

    /// Waits until something has happened in a durable session that a checkpoint would keep, since
    /// this ended last. Cancel-safe.
    pub async fn changed(&self) {
        let mut of_session = pin!(self.until_due());
        let Some(durability) = &self.shared.options().durability else { return of_session.await };
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

    /// Waits until a checkpoint of a durable session is due at once: a durable object was handed to
    /// the peer for the first time, or a variable was set. Cancel-safe.
    pub async fn urgent(&self) {
        let Some(durability) = &self.shared.options().durability else { return std::future::pending().await };
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
            // What was told may have been kept meanwhile.
            if self.shared.lock().endpoint.is_checkpoint_due() {
                return;
            }
        }
    }

    /// The variables of a durable session.
    pub fn vars(&self) -> Option<Vars> {
        self.shared.options().durability.as_ref().map(|durability| durability.vars.clone())
    }

    /// Begins the turn of a new transport. When this returns, nothing that the transport before
    /// brings is looked at any more.
    ///
    /// # Errors
    /// The session is over or has no link, or the numbers of both sides do not fit together.
    pub fn attach(&self, joint: Joint) -> Result<Attached, Refused> {
        self.shared.attach(joint)
    }

    /// As [`attach`](Self::attach), for a client whose server was made again and says what is left.
    ///
    /// # Errors
    /// The session is over, or the server holds what was never given to it.
    pub fn attach_cold(&self, features: Features, left: &Left) -> Result<Attached, Refused> {
        self.shared.attach_by(|endpoint, now| endpoint.attach_cold(now, features, left))
    }

    /// Nothing that arrives is carried out when `left` from now has passed, unless this is said
    /// again: the process may have lost the session to another by then.
    pub fn extend_lease(&self, left: Duration) {
        let until = self.shared.now() + left;
        self.shared.lock().endpoint.extend_lease(until);
    }

    /// Whether the time of [`extend_lease`](Self::extend_lease) is over. Nothing that arrives is
    /// carried out then, so a transport that is attached is given up with the first text it brings.
    pub fn is_lease_over(&self) -> bool {
        let now = self.shared.now();
        self.shared.lock().endpoint.is_lease_over(now)
    }

    /// Has [`changed`](Self::changed) end once more.
    pub fn touch(&self) {
        self.shared.lock().endpoint.mark_changed();
        self.shared.changed.notify_one();
    }

    /// Ends the turn of the transport that the session has, if it has one; its peer is told that the
    /// session goes on elsewhere. The session waits for another transport.
    pub fn supersede(&self, reason: &str) {
        self.shared.supersede(reason);
    }

    /// Carries the session over the transport whose turn it is, after `greeting`. The future has
    /// to be run; it ends with the transport's turn, and dropping it ends that.
    pub fn drive<T: Transport>(
        &self,
        attached: Attached,
        transport: T,
        greeting: Option<String>,
    ) -> impl Future<Output = Turn> + Send + use<T> + 'static {
        driver::drive(Arc::clone(&self.shared), attached.attachment, transport, greeting)
    }

    /// What the link has to say of itself; see [`Endpoint`]. Runs no user code: what is to be done
    /// is done by the driver.
    pub fn link<T>(&self, ask: impl FnOnce(&mut Endpoint) -> T) -> T {
        let answer = ask(&mut self.shared.lock().endpoint);
        self.shared.wake.notify_one();
        answer
    }

    /// Ends a session that has a link, for a reason that has a code, on this side. What ends with
    /// it is dropped before this returns.
    pub fn end_with(&self, by: ClosedBy, code: &ErrorCode, message: &str) {
        self.shared.input(|endpoint| endpoint.end(by, code, message));
    }

    /// Waits until the link asks something of whoever keeps the session: see [`Endpoint::asks`].
    /// Cancel-safe.
    pub async fn asked(&self) {
        self.shared.asked.notified().await;
    }

    /// Asks the server what it holds for this session. Cancel-safe; waits through changes of the
    /// transport.
    ///
    /// # Errors
    /// The session is over, or the server does not answer such questions.
    pub async fn list(&self, list: List) -> Result<Objects, SessionError> {
        self.shared.list(list).await
    }

    /// Notes from now on when things are made, for [`list`](Self::list); this is the wall clock's
    /// time in milliseconds since 1970.
    pub fn date_from(&self, unix_ms: u64) {
        let now = self.shared.now();
        self.shared.lock().endpoint.date_from(unix_ms, now);
    }

    /// Carries out what the session asks for after [`link`](Self::link) has changed it. Runs user
    /// code, as an arriving message does.
    pub fn settle(&self) {
        self.shared.input(|_| {});
    }

    /// Waits until no call of the peer's runs. Cancel-safe.
    pub async fn quiet(&self) {
        self.shared.until_quiet().await;
    }

    /// Waits until no call of the peer's runs and every answer that it has asked for is written, or
    /// the session has ended. Cancel-safe.
    pub async fn settled(&self) {
        loop {
            self.shared.until_quiet().await;
            self.shared.until_answered().await;
            // A call may have begun while the last answer was written.
            let is_quiet = |endpoint: &mut Endpoint| endpoint.session.calls_running() == 0;
            if self.is_closed() || self.link(is_quiet) {
                return;
            }
        }
    }

    /// Waits until the calls of the peer's that run now have ended, or the session has. Calls that
    /// begin meanwhile are not waited for. Cancel-safe.
    pub async fn running_calls_ended(&self) {
        self.shared.until_earlier_done().await;
    }

    /// Waits until the application holds no reference to anything of the peer's, waits for no result
    /// and reads no stream of the peer's, or the session has ended. Cancel-safe.
    pub async fn unused(&self) {
        self.shared.until_unused().await;
    }

    /// Calls of the peer's that run, or are about to.
    pub fn calls_running(&self) -> usize {
        self.shared.lock().endpoint.session.calls_running()
    }

    /// Ends every stream that the peer writes to; its reader fails with `STREAM_INTERRUPTED`.
    pub fn interrupt_streams(&self, message: &str) {
        self.shared.input(|endpoint| endpoint.session.interrupt_streams(message));
    }

    /// What happens to the link from now on.
    pub fn events(&self) -> Events {
        Events(self.shared.events())
    }

    /// The peer's main object.
    pub fn root<R: Reference>(&self) -> R {
        R::from_stub(self.root_dyn())
    }

    /// The peer's main object, without a type.
    pub fn root_dyn(&self) -> Stub {
        let of = self.shared.lock().endpoint.session.main();
        self.shared.add_root();
        Stub::from_remote(Remote { shared: Arc::clone(&self.shared), of, kind: Kind::Stub })
    }

    /// How many things each side holds of the other; an idle session has one of each.
    pub fn stats(&self) -> Stats {
        self.shared.lock().endpoint.session.stats()
    }

    /// Ends the session. Calls in flight fail; what was sent before arrives.
    pub fn close(&self) {
        self.end("Error", "The session was closed.", false);
    }

    /// Ends the session and tells the peer why.
    pub fn abort(&self, name: &str, message: &str) {
        self.end(name, message, true);
    }

    /// Waits for the end of the session. Cancel-safe.
    pub async fn closed(&self) -> Closed {
        self.shared.until_closed().await
    }

    /// Whether the session has ended.
    pub fn is_closed(&self) -> bool {
        self.shared.lock().endpoint.session.is_closed()
    }

    /// Waits until every answer the peer has asked for is written, or the session has ended.
    /// Cancel-safe.
    pub async fn answered(&self) {
        self.shared.until_answered().await;
    }

    fn end(&self, name: &str, message: &str, abort: bool) {
        let closed = Closed { by: ClosedBy::Us, name: name.to_owned(), message: message.to_owned() };
        self.shared.input(|endpoint| endpoint.session.close(closed, abort));
    }
}

/// What happens to the link of a session, as it happens.
#[derive(Debug)]
pub struct Events(broadcast::Receiver<LinkEvent>);

impl Events {
    /// The next event; `None` when the session is over and all is told. Cancel-safe. A listener
    /// that falls behind misses the oldest.
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
