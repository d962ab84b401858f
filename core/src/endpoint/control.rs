//! Control frames: tokens, leases, drains, and lists; see docs/link.md.

use super::lifecycle::{Answer, Lifecycle};
use super::{Endpoint, LinkEvent};
use crate::error::ErrorCode;
use crate::link::{
    ClientState, Covers, Drain, DrainState, Frame, FrameEffect, LIST_DEFAULT, LIST_MAX, Lease, Link, LinkStats, List,
    ListFilter, ObjectEntry, ObjectKind, ObjectStatus, Objects, Refresh, Role, RoleState, Secret, ServerState, Ticket,
    TokenAck,
};
use crate::session::{CloseReason, ClosedBy, Entry, EntryState, Wanted};
use crate::time::Time;

impl Endpoint {
    pub(super) fn handle_frame(&mut self, now: Time, text: &str) {
        let effect = match Frame::read(text) {
            Ok(Some(frame @ (Frame::Reconcile { .. } | Frame::Skip { .. }))) => self.adjust(now, frame, text.len()),
            Ok(Some(frame)) => self.control(now, frame),
            Ok(None) => FrameEffect::None,
            Err(refused) => FrameEffect::Violation(refused.code, refused.message),
        };
        match effect {
            FrameEffect::None => {}
            FrameEffect::Close(reason) => {
                self.close_by_peer(CloseReason::new(ClosedBy::Peer, "Error", reason), Answer::Expected)
            }
            FrameEffect::Evict(code, reason) => {
                self.close_by_peer(CloseReason::with_code(ClosedBy::Peer, code, reason), Answer::None)
            }
            FrameEffect::Violation(code, message) => self.end(ClosedBy::Protocol, &code, &message),
        }
    }

    fn control(&mut self, now: Time, frame: Frame) -> FrameEffect {
        let Some(link) = &mut self.link else { return FrameEffect::None };
        let draining = match (&frame, link.role()) {
            (Frame::Drain(drain), Role::Client) => Some(drain.clone()),
            _ => None,
        };
        let effect = link.handle(now, frame);
        if let Some(covers) = link.role.client().and_then(|client| client.covers) {
            self.session.covered(covers.next_positive);
        }
        self.events.extend(draining.filter(|_| effect == FrameEffect::None).map(LinkEvent::draining));
        effect
    }

