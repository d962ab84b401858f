//! WebSockets that speak the link: who the client is, whether it gets a session or its session
//! back, and that session's turn on this socket.

use std::sync::Arc;
use std::time::Duration;

use bowline_core::error::ErrorCode;
use bowline_core::link::handshake::{AUTHENTICATIONS_MAX, OPENING_BYTES_MAX, Opening};
use bowline_core::link::{Credentials, Drain, Frame, Hello, Refused, Resume, Resumed, Secret, Welcome};
use bowline_core::peer::{Receiving, Sending, Stub, Transport, TransportEnd, Turn};
use bowline_core::resume::principal_hash;
use bowline_core::session::ClosedBy;
use bowline_transport::{Ending, Parting, WebSocket};
use http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, interval_at, timeout, timeout_at};
use tracing::Instrument;

use crate::auth::{self, Principal};
use crate::authority::Attention;
use crate::drain::{Deadlines, GOING_AWAY, Ticket};
use crate::error::Refusal;
use crate::held::Preceded;
use crate::peer_info::Peer;
use crate::registry::{Admitted, NewSession, random, unix_now};
use crate::restoration::{Claimant, Keeper};
use crate::service::Service;

/// A socket on which the link was agreed upon.
pub(crate) struct Linked {
    pub(crate) service: Arc<Service>,
    pub(crate) peer: Box<Peer>,
    pub(crate) ticket: Ticket,
}

/// Why there is no session on a socket.
enum Failure {
    /// The client is told.
    Refused(Refused),
    /// It is gone.
    Gone,
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl From<TransportEnd> for Failure {
    fn from(_: TransportEnd) -> Self {
        Self::Gone
    }
}

impl Failure {
    async fn tell(self, sender: &mut impl Sending, parting: &Parting) {
        match self {
            Self::Refused(refused) => {
                tracing::debug!(
                    monotonic_counter.bowline_sessions_refused = 1_u64,
                    code = %refused.code, message = refused.message, "no session"
                );
                parting.set(refused.code.close_code(), refused.code.as_str());
                // Whoever has gone does not need to be told.
                drop(say(sender, &Frame::Rejected(refused)).await);
            }
            Self::Gone => tracing::debug!("gone before a session"),
        }
    }
}

impl Linked {
    /// Runs the socket to its end.
    #[expect(clippy::manual_async_fn, reason = "a block has its captures once, a function its parameters twice")]
    pub(crate) fn serve<S>(
        mut self,
        transport: WebSocket<S>,
        ending: Ending<S>,
        parting: Parting,
    ) -> impl Future<Output = ()> + Send
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        async move {
            let (mut sender, receiver) = transport.split();
            let mut receiver = Preceded::new(receiver);
            let handshake = self.service.http.handshake;
            // On its own, so that a session does not keep the room that its handshake took.
            let opening = Box::pin(self.open(&mut sender, &mut receiver));
            let opened = timeout(handshake, opening).await.unwrap_or_else(|_elapsed| {
                Err(Refused::new(ErrorCode::HandshakeRequired, format!("no session within {handshake:?}")).into())
            });
            match opened {
                Ok((admitted, greeting)) => {
                    let span = tracing::debug_span!("session", id = admitted.entry.id, epoch = admitted.epoch);
                    let turn = admitted.entry.connection.drive(admitted.attached, (sender, receiver), Some(greeting));
                    self.run(admitted, Box::pin(turn), &parting).instrument(span).await;
                }
                Err(failure) => Box::pin(failure.tell(&mut sender, &parting)).await,
            }
            let traffic = Box::pin(ending.finish()).await;
            tracing::debug!(?traffic, "socket closed");
        }
    }

