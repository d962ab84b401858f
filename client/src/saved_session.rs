//! The state with which a client resumes its session, current and as saved for a later process.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bowline_core::error::ErrorCode;
use bowline_core::link::{Covers, Features, Refused, Resumed, Ticket, Welcome};
use bowline_core::peer::Connection;
use serde::{Deserialize, Serialize};

use crate::hello::Held;

/// The version of [`Saved`].
const VERSION: u32 = 1;

/// The saved state of a session.
#[derive(Serialize, Deserialize)]
pub(crate) struct Saved {
    v: u32,
    /// The server's welcome, updated to the current token and epoch.
    pub(crate) welcome: Welcome,
    /// This side's state of the session.
    pub(crate) end: String,
}

impl Saved {
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, String> {
        let saved: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if saved.v != VERSION {
            return Err(format!("version {} is not supported", saved.v));
        }
        Ok(saved)
    }
}

type Writing = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

/// The application's function that saves a session.
#[derive(Clone)]
pub(crate) struct Writer(Arc<dyn Fn(Vec<u8>) -> Writing + Send + Sync>);

impl Writer {
    pub(crate) fn new<F, Fut>(write: F) -> Self
    where
        F: Fn(Vec<u8>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = io::Result<()>> + Send + 'static,
    {
        Self(Arc::new(move |bytes| Box::pin(write(bytes))))
    }
}

/// The server's welcome, kept up to date, and the function that saves the session.
pub(crate) struct SavedSession {
    welcome: Mutex<Welcome>,
    writer: Option<Writer>,
    /// The newest epoch that was saved.
    saved_epoch: AtomicU64,
    /// Serializes writes, so that the newest state is the last one written.
    turn: tokio::sync::Mutex<()>,
}

impl SavedSession {
    pub(crate) fn new(welcome: Welcome, writer: Option<Writer>) -> Arc<Self> {
        Arc::new(Self {
            welcome: Mutex::new(welcome),
            writer,
            saved_epoch: AtomicU64::new(0),
            turn: tokio::sync::Mutex::default(),
        })
    }

    pub(crate) fn ticket(&self) -> Held {
        let welcome = self.lock();
        let is_durable = Features::of(&welcome.features).durable;
        Held { token: welcome.resume_token.clone(), key: welcome.resume_key.clone(), is_durable }
    }

    /// Returns the welcome, updated to the current token and epoch.
    pub(crate) fn welcome(&self) -> Welcome {
        self.lock().clone()
    }

    /// Checks that the server that resumes the session is the one that opened it.
    ///
    /// # Errors
    /// Returns `WRONG_RUNTIME` if its fingerprint differs.
    pub(crate) fn recognise(&self, resumed: &Resumed) -> Result<(), Refused> {
        let ours = self.lock().runtime.fingerprint.clone();
        let theirs = resumed.runtime.as_ref().and_then(|runtime| runtime.fingerprint.as_ref());
        if ours.is_some() && theirs != ours.as_ref() {
            let message = "the fingerprint of the server differs from that of the server that opened the session";
            return Err(Refused::new(ErrorCode::WrongRuntime, message));
        }
        Ok(())
    }

    /// Updates the welcome from the server's answer to a resume.
    pub(crate) fn resumed(&self, resumed: &Resumed) {
        let mut welcome = self.lock();
        welcome.resume_token = resumed.resume_token.clone();
        welcome.resume_key = resumed.resume_key.clone();
        welcome.epoch = resumed.epoch;
        welcome.lease = resumed.lease;
        if let Some(features) = &resumed.features {
            welcome.features.clone_from(features);
        }
    }

    /// Returns whether there is a function that saves the session.
    pub(crate) fn saves(&self) -> bool {
        self.writer.is_some()
    }

    /// Returns whether the session must be saved: there is a newer token, or it was resumed since
    /// the last write.
    pub(crate) fn is_stale(&self, connection: &Connection) -> bool {
        let is_newer = || self.lock().epoch != self.saved_epoch.load(Ordering::SeqCst);
        self.saves() && (is_newer() || connection.has_token())
    }

    /// Takes the newest token and saves the session, if there is a function for it. A write that
    /// has begun continues even if the future is dropped.
    ///
    /// # Errors
    /// Returns the error of the write. The token is then not acknowledged to the server.
    pub(crate) async fn save(self: &Arc<Self>, connection: &Connection) -> io::Result<()> {
        let (saved_session, connection) = (Arc::clone(self), connection.clone());
        let saving = tokio::spawn(async move { saved_session.write(&connection).await });
        saving.await.unwrap_or_else(|panicked| Err(io::Error::other(panicked)))
    }

    async fn write(&self, connection: &Connection) -> io::Result<()> {
        let _turn = self.turn.lock().await;
        let covers = self.take_newest(connection);
        let Some(Writer(write)) = &self.writer else { return Ok(()) };
        let Some(end) = connection.saved_state() else { return Ok(()) };
        let end = String::from_utf8(end).map_err(io::Error::other)?;
        let saved = Saved { v: VERSION, welcome: self.welcome(), end };
        write(serde_json::to_vec(&saved)?).await?;
        self.saved_epoch.store(saved.welcome.epoch, Ordering::SeqCst);
        if let Some(covers) = covers {
            connection.token_saved(covers);
        }
        Ok(())
    }

    /// Takes the newest token, and its key if it has changed. Returns what the token covers, if
    /// that was not acknowledged to the server yet. Both locks are held together, so that an older
    /// token never replaces one that came with a later connection.
    pub(crate) fn take_newest(&self, connection: &Connection) -> Option<Covers> {
        let mut welcome = self.lock();
        let (ticket, covers) = connection.take_token();
        if let Some(Ticket { resume_token, resume_key }) = ticket {
            welcome.resume_token = resume_token;
            if let Some(resume_key) = resume_key {
                welcome.resume_key = resume_key;
            }
        }
        covers
    }

    fn lock(&self) -> MutexGuard<'_, Welcome> {
        self.welcome.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for SavedSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SavedSession").field("saves", &self.writer.is_some()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use bowline_core::link::LinkRules;
    use bowline_core::peer::{Restorer, Restorers, SessionOptions, Stub};

    use super::*;
    use crate::reattach::durable;

    /// A session with two references that were kept by name, and a callback that the server holds.
    const GOLDEN: &[u8] = include_bytes!("golden.saved.json");

    #[test]
    fn saved_sessions_of_version_1_are_readable() {
        let saved = Saved::read(GOLDEN).unwrap();
        assert_eq!(saved.welcome.session_id, "s_v8blderdeF83ixYvS7Ww_A");
        assert!(Features::of(&saved.welcome.features).durable);
        let ear = Restorer::new("ear", 1, |_, _: serde_json::Value| async { Err::<Stub, _>("".into()) });
        let options =
            durable(SessionOptions::new(), Some(Arc::new(Restorers::new().with(ear))), &saved.welcome.session_id);
        let (connection, left) =
            Connection::from_saved_state(saved.end.as_bytes(), None, options, LinkRules::default()).unwrap();
        assert_eq!(connection.kept_names(), ["counter", "fleeting"]);
        assert_eq!(left.restored, [-1]);
        assert_eq!(left.imports, [(-2, 1), (-1, 1)]);
    }
}
