//! Attaching a session to a new connection, in each way in which a session can continue.

use super::{Endpoint, LinkEvent};
use crate::error::ErrorCode;
use crate::id::Ids;
use crate::link::{Attachment, Features, Left, Refused, Role};
use crate::session::{CloseReason, ClosedBy};
use crate::time::Time;

/// How a session continues on a new connection.
#[derive(Clone, Copy, Debug)]
pub enum Attach<'a> {
    /// The peer has handled no message: the session is new, or was just recovered.
    New,
    /// The session resumes: both processes are the same as before.
    Resume {
        /// The number of this side's last message that the peer has handled.
        peer_processed: u64,
        /// The number after which the peer's messages continue; `None` continues after the last one
        /// that this side has handled.
        peer_sends_after: Option<u64>,
    },
    /// On a client: another server process has recovered the session, and still has this.
    Recover(&'a Left),
    /// Another client process reattaches to the session.
    Reattach {
        /// The ids that were assigned, as the peer knows them.
        ids: Ids,
        /// What the peer still has.
        left: &'a Left,
    },
}

/// The state of a session when a connection is attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// The attachment under which texts of the connection are handled and polled.
    pub attachment: Attachment,
    /// The number of the peer's last message that was handled.
    pub processed: u64,
    /// The number of messages that will be retransmitted.
    pub resent: u64,
    /// With [`Attach::Reattach`] on a server: what still exists on this side, for the client.
    pub left: Option<Left>,
}

impl Endpoint {
    /// Attaches a new connection. `features` are those that both sides support. Texts of the
    /// previous connection are ignored from now on.
    ///
    /// # Errors
    /// Fails with `RESUME_WINDOW_EXPIRED` if the session has ended or has no link, and with
    /// `RESUME_GAP` if the message numbers of both sides do not fit together. The previous
    /// connection, if any, then stays attached. Also fails if the peer claims to hold, or to have
    /// assigned, what it cannot have.
    pub fn attach(&mut self, now: Time, features: Features, how: Attach<'_>) -> Result<Attached, Refused> {
        let ended = || Refused::new(ErrorCode::ResumeWindowExpired, "the session has ended");
        let role = self.role().filter(|_| !self.session.is_closed()).ok_or_else(ended)?;
        let (mut peer_processed, mut peer_sends_after, mut event, mut ours) = (0, None, None, None);
        match (how, role) {
            (Attach::New, _) => {}
            (Attach::Resume { peer_processed: processed, peer_sends_after: after }, _) => {
                (peer_processed, peer_sends_after) = (processed, after);
            }
            (Attach::Recover(left), _) => event = Some(self.replan_for_server(left)?),
            (Attach::Reattach { ids, left }, Role::Client) => self.adopt(ids, left)?,
            (Attach::Reattach { ids, left }, Role::Server) => {
                let (restarted, left) = self.replan_for_client(ids, left)?;
                (event, ours) = (Some(restarted), Some(left));
            }
        }
        let link = self.link.as_mut().ok_or_else(ended)?;
        let (attachment, resent) = link.attach(now, features, peer_processed, peer_sends_after)?;
        let processed = link.processed();
        let resumed = (attachment.0 > 1).then_some(LinkEvent::Resumed { resent });
        self.events.extend(event.or(resumed));
        Ok(Attached { attachment, processed, resent, left: ours })
    }
}

/// Returns the refusal for a peer whose claims contradict the session.
pub(super) fn refused(closed: CloseReason) -> Refused {
    debug_assert_eq!(closed.by, ClosedBy::Protocol, "only the peer can contradict the ids that were assigned");
    Refused::new(closed.cause.to_code(), closed.message)
}