    /// The handshake. What the client sends behind its hello stays unread until it is answered.
    async fn open<R: Receiving>(
        &mut self,
        sender: &mut impl Sending,
        receiver: &mut Preceded<R>,
    ) -> Result<(Admitted, String), Failure> {
        let service = Arc::clone(&self.service);
        let _opening = service.registry.begin_opening(service.http.unauthenticated)?;
        let challenge = random::<32>();
        say(sender, &Frame::Challenge { challenge: challenge.clone() }).await?;
        let text = receiver.receive().await?;
        match Opening::read(text.as_ref())? {
            Opening::Hello(hello) => {
                let (admitted, welcome) = self.hello(hello, sender, receiver).await?;
                Ok((admitted, Frame::Welcome(welcome).write()))
            }
            Opening::Resume(resume) => {
                let from = self.peer.address.map(|address| address.ip());
                service.registry.may_resume(from)?;
                let resumed = self.resume(&resume, &challenge).await;
                let (admitted, resumed) = resumed.inspect_err(|refused| service.registry.was_refused(from, refused))?;
                tracing::debug!(
                    monotonic_counter.bowline_sessions_resumed = 1_u64,
                    session = admitted.entry.id, epoch = admitted.epoch, mode = ?resumed.mode,
                    replayed = resumed.replay_count, "session resumed"
                );
                Ok((admitted, Frame::Resumed(resumed).write()))
            }
        }
    }

    /// Token and proof first; then who the client is, if it says so or has to; then its session.
    async fn resume(&mut self, resume: &Resume, challenge: &str) -> Result<(Admitted, Resumed), Refused> {
        let registry = &self.service.registry;
        let claims = registry.open_token(resume, challenge)?;
        let is_here = registry.has(&claims);
        if !is_here && registry.keeper.is_none() {
            return Err(Refused::new(ErrorCode::ResumeWindowExpired, "there is no such session any more"));
        }
        let mut scheme = Credentials::NONE.to_owned();
        let mut shown = None;
        if resume.auth.is_some() || !is_here || registry.asks_who(&claims) {
            let mut credentials = resume.auth.clone().unwrap_or_default();
            if credentials.scheme == Credentials::NONE {
                credentials = auth::of_headers(&self.peer);
            }
            let principal = self.service.authenticate_peer(&self.peer, &credentials).await.map_err(refused)?;
            if principal_hash(&principal.id) != claims.sub {
                tracing::warn!(session = claims.sid, %principal, "resume by somebody else");
                return Err(Refused::new(ErrorCode::Unauthenticated, "the session is somebody else's"));
            }
            scheme = credentials.scheme.clone();
            self.peer.principal = principal.clone();
            shown = Some(principal);
        }
        if is_here {
            return registry.resume(resume, &claims, shown.as_ref());
        }
        let peer = Peer::clone(&self.peer);
        registry.restore(Claimant { resume, claims, peer, scheme, service: &self.service }).await
    }

    async fn hello<R: Receiving>(
        &mut self,
        hello: Hello,
        sender: &mut impl Sending,
        receiver: &mut Preceded<R>,
    ) -> Result<(Admitted, Welcome), Failure> {
        let mut credentials = hello.auth.clone();
        if credentials.scheme == Credentials::NONE {
            credentials = auth::of_headers(&self.peer);
        }
        let mut tries = 1;
        let principal = loop {
            let refused = match self.service.authenticate_peer(&self.peer, &credentials).await {
                Ok(principal) => break principal,
                Err(refusal) => refused(refusal),
            };
            if refused.code != ErrorCode::Unauthenticated || tries == AUTHENTICATIONS_MAX {
                return Err(refused.into());
            }
            tries += 1;
            say(sender, &Frame::Unauthenticated(refused)).await?;
            let response = another_try(receiver).await?;
            credentials = Credentials { scheme: hello.auth.scheme.clone(), token: Some(response) };
        };
        let registry = &self.service.registry;
        let (admitted, welcome) = match registry.reopen(&hello, &principal) {
            Some(reopened) => reopened,
            None => {
                self.peer.principal = principal.clone();
                let root = self.service.root(Peer::clone(&self.peer)).await.map_err(refused)?;
                self.open_new(&hello, (principal, credentials.scheme), root).await?
            }
        };
        tracing::debug!(
            monotonic_counter.bowline_sessions_opened = 1_u64,
            session = admitted.entry.id, client = ?hello.client, "session opened"
        );
        Ok((admitted, welcome))
    }

