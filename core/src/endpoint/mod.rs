//! A session and, where both peers know it, the link under it, as one pure value: text in, text
//! out. Without a link every call goes straight through to the session, so that a plain peer
//! sees the bytes of a plain session.
//!
//! Commands go to [`Endpoint::session`]; everything that a transport brings or takes goes
//! through the endpoint, under the [`Attachment`] of that transport.

mod cold;
mod control;
mod dates;
mod reattach;

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

pub use cold::{Checkpoint, RestoreError, Restored};

use cold::Checkpoints;
use dates::Dates;

use crate::error::ErrorCode;
use crate::limits::Limits;
use crate::link::{Attachment, Drain, Frame, Joint, Link, LinkRules, LinkStats, Refused, Role};
use crate::session::{Closed, ClosedBy, Session, Taken};
use crate::time::Time;

/// The only transport of a plain session.
const PLAIN: Attachment = Attachment(0);

/// One end of a session, with or without a link.
#[derive(Clone, Debug, PartialEq)]
pub struct Endpoint {
    /// The session. Its messages are the endpoint's to carry.
    pub session: Session,
    link: Option<Link>,
    /// What makes it outlive the process of its server.
    checkpoints: Checkpoints,
    /// From then on this process may not carry anything out.
    lease_until: Option<Time>,
    events: VecDeque<LinkEvent>,
    dates: Dates,
    /// The peer has become slow, and nobody has been told.
    slow: bool,
    /// The client has closed the session, and calls run on for a while.
    closing: Option<Closed>,
    /// The peer asked for the end, and is to be told that it came.
    answers_close: bool,
    /// The end of the session has been written, or need not be.
    said_goodbye: bool,
    /// The end has been reported as an event.
    told_end: bool,
}

/// What happens to a session with a link.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkEvent {
    /// The transport is gone. The session goes on: calls wait.
    Detached {
        /// What happened to the transport.
        reason: String,
    },
    /// There is a transport again, and nothing was lost.
    Resumed {
        /// Messages of ours that are sent again.
        resent: u64,
    },
    /// There is a transport again, to a server that was made again; not everything outlived that.
    Restored {
        /// Calls that are sent again.
        resent: usize,
        /// Calls that failed with `CALL_OUTCOME_UNKNOWN`.
        unknown: usize,
        /// Calls that failed with `CALL_NOT_ATTEMPTED`.
        not_attempted: usize,
        /// References that are broken.
        lost: usize,
    },
    /// On a client whose own process was another: the server has said what it holds of it. Calls
    /// before that would be taken back.
    Reattached,
    /// There is a transport again, to a client whose own process was another: what it has not kept
    /// is gone.
    Restarted {
        /// Calls of ours that failed because whoever carried them out is gone.
        unknown: usize,
        /// References of ours that are broken.
        lost: usize,
    },
    /// The server is about to stop. If another process goes on with the session, new calls wait for
    /// that; else they are still made, and the session ends with the server.
    Draining(Drain),
    /// The peer confirms much less than it is sent: three quarters of what may be kept for it is.
    PeerSlow {
        /// Bytes that it has not confirmed.
        retained_bytes: usize,
        /// Messages that it has not confirmed.
        retained_messages: usize,
    },
    /// The session is over, and not by us.
    Lost {
        /// Why.
        code: ErrorCode,
        /// The same for people.
        message: String,
    },
}

/// A transport's turn, as it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attached {
    /// Under which the transport's texts are handed in and taken.
    pub attachment: Attachment,
    /// The number of the peer's last message that was carried out.
    pub processed: u64,
    /// Messages of ours that will be sent again.
    pub resent: u64,
}

/// A text that is to be written now.
pub(crate) struct Transmit<'a> {
    pub(crate) text: Cow<'a, str>,
    /// It leaves as it is: it did before, on another transport, or has nothing in it that a hook is
    /// asked about.
    pub(crate) is_final: bool,
    /// It has no line break.
    pub(crate) is_line: bool,
}

impl<'a> From<Taken<'a>> for Transmit<'a> {
    fn from(taken: Taken<'a>) -> Self {
        Self { text: taken.text, is_final: taken.is_integers, is_line: taken.is_integers }
    }
}

impl Transmit<'_> {
    fn of_link(text: String, is_final: bool) -> Self {
        Self { text: text.into(), is_final, is_line: false }
    }
}

impl Endpoint {
    /// A session without a link. It ends with its transport.
    pub fn plain(limits: impl Into<Arc<Limits>>, has_main: bool) -> Self {
        Self::new(Session::new(limits, has_main), None)
    }

    /// A session with a link, and no transport yet.
    pub fn linked(limits: impl Into<Arc<Limits>>, has_main: bool, role: Role, rules: LinkRules) -> Self {
        Self::new(Session::new(limits, has_main), Some(Link::new(role, rules)))
    }

