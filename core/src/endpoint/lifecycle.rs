//! How far a session with a link has come: open, closing, or ended.

use super::{Endpoint, LinkEvent};
use crate::link::{Frame, Role};
use crate::session::{CloseReason, ClosedBy};

/// How far a session with a link has come. A session can end by itself, so the state is
/// [`Ended`](Self::Ended) only once an output was polled after the end.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Lifecycle {
    #[default]
    Open,
    /// The client has closed the session, and its calls may run until the grace period ends.
    Closing(CloseReason),
    Ended(Box<Farewell>),
}

/// The last outputs of a session that has ended, each until it is polled.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Farewell {
    frame: Option<Frame>,
    event: Option<LinkEvent>,
}

/// Whether a peer that has ended the session waits for a `closed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Expected,
    None,
}

impl Farewell {
    fn new(closed: &CloseReason, role: Role, answer: Answer) -> Self {
        let (code, message) = (closed.cause.to_code(), closed.message.clone());
        let reason = Some(message.clone());
        let frame = match (closed.by, role) {
            (ClosedBy::Local | ClosedBy::Protocol, Role::Client) => Some(Frame::Close { reason }),
            (ClosedBy::Local | ClosedBy::Protocol, Role::Server) => {
                Some(Frame::Evicted { code: code.clone(), reason: message.clone() })
            }
            (ClosedBy::Peer, _) if answer == Answer::Expected => Some(Frame::Closed { reason }),
            (ClosedBy::Peer | ClosedBy::Transport, _) => None,
        };
        let event = (closed.by != ClosedBy::Local).then_some(LinkEvent::Lost { code, message });
        Self { frame, event }
    }
}

impl Endpoint {
    /// Ends the session because a frame of the peer says so. If the calls of a client are still
    /// running, the session is only closing.
    pub(super) fn close_by_peer(&mut self, closed: CloseReason, answer: Answer) {
        if self.role() == Some(Role::Server) && self.session.calls_running() > 0 {
            self.lifecycle = Lifecycle::Closing(closed);
        } else {
            self.session.handle_disconnect(closed);
            self.note_end(answer);
        }
    }

    /// Returns `true` if the client has closed the session and some of its calls are still running.
    pub fn is_closing(&self) -> bool {
        matches!(self.lifecycle, Lifecycle::Closing(_)) && !self.session.is_closed()
    }

    /// Ends a session that the client has closed, including calls that are still running.
    pub fn finish_closing(&mut self) {
        if let Lifecycle::Closing(closed) = &self.lifecycle {
            self.session.handle_disconnect(closed.clone());
            self.note_end(Answer::Expected);
        }
    }

    /// Records the end of the session, once it has ended.
    fn note_end(&mut self, answer: Answer) {
        if matches!(self.lifecycle, Lifecycle::Ended(_)) {
            return;
        }
        if let (Some(closed), Some(role)) = (self.session.closed(), self.role()) {
            self.lifecycle = Lifecycle::Ended(Box::new(Farewell::new(closed, role, answer)));
        }
    }

    /// Returns `true` if the last frame of the session is to be written.
    pub(super) fn has_last_frame(&self) -> bool {
        match &self.lifecycle {
            Lifecycle::Open | Lifecycle::Closing(_) => self.session.is_closed(),
            Lifecycle::Ended(farewell) => farewell.frame.is_some(),
        }
    }

    /// Returns the last frame of a session that has ended.
    pub(super) fn poll_last_frame(&mut self) -> Option<String> {
        self.note_end(Answer::None);
        let Lifecycle::Ended(farewell) = &mut self.lifecycle else { return None };
        farewell.frame.take().map(|frame| frame.write())
    }

    /// Returns the event of a session that has ended.
    pub(super) fn poll_end(&mut self) -> Option<LinkEvent> {
        self.note_end(Answer::None);
        let Lifecycle::Ended(farewell) = &mut self.lifecycle else { return None };
        farewell.event.take()
    }
}