    async fn open_new(
        &self,
        hello: &Hello,
        (principal, scheme): (Principal, String),
        root: Stub,
    ) -> Result<(Admitted, Welcome), Refused> {
        let Service { options, http, registry, .. } = &*self.service;
        let id = format!("s_{}", random::<16>());
        let keeper = registry.keeper.as_ref().filter(|_| Keeper::is_for(&hello.features));
        let (kept, options) = match keeper {
            Some(keeper) => {
                let kept = keeper.create(registry, &id).await?;
                let audience = registry.resumption.token_audience();
                let options = keeper.options(options, &id, &audience, &self.peer, kept.fence.as_ref());
                (Some(kept), options)
            }
            None => (None, options.clone()),
        };
        registry.open(hello, NewSession { id, principal, scheme, kept }, root, options, http.connections)
    }

    /// The session's turn on this socket.
    async fn run(&self, admitted: Admitted, mut turn: impl Future<Output = Turn> + Unpin, parting: &Parting) {
        let registry = &self.service.registry;
        let entry = &admitted.entry;
        let half_life = Duration::from_secs(registry.resumption.tokens.token_seconds.max(2) / 2);
        let mut renewal = interval_at(Instant::now() + half_life, half_life);
        let mut attending = Box::pin(self.attend(&admitted));
        let ended = loop {
            tokio::select! {
                ended = &mut turn => break ended,
                _ = renewal.tick() => registry.renew(&admitted),
                attention = &mut attending => match attention {
                    Attention::Over => {
                        let (code, why) = Self::LEASE_OVER;
                        registry.evict(entry, &code, why);
                        break turn.await;
                    }
                    Attention::Closing => {
                        let mut finishing = Box::pin(self.finish(&admitted));
                        tokio::select! {
                            // The socket need not last as long as the calls.
                            ended = &mut turn => {
                                finishing.await;
                                break ended;
                            }
                            () = &mut finishing => break turn.await,
                        }
                    }
                },
                deadlines = self.ticket.draining() => match Box::pin(self.drain(&admitted, &mut turn, deadlines, parting)).await {
                    Some(ended) => break ended,
                    None => return registry.ended(entry),
                },
            }
        };
        let session = &entry.id;
        if entry.connection.link(|endpoint| endpoint.is_closing()) {
            Box::pin(self.finish(&admitted)).await;
        }
        match ended {
            Turn::Ended(closed) => {
                tracing::debug!(
                    monotonic_counter.bowline_sessions_closed = 1_u64,
                    session, by = ?closed.by, message = closed.message, "session closed"
                );
                registry.ended(entry);
            }
            Turn::Detached(_) if entry.connection.is_closed() => registry.ended(entry),
            Turn::Detached(end) => {
                tracing::debug!(session, %end, "the socket is gone");
                registry.park(&admitted);
            }
            Turn::Superseded => tracing::debug!(session, "session taken over"),
        }
    }

    /// Lets what a client has called run on for a while after it has closed its session, and then
    /// ends that.
    async fn finish(&self, admitted: &Admitted) {
        let connection = &admitted.entry.connection;
        let grace = self.service.registry.resumption.rules.close_grace;
        if timeout(grace, connection.quiet()).await.is_err() {
            tracing::debug!(session = admitted.entry.id, "calls run longer than a session that is closed");
        }
        connection.link(|endpoint| endpoint.finish_closing());
        connection.settle();
    }