    fn new(session: Session, link: Option<Link>) -> Self {
        Self {
            session,
            link,
            checkpoints: Checkpoints::default(),
            lease_until: None,
            events: VecDeque::new(),
            dates: Dates::default(),
            slow: false,
            closing: None,
            answers_close: false,
            said_goodbye: false,
            told_end: false,
        }
    }

    /// Begins the turn of the transport of a plain session.
    pub fn attach_plain(&self) -> Attachment {
        PLAIN
    }

    /// Begins the turn of a new transport. From here on, what the transport before brings is not
    /// looked at.
    ///
    /// # Errors
    /// The session is over, or the numbers of both sides do not fit together; then the
    /// transport before, if any, goes on.
    pub fn attach(&mut self, now: Time, joint: Joint) -> Result<Attached, Refused> {
        let Some(link) = self.link.as_mut().filter(|_| !self.session.is_closed()) else {
            return Err(Refused::new(ErrorCode::ResumeWindowExpired, "the session is over"));
        };
        let (attachment, resent) = link.attach(now, joint)?;
        if attachment.0 > 1 {
            self.events.push_back(LinkEvent::Resumed { resent });
        }
        Ok(Attached { attachment, processed: link.processed(), resent })
    }

    /// The transport is gone. A plain session is over with it.
    pub fn detach(&mut self, at: Attachment, now: Time, reason: Closed) {
        let Some(link) = &mut self.link else {
            return self.session.handle_disconnect(reason);
        };
        if link.attached() == Some(at) {
            link.detach(now);
            if !self.session.is_closed() {
                self.events.push_back(LinkEvent::Detached { reason: reason.message });
            }
        }
    }

    /// Ends the turn of the transport that the session has, if it has one. A plain session goes on.
    pub fn detach_newest(&mut self, now: Time, reason: &str) {
        if let Some(link) = self.link.as_mut().filter(|link| link.attached().is_some()) {
            link.detach(now);
            if !self.session.is_closed() {
                self.events.push_back(LinkEvent::Detached { reason: reason.to_owned() });
            }
        }
    }

    /// Whether it is this transport's turn.
    pub fn is_attached(&self, at: Attachment) -> bool {
        self.link.as_ref().is_none_or(|link| link.attached() == Some(at))
    }

