//! Keeps a session alive: drives it over one socket after the other until it ends.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bowline_core::endpoint::Attached;
use bowline_core::error::ErrorCode;
use bowline_core::link::{Credentials, Drain, Features, Joint, Mode, Refresh, Refused, Resumed, Welcome};
use bowline_core::peer::{Connection, TransportEnd, Turn};
use bowline_core::session::ClosedBy;
use bowline_transport::{Ending, deadline};
use futures_util::FutureExt;
use futures_util::future::{Fuse, FusedFuture};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use crate::dial::{Dialer, Spoken, Stream};
use crate::hello::{Failure, Opening, Standing};
use crate::saved::Papers;
use crate::session::Handles;
use crate::who::Panicked;

/// The longest pause after a try that failed: half of the time that the session has been without a
/// connection, so that a client is back soon after its server is, within these bounds. The pause
/// taken is anything between nothing and that, so that clients do not come in step.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(15);

/// How long a client waits before it asks for a session that another has taken over.
const TAKEN_OVER: Duration = Duration::from_millis(250);

/// How long after a write that failed the session is saved again.
const SAVE_AGAIN: Duration = Duration::from_secs(1);

/// How long a write may hold up a session that is about to go on over another connection. After that
/// it goes on beside the session.
const SAVE_WAIT: Duration = Duration::from_millis(250);

/// A session that is kept.
pub(crate) struct Keeper {
    pub(crate) dialer: Dialer,
    pub(crate) connection: Connection,
    pub(crate) papers: Arc<Papers>,
    /// How long the server keeps the session without a socket.
    pub(crate) window: Duration,
    /// How long one try may take.
    pub(crate) within: Duration,
    pub(crate) features: Features,
    /// The write that is under way. One at a time, however long it takes.
    saving: tokio::sync::Mutex<Option<JoinHandle<io::Result<()>>>>,
    /// Last, so that the session ends when all else is dropped.
    _end: EndOnDrop,
}

/// A socket that is ready to carry the session.
pub(crate) struct Ready {
    pub(crate) opening: Opening,
    pub(crate) ending: Ending<Box<dyn Stream>>,
    pub(crate) attached: Attached,
}

/// What is to be done after a try that failed.
enum Try {
    /// What the server has said, if it was reached.
    Again(Option<Refused>),
    Never(Refused),
}

/// Ends a session, unless it has ended, when the task that keeps it does: by a panic, with its
/// runtime, or because it was never run. Nobody would reconnect it.
struct EndOnDrop(Connection);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        let message = "the task that keeps the session has ended";
        self.0.end_with(ClosedBy::Transport, &ErrorCode::AgentDisconnected, message);
    }
}

impl Keeper {
    pub(crate) fn new(
        dialer: Dialer,
        connection: Connection,
        welcome: &Welcome,
        papers: Arc<Papers>,
        within: Duration,
    ) -> Self {
        let (features, window) = (Features::of(&welcome.features), Duration::from_secs(welcome.resume_window_sec));
        let (saving, _end) = (tokio::sync::Mutex::default(), EndOnDrop(connection.clone()));
        Self { dialer, connection, papers, window, within, features, saving, _end }
    }

