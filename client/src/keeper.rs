//! The task that drives a session over one connection after another until the session ends.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bowline_core::endpoint::{Attach, Attached};
use bowline_core::error::ErrorCode;
use bowline_core::link::{Credentials, Drain, Features, Mode, Refresh, Refused, Resumed, Welcome};
use bowline_core::peer::{Connection, TransportEnd, Turn};
use bowline_core::session::ClosedBy;
use bowline_transport::{Ending, deadline};
use futures_util::FutureExt;
use futures_util::future::{Fuse, FusedFuture};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use crate::credentials::Panicked;
use crate::dial::{Dialer, Stream};
use crate::hello::{Failure, Opening, Standing};
use crate::saved_session::SavedSession;
use crate::session::Handles;

/// Bounds of the maximum pause after a failed attempt, which is half of the time that the session
/// has been without a connection. So a client reconnects soon after a short outage. The actual
/// pause is random between zero and the maximum, so that clients do not reconnect in step.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(15);

/// The pause before a client tries to resume a session that another client has taken over.
const TAKEN_OVER: Duration = Duration::from_millis(250);

/// The pause after a failed write before the session is saved again.
const SAVE_AGAIN: Duration = Duration::from_secs(1);

/// How long a session that is about to resume waits for its state to be saved. After that, the
/// write continues in the background.
const SAVE_WAIT: Duration = Duration::from_millis(250);

/// A session and what is needed to reconnect it.
pub(crate) struct Keeper {
    pub(crate) dialer: Dialer,
    pub(crate) connection: Connection,
    pub(crate) saved_session: Arc<SavedSession>,
    /// How long the server keeps the session without a connection.
    pub(crate) window: Duration,
    /// The timeout of one attempt.
    pub(crate) within: Duration,
    pub(crate) features: Features,
    /// The write in progress. Writes do not overlap, however long one takes.
    saving: tokio::sync::Mutex<Option<JoinHandle<io::Result<()>>>>,
    /// The last field, so that the session ends after everything else was dropped.
    _end: EndOnDrop,
}

/// A connection after its handshake, and the attachment of the session to it.
pub(crate) struct Ready {
    pub(crate) opening: Opening,
    pub(crate) ending: Ending<Box<dyn Stream>>,
    pub(crate) attached: Attached,
}

/// What follows a failed attempt.
enum Try {
    /// Try again. Contains the refusal, if the server was reached.
    Again(Option<Refused>),
    /// Give up.
    Never(Refused),
}

/// Ends the session, unless it has ended, when the keeper task ends: by a panic, with its runtime,
/// or because it was never polled. Without the task, the session would never reconnect.
struct EndOnDrop(Connection);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        let message = "the task that drives the session was dropped; did its runtime shut down?";
        self.0.end_with(ClosedBy::Transport, &ErrorCode::AgentDisconnected, message);
    }
}

impl Keeper {
    pub(crate) fn new(
        dialer: Dialer,
        connection: Connection,
        welcome: &Welcome,
        saved_session: Arc<SavedSession>,
        within: Duration,
    ) -> Self {
        let (features, window) = (Features::of(&welcome.features), Duration::from_secs(welcome.resume_window_sec));
        let (saving, _end) = (tokio::sync::Mutex::default(), EndOnDrop(connection.clone()));
        Self { dialer, connection, saved_session, window, within, features, saving, _end }
    }

    /// Runs until the session ends. When the last handle of the application is dropped, closes the
    /// session; a saved session stays at the server for a later process.
    pub(crate) async fn keep(self, first: Ready, handles: Handles) {
        let (connection, is_saved) = (self.connection.clone(), self.saved_session.saves());
        let mut kept = pin!(self.keep_connected(first));
        tokio::select! {
            () = &mut kept => {}
            () = handles.unused(&connection) => {
                tracing::debug!("last handle of the session dropped");
                if !is_saved {
                    connection.close();
                    kept.await;
                }
            }
        }
    }

