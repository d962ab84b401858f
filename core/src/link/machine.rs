//! The state machine of a link: numbering, retransmission, acknowledgments, and heartbeats.

use std::collections::BTreeSet;
use std::time::Duration;

use super::attached::{AckState, AttachedConnection, ConnectionState};
use super::frame::Frame;
use super::greeting::Refused;
use super::retain::Retained;
use super::role::RoleState;
use super::{Attachment, Features, LinkRules, Role};
use crate::error::ErrorCode;
use crate::time::Time;

/// A due ack waits to share a write until this many times the amount that made it due has arrived.
const OVERDUE: usize = 8;

/// Statistics of a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinkStats {
    /// Whether there is a connection.
    pub is_attached: bool,
    /// Bytes of messages that the peer has not acknowledged.
    pub retained_bytes: usize,
    /// The number of messages that the peer has not acknowledged.
    pub retained_messages: usize,
    /// The number of messages sent, each counted once.
    pub sent: u64,
    /// The number of the peer's messages that were handled.
    pub processed: u64,
    /// The number of connections that the session has had.
    pub transports: u64,
    /// The round-trip time of the last ping.
    pub round_trip: Option<Duration>,
}

/// The link of one session.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Link {
    rules: LinkRules,
    pub(crate) role: RoleState,
    pub(super) connection: ConnectionState,
    attachments: u64,
    /// The features that both sides support.
    pub(crate) features: Features,
    /// What the peer has sent on the newest connection.
    pub(crate) heard: Heard,
    pub(super) retained: Retained,
    /// Retained messages whose text differs from what the session wrote.
    left: BTreeSet<u64>,
    /// The number of the last message that joins several in one.
    last_joint: u64,
    received: Received,
    pub(super) pings: u64,
    pub(super) round_trip: Option<Duration>,
    /// More than three quarters of the retransmit buffer is in use, and less than a quarter has not
    /// been reached since.
    is_slow: bool,
    /// The peer has become slow, which was not taken yet.
    pub(crate) slow: bool,
}

/// What was received on a connection so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Heard {
    Nothing,
    Messages,
    /// At least one frame of the link, whether or not there were messages.
    Frames,
}

/// The peer's messages that were handled.
#[derive(Clone, Debug, Default, PartialEq)]
struct Received {
    /// The number of the last one.
    processed: u64,
    /// The value of `processed` that was last reported to the peer.
    reported: u64,
    unreported_bytes: usize,
}

impl Received {
    /// Returns `true` if more is unreported than `times` the amount that makes an ack due.
    fn exceeds(&self, times: usize, rules: &LinkRules) -> bool {
        self.processed - self.reported >= times as u64 * rules.ack_messages
            || self.unreported_bytes >= times * rules.ack_bytes
    }
}

impl Link {
    pub(crate) fn new(role: Role, rules: LinkRules) -> Self {
        Self {
            rules,
            role: RoleState::new(role),
            connection: ConnectionState::Detached,
            attachments: 0,
            features: Features::default(),
            heard: Heard::Nothing,
            retained: Retained::new(),
            left: BTreeSet::new(),
            last_joint: 0,
            received: Received::default(),
            pings: 0,
            round_trip: None,
            is_slow: false,
            slow: false,
        }
    }

    pub(crate) fn role(&self) -> Role {
        match self.role {
            RoleState::Client(_) => Role::Client,
            RoleState::Server(_) => Role::Server,
        }
    }

    pub(crate) fn processed(&self) -> u64 {
        self.received.processed
    }

    pub(crate) fn first_retained(&self) -> u64 {
        self.retained.first()
    }

    pub(crate) fn attached(&self) -> Option<Attachment> {
        self.connection.attached().map(|connection| connection.attachment)
    }

    pub(crate) fn stats(&self) -> LinkStats {
        LinkStats {
            is_attached: self.attached().is_some(),
            retained_bytes: self.retained.bytes(),
            retained_messages: self.retained.len(),
            sent: self.last(),
            processed: self.processed(),
            transports: self.attachments,
            round_trip: self.round_trip,
        }
    }

    /// Returns the size of the retransmit buffer, in bytes.
    pub(crate) fn retained_bytes(&self) -> usize {
        self.retained.bytes()
    }

    /// Attaches a new connection, in place of the current one. Returns the number of messages to
    /// retransmit.
    ///
    /// `peer_processed` is the number of this side's last message that the peer has handled. The
    /// peer's messages continue after `peer_sends_after`, or after the last one that this side has
    /// handled.
    pub(crate) fn attach(
        &mut self,
        now: Time,
        features: Features,
        peer_processed: u64,
        peer_sends_after: Option<u64>,
    ) -> Result<(Attachment, u64), Refused> {
        let peer_sends_after = peer_sends_after.unwrap_or_else(|| self.processed());
        self.check_numbers(peer_processed, peer_sends_after, features)?;
        self.retained.confirm(peer_processed);
        self.attachments += 1;
        let attachment = Attachment(self.attachments);
        let mut connection = AttachedConnection::new(attachment, now, peer_processed, peer_sends_after + 1);
        self.role.attach();
        // List requests may not have arrived.
        connection.frames.extend(self.role.lists_to_repeat());
        let resent = self.retained.next() - connection.next_out;
        self.connection = ConnectionState::Attached(connection);
        self.features = features;
        self.heard = Heard::Nothing;
        Ok((attachment, resent))
    }