    /// A session with a link and no transport.
    pub fn is_detached(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.attached().is_none())
    }

    /// Whether a text may hold several messages on this transport, a line each.
    pub fn joins_lines(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.features.lines)
    }

    /// Takes in one text; false when this transport need not be read any more.
    pub fn handle_text(&mut self, at: Attachment, now: Time, text: &str) -> bool {
        let Some(link) = &mut self.link else {
            self.session.handle_message(text);
            return !self.session.is_closed();
        };
        // The driver gives the transport up; its peer sends the text again on another.
        if link.attached() != Some(at) || self.lease_until.is_some_and(|until| until <= now) {
            return false;
        }
        link.hear(now);
        if self.closing.is_some() {
            return true;
        }
        self.dates.note(now, &self.session);
        if Frame::is_frame(text) {
            self.handle_frame(now, text);
        } else if link.count(now, text.len()) {
            let joint = link.features.calls;
            self.mark_changed();
            if joint {
                self.session.handle_joint(text);
            } else {
                self.session.handle_message(text);
            }
        }
        !self.session.is_closed()
    }

    /// What arrives at `until` or later is not carried out, unless this is said again by then.
    pub fn extend_lease(&mut self, until: Time) {
        self.lease_until = Some(until);
    }

    /// Whether what arrives now would not be carried out, because the time of
    /// [`extend_lease`](Self::extend_lease) is over.
    pub fn is_lease_over(&self, now: Time) -> bool {
        self.lease_until.is_some_and(|until| until <= now)
    }

    /// The session is over for a reason that has a code.
    pub fn end(&mut self, by: ClosedBy, code: &ErrorCode, message: &str) {
        let closed = Closed { by, name: code.to_string(), message: message.to_owned() };
        self.session.close(closed, false);
    }

    /// The next text to write on this transport.
    pub fn poll_transmit(&mut self, at: Attachment) -> Option<String> {
        self.next_transmit(at).map(|next| next.text.into_owned())
    }

    /// As [`poll_transmit`](Self::poll_transmit), where it lies.
    pub(crate) fn next_transmit(&mut self, at: Attachment) -> Option<Transmit<'_>> {
        let Some(link) = &mut self.link else {
            return self.session.next_transmit(false).map(Transmit::from);
        };
        if link.attached() != Some(at) {
            return None;
        }
        if let Some(text) = link.poll_transmit() {
            return Some(Transmit::of_link(text, link.has_left()));
        }
        // A session that is over is written to its end, whatever that takes.
        let waits = link.is_full() || (link.holds_back() && self.session.calls_next());
        if !waits || self.session.is_closed() {
            if self.session.transmit_len() > 0 {
                let taken = self.session.next_transmit(link.features.calls)?;
                link.send(&taken.text, taken.is_joint);
                if link.became_slow() {
                    let LinkStats { retained_bytes, retained_messages, .. } = link.stats();
                    self.slow = true;
                    self.events.push_back(LinkEvent::PeerSlow { retained_bytes, retained_messages });
                }
                return Some(taken.into());
            }
            // There is none, and with that the room of those before is given back.
            let _none = self.session.next_transmit(false);
        }
        self.answer_list().or_else(|| self.goodbye()).map(|text| Transmit::of_link(text, false))
    }

    /// The text that was polled last leaves as this one; sent again, it will be the same.
    pub(crate) fn leaves_as(&mut self, at: Attachment, text: &str) {
        if let Some(link) = self.link.as_mut().filter(|link| link.attached() == Some(at)) {
            link.leaves_as(text);
        }
    }

    /// Whether `poll_transmit` has something for the transport whose turn it is.
    pub fn has_transmit(&self) -> bool {
        let waits = self.session.transmit_bytes() > 0;
        match &self.link {
            None => waits,
            Some(link) if link.attached().is_none() => false,
            Some(link) => {
                let ends = self.session.is_closed() && !self.said_goodbye;
                ends || link.has_transmit()
                    || !link.control.lists.is_empty()
                    || (waits && !link.is_full() && !(link.holds_back() && self.session.calls_next()))
            }
        }
    }

    /// Whether all that waits to be written may as well go with what comes next: nobody waits for
    /// a release, nor for an ack.
    pub fn may_wait(&self) -> bool {
        let is_urgent = |link: &Link| link.has_urgent() || !link.control.lists.is_empty();
        !self.session.is_closed() && self.session.only_releases() && !self.link.as_ref().is_some_and(is_urgent)
    }

    /// The last frame of a session that is over.
    fn goodbye(&mut self) -> Option<String> {
        let closed = self.session.closed()?;
        if std::mem::replace(&mut self.said_goodbye, true) {
            return None;
        }
        let reason = closed.message.clone();
        let frame = match (closed.by, self.link.as_ref()?.role()) {
            (ClosedBy::Us | ClosedBy::Protocol, Role::Client) => Frame::Close { reason: Some(reason) },
            (ClosedBy::Us | ClosedBy::Protocol, Role::Server) => {
                Frame::Evicted { code: ErrorCode::from(closed.name.as_str()), reason }
            }
            (ClosedBy::Peer, _) if self.answers_close => Frame::Closed { reason: Some(reason) },
            _ => return None,
        };
        Some(frame.write())
    }

    /// When `handle_timeout` wants to be called.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.link.as_ref()?.poll_timeout()
    }

    /// Does what is due; false when the transport is to be given up because nobody is there.
    pub fn handle_timeout(&mut self, at: Attachment, now: Time) -> bool {
        match &mut self.link {
            Some(link) if link.attached() == Some(at) => link.handle_timeout(now),
            _ => true,
        }
    }

    /// What has happened to the link.
    pub fn poll_event(&mut self) -> Option<LinkEvent> {
        if let Some(event) = self.events.pop_front() {
            return Some(event);
        }
        let closed = self.session.closed().filter(|_| self.link.is_some() && !self.told_end)?;
        self.told_end = true;
        if closed.by == ClosedBy::Us {
            return None;
        }
        Some(LinkEvent::Lost { code: ErrorCode::from(closed.name.as_str()), message: closed.message.clone() })
    }

    /// Whether there is a link.
    pub fn is_linked(&self) -> bool {
        self.link.is_some()
    }

    /// The number of the peer's last message that was carried out.
    pub fn processed(&self) -> u64 {
        self.link.as_ref().map_or(0, Link::processed)
    }

    /// The number of the first message that can be sent again.
    pub fn first_retained(&self) -> u64 {
        self.link.as_ref().map_or(0, Link::first_retained)
    }

    /// Whether the peer has spoken on the newest transport.
    pub fn has_heard(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.heard)
    }

    /// Whether the peer has sent a frame of the link on the newest transport.
    pub fn has_heard_frame(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.heard_frame)
    }

    /// Bytes of messages and values that are held for the peer.
    pub fn held_bytes(&self) -> usize {
        self.link.as_ref().map_or(0, Link::retained_bytes) + self.session.transmit_bytes() + self.session.held_bytes()
    }

    /// Without a transport, as much waits as may be kept: what is new is to be refused.
    pub fn is_overfull(&self) -> bool {
        self.waits_over(1)
    }

    /// Gives up a session of a server's that keeps too much for a client that is away.
    pub fn bound_retained(&mut self) {
        if self.waits_over(0) && self.link.as_ref().is_some_and(|link| link.role() == Role::Server) {
            self.end(ClosedBy::Protocol, &ErrorCode::BufferOverflow, "too much waits for a client that is away");
        }
    }

    /// Without a transport, what waits and this much beside is more than may be kept.
    fn waits_over(&self, beside: usize) -> bool {
        let (bytes, messages) = (self.session.transmit_bytes() + beside, self.session.transmit_len() + beside);
        self.link.as_ref().is_some_and(|link| link.attached().is_none() && link.is_over(bytes, messages))
    }
}
