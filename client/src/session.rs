//! A session on a WebSocket, as its user holds it.

use std::fmt;

use bowline_core::peer::{Connection, Events, Reference, Stub};
use bowline_core::session::{Closed, Stats};

/// An open session. Clones are the same session, and so are all references obtained from it; it
/// stays open until [`close`](Self::close), or until the server ends it, even
/// when every handle on it is dropped while references live.
#[derive(Clone)]
pub struct Session {
    connection: Connection,
}

impl Session {
    pub(crate) fn new(connection: Connection) -> Self {
        Self { connection }
    }

    /// The server's root object. Nothing is sent; that it has these methods shows when one is
    /// called.
    pub fn root<R: Reference>(&self) -> R {
        self.connection.root()
    }

    /// The server's root object, untyped.
    pub fn root_dyn(&self) -> Stub {
        self.connection.root_dyn()
    }

    /// Ends the session and waits until it has ended. Calls that are not answered yet fail.
    /// Dropping the future does not take it back.
    pub async fn close(&self) -> Closed {
        self.connection.close();
        self.closed().await
    }

    /// Waits until the session has ended, and says why. Cancel-safe.
    pub async fn closed(&self) -> Closed {
        self.connection.closed().await
    }

    /// Whether the session outlives its connection: the server knows how, and it has not ended.
    pub fn is_resumable(&self) -> bool {
        self.connection.link(|endpoint| endpoint.is_linked() && !endpoint.session.is_closed())
    }

    /// What happens to the connection from now on: it is lost, it is back, or the session is over.
    /// A session that is not resumable has no events.
    pub fn events(&self) -> Events {
        self.connection.events()
    }

    /// How many references the two sides hold of each other.
    pub fn stats(&self) -> Stats {
        self.connection.stats()
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