    /// Runs until the session is over. Ends it when the application has no handle on it any more; one
    /// that is saved stays at the server for a later process.
    pub(crate) async fn keep(self, first: Ready, handles: Handles) {
        let (connection, is_saved) = (self.connection.clone(), self.papers.saves());
        let mut kept = pin!(self.keep_connected(first));
        tokio::select! {
            () = &mut kept => {}
            () = handles.unused(&connection) => {
                tracing::debug!("the last handle on the session was dropped");
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
            let turn = self.connection.drive(attached, transport, None);
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

    /// Says again who we are whenever the server asks, and saves the session whenever it has changed;
    /// neither waits for the other. Cancel-safe: what was not answered is asked again on the next
    /// socket, and a write that has begun goes on.
    async fn attend(&self) -> Infallible {
        let (mut saving, mut answering) = (pin!(Fuse::terminated()), pin!(Fuse::terminated()));
        loop {
            if saving.is_terminated() && self.papers.is_stale(&self.connection) {
                saving.set(self.save().fuse());
            }
            if answering.is_terminated()
                && let Some(refresh) = self.connection.link(|endpoint| endpoint.take_refresh())
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

    /// Says again who we are.
    async fn answer(&self, refresh: Refresh) {
        match self.dialer.who.try_credentials(refresh.challenge).await {
            Ok(Credentials { token: Some(response), .. }) => {
                self.connection.link(|endpoint| endpoint.authenticate(response));
            }
            Ok(_) => tracing::warn!("the server asks who we are, and there are no credentials"),
            Err(Panicked) => {}
        }
    }

    /// Saves the session until that has succeeded. Cancel-safe: a write that has begun goes on, and is
    /// waited for the next time.
    async fn save(&self) {
        while self.papers.is_stale(&self.connection) && !self.write().await {
            sleep(SAVE_AGAIN).await;
        }
    }

    async fn write(&self) -> bool {
        let mut saving = self.saving.lock().await;
        let written = saving.get_or_insert_with(|| {
            let (papers, connection) = (Arc::clone(&self.papers), self.connection.clone());
            tokio::spawn(async move { papers.save(&connection).await })
        });
        let written = written.await.unwrap_or_else(|panicked| Err(io::Error::other(panicked)));
        *saving = None;
        if let Err(error) = &written {
            tracing::warn!(%error, "the session was not saved");
        }
        written.is_ok()
    }

    /// Takes the newest token, and saves the session if that takes no time; otherwise it is saved beside whatever comes next.
    async fn save_soon(&self) {
        if !self.papers.saves() {
            self.papers.take_newest(&self.connection);
        } else if self.papers.is_stale(&self.connection) {
            // Out of time, the write goes on.
            drop(timeout(SAVE_WAIT, self.write()).await);
        }
    }

    /// Tries to have the session back until that is out of the question. Cancel-safe: a try that
    /// was dropped leaves the token good.
    async fn again(&mut self, end: &TransportEnd) -> Result<Ready, Refused> {
        let taken_over = ErrorCode::SessionTakenOver.close_code();
        let taken_over = matches!(end, TransportEnd::Closed { code, .. } if *code == taken_over);
        let (began, until) = (Instant::now(), deadline(self.window));
        if taken_over {
            // Whoever has it now has to be heard first, or two that hold the token take turns.
            sleep(TAKEN_OVER).await;
        }
        if let Some(Drain { retry_after_ms, resume_url, .. }) = self.connection.link(|endpoint| endpoint.take_drain()) {
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
                    let message = "another holder of the token goes on with the session";
                    return Err(Refused::new(ErrorCode::SessionTakenOver, message));
                }
                Err(Try::Never(refused)) => return Err(refused),
            };
            let pause = (began.elapsed() / 2).clamp(PAUSE_MIN, PAUSE_MAX);
            let jittered = rand::random_range(Duration::ZERO..=pause);
            let after_ms = said.as_ref().and_then(|refused| refused.retry_after_ms).unwrap_or(0);
            sleep_until(deadline(Duration::from_millis(after_ms) + jittered).min(until)).await;
            if Instant::now() >= until {
                let message = format!("no connection to the server within {:?}", self.window);
                return Err(said.unwrap_or_else(|| Refused::new(ErrorCode::ResumeWindowExpired, message)));
            }
        }
    }

    /// One try. Nothing is awaited once the session is attached to the new connection.
    async fn attempt(&mut self) -> Result<Ready, Try> {
        // Whatever keeps us from the server now may be gone later; only the server's no is final.
        let socket = self.dialer.dial(Spoken::Link).await.map_err(|error| {
            tracing::debug!(%error, "cannot reconnect");
            Try::Again(None)
        })?;
        let (mut opening, ending) = Opening::of(socket.ok_or(Try::Again(None))?);
        let auth = self.dialer.who.try_credentials(None).await.map_err(|Panicked| Try::Again(None))?;
        // Those before the token that is shown count no more.
        self.save_soon().await;
        let stands = self.connection.link(|endpoint| Standing {
            features: self.dialer.features(),
            came: endpoint.processed(),
            first_retained: endpoint.first_retained(),
            ids: endpoint.session.ids(),
            auth,
            left: None,
        });
        let resumed = opening.resume(&self.papers.ticket(), &stands).await.map_err(|failure| match failure {
            Failure::Refused(refused) if refused.retryable || refused.code == ErrorCode::RateLimited => {
                refused.resume_url.iter().for_each(|url| self.dialer.go_to(url));
                Try::Again(Some(refused))
            }
            Failure::Refused(refused) => Try::Never(refused),
            Failure::Plain | Failure::Gone(_) => Try::Again(None),
        })?;
        let attached = self.attach(&resumed);
        self.papers.resumed(&resumed);
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

    /// Goes on as the server says it does, if that is the server of before.
    fn attach(&mut self, resumed: &Resumed) -> Result<Attached, Refused> {
        self.papers.recognise(resumed)?;
        if let Some(features) = &resumed.features {
            self.features = Features::of(features);
        }
        self.connection.link(|endpoint| endpoint.set_lease(resumed.lease));
        match (&resumed.mode, &resumed.left) {
            (Mode::Cold, Some(left)) => self.connection.attach_cold(self.features, left),
            (Mode::Warm, _) => self.connection.attach(Joint {
                peer_processed: resumed.last_event_seq,
                peer_sends_after: Some(resumed.replayed_from),
                features: self.features,
            }),
            (mode, _) => Err(not_asked_for(mode)),
        }
    }
}

/// The server resumes the session as nobody wanted it.
pub(crate) fn not_asked_for(mode: &Mode) -> Refused {
    let message = format!("the server resumes in a way that was not asked for: {mode:?}");
    Refused::new(ErrorCode::InvalidRequest, message)
}
