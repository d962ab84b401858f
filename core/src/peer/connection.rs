//! The handle on a running session.

use std::future::Future;
use std::sync::Arc;

use crate::peer::driver;
use crate::peer::options::Options;
use crate::peer::reference::Reference;
use crate::peer::shared::Shared;
use crate::peer::stub::{Kind, Remote, Stub};
use crate::peer::transport::Transport;
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
        Self::run(transport, main, options.into(), true)
    }

    /// As [`start`](Self::start), for a peer that has said all it will say: nothing waits for
    /// acknowledgements, and [`answered`](Self::answered) waits for streams to be sent whole.
    pub fn start_batch<T: Transport>(
        transport: T,
        main: Option<Stub>,
        options: impl Into<Options>,
    ) -> (Self, impl Future<Output = Closed> + Send + 'static) {
        Self::run(transport, main, options.into(), false)
    }

    fn run<T: Transport>(
        transport: T,
        main: Option<Stub>,
        options: Options,
        acknowledged: bool,
    ) -> (Self, impl Future<Output = Closed> + Send + use<T> + 'static) {
        let shared = Shared::wired(options.limits.clone(), main, acknowledged);
        let driver = driver::drive(Arc::clone(&shared), transport, options);
        (Self { shared }, driver)
    }

    /// The peer's main object.
    pub fn root<R: Reference>(&self) -> R {
        R::from_stub(self.root_dyn())
    }

    /// The peer's main object, without a type.
    pub fn root_dyn(&self) -> Stub {
        let of = self.shared.lock().session.main();
        Stub::from_remote(Remote { shared: Arc::clone(&self.shared), of, kind: Kind::Stub })
    }

    /// How many things each side holds of the other; an idle session has one of each.
    pub fn stats(&self) -> Stats {
        self.shared.lock().session.stats()
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
        self.shared.lock().session.is_closed()
    }

    /// Waits until every answer the peer has asked for is written, or the session has ended.
    /// Cancel-safe.
    pub async fn answered(&self) {
        self.shared.until_answered().await;
    }

    fn end(&self, name: &str, message: &str, abort: bool) {
        let closed = Closed { by: ClosedBy::Us, name: name.to_owned(), message: message.to_owned() };
        self.shared.input(|session| session.close(closed, abort));
    }
}