    /// Lets running calls end, then ends the session; all by the deadlines.
    async fn drain(
        &self,
        admitted: &Admitted,
        turn: &mut (impl Future<Output = Turn> + Unpin),
        deadlines: Deadlines,
        parting: &Parting,
    ) -> Option<Turn> {
        let connection = &admitted.entry.connection;
        if admitted.entry.kept.is_some() {
            return self.hand_over(admitted, turn, deadlines, parting).await;
        }
        let quiet = timeout_at(deadlines.calls, self.drained(admitted, deadlines));
        tokio::select! {
            ended = &mut *turn => return Some(ended),
            _ = quiet => {}
        }
        parting.set(GOING_AWAY.0, GOING_AWAY.1);
        connection.end_with(ClosedBy::Us, &ErrorCode::Draining, GOING_AWAY.1);
        timeout_at(deadlines.all, turn).await.ok()
    }

    /// Tells the client that the server stops; ends when the calls that it has made are answered.
    /// If its session goes on elsewhere, it has kept its new calls back by then.
    async fn drained(&self, admitted: &Admitted, deadlines: Deadlines) {
        let connection = &admitted.entry.connection;
        let left = deadlines.all.saturating_duration_since(Instant::now());
        let mut drain = Drain { deadline: Some(unix_now().0.saturating_add(left.as_secs())), ..Drain::default() };
        if admitted.entry.kept.is_some() {
            let successor = self.service.registry.successor();
            drain.retry_after_ms = successor.retry_after.map(|after| after.as_millis().try_into().unwrap_or(u64::MAX));
            drain.resume_url = successor.resume_url;
        }
        if connection.link(|endpoint| endpoint.drain(drain)) && admitted.entry.kept.is_some() {
            while !connection.link(|endpoint| endpoint.is_drained()) {
                connection.asked().await;
            }
        }
        connection.answered().await;
    }

    /// Lets running calls end, then lets the client have its session back from whoever serves it
    /// next. What the client sends meanwhile waits on its side.
    async fn hand_over(
        &self,
        admitted: &Admitted,
        turn: &mut (impl Future<Output = Turn> + Unpin),
        deadlines: Deadlines,
        parting: &Parting,
    ) -> Option<Turn> {
        let entry = &admitted.entry;
        parting.set(ErrorCode::Draining.close_code(), ErrorCode::Draining.as_str());
        let retire = async {
            drop(timeout_at(deadlines.calls, self.drained(admitted, deadlines)).await);
            drop(timeout_at(deadlines.all, self.service.registry.retire(entry, GOING_AWAY.1)).await);
        };
        let ((), ended) = tokio::join!(retire, timeout_at(deadlines.all, turn));
        ended.ok()
    }
}

/// What the client answers when it was not believed. Messages that it has sent behind its hello
/// wait until it is.
async fn another_try<R: Receiving>(receiver: &mut Preceded<R>) -> Result<Secret, Failure> {
    loop {
        let text = receiver.receive_new().await?;
        if !Frame::is_frame(text.as_ref()) {
            receiver.hold(text)?;
            continue;
        }
        let frame = if text.as_ref().len() <= OPENING_BYTES_MAX { Frame::read(text.as_ref())? } else { None };
        return match frame {
            Some(Frame::Authenticate { response }) => Ok(response),
            _ => Err(Refused::new(ErrorCode::HandshakeRequired, "say who you are first").into()),
        };
    }
}

async fn say(sender: &mut impl Sending, frame: &Frame) -> Result<(), TransportEnd> {
    sender.feed(frame.write()).await?;
    sender.flush().await
}

/// The refusal of an HTTP request, for a client that is past that.
pub(crate) fn refused(refusal: Refusal) -> Refused {
    let code = match refusal.status {
        StatusCode::UNAUTHORIZED => ErrorCode::Unauthenticated,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => ErrorCode::RateLimited,
        status if status.is_server_error() => ErrorCode::InternalError,
        _ => ErrorCode::PermissionDenied,
    };
    Refused { status: Some(refusal.status.as_u16()), ..Refused::new(code, refusal.message) }
}
