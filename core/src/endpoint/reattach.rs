//! Client processes that are replaced: saving a client's session, and reattaching to it on both
//! sides; see docs/sessions.md.
//!
//! A client process leaves to its successor the references that the application kept by name, what
//! the server holds of its objects if they can be restored, and the ids that were assigned. Its
//! calls are not continued. The client sends what it has when it resumes, the server answers with
//! what still exists, and both reconcile as after a recovery. Objects of the server need no recipe
//! for that.

use std::sync::Arc;

use super::attach::refused;
use super::recovery::{Bundle, contradicted, remembered, written};
use super::{Endpoint, LinkEvent, RecoverError, Recovered};
use crate::error::ErrorCode;
use crate::id::Ids;
use crate::limits::Limits;
use crate::link::{Left, Link, LinkRules, Refused, Role};
use crate::session::{Kind, Recipe, Replanned, Report, Session};

/// The number of ids to skip. It exceeds the number of calls that a client makes between two saves
/// of its session.
const IDS_LEFT_OUT: i64 = 1 << 26;

impl Endpoint {
    /// Serializes a client's session for its next process. `lives` decides whether a local object
    /// can be restored, by its recipe and kind. Returns `None` if the session has ended.
    pub fn saved_state(&self, lives: impl Fn(Option<&Recipe>, Kind) -> Result<(), ErrorCode>) -> Option<Vec<u8>> {
        let mut session = self.session.clone();
        session.finish_work();
        let own = Report::Partial(session.ids().of_peer());
        session.revive(own, lives).ok()?;
        let session = session.snapshot()?;
        Some(Bundle::new(0, session, serde_json::Value::Null).write())
    }

    /// Restores a client's session from the bytes of [`saved_state`](Self::saved_state).
    ///
    /// # Errors
    /// Fails if the bytes are something else.
    pub fn from_saved_state(
        bytes: &[u8],
        limits: impl Into<Arc<Limits>>,
        rules: LinkRules,
        lives: impl Fn(Option<&Recipe>, Kind) -> Result<(), ErrorCode>,
    ) -> Result<Recovered, RecoverError> {
        let Bundle { session, beside, .. } = Bundle::read(bytes)?;
        let mut session = Session::restore(session, limits)?;
        let own = Report::Partial(session.ids().of_peer());
        let revived = session.revive(own, lives).map_err(contradicted)?;
        let endpoint = Self::new(session, Some(Link::new(Role::Client, rules)));
        Ok(Recovered { endpoint, revived, beside })
    }

    /// Prepares a server's session for a client that reattached. `left` is what the client still
    /// has, and `ids` are the ids that it knows to be assigned. Returns what still exists on this
    /// side.
    ///
    /// If this side was just recovered as well, neither side knows of the calls made since it was
    /// last stored. A range of ids is skipped then, so that no call is mistaken for one of those.
    pub(super) fn replan_for_client(&mut self, ids: Ids, left: &Left) -> Result<(LinkEvent, Left), Refused> {
        let (held, gone) = self.session.still_held(&left.imports).map_err(refused)?;
        let gap = if self.session.is_unreconciled() { IDS_LEFT_OUT } else { 0 };
        self.session.leave_out(ids.next_positive, gap).map_err(refused)?;
        self.reset_link();
        self.checkpoints.storing = None;
        self.checkpoints.is_current = false;
        let mut theirs = remembered(left);
        theirs.imports = held;
        self.session.reconcile_with(&theirs);
        self.session.forget_withheld();
        let Replanned { unknown, not_attempted, lost, .. } = self.session.replan(&theirs, written).map_err(refused)?;
        let event = LinkEvent::Restarted { unknown: unknown + not_attempted, lost };
        let lost = gone.into_iter().map(|id| (id, ErrorCode::CapabilityLost)).collect();
        Ok((event, Left { lost, restored: theirs.imports.into_keys().collect(), ..Left::default() }))
    }

    /// Prepares a client's session that was restored from its saved state for the server's answer.
    /// `left` is what the server still has, and `ids` are the ids that were assigned.
    pub(super) fn adopt(&mut self, ids: Ids, left: &Left) -> Result<(), Refused> {
        self.session.raise_counters(Report::Partial(ids)).map_err(refused)?;
        self.session.break_imports(&left.lost);
        Ok(())
    }
}
