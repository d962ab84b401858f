//! A session and, between Bowline peers, the link under it, as one state machine without I/O.
//! Without a link, texts go straight to the session, so that plain peers see the bytes of a plain
//! session. The calling contract is documented on [`Endpoint`], and the frames in docs/link.md.

mod attach;
mod control;
mod dates;
mod event;
mod lifecycle;
mod reattach;
mod recovery;

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

pub use attach::{Attach, Attached};
pub use event::LinkEvent;
pub use recovery::{Checkpoint, RecoverError, Recovered};

use dates::Dates;
use lifecycle::Lifecycle;
use recovery::Checkpoints;

use crate::error::ErrorCode;
use crate::limits::Limits;
use crate::link::{Attachment, Frame, Heard, Link, LinkRules, LinkStats, Role};
use crate::session::{CloseReason, ClosedBy, MessageKind, Session, Taken};
use crate::time::Time;

/// One end of a session, with or without a link.
///
/// An `Endpoint` does no I/O; the current [`Time`] is passed in. There are four kinds of methods:
///
/// - **Attaching**: [`attach`](Self::attach) begins the use of a connection, and
///   [`detach`](Self::detach) ends it. Texts are exchanged under the [`Attachment`] of their
///   connection; those of an earlier one are ignored.
/// - **Inputs**: [`handle_text`](Self::handle_text) and [`handle_timeout`](Self::handle_timeout).
///   If one returns `false`, stop using the connection.
/// - **Commands** are methods of [`session_mut`](Self::session_mut), or of the endpoint, such as
///   [`refresh`](Self::refresh) and [`drain`](Self::drain).
/// - **Outputs** are polled, in this order: [`Session::poll_output`],
///   [`poll_transmit`](Self::poll_transmit), [`poll_event`](Self::poll_event), and
///   [`poll_timeout`](Self::poll_timeout). If [`asks`](Self::asks) returns `true`, there is also a
///   token, a request, or an answer of the peer to take.
///
/// Drain all outputs after each input, command, attach, and detach. Performing an output of the
/// session may queue more. While no connection is attached, `poll_transmit` returns `None` and
/// messages remain queued. When the time from `poll_timeout` is reached, call `handle_timeout`.
///
/// ```
/// use bowline_core::endpoint::{Attach, Endpoint};
/// use bowline_core::limits::Limits;
/// use bowline_core::link::{Attachment, Features, LinkRules, Role};
/// use bowline_core::session::Output;
/// use bowline_core::time::Time;
/// use bowline_core::value::Payload;
///
/// /// Drains the outputs of `endpoint`. Returns when to call `handle_timeout`.
/// fn drain(endpoint: &mut Endpoint, at: Attachment, write: &mut impl FnMut(String)) -> Option<Time> {
///     while let Some(output) = endpoint.session_mut().poll_output() {
///         if let Output::Deliver(delivery) = output {
///             endpoint.session_mut().settle(delivery.call, Ok(Payload::plain(r#""hello""#)));
///         }
///     }
///     while let Some(text) = endpoint.poll_transmit(at) {
///         write(text);
///     }
///     while let Some(event) = endpoint.poll_event() {
///         println!("{event:?}");
///     }
///     endpoint.poll_timeout()
/// }
///
/// let (now, mut written) = (Time::default(), Vec::new());
/// let mut server = Endpoint::linked(Limits::default(), true, Role::Server, LinkRules::default());
/// let at = server.attach(now, Features::ALL, Attach::New).unwrap().attachment;
/// assert!(server.handle_text(at, now, r#"["push",["pipeline",0,["greet"],[]]]"#));
/// assert!(server.handle_text(at, now, r#"["pull",1]"#));
/// let timeout = drain(&mut server, at, &mut |text| written.push(text));
/// assert_eq!(written.last().map(String::as_str), Some(r#"["resolve",1,"hello"]"#));
/// assert!(timeout.is_some());
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Endpoint {
    pub(crate) session: Session,
    link: Option<Link>,
    /// The checkpoints from which another server process recovers the session.
    checkpoints: Checkpoints,
    /// The end of the store's lease. From then on this process must not handle messages.
    lease_until: Option<Time>,
    events: VecDeque<LinkEvent>,
    dates: Dates,
    lifecycle: Lifecycle,
}

/// A text to write now.
pub(crate) struct Transmit<'a> {
    pub(crate) text: Cow<'a, str>,
    pub(crate) source: TextSource,
}

/// Where a text to write comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TextSource {
    /// A new message of the session.
    Message(MessageKind),
    /// A frame of the link, or a message that is retransmitted. If `is_final`, `on_send_error` has
    /// been applied to it.
    Link { is_final: bool },
}