    async fn keep_connected(mut self, first: Ready) {
        let mut ready = first;
        loop {
            let Ready { opening, ending, attached } = ready;
            let transport = (opening.sender, opening.receiver);
            let turn = self.connection.drive(attached.attachment, transport, None);
            let turn = tokio::select! {
                turn = turn => turn,
                never = self.attend() => match never {},
            };
            let end = match turn {
                Turn::Detached(end) => end,
                Turn::Ended(closed) => {
                    let traffic = ending.finish().await;
                    return tracing::debug!(by = ?closed.by, message = closed.message, ?traffic, "session closed");
                }
                Turn::Superseded => return,
            };
            drop(ending);
            tracing::debug!(monotonic_counter.bowline_sessions_detached = 1_u64, %end, "session detached");
            let closed = self.connection.clone();
            let again = tokio::select! {
                again = self.again(&end) => again,
                _ = closed.closed() => return,
            };
            ready = match again {
                Ok(again) => again,
                Err(Refused { code, message, .. }) => {
                    tracing::debug!(monotonic_counter.bowline_sessions_lost = 1_u64, %code, message, "session lost");
                    return self.connection.end_with(ClosedBy::Transport, &code, &message);
                }
            };
            self.save_soon().await;
        }
    }

    /// Answers the server's requests for credentials, and saves the session when it has changed.
    /// Neither waits for the other. Cancel-safe: an unanswered request is repeated on the next
    /// connection, and a write in progress continues.
    async fn attend(&self) -> Infallible {
        let (mut saving, mut answering) = (pin!(Fuse::terminated()), pin!(Fuse::terminated()));
        loop {
            if saving.is_terminated() && self.saved_session.is_stale(&self.connection) {
                saving.set(self.save().fuse());
            }
            if answering.is_terminated()
                && let Some(refresh) = self.connection.take_refresh()
            {
                answering.set(self.answer(refresh).fuse());
            }
            tokio::select! {
                () = self.connection.asked() => {}
                () = &mut saving => {}
                () = &mut answering => {}
            }
        }
    }

    /// Sends current credentials to the server.
    async fn answer(&self, refresh: Refresh) {
        match self.dialer.who.try_credentials(refresh.challenge).await {
            Ok(Credentials { token: Some(response), .. }) => {
                self.connection.authenticate(response);
            }
            Ok(_) => {
                tracing::warn!(
                    "the server requires new credentials, but there are none; set `SessionBuilder::credentials`"
                )
            }
            Err(Panicked) => {}
        }
    }

    /// Saves the session, and retries until that succeeds. Cancel-safe: a write in progress
    /// continues, and the next call waits for it.
    async fn save(&self) {
        while self.saved_session.is_stale(&self.connection) && !self.write().await {
            sleep(SAVE_AGAIN).await;
        }
    }

    async fn write(&self) -> bool {
        let mut saving = self.saving.lock().await;
        let written = saving.get_or_insert_with(|| {
            let (saved_session, connection) = (Arc::clone(&self.saved_session), self.connection.clone());
            tokio::spawn(async move { saved_session.save(&connection).await })
        });
        let written = written.await.unwrap_or_else(|panicked| Err(io::Error::other(panicked)));
        *saving = None;
        if let Err(error) = &written {
            tracing::warn!(%error, "cannot save the session");
        }
        written.is_ok()
    }

    /// Takes the newest token and saves the session. If the write takes longer than [`SAVE_WAIT`],
    /// it continues in the background.
    async fn save_soon(&self) {
        if !self.saved_session.saves() {
            self.saved_session.take_newest(&self.connection);
        } else if self.saved_session.is_stale(&self.connection) {
            // After the timeout, the write continues.
            drop(timeout(SAVE_WAIT, self.write()).await);
        }
    }

