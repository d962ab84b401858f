//! Tokens of checkpoints on their way to the client. A client that holds the token of a checkpoint
//! has everything that the server had said before it, so each keeps its place behind the messages
//! it covers, and is sent again with them until the client says that it has it.

use std::collections::{BTreeMap, VecDeque};

use super::frame::Frame;
use super::greeting::{Covers, Lease, Ticket};

/// Checkpoints whose tokens the client has not confirmed. Beyond, no further one is made.
const UNCONFIRMED_MAX: usize = 4;

#[derive(Clone, Debug, PartialEq)]
struct Placed {
    /// The number of the message that it stands behind.
    after: u64,
    checkpoint: u64,
    frame: Frame,
}

/// Tokens in the order of their checkpoints.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Tokens {
    placed: VecDeque<Placed>,
    /// How many of them this transport has taken.
    taken: usize,
    /// The newest checkpoint that the client has a token of.
    confirmed: u64,
}

impl Tokens {
    /// The client comes with a token of this checkpoint.
    pub(crate) fn begin_with(&mut self, checkpoint: u64) {
        self.confirmed = self.confirmed.max(checkpoint);
        while self.placed.front().is_some_and(|placed| placed.checkpoint <= self.confirmed) {
            self.placed.pop_front();
            self.taken = self.taken.saturating_sub(1);
        }
    }

    /// Those on their way are of no use to a client that has forgotten what they cover.
    pub(super) fn clear(&mut self) {
        self.placed.clear();
        self.taken = 0;
    }

    pub(crate) fn confirmed(&self) -> u64 {
        self.confirmed
    }

    pub(crate) fn is_full(&self) -> bool {
        self.placed.len() >= UNCONFIRMED_MAX
    }

    /// Puts a token behind a message.
    pub(crate) fn place(&mut self, after: u64, ticket: Ticket, covers: Covers, lease: Option<Lease>) {
        let Ticket { resume_token, resume_key } = ticket;
        let frame = Frame::Token { resume_token, resume_key, covers: Some(covers), lease };
        self.placed.push_back(Placed { after, checkpoint: covers.checkpoint, frame });
    }

    /// The checkpoints whose tokens are on their way, oldest first.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = u64> {
        self.placed.iter().map(|placed| placed.checkpoint)
    }

    /// Puts other tokens in the places of those that are on their way, before the transport has
    /// taken any. A place without a token is given up.
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
        self.taken = 0;
    }

    /// A new transport has taken none.
    pub(super) fn begin_turn(&mut self) {
        self.taken = 0;
    }

    /// The client has the token of this checkpoint; false if it was not sent.
    pub(super) fn confirm(&mut self, checkpoint: u64) -> bool {
        let newest = self.placed.iter().take(self.taken).next_back().map_or(self.confirmed, |placed| placed.checkpoint);
        if checkpoint > newest {
            return false;
        }
        self.begin_with(checkpoint);
        true
    }

    /// The next one has its place before the message of this number.
    pub(super) fn is_due(&self, next_out: u64) -> bool {
        self.placed.get(self.taken).is_some_and(|placed| placed.after < next_out)
    }

    pub(super) fn take_due(&mut self, next_out: u64) -> Option<Frame> {
        if !self.is_due(next_out) {
            return None;
        }
        let frame = self.placed.get(self.taken)?.frame.clone();
        self.taken += 1;
        Some(frame)
    }
}
