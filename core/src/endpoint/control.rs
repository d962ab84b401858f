//! What is said beside messages, and what both sides make of it.

use super::{Endpoint, LinkEvent};
use crate::error::ErrorCode;
use crate::link::{
    Asked, Covers, Drain, EntryKind, Frame, LIST_DEFAULT, LIST_MAX, Lease, Link, LinkStats, List, ListFilter,
    ObjectEntry, Objects, Refresh, Role, Secret, Status, Ticket,
};
use crate::session::{Closed, ClosedBy, Entry, EntryState, Wanted};
use crate::time::Time;

impl Endpoint {
    pub(super) fn handle_frame(&mut self, now: Time, text: &str) {
        let asked = match Frame::read(text) {
            Ok(Some(frame @ (Frame::Reconcile { .. } | Frame::Skip { .. }))) => self.adjust(now, frame, text.len()),
            Ok(Some(frame)) => self.control(now, frame),
            Ok(None) => Asked::Nothing,
            Err(refused) => Asked::Broken(refused.code, refused.message),
        };
        match asked {
            Asked::Nothing => {}
            Asked::End { code, reason, answer } => {
                self.answers_close = answer;
                let name = code.map_or_else(|| "Error".to_owned(), |code| code.to_string());
                let closed = Closed { by: ClosedBy::Peer, name, message: reason };
                let runs_on = self.role() == Some(Role::Server) && self.session.calls_running() > 0;
                if runs_on {
                    self.closing = Some(closed);
                } else {
                    self.session.handle_disconnect(closed);
                }
            }
            Asked::Broken(code, message) => self.end(ClosedBy::Protocol, &code, &message),
        }
    }

    fn control(&mut self, now: Time, frame: Frame) -> Asked {
        let Some(link) = &mut self.link else { return Asked::Nothing };
        let draining = match (&frame, link.role()) {
            (Frame::Drain(drain), Role::Client) => Some(drain.clone()),
            _ => None,
        };
        let asked = link.handle(now, frame);
        if let Some(covers) = link.covers.filter(|_| link.role() == Role::Client) {
            self.session.covered(covers.next_positive);
        }
        self.events.extend(draining.filter(|_| asked == Asked::Nothing).map(LinkEvent::Draining));
        asked
    }

    /// What changes tables is counted as messages are, and has a place only in a session that was
    /// made again.
    fn adjust(&mut self, now: Time, frame: Frame, bytes: usize) -> Asked {
        let (restored, revived) = (self.checkpoints.was_restored(), self.session.was_revived());
        let was_made_again = |link: &Link| match link.role() {
            Role::Server => link.features.durable && restored,
            Role::Client => revived,
        };
        let Some(link) = self.link.as_mut().filter(|link| was_made_again(link)) else {
            let message = "the session was not made again, so there is nothing to adjust".to_owned();
            return Asked::Broken(ErrorCode::InvalidRequest, message);
        };
        if link.count(now, bytes) {
            self.checkpoints.is_current = false;
            match frame {
                Frame::Reconcile { hold, pull } => {
                    self.session.reconcile(&Wanted { hold, pull });
                    self.events.extend((link.role() == Role::Client).then_some(LinkEvent::Reattached));
                }
                Frame::Skip { next_positive } => self.session.skip(next_positive),
                _ => {}
            }
        }
        Asked::Nothing
    }

    pub(super) fn role(&self) -> Option<Role> {
        self.link.as_ref().map(|link| link.role())
    }

    /// The client has closed the session, and what it called is still running.
    pub fn is_closing(&self) -> bool {
        self.closing.is_some() && !self.session.is_closed()
    }

    /// Ends a session that the client has closed, whatever still runs.
    pub fn finish_closing(&mut self) {
        if let Some(closed) = self.closing.take() {
            self.session.handle_disconnect(closed);
        }
    }

    /// Sends a newer token to the client, and until when it may go on if that has changed.
    pub fn send_token(&mut self, ticket: Ticket, lease: Option<Lease>) {
        let Ticket { resume_token, resume_key } = ticket;
        if let Some(link) = &mut self.link {
            link.queue(Frame::Token { resume_token, resume_key, covers: None, lease });
        }
    }

    /// The newest token that the server has sent since the last time.
    pub fn take_token(&mut self) -> Option<Ticket> {
        self.link.as_mut()?.token.take()
    }

    /// From now on the server hears of a token only by [`token_saved`](Self::token_saved): a client
    /// whose own process ends must not be left with one that counts no more.
    pub fn save_tokens(&mut self) {
        if let Some(link) = &mut self.link {
            link.saves = true;
        }
    }

