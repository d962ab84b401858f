//! The server's side of the link handshake: authenticates the client, then opens or resumes its
//! session. See docs/link.md, "Frames" and "Resuming".

use std::sync::Arc;

use bowline_core::error::ErrorCode;
use bowline_core::link::handshake::{AUTHENTICATIONS_MAX, OPENING_BYTES_MAX, Opening};
use bowline_core::link::{Credentials, Frame, Hello, Refused, Resume, Resumed, Secret, Welcome};
use bowline_core::peer::{Receiving, Sending, Stub, TransportEnd};
use bowline_core::resume::principal_hash;
use bowline_transport::Parting;
use http::StatusCode;

use crate::address::AddressGroup;
use crate::auth::{self, Principal};
use crate::early_messages::Preceded;
use crate::error::Refusal;
use crate::peer_info::Peer;
use crate::places::Place;
use crate::recovery::{Claimant, Keeper, Unopened};
use crate::registry::{Admitted, NewSession, random};
use crate::service::Service;

/// A connection that speaks the link protocol, whose client has not been admitted yet.
pub(crate) struct Handshake {
    pub(crate) service: Arc<Service>,
    pub(crate) peer: Box<Peer>,
}

/// A session that is attached to a new connection.
pub(crate) struct Opened {
    pub(crate) admitted: Admitted,
    /// The first frame that is sent to the client.
    pub(crate) greeting: String,
    /// The peer, if it has a lease and must authenticate again. `None` otherwise, because headers
    /// are large and a session may last for days.
    pub(crate) peer: Option<Box<Peer>>,
}

/// Why the handshake failed.
pub(crate) enum Failure {
    /// The client is refused, with this reason.
    Refused(Refused),
    /// The client has disconnected.
    Gone,
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl From<TransportEnd> for Failure {
    fn from(end: TransportEnd) -> Self {
        match end {
            TransportEnd::Invalid { name, message } if name == "RangeError" => {
                Self::Refused(Refused::new(ErrorCode::PayloadTooLarge, message))
            }
            TransportEnd::Invalid { message, .. } => Self::Refused(Refused::new(ErrorCode::InvalidRequest, message)),
            TransportEnd::Closed { .. } | TransportEnd::Failed(_) | TransportEnd::Ended => Self::Gone,
        }
    }
}

impl Failure {
    pub(crate) async fn tell(self, sender: &mut impl Sending, parting: &Parting) {
        match self {
            Self::Refused(refused) => {
                tracing::debug!(
                    monotonic_counter.bowline_sessions_refused = 1_u64,
                    code = %refused.code, message = refused.message, "session refused"
                );
                parting.set(refused.code.close_code(), refused.code.as_str());
                // An error means that the client has disconnected.
                drop(say(sender, &Frame::Rejected(refused)).await);
            }
            Self::Gone => tracing::debug!("client disconnected during the handshake"),
        }
    }
}

impl Handshake {
    /// Runs the handshake. Messages that the client sends behind its hello stay unread until the
    /// hello is answered.
    pub(crate) async fn open<R: Receiving>(
        self,
        sender: &mut impl Sending,
        receiver: &mut Preceded<R>,
    ) -> Result<Opened, Failure> {
        let service = Arc::clone(&self.service);
        let from = self.peer.address.map(AddressGroup::from);
        let too_many = |_full| rate_limited("too many unauthenticated connections");
        let place = service.openings.take(from, service.http.unauthenticated).map_err(too_many)?;
        tokio::select! {
            opened = self.open_at(&place, sender, receiver) => opened,
            () = place.displaced() => {
                Err(rate_limited("too many unauthenticated connections from this address").into())
            }
        }
    }

    async fn open_at<R: Receiving>(
        mut self,
        place: &Place,
        sender: &mut impl Sending,
        receiver: &mut Preceded<R>,
    ) -> Result<Opened, Failure> {
        let challenge = random::<32>();
        say(sender, &Frame::Challenge { challenge: challenge.clone() }).await?;
        let text = receiver.receive().await?;
        place.set_busy();
        let (admitted, greeting) = match Opening::read(text.as_ref())? {
            Opening::Hello(hello) => {
                self.service.registry.may_open(self.peer.address.map(AddressGroup::from))?;
                let (admitted, welcome) = self.hello(hello, place, sender, receiver).await?;
                (admitted, Frame::Welcome(welcome))
            }
            Opening::Resume(resume) => {
                let (admitted, resumed) = self.resume(&resume, &challenge).await?;
                tracing::debug!(
                    monotonic_counter.bowline_sessions_resumed = 1_u64,
                    session = admitted.entry.id, epoch = admitted.epoch, mode = ?resumed.mode,
                    replayed = resumed.replay_count, "session resumed"
                );
                (admitted, Frame::Resumed(resumed))
            }
        };
        let has_lease = admitted.entry.lock().authority.lease().is_some();
        Ok(Opened { admitted, greeting: greeting.write(), peer: has_lease.then_some(self.peer) })
    }

