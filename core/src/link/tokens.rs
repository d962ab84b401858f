//! Tokens of checkpoints on their way to the client. A token keeps its position behind the messages
//! that its checkpoint covers, and is retransmitted with them until it is acknowledged. So a client
//! that has the token has received all of these messages.

use std::collections::{BTreeMap, VecDeque};

use super::frame::Frame;
use super::greeting::{Covers, Lease, Ticket};

/// The maximum number of checkpoints whose tokens are not acknowledged. No further one is taken
/// then.
const UNCONFIRMED_MAX: usize = 4;

#[derive(Clone, Debug, PartialEq)]
struct Placed {
    /// The number of the message that precedes the token.
    after: u64,
    checkpoint: u64,
    frame: Frame,
}

/// Tokens in the order of their checkpoints.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Tokens {
    placed: VecDeque<Placed>,
    /// How many of them were written to this connection.
    written: usize,
    /// The newest checkpoint whose token the client has.
    confirmed: u64,
}

impl Tokens {
    /// Records that the client has a token of this checkpoint, and drops the tokens up to it.
    pub(crate) fn confirm_through(&mut self, checkpoint: u64) {
        self.confirmed = self.confirmed.max(checkpoint);
        while self.placed.front().is_some_and(|placed| placed.checkpoint <= self.confirmed) {
            self.placed.pop_front();
            self.written = self.written.saturating_sub(1);
        }
    }

    /// Drops all tokens, for a client that no longer knows what they cover.
    pub(super) fn clear(&mut self) {
        self.placed.clear();
        self.written = 0;
    }

    pub(crate) fn confirmed(&self) -> u64 {
        self.confirmed
    }

    pub(crate) fn is_full(&self) -> bool {
        self.placed.len() >= UNCONFIRMED_MAX
    }

    /// Places a token behind the message with number `after`.
    pub(crate) fn place(&mut self, after: u64, ticket: Ticket, covers: Covers, lease: Option<Lease>) {
        let Ticket { resume_token, resume_key } = ticket;
        let frame = Frame::Token { resume_token, resume_key, covers: Some(covers), lease };
        self.placed.push_back(Placed { after, checkpoint: covers.checkpoint, frame });
    }

    /// Returns the checkpoints whose tokens are not acknowledged, oldest first.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = u64> {
        self.placed.iter().map(|placed| placed.checkpoint)
    }

    /// Replaces the tokens that are not acknowledged, before any was written to the connection.
    /// Those without a replacement are dropped.
    pub(crate) fn replace(&mut self, mut tickets: BTreeMap<u64, Ticket>) {
        self.placed.retain_mut(|placed| {
            let (Frame::Token { resume_token, resume_key, .. }, Some(ticket)) =
                (&mut placed.frame, tickets.remove(&placed.checkpoint))
            else {
                return false;
            };
            (*resume_token, *resume_key) = (ticket.resume_token, ticket.resume_key);
            true
        });
        self.written = 0;
    }

    /// Starts again with the first token on a new connection.
    pub(super) fn rewind(&mut self) {
        self.written = 0;
    }

    /// Handles the ack of a checkpoint. Returns `false` if its token was not sent.
    pub(super) fn confirm(&mut self, checkpoint: u64) -> bool {
        let newest =
            self.placed.iter().take(self.written).next_back().map_or(self.confirmed, |placed| placed.checkpoint);
        if checkpoint > newest {
            return false;
        }
        self.confirm_through(checkpoint);
        true
    }

    /// Returns `true` if the next token precedes the message with number `next_out`.
    pub(super) fn is_due(&self, next_out: u64) -> bool {
        self.placed.get(self.written).is_some_and(|placed| placed.after < next_out)
    }

    pub(super) fn poll_due(&mut self, next_out: u64) -> Option<Frame> {
        if !self.is_due(next_out) {
            return None;
        }
        let frame = self.placed.get(self.written)?.frame.clone();
        self.written += 1;
        Some(frame)
    }
}