    /// Tries to resume the session until it succeeds, the server refuses finally, or the resume
    /// window ends. Cancel-safe: after a dropped attempt, the token is still valid.
    async fn again(&mut self, end: &TransportEnd) -> Result<Ready, Refused> {
        let taken_over = ErrorCode::SessionTakenOver.close_code();
        let taken_over = matches!(end, TransportEnd::Closed { code, .. } if *code == taken_over);
        let (began, until) = (Instant::now(), deadline(self.window));
        if taken_over {
            // The new owner must get its first messages through; otherwise two holders of the token
            // would keep taking over the session from each other.
            sleep(TAKEN_OVER).await;
        }
        if let Some(Drain { retry_after_ms, resume_url, .. }) = self.connection.take_drain() {
            resume_url.iter().for_each(|url| self.dialer.go_to(url));
            if let Some(wait_ms) = retry_after_ms {
                let wait = Duration::from_millis(wait_ms) + rand::random_range(Duration::ZERO..=PAUSE_MIN);
                sleep(wait.min(self.window)).await;
            }
        }
        loop {
            let limit = deadline(self.within).min(until);
            let tried = timeout_at(limit, self.attempt()).await;
            let said = match tried.unwrap_or(Err(Try::Again(None))) {
                Ok(ready) => return Ok(ready),
                Err(Try::Again(said)) => {
                    if said.is_none() {
                        self.dialer.turn_away();
                    }
                    said
                }
                Err(Try::Never(refused)) if taken_over && refused.code == ErrorCode::ResumeTokenReplayed => {
                    let message = "another holder of the resume token took over the session";
                    return Err(Refused::new(ErrorCode::SessionTakenOver, message));
                }
                Err(Try::Never(refused)) => return Err(refused),
            };
            let pause = (began.elapsed() / 2).clamp(PAUSE_MIN, PAUSE_MAX);
            let jittered = rand::random_range(Duration::ZERO..=pause);
            let after_ms = said.as_ref().and_then(|refused| refused.retry_after_ms).unwrap_or(0);
            sleep_until(deadline(Duration::from_millis(after_ms) + jittered).min(until)).await;
            if Instant::now() >= until {
                let message = format!("the server could not be reached within {:?}", self.window);
                return Err(said.unwrap_or_else(|| Refused::new(ErrorCode::ResumeWindowExpired, message)));
            }
        }
    }

    /// Makes one attempt. Nothing is awaited once the session is attached to the new connection, so
    /// that a dropped future cannot lose it.
    async fn attempt(&mut self) -> Result<Ready, Try> {
        // Any failure to reach the server may be temporary; only a refusal by the server is final.
        let socket = self.dialer.dial_link().await.map_err(|error| {
            tracing::debug!(%error, "cannot reconnect");
            Try::Again(None)
        })?;
        let (mut opening, ending) = Opening::of(socket.ok_or(Try::Again(None))?);
        let auth = self.dialer.who.try_credentials(None).await.map_err(|Panicked| Try::Again(None))?;
        // Older tokens become invalid when a newer one is presented.
        self.save_soon().await;
        let stands = Standing {
            features: self.dialer.features(),
            came: self.connection.processed(),
            first_retained: self.connection.first_retained(),
            ids: self.connection.ids(),
            auth,
            left: None,
        };
        let resumed = opening.resume(&self.saved_session.ticket(), &stands).await.map_err(|failure| match failure {
            Failure::Refused(refused) if refused.retryable || refused.code == ErrorCode::RateLimited => {
                refused.resume_url.iter().for_each(|url| self.dialer.go_to(url));
                Try::Again(Some(refused))
            }
            Failure::Refused(refused) => Try::Never(refused),
            Failure::Plain | Failure::Gone(_) => Try::Again(None),
        })?;
        let attached = self.attach(&resumed);
        self.saved_session.resumed(&resumed);
        let attached = attached.map_err(Try::Never)?;
        tracing::debug!(
            monotonic_counter.bowline_sessions_resumed = 1_u64,
            mode = ?resumed.mode,
            epoch = resumed.epoch,
            resent = attached.resent,
            replayed = resumed.replay_count,
            "session resumed"
        );
        Ok(Ready { opening, ending, attached })
    }

    /// Attaches the session as the server says, if it is the same server as before.
    fn attach(&mut self, resumed: &Resumed) -> Result<Attached, Refused> {
        self.saved_session.recognise(resumed)?;
        if let Some(features) = &resumed.features {
            self.features = Features::of(features);
        }
        self.connection.set_lease(resumed.lease);
        match (&resumed.mode, &resumed.left) {
            (Mode::Cold, Some(left)) => self.connection.attach(self.features, Attach::Recover(left)),
            (Mode::Warm, _) => {
                let (peer_processed, peer_sends_after) = (resumed.last_event_seq, Some(resumed.replayed_from));
                self.connection.attach(self.features, Attach::Resume { peer_processed, peer_sends_after })
            }
            (mode, _) => Err(not_asked_for(mode)),
        }
    }
}

/// Returns the refusal for a server that resumes in a mode that the client did not accept.
pub(crate) fn not_asked_for(mode: &Mode) -> Refused {
    let message = format!("the server resumed the session in a mode that was not requested: {mode:?}");
    Refused::new(ErrorCode::InvalidRequest, message)
}