impl<'a> From<Taken<'a>> for Transmit<'a> {
    fn from(taken: Taken<'a>) -> Self {
        Self { text: taken.text, source: TextSource::Message(taken.kind) }
    }
}

impl TextSource {
    /// Returns `true` if the text may contain an error that `on_send_error` has not seen.
    pub(crate) fn may_have_error(self) -> bool {
        match self {
            Self::Message(kind) => kind.has_value(),
            Self::Link { is_final } => !is_final,
        }
    }

    /// Returns `true` if the text cannot contain a line break.
    pub(crate) fn is_line(self) -> bool {
        matches!(self, Self::Message(MessageKind::Pull | MessageKind::Release))
    }
}

impl Transmit<'_> {
    fn of_link(text: String, is_final: bool) -> Self {
        Self { text: text.into(), source: TextSource::Link { is_final } }
    }
}

impl Endpoint {
    /// Creates an endpoint without a link. Its session ends with its connection.
    pub fn plain(limits: impl Into<Arc<Limits>>, has_main: bool) -> Self {
        Self::over(Session::new(limits, has_main))
    }

    /// Creates an endpoint without a link for a session that exists already.
    pub fn over(session: Session) -> Self {
        Self::new(session, None)
    }

    /// Creates an endpoint with a link, not attached to a connection yet.
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
            lifecycle: Lifecycle::default(),
        }
    }

    /// Returns the session, to read from it.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Returns the session, for commands and to poll its outputs. Its messages are exchanged through
    /// the endpoint. After a command that a checkpoint would contain, call
    /// [`mark_changed`](Self::mark_changed).
    pub fn session_mut(&mut self) -> &mut Session {
        &mut self.session
    }

    /// Detaches a connection that was lost. A plain session ends with it. Does nothing if another
    /// connection has been attached since.
    pub fn detach(&mut self, at: Attachment, reason: CloseReason) {
        let Some(link) = &mut self.link else {
            return self.session.handle_disconnect(reason);
        };
        if link.attached() == Some(at) {
            link.detach();
            if !self.session.is_closed() {
                self.events.push_back(LinkEvent::Detached { reason: reason.message });
            }
        }
    }

    /// Detaches the current connection, if any. Does nothing to a plain session.
    pub fn detach_newest(&mut self, reason: &str) {
        if let Some(link) = self.link.as_mut().filter(|link| link.attached().is_some()) {
            link.detach();
            if !self.session.is_closed() {
                self.events.push_back(LinkEvent::Detached { reason: reason.to_owned() });
            }
        }
    }

    /// Returns `true` if this connection is the one that is attached.
    pub fn is_attached(&self, at: Attachment) -> bool {
        self.link.as_ref().is_none_or(|link| link.attached() == Some(at))
    }

    /// Returns `true` if the session has a link and no connection.
    pub fn is_detached(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.attached().is_none())
    }

    /// Returns `true` if a text on this connection may have several lines, each of which is a
    /// message.
    pub fn joins_lines(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.features.lines)
    }

    /// Handles a text from the connection. Returns `false` if nothing further should be read from
    /// it.
    pub fn handle_text(&mut self, at: Attachment, now: Time, text: &str) -> bool {
        let Some(link) = &mut self.link else {
            self.session.handle_message(text);
            return !self.session.is_closed();
        };
        // The text is not counted as received. The caller closes the connection, and the peer
        // retransmits the text on its next one.
        if link.attached() != Some(at) || self.lease_until.is_some_and(|until| until <= now) {
            return false;
        }
        link.hear(now);
        if matches!(self.lifecycle, Lifecycle::Closing(_)) {
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

    /// Extends the time in which this process may handle messages. Texts that arrive at `until` or
    /// later are not handled.
    pub fn extend_lease(&mut self, until: Time) {
        self.lease_until = Some(until);
    }

    /// Returns `true` if the time given to [`extend_lease`](Self::extend_lease) has passed, so that
    /// texts that arrive now are not handled.
    pub fn is_lease_over(&self, now: Time) -> bool {
        self.lease_until.is_some_and(|until| until <= now)
    }

    /// Ends the session with an error code.
    pub fn end(&mut self, by: ClosedBy, code: &ErrorCode, message: &str) {
        self.session.close(CloseReason::with_code(by, code.clone(), message));
    }

    /// Returns the next text to write to this connection.
    pub fn poll_transmit(&mut self, at: Attachment) -> Option<String> {
        self.next_transmit(at).map(|next| next.text.into_owned())
    }

    /// Returns the next text to write to this connection, borrowed from its buffer where possible.
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
        // When the session has ended, its remaining messages are written regardless of the
        // retransmit buffer.
        let waits = link.is_full() || (link.holds_back() && self.session.calls_next());
        if !waits || self.session.is_closed() {
            if self.session.transmit_len() > 0 {
                let taken = self.session.next_transmit(link.features.calls)?;
                link.send(&taken.text, taken.is_joint);
                if link.became_slow() {
                    let LinkStats { retained_bytes, retained_messages, .. } = link.stats();
                    self.events.push_back(LinkEvent::PeerSlow { retained_bytes, retained_messages });
                }
                return Some(taken.into());
            }
            // Returns `None`, but drops the buffers of the messages that were written.
            let _none = self.session.next_transmit(false);
        }
        self.answer_list().or_else(|| self.poll_last_frame()).map(|text| Transmit::of_link(text, false))
    }

    /// Replaces the text that was polled last by the one that is written, so that a retransmission
    /// is identical to it.
    pub(crate) fn leaves_as(&mut self, at: Attachment, text: &str) {
        if let Some(link) = self.link.as_mut().filter(|link| link.attached() == Some(at)) {
            link.leaves_as(text);
        }
    }

    /// Returns `true` if `poll_transmit` has a text for the attached connection.
    pub fn has_transmit(&self) -> bool {
        let waits = self.session.transmit_bytes() > 0;
        match &self.link {
            None => waits,
            Some(link) if link.attached().is_none() => false,
            Some(link) => {
                self.has_last_frame()
                    || link.has_transmit()
                    || link.has_lists_to_answer()
                    || (waits && !link.is_full() && !(link.holds_back() && self.session.calls_next()))
            }
        }
    }

    /// Returns `true` if everything that waits to be written may wait for other messages: it
    /// consists of releases and acks only.
    pub fn may_wait(&self) -> bool {
        let is_urgent = |link: &Link| link.has_urgent() || link.has_lists_to_answer();
        !self.session.is_closed() && self.session.only_releases() && !self.link.as_ref().is_some_and(is_urgent)
    }

    /// Returns when to call [`handle_timeout`](Self::handle_timeout) at the latest.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.link.as_ref()?.poll_timeout()
    }

    /// Handles a timeout. Returns `false` if the peer is dead and the connection should be closed.
    pub fn handle_timeout(&mut self, at: Attachment, now: Time) -> bool {
        match &mut self.link {
            Some(link) if link.attached() == Some(at) => link.handle_timeout(now),
            _ => true,
        }
    }

    /// Returns the next change in the state of the session's link.
    #[inline]
    pub fn poll_event(&mut self) -> Option<LinkEvent> {
        if self.events.is_empty() && !self.session.is_closed() { None } else { self.next_event() }
    }

    fn next_event(&mut self) -> Option<LinkEvent> {
        self.events.pop_front().or_else(|| self.poll_end())
    }

    /// Returns `true` if the session has a link.
    pub fn is_linked(&self) -> bool {
        self.link.is_some()
    }

    /// Returns the number of the peer's last message that was handled.
    pub fn processed(&self) -> u64 {
        self.link.as_ref().map_or(0, Link::processed)
    }

    /// Returns the number of the first message that can be retransmitted.
    pub fn first_retained(&self) -> u64 {
        self.link.as_ref().map_or(0, Link::first_retained)
    }

    /// Returns `true` if the peer has sent something on the current connection.
    pub fn has_heard(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.heard > Heard::Nothing)
    }

    /// Returns `true` if the peer has sent a frame of the link on the current connection.
    pub fn has_heard_frame(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.heard == Heard::Frames)
    }

    /// Returns the bytes of messages and values that are held for the peer.
    pub fn held_bytes(&self) -> usize {
        self.link.as_ref().map_or(0, Link::retained_bytes) + self.session.transmit_bytes() + self.session.held_bytes()
    }

    /// Returns `true` if there is no connection and the retransmit buffer has no room for what
    /// waits and one message more. New calls should be refused then.
    pub fn is_overfull(&self) -> bool {
        self.waits_over(1)
    }

    /// Ends the session of a server if too much waits for a client that has no connection.
    pub fn bound_retained(&mut self) {
        if self.waits_over(0) && self.link.as_ref().is_some_and(|link| link.role() == Role::Server) {
            self.end(
                ClosedBy::Protocol,
                &ErrorCode::BufferOverflow,
                "too much waits to be sent to a client without a connection",
            );
        }
    }

    /// Returns `true` if there is no connection and the queued messages, with `beside` more
    /// messages of one byte, do not fit into the retransmit buffer.
    fn waits_over(&self, beside: usize) -> bool {
        let (bytes, messages) = (self.session.transmit_bytes() + beside, self.session.transmit_len() + beside);
        self.link.as_ref().is_some_and(|link| link.attached().is_none() && link.is_over(bytes, messages))
    }
}