    /// Checks that each side has what the other one continues with.
    fn check_numbers(&self, peer_processed: u64, peer_sends_after: u64, features: Features) -> Result<(), Refused> {
        let gap = |message: String| Err(Refused::new(ErrorCode::ResumeGap, message));
        if peer_processed >= self.retained.next() {
            return gap(format!("message {peer_processed} was never sent"));
        }
        if peer_processed + 1 < self.retained.first() {
            let first = self.retained.first();
            return gap(format!(
                "message {} is no longer retained; the first retained message is {first}",
                peer_processed + 1
            ));
        }
        if peer_sends_after > self.processed() {
            let processed = self.processed();
            return gap(format!("the peer continues after message {peer_sends_after}, but only {processed} arrived"));
        }
        if self.last_joint > peer_processed && !features.calls {
            return gap(format!("message {} joins several in one, which the peer no longer supports", self.last_joint));
        }
        Ok(())
    }

    /// Detaches the connection and resets the numbers of both directions, for a peer whose process
    /// was replaced.
    pub(crate) fn reset(&mut self) {
        self.connection = ConnectionState::Detached;
        self.retained = Retained::new();
        self.left.clear();
        self.last_joint = 0;
        self.received = Received::default();
        self.role.reset_tokens();
    }

    /// Detaches the connection.
    pub(crate) fn detach(&mut self) {
        self.connection = ConnectionState::Detached;
        self.role.detach();
    }

    /// Records that something was received.
    pub(crate) fn hear(&mut self, now: Time) {
        self.heard = self.heard.max(Heard::Messages);
        if let ConnectionState::Attached(connection) = &mut self.connection {
            connection.heard_at = now;
            connection.is_pinged = false;
        }
    }

    /// Counts a message that was received. Returns `false` if it is a retransmission of one that
    /// was already handled.
    pub(crate) fn count(&mut self, now: Time, bytes: usize) -> bool {
        let ConnectionState::Attached(connection) = &mut self.connection else { return false };
        let number = connection.next_in;
        connection.next_in += 1;
        if number <= self.received.processed {
            return false;
        }
        self.received.processed = number;
        self.received.unreported_bytes += bytes;
        if self.received.exceeds(1, &self.rules) {
            connection.ack = AckState::Due;
        } else if connection.ack == AckState::NotDue {
            connection.ack = AckState::DueAt(now + self.rules.ack_after);
        }
        true
    }

    /// Returns `true` once when more than three quarters of the retransmit buffer is in use, and
    /// again only after its use has fallen to a quarter.
    pub(crate) fn became_slow(&mut self) -> bool {
        let LinkRules { retain_bytes, retain_messages, .. } = self.rules;
        let (bytes, messages) = (self.retained.bytes(), self.retained.len());
        if self.is_slow {
            self.is_slow = bytes > retain_bytes / 4 || messages > retain_messages / 4;
            return false;
        }
        self.is_slow = bytes > retain_bytes / 4 * 3 || messages > retain_messages / 4 * 3;
        self.slow |= self.is_slow;
        self.is_slow
    }

    /// Queues a frame before all messages. Does nothing without a connection.
    pub(crate) fn queue(&mut self, frame: Frame) {
        if let ConnectionState::Attached(connection) = &mut self.connection {
            connection.frames.push_back(frame);
        }
    }

    /// Returns `true` if there is something to write other than new messages.
    pub(crate) fn has_transmit(&self) -> bool {
        self.connection
            .attached()
            .is_some_and(|connection| connection.ack == AckState::Due || self.has_more_than_ack(connection))
    }

    /// Returns `true` if there is something to write other than new messages and an ack that may
    /// still wait.
    pub(crate) fn has_urgent(&self) -> bool {
        self.connection.attached().is_some_and(|connection| {
            let is_overdue = || self.heard == Heard::Nothing || self.received.exceeds(OVERDUE, &self.rules);
            self.has_more_than_ack(connection) || (connection.ack == AckState::Due && is_overdue())
        })
    }

    fn has_more_than_ack(&self, connection: &AttachedConnection) -> bool {
        connection.pong.is_some()
            || !connection.frames.is_empty()
            || connection.next_out < self.retained.next()
            || self.role.server().is_some_and(|server| server.tokens.is_due(connection.next_out))
    }

    /// Returns `true` if the client has requested a list that was not sent.
    pub(crate) fn has_lists_to_answer(&self) -> bool {
        self.role.server().is_some_and(|server| !server.lists.is_empty())
    }

