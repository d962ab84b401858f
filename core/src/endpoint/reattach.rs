//! A client whose own process was another: what it keeps of its end, and going on from there on
//! both sides.
//!
//! What outlives a client's process is what the application has named, what the server holds of it
//! that can be made again, and the ids that were given. Calls are nobody's any more. The client says
//! what it has when it asks for its session; the server says what of that is there, and then goes
//! on as with any peer that was made again. Its own objects need no recipe for that.

use std::sync::Arc;

use super::cold::{Bundle, contradicted, remembered, written};
use super::{Attached, Endpoint, LinkEvent, RestoreError, Restored};
use crate::error::ErrorCode;
use crate::id::Ids;
use crate::limits::Limits;
use crate::link::{Features, Joint, Left, Link, LinkRules, Refused, Role};
use crate::session::{Closed, ClosedBy, Kind, Recipe, Replanned, Report, Session};
use crate::time::Time;

/// More calls than a client makes between two times that its session is kept.
const IDS_LEFT_OUT: i64 = 1 << 26;

impl Endpoint {
    /// A client's end as bytes, for its next process. `lives` says of a local object, by its recipe
    /// and kind, whether it can be made again. `None` once the session is over. Taken between two
    /// inputs.
    pub fn outlive(&self, lives: impl Fn(Option<&Recipe>, Kind) -> Result<(), ErrorCode>) -> Option<Vec<u8>> {
        let mut session = self.session.clone();
        session.finish_work();
        let own = Report::Partial(session.ids().of_peer());
        session.revive(own, lives).ok()?;
        let session = session.snapshot()?;
        Some(Bundle::new(0, session, serde_json::Value::Null).write())
    }

    /// A client's end, made again from the bytes of [`outlive`](Self::outlive).
    ///
    /// # Errors
    /// The bytes are something else.
    pub fn made_again(
        bytes: &[u8],
        limits: impl Into<Arc<Limits>>,
        rules: LinkRules,
        lives: impl Fn(Option<&Recipe>, Kind) -> Result<(), ErrorCode>,
    ) -> Result<Restored, RestoreError> {
        let Bundle { session, beside, .. } = Bundle::read(bytes)?;
        let mut session = Session::restore(session, limits)?;
        let own = Report::Partial(session.ids().of_peer());
        let revived = session.revive(own, lives).map_err(contradicted)?;
        let endpoint = Self::new(session, Some(Link::new(Role::Client, rules)));
        Ok(Restored { endpoint, revived, beside })
    }

    /// Begins the turn of a transport of a server's, to a client that was made again, has this
    /// `left`, and knows that these `ids` were given. Returns what is left on this side.
    ///
    /// If this side was just made again as well, nobody knows of the calls that were made since
    /// either was last kept. A good many ids are left out then, so that no call is taken for one of
    /// those.
    ///
    /// # Errors
    /// The session is over, or the client claims more than can have been given; then the transport
    /// before, if any, goes on.
    pub fn attach_restarted(
        &mut self,
        now: Time,
        features: Features,
        left: &Left,
        ids: Ids,
    ) -> Result<(Attached, Left), Refused> {
        let Some(link) = self.link.as_mut().filter(|_| !self.session.is_closed()) else {
            return Err(Refused::new(ErrorCode::ResumeWindowExpired, "the session is over"));
        };
        let (held, gone) = self.session.still_held(&left.imports).map_err(refused)?;
        let is_unreconciled = self.session.is_unreconciled();
        let gap = if is_unreconciled { IDS_LEFT_OUT } else { 0 };
        self.session.leave_out(ids.next_positive, gap).map_err(refused)?;
        link.begin_anew();
        self.checkpoints.storing = None;
        self.checkpoints.is_current = false;
        let mut theirs = remembered(left);
        theirs.imports = held;
        self.session.reconcile_with(&theirs);
        self.session.forget_withheld();
        let became = self.session.replan(&theirs, written).map_err(refused)?;
        let (attachment, resent) = link.attach(now, Joint { peer_processed: 0, peer_sends_after: None, features })?;
        let Replanned { unknown, not_attempted, lost, .. } = became;
        self.events.push_back(LinkEvent::Restarted { unknown: unknown + not_attempted, lost });
        let lost = gone.into_iter().map(|id| (id, ErrorCode::CapabilityLost)).collect();
        let ours = Left { lost, restored: theirs.imports.into_keys().collect(), ..Left::default() };
        Ok((Attached { attachment, processed: 0, resent }, ours))
    }

    /// Begins the first turn of a client that was made again, to a server that has this `left`, and
    /// gave these `ids`.
    ///
    /// # Errors
    /// Nobody gave so many.
    pub fn attach_reattached(
        &mut self,
        now: Time,
        features: Features,
        ids: Ids,
        left: &Left,
    ) -> Result<Attached, Refused> {
        self.session.raise_counters(Report::Partial(ids)).map_err(refused)?;
        self.session.break_imports(&left.lost);
        self.attach(now, Joint { peer_processed: 0, peer_sends_after: None, features })
    }
}

fn refused(closed: Closed) -> Refused {
    debug_assert_eq!(closed.by, ClosedBy::Protocol, "only a peer can be wrong about what it was given");
    Refused::new(ErrorCode::from(closed.name.as_str()), closed.message)
}