    /// There is a token that nobody has taken.
    pub fn has_token(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.token.is_some())
    }

    /// What the newest token covers, if the server has not heard that it arrived.
    pub fn unsaved(&self) -> Option<Covers> {
        self.link.as_ref()?.unsaved
    }

    /// A token that covers this outlives the client's process.
    pub fn token_saved(&mut self, covers: Covers) {
        if let Some(link) = self.link.as_mut().filter(|link| link.unsaved.is_some()) {
            link.unsaved.take_if(|newest| newest.checkpoint <= covers.checkpoint);
            link.hold_token_of(covers);
            self.session.covered(covers.next_positive);
        }
    }

    /// Until when the client may go on, as the server said last.
    pub fn lease(&self) -> Option<Lease> {
        self.link.as_ref()?.control.lease
    }

    /// Until when the client may go on, as the server said when it let the client in.
    pub fn set_lease(&mut self, lease: Option<Lease>) {
        if let Some(link) = &mut self.link {
            link.control.lease = lease;
        }
    }

    /// Asks a client to say again who it is; false if it does not know how, or is not there.
    pub fn refresh(&mut self, deadline: u64, challenge: Option<String>) -> bool {
        let Some(link) = self.link.as_mut().filter(|link| link.features.refresh && link.attached().is_some()) else {
            return false;
        };
        link.queue(Frame::Refresh { deadline, challenge });
        true
    }

    /// What the server has asked for by [`refresh`](Self::refresh).
    pub fn take_refresh(&mut self) -> Option<Refresh> {
        self.link.as_mut()?.control.refresh.take()
    }

    /// Says again who this client is.
    pub fn authenticate(&mut self, response: Secret) {
        if let Some(link) = &mut self.link {
            link.queue(Frame::Authenticate { response });
        }
    }

    /// What the client has answered to [`refresh`](Self::refresh).
    pub fn take_response(&mut self) -> Option<Secret> {
        self.link.as_mut()?.control.response.take()
    }

    /// Whoever keeps the session has to look at it: there is something to take or to save, it is
    /// closing, or the client's new calls wait. That a server is slow is told by an event alone.
    pub fn asks(&self) -> bool {
        let of_client = self.slow || self.closing.is_some();
        let saves = |link: &Link| link.saves && link.token.is_some();
        let asks = |link: &Link| {
            saves(link) || link.control.asks() || (link.role() == Role::Server && (of_client || link.drains))
        };
        self.link.as_ref().is_some_and(asks)
    }

    /// Says that the server stops; new calls of the client's wait if the session goes on elsewhere.
    /// False if the client does not know of drains, or is not there.
    pub fn drain(&mut self, drain: Drain) -> bool {
        let Some(link) = self.link.as_mut().filter(|link| link.features.drain && link.attached().is_some()) else {
            return false;
        };
        link.control.asked_to_drain = true;
        link.queue(Frame::Drain(drain));
        true
    }

    /// The client has said that its new calls wait: nothing new comes on this transport.
    pub fn is_drained(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.drains)
    }

    /// What the server said when it was about to stop.
    pub fn take_drain(&mut self) -> Option<Drain> {
        self.link.as_mut()?.control.drain.take()
    }

    /// How the link stands.
    pub fn link_stats(&self) -> LinkStats {
        self.link.as_ref().map(|link| link.stats()).unwrap_or_default()
    }

    /// Whether the peer has become slow since the last time.
    pub fn take_slow(&mut self) -> bool {
        std::mem::take(&mut self.slow)
    }

    /// Notes when things are made from now on; this is the wall clock's time at `now`.
    pub fn date_from(&mut self, unix_ms: u64, now: Time) {
        self.dates.start(unix_ms, now);
        self.dates.note(now, &self.session);
    }

    /// Asks the server what it holds. `None` if it does not know how to answer.
    pub fn list(&mut self, list: List) -> Option<u64> {
        let link = self.link.as_mut().filter(|link| link.features.list)?;
        Some(link.ask(list))
    }

    /// Nobody waits for an answer any more.
    pub fn forget_list(&mut self, request_id: u64) {
        if let Some(link) = &mut self.link {
            link.unask(request_id);
        }
    }

    /// The next answer to [`list`](Self::list).
    pub fn poll_objects(&mut self) -> Option<Objects> {
        self.link.as_mut()?.control.objects.pop_front()
    }

    /// The answer to the next question, as it is at this moment.
    pub(super) fn answer_list(&mut self) -> Option<String> {
        let List { request_id, filter, limit, cursor } = self.link.as_mut()?.control.lists.pop_front()?;
        let limit = limit.unwrap_or(LIST_DEFAULT).clamp(1, LIST_MAX);
        let after = match cursor.as_deref().map(str::parse::<i64>) {
            None => None,
            Some(Ok(id)) => Some(id),
            Some(Err(_)) => {
                let message = "the cursor of a list is not one of ours";
                self.end(ClosedBy::Protocol, &ErrorCode::InvalidRequest, message);
                return None;
            }
        };
        let mut entries = self.session.entries(after).filter_map(|entry| self.described(entry, &filter));
        let objects: Vec<ObjectEntry> = entries.by_ref().take(limit).collect();
        let next_cursor = objects.last().filter(|_| entries.next().is_some()).map(|last| last.id.to_string());
        drop(entries);
        Some(Frame::Objects(Objects { request_id, objects, next_cursor }).write())
    }

    fn described(&self, entry: Entry<'_>, filter: &ListFilter) -> Option<ObjectEntry> {
        let Entry { id, name, state, parent, mentions } = entry;
        let (kind, status) = match state {
            EntryState::Object => (EntryKind::Object, Status::Live),
            EntryState::Pending => (EntryKind::Result, Status::Pending),
            EntryState::Resolved => (EntryKind::Result, Status::Resolved),
            EntryState::Rejected => (EntryKind::Result, Status::Rejected),
        };
        let created_at = self.dates.of(id);
        let fits = (filter.status.is_empty() || filter.status.contains(&status))
            && filter.kind.is_none_or(|wanted| wanted == kind)
            && filter.created_after.is_none_or(|after| created_at.is_some_and(|at| at >= after))
            && filter.created_before.is_none_or(|before| created_at.is_none_or(|at| at < before));
        let name = name.map(str::to_owned);
        fits.then_some(ObjectEntry { id, kind, name, status, parent_id: parent, created_at, mentions })
    }
}