    /// Returns the next frame, or else the next message to retransmit.
    pub(crate) fn poll_transmit(&mut self) -> Option<String> {
        if !self.has_transmit() {
            return None;
        }
        let ConnectionState::Attached(connection) = &mut self.connection else { return None };
        if let Some(frame) = connection.frames.pop_front() {
            return Some(frame.write());
        }
        let last_processed_seq = self.received.processed;
        if let Some((ping_nonce, came)) = connection.pong.take() {
            self.reported();
            return Some(Frame::Pong { ping_nonce, received_at: Some(millis(came)), last_processed_seq }.write());
        }
        if connection.ack == AckState::Due {
            self.reported();
            let checkpoint = self.role.client().and_then(|client| client.covers).map(|covers| covers.checkpoint);
            return Some(Frame::Ack { last_processed_seq, checkpoint }.write());
        }
        if let RoleState::Server(server) = &mut self.role
            && let Some(frame) = server.tokens.poll_due(connection.next_out)
        {
            return Some(frame.write());
        }
        let text = self.retained.get(connection.next_out)?;
        connection.next_out += 1;
        self.free();
        Some(text)
    }

    /// Drops acknowledged messages from the retransmit buffer.
    pub(super) fn free(&mut self) {
        let Some(connection) = self.connection.attached() else { return };
        let last = connection.last_done();
        self.retained.confirm(last);
        while self.left.first().is_some_and(|number| *number <= last) {
            self.left.pop_first();
        }
    }

    fn reported(&mut self) {
        if let ConnectionState::Attached(connection) = &mut self.connection {
            connection.ack = AckState::NotDue;
        }
        self.received.reported = self.received.processed;
        self.received.unreported_bytes = 0;
    }

    /// Numbers a message that is about to be written, and adds it to the retransmit buffer.
    pub(crate) fn send(&mut self, text: &str, is_joint: bool) {
        let ConnectionState::Attached(connection) = &mut self.connection else { return };
        self.retained.push(text);
        if is_joint {
            self.last_joint = connection.next_out;
        }
        connection.next_out += 1;
    }

    /// Returns the number of the message that was polled last.
    fn last_polled(&self) -> u64 {
        self.connection.attached().map_or(0, |connection| connection.next_out - 1)
    }

    /// Returns `true` if the text of the message that was polled last differs from what the session
    /// wrote.
    pub(crate) fn has_left(&self) -> bool {
        !self.left.is_empty() && self.left.contains(&self.last_polled())
    }

    /// Replaces the text of the message that was polled last, if it is new, so that a
    /// retransmission is identical.
    pub(crate) fn leaves_as(&mut self, text: &str) {
        let number = self.last_polled();
        if self.retained.replace_last(number, text) {
            self.left.insert(number);
        }
    }

    /// Returns the number of the last message in the retransmit buffer, or the last that was there.
    pub(crate) fn last(&self) -> u64 {
        self.retained.next() - 1
    }

    /// Returns `true` if new calls, and everything behind them, wait for another connection because
    /// the server stops and its session will be recovered elsewhere.
    pub(crate) fn holds_back(&self) -> bool {
        self.features.durable && self.role.client().is_some_and(|client| client.is_draining)
    }

    /// Returns `true` if the retransmit buffer has no room for another message.
    pub(crate) fn is_full(&self) -> bool {
        self.is_over(1, 1)
    }

    /// Returns `true` if the retransmit buffer has no room for `bytes` in `messages` more.
    pub(crate) fn is_over(&self, bytes: usize, messages: usize) -> bool {
        self.retained.bytes() + bytes > self.rules.retain_bytes
            || self.retained.len() + messages > self.rules.retain_messages
    }

    /// Returns when to call [`handle_timeout`](Self::handle_timeout) at the latest.
    pub(crate) fn poll_timeout(&self) -> Option<Time> {
        let connection = self.connection.attached()?;
        let ack_due_at = connection.ack_due_at();
        if !self.features.heartbeat {
            return ack_due_at;
        }
        let silence = if connection.is_pinged { self.rules.dead_after } else { self.rules.heartbeat };
        let stuck = self.is_full().then(|| connection.acked_at + self.rules.dead_after);
        [Some(connection.heard_at + silence), ack_due_at, stuck].into_iter().flatten().min()
    }

    /// Handles a timeout. Returns `false` if the peer is dead: it has been silent, or has
    /// acknowledged nothing while the retransmit buffer was full.
    pub(crate) fn handle_timeout(&mut self, now: Time) -> bool {
        let is_full = self.is_full();
        let ConnectionState::Attached(connection) = &mut self.connection else { return true };
        if connection.ack_due_at().is_some_and(|due_at| due_at <= now) {
            connection.ack = AckState::Due;
        }
        if !self.features.heartbeat {
            return true;
        }
        let LinkRules { heartbeat, dead_after, .. } = self.rules;
        let silence = now.since(connection.heard_at);
        if silence >= dead_after || (is_full && now.since(connection.acked_at) >= dead_after) {
            return false;
        }
        if silence >= heartbeat && !connection.is_pinged {
            self.pings += 1;
            connection.is_pinged = true;
            connection.ping_sent = Some(now);
            connection.frames.push_back(Frame::Ping { nonce: self.pings.to_string(), sent_at: Some(millis(now)) });
        }
        true
    }
}

fn millis(time: Time) -> u64 {
    time.0.as_millis().try_into().unwrap_or(u64::MAX)
}