    /// Handles a frame that changes tables. It is numbered and counted like a message, and is valid
    /// only in a session that was recovered or reattached.
    fn adjust(&mut self, now: Time, frame: Frame, bytes: usize) -> FrameEffect {
        let (restored, revived) = (self.checkpoints.was_recovered(), self.session.was_revived());
        let was_replaced = |link: &Link| match link.role() {
            Role::Server => link.features.durable && restored,
            Role::Client => revived,
        };
        let Some(link) = self.link.as_mut().filter(|link| was_replaced(link)) else {
            let message =
                "the session was neither recovered nor reattached, so there is nothing to reconcile".to_owned();
            return FrameEffect::Violation(ErrorCode::InvalidRequest, message);
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
        FrameEffect::None
    }

    pub(super) fn role(&self) -> Option<Role> {
        self.link.as_ref().map(|link| link.role())
    }

    fn client(&self) -> Option<&ClientState> {
        self.link.as_ref()?.role.client()
    }

    fn client_mut(&mut self) -> Option<&mut ClientState> {
        self.link.as_mut()?.role.client_mut()
    }

    pub(super) fn server(&self) -> Option<&ServerState> {
        self.link.as_ref()?.role.server()
    }

    pub(super) fn server_mut(&mut self) -> Option<&mut ServerState> {
        self.link.as_mut()?.role.server_mut()
    }

    /// Sends a newer token to the client, and its new lease if that has changed.
    pub fn send_token(&mut self, ticket: Ticket, lease: Option<Lease>) {
        let Ticket { resume_token, resume_key } = ticket;
        if let Some(link) = &mut self.link {
            link.queue(Frame::Token { resume_token, resume_key, covers: None, lease });
        }
    }

    /// Returns the newest token that the server has sent, unless it was taken already.
    pub fn take_token(&mut self) -> Option<Ticket> {
        self.client_mut()?.token.take()
    }

    /// Reports tokens to the server only after [`token_saved`](Self::token_saved). Otherwise the
    /// server could drop the checkpoint of the token that the client has saved, and the next client
    /// process could not reattach.
    pub fn save_tokens(&mut self) {
        if let Some(client) = self.client_mut() {
            client.token_ack = TokenAck::OnceSaved;
        }
    }

    /// Returns `true` if there is a token that was not taken.
    pub fn has_token(&self) -> bool {
        self.client().is_some_and(|client| client.token.is_some())
    }

    /// Returns what the newest token covers, if that has not been reported to the server.
    pub fn unsaved(&self) -> Option<Covers> {
        self.client()?.unsaved
    }

    /// Records that a token covering `covers` has been saved, and reports it to the server.
    pub fn token_saved(&mut self, covers: Covers) {
        let Some(link) = &mut self.link else { return };
        let Some(client) = link.role.client_mut().filter(|client| client.unsaved.is_some()) else { return };
        client.unsaved.take_if(|newest| newest.checkpoint <= covers.checkpoint);
        link.hold_token_of(covers);
        self.session.covered(covers.next_positive);
    }

    /// Returns the client's lease, as last sent by the server.
    pub fn lease(&self) -> Option<Lease> {
        self.client()?.lease
    }

    /// Sets the client's lease, as sent by the server in its welcome.
    pub fn set_lease(&mut self, lease: Option<Lease>) {
        if let Some(client) = self.client_mut() {
            client.lease = lease;
        }
    }

    /// Asks the client for new credentials. Returns `false` if the client does not support that or
    /// is not connected.
    ///
    /// `deadline` is in seconds since 1970.
    pub fn refresh(&mut self, deadline: u64, challenge: Option<String>) -> bool {
        let Some(link) = self.link.as_mut().filter(|link| link.features.refresh && link.attached().is_some()) else {
            return false;
        };
        link.queue(Frame::Refresh { deadline, challenge });
        true
    }

    /// Takes the server's request for new credentials.
    pub fn take_refresh(&mut self) -> Option<Refresh> {
        self.client_mut()?.refresh.take()
    }

    /// Sends new credentials to the server.
    pub fn authenticate(&mut self, response: Secret) {
        if let Some(link) = &mut self.link {
            link.queue(Frame::Authenticate { response });
        }
    }

    /// Takes the client's answer to [`refresh`](Self::refresh).
    pub fn take_response(&mut self) -> Option<Secret> {
        self.server_mut()?.response.take()
    }

    /// Returns `true` if the owner of the session must act: there is something to take or to save,
    /// the session is closing, or the client has confirmed a drain. On a client, a slow server is
    /// reported only by [`LinkEvent::PeerSlow`].
    pub fn asks(&self) -> bool {
        self.link.as_ref().is_some_and(|link| match &link.role {
            RoleState::Client(client) => client.needs_owner(),
            RoleState::Server(server) => {
                server.needs_owner() || link.slow || matches!(self.lifecycle, Lifecycle::Closing(_))
            }
        })
    }

    /// Announces that the server is about to stop. The client then holds its new calls back if the
    /// session is stored. Returns `false` if the client does not support drains or is not
    /// connected.
    pub fn drain(&mut self, drain: Drain) -> bool {
        let Some(link) = self.link.as_mut().filter(|link| link.features.drain && link.attached().is_some()) else {
            return false;
        };
        let Some(server) = link.role.server_mut() else { return false };
        if server.drain == DrainState::None {
            server.drain = DrainState::Announced;
        }
        link.queue(Frame::Drain(drain));
        true
    }

    /// Returns `true` if the client has confirmed a drain: it sends no new calls on this
    /// connection.
    pub fn is_drained(&self) -> bool {
        self.server().is_some_and(|server| server.drain == DrainState::Confirmed)
    }

    /// Takes the server's announcement that it is about to stop.
    pub fn take_drain(&mut self) -> Option<Drain> {
        self.client_mut()?.drain.take()
    }

    /// Returns statistics of the link.
    pub fn link_stats(&self) -> LinkStats {
        self.link.as_ref().map(|link| link.stats()).unwrap_or_default()
    }

    /// Returns `true` if the peer has become slow since the last call.
    pub fn take_slow(&mut self) -> bool {
        self.link.as_mut().is_some_and(|link| std::mem::take(&mut link.slow))
    }

    /// Records creation times from now on. `unix_ms` is the wall-clock time at `now`, in
    /// milliseconds since 1970.
    pub fn date_from(&mut self, unix_ms: u64, now: Time) {
        self.dates.start(unix_ms, now);
        self.dates.note(now, &self.session);
    }

    /// Asks the server to list what it holds. Returns the id of the request, or `None` if the
    /// server does not support lists.
    pub fn list(&mut self, list: List) -> Option<u64> {
        let link = self.link.as_mut().filter(|link| link.features.list)?;
        link.list(list)
    }

    /// Drops a request for a list.
    pub fn forget_list(&mut self, request_id: u64) {
        if let Some(link) = &mut self.link {
            link.forget_list(request_id);
        }
    }

    /// Returns the next answer to [`list`](Self::list).
    pub fn poll_objects(&mut self) -> Option<Objects> {
        self.client_mut()?.objects.pop_front()
    }

    /// Writes the answer to the next request for a list, as of now.
    pub(super) fn answer_list(&mut self) -> Option<String> {
        let List { request_id, filter, limit, cursor } = self.server_mut()?.lists.pop_front()?;
        let limit = limit.unwrap_or(LIST_DEFAULT).clamp(1, LIST_MAX);
        let after = match cursor.as_deref().map(str::parse::<i64>) {
            None => None,
            Some(Ok(id)) => Some(id),
            Some(Err(_)) => {
                let message = "the cursor of a list request is invalid";
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
            EntryState::Object => (ObjectKind::Object, ObjectStatus::Live),
            EntryState::Pending => (ObjectKind::Result, ObjectStatus::Pending),
            EntryState::Resolved => (ObjectKind::Result, ObjectStatus::Resolved),
            EntryState::Rejected => (ObjectKind::Result, ObjectStatus::Rejected),
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