    /// Checks the token and its proof, then the credentials if there are any or they are required,
    /// then resumes the session. So the authenticator is never called for a forged token.
    async fn resume(&mut self, resume: &Resume, challenge: &str) -> Result<(Admitted, Resumed), Refused> {
        let registry = &self.service.registry;
        let from = self.peer.address.map(AddressGroup::from);
        let mut claims = registry
            .open_token(resume, challenge)
            .map_err(|unopened| registry.refuse_token(from, &self.service.http, unopened))?;
        let is_here = registry.has(&claims);
        if !is_here && registry.keeper.is_none() {
            return Err(Refused::new(ErrorCode::ResumeWindowExpired, "the session no longer exists"));
        }
        let mut scheme = Credentials::NONE.to_owned();
        let mut shown = None;
        if resume.auth.is_some() || !is_here || registry.asks_who(&claims) {
            let mut credentials = resume.auth.clone().unwrap_or_default();
            if credentials.scheme == Credentials::NONE {
                credentials = auth::of_headers(&self.peer);
            }
            let principal = self.service.authenticate_peer(&self.peer, &credentials).await.map_err(refused)?;
            if !registry.resumption.keys.ring().is_subject(&claims, &principal.id) {
                tracing::warn!(session = claims.sid, %principal, "resume by another principal refused");
                return Err(Refused::new(ErrorCode::Unauthenticated, "the session belongs to another principal"));
            }
            claims.principal = principal_hash(&principal.id);
            scheme = credentials.scheme.clone();
            self.peer.principal = principal.clone();
            shown = Some(principal);
        }
        if is_here {
            return registry.resume(resume, &claims, shown.as_ref(), self.peer.address_group());
        }
        let peer = Peer::clone(&self.peer);
        registry.recover(Claimant { resume, claims, peer, scheme, service: &self.service }).await
    }

    async fn hello<R: Receiving>(
        &mut self,
        hello: Hello,
        place: &Place,
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
            place.set_silent();
            let response = another_try(receiver).await?;
            place.set_busy();
            credentials = Credentials::new(&hello.auth.scheme, response);
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
        let created = match keeper {
            Some(keeper) => keeper.create(registry, &id, self.peer.account()).await?.map(|created| (keeper, created)),
            None => None,
        };
        let (kept, unopened, options) = match created {
            Some((keeper, (kept, unopened))) => {
                let options = keeper.options(registry, options, &id, &self.peer, &kept);
                (Some(kept), Some(unopened), options)
            }
            None => (None, None, options.clone()),
        };
        let new = NewSession { id, principal, scheme, from: self.peer.address_group(), kept };
        let opened = registry.open(hello, new, root, options, http.connections)?;
        unopened.into_iter().for_each(Unopened::opened);
        Ok(opened)
    }
}

/// Waits for the client's next credentials. Messages that the client has sent meanwhile are held
/// until it is admitted.
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
            _ => Err(Refused::new(ErrorCode::HandshakeRequired, "authenticate before sending other frames").into()),
        };
    }
}

fn rate_limited(why: &str) -> Refused {
    Refused { retryable: true, ..Refused::new(ErrorCode::RateLimited, why) }
}

async fn say(sender: &mut impl Sending, frame: &Frame) -> Result<(), TransportEnd> {
    sender.feed(frame.write()).await?;
    sender.flush().await
}

/// Converts an HTTP refusal to a refusal on the link.
pub(crate) fn refused(refusal: Refusal) -> Refused {
    let code = match refusal.status {
        StatusCode::UNAUTHORIZED => ErrorCode::Unauthenticated,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => ErrorCode::RateLimited,
        status if status.is_server_error() => ErrorCode::InternalError,
        _ => ErrorCode::PermissionDenied,
    };
    Refused { status: Some(refusal.status.as_u16()), ..Refused::new(code, refusal.message) }
}
