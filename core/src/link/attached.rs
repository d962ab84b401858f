//! The part of a link's state that belongs to one connection and is dropped with it.

use std::collections::VecDeque;

use super::Attachment;
use super::frame::Frame;
use crate::time::Time;

/// Whether a link has a connection.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum ConnectionState {
    Detached,
    Attached(AttachedConnection),
}

/// The connection that is attached.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct AttachedConnection {
    pub(super) attachment: Attachment,
    /// The number of the message to write next. Messages from here to the end of the retransmit
    /// buffer are still to be retransmitted.
    pub(super) next_out: u64,
    /// The number of the message that arrives next. Not above the number of the last message that
    /// was handled while the peer retransmits what arrived before.
    pub(super) next_in: u64,
    /// The number of the last message that the peer has acknowledged.
    pub(super) peer_processed: u64,
    /// When the peer last acknowledged a message.
    pub(super) acked_at: Time,
    pub(super) ack: AckState,
    /// When something was last received.
    pub(super) heard_at: Time,
    /// A ping was sent, and nothing was received since.
    pub(super) is_pinged: bool,
    /// When the newest ping was sent, until its pong arrives.
    pub(super) ping_sent: Option<Time>,
    /// The nonce of the newest unanswered ping, and when it arrived.
    pub(super) pong: Option<(String, Time)>,
    /// Frames to write before messages.
    pub(super) frames: VecDeque<Frame>,
}

/// Whether the peer's messages must be acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AckState {
    NotDue,
    DueAt(Time),
    Due,
}

impl ConnectionState {
    pub(super) fn attached(&self) -> Option<&AttachedConnection> {
        if let Self::Attached(connection) = self { Some(connection) } else { None }
    }

    pub(super) fn attached_mut(&mut self) -> Option<&mut AttachedConnection> {
        if let Self::Attached(connection) = self { Some(connection) } else { None }
    }
}

impl AttachedConnection {
    pub(super) fn new(attachment: Attachment, now: Time, peer_processed: u64, next_in: u64) -> Self {
        Self {
            attachment,
            next_out: peer_processed + 1,
            next_in,
            peer_processed,
            acked_at: now,
            // The last ack may not have arrived.
            ack: AckState::Due,
            heard_at: now,
            is_pinged: false,
            ping_sent: None,
            pong: None,
            frames: VecDeque::new(),
        }
    }

    /// Returns the number of the last message that was acknowledged and need not be written any
    /// more. A message that is still to be written on this connection is kept until then, even if
    /// it was acknowledged: the peer counts messages, so none may be left out.
    pub(super) fn last_done(&self) -> u64 {
        self.peer_processed.min(self.next_out - 1)
    }

    /// Returns when an ack becomes due, unless one is due already.
    pub(super) fn ack_due_at(&self) -> Option<Time> {
        match self.ack {
            AckState::DueAt(at) => Some(at),
            AckState::NotDue | AckState::Due => None,
        }
    }
}
