//! The state machine of a link: numbering, retransmission, acknowledgments, and heartbeats.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use super::control::Control;
use super::frame::Frame;
use super::greeting::{Covers, Refused, Ticket};
use super::retain::Retained;
use super::tokens::Tokens;
use super::{Attachment, Features, Joint, LinkRules, Role};
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
    pub(super) role: Role,
    rules: LinkRules,
    pub(super) retained: Retained,
    attached: Option<Attachment>,
    attachments: u64,
    /// The number of the message to write next on the connection. Messages from here to the end of
    /// `retained` are still to be retransmitted.
    next_out: u64,
    /// Retained messages whose text differs from what the session wrote.
    left: BTreeSet<u64>,
    /// The number of the last message that joins several in one.
    last_joint: u64,
    /// The number of the last message that the peer has acknowledged.
    pub(super) peer_processed: u64,
    /// The number of the peer's last message that was handled.
    processed: u64,
    /// The number of the message that arrives next on the connection. Not above `processed` while
    /// the peer retransmits what arrived before.
    next_in: u64,
    /// The value of `processed` that was last reported to the peer.
    reported: u64,
    unreported_bytes: usize,
    /// When an ack becomes due.
    report_by: Option<Time>,
    /// An ack is due.
    pub(super) report: bool,
    /// When something was last received.
    heard_at: Time,
    /// The peer has sent something on the current connection.
    pub(crate) heard: bool,
    /// The peer has sent a frame, not only messages, on the current connection.
    pub(crate) heard_frame: bool,
    /// The features that both sides support.
    pub(crate) features: Features,
    pub(super) pings: u64,
    /// A ping was sent, and nothing was received since.
    pinged: bool,
    /// When the newest ping was sent, until its pong arrives.
    pub(super) ping_sent: Option<Time>,
    pub(super) round_trip: Option<Duration>,
    /// When the peer last acknowledged a message.
    pub(super) confirmed_at: Time,
    /// More than three quarters of the retransmit buffer is in use, and less than a quarter has not
    /// been reached since.
    is_slow: bool,
    /// Frames to write before messages.
    pub(super) frames: VecDeque<Frame>,
    /// The nonce of the newest unanswered ping, and when it arrived.
    pub(super) pong: Option<(String, Time)>,
    /// The newest token received, until it is taken.
    pub(crate) token: Option<Ticket>,
    /// Tokens are acknowledged only once they are saved where they outlive the process.
    pub(crate) saves: bool,
    /// What the newest token covers, while it is not saved.
    pub(crate) unsaved: Option<Covers>,
    /// Tokens of checkpoints, each with its position among the messages.
    pub(crate) tokens: Tokens,
    /// The server stops. On the client: the server has announced it. On the server: the client has
    /// confirmed that it holds new calls back.
    pub(crate) drains: bool,
    /// What the newest checkpoint covers whose token the client has.
    pub(crate) covers: Option<Covers>,
    /// Received control frames that have not been acted on.
    pub(crate) control: Control,
}

impl Link {
    pub(crate) fn new(role: Role, rules: LinkRules) -> Self {
        Self {
            role,
            rules,
            retained: Retained::new(),
            attached: None,
            attachments: 0,
            next_out: 1,
            left: BTreeSet::new(),
            last_joint: 0,
            peer_processed: 0,
            processed: 0,
            next_in: 1,
            reported: 0,
            unreported_bytes: 0,
            report_by: None,
            report: false,
            heard_at: Time::default(),
            heard: false,
            heard_frame: false,
            features: Features::default(),
            pings: 0,
            pinged: false,
            ping_sent: None,
            round_trip: None,
            confirmed_at: Time::default(),
            is_slow: false,
            frames: VecDeque::new(),
            pong: None,
            token: None,
            saves: false,
            unsaved: None,
            tokens: Tokens::default(),
            drains: false,
            covers: None,
            control: Control::default(),
        }
    }

    pub(crate) fn role(&self) -> Role {
        self.role
    }

    pub(crate) fn processed(&self) -> u64 {
        self.processed
    }

    pub(crate) fn first_retained(&self) -> u64 {
        self.retained.first()
    }

    pub(crate) fn attached(&self) -> Option<Attachment> {
        self.attached
    }

    pub(crate) fn stats(&self) -> LinkStats {
        LinkStats {
            is_attached: self.attached.is_some(),
            retained_bytes: self.retained.bytes(),
            retained_messages: self.retained.len(),
            sent: self.last(),
            processed: self.processed,
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
    pub(crate) fn attach(&mut self, now: Time, joint: Joint) -> Result<(Attachment, u64), Refused> {
        let gap = |message: String| Err(Refused::new(ErrorCode::ResumeGap, message));
        let Joint { peer_processed, peer_sends_after, features } = joint;
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
        let peer_sends_after = peer_sends_after.unwrap_or(self.processed);
        if peer_sends_after > self.processed {
            return gap(format!(
                "the peer continues after message {peer_sends_after}, but only {} arrived",
                self.processed
            ));
        }
        if self.last_joint > peer_processed && !features.calls {
            return gap(format!("message {} joins several in one, which the peer no longer supports", self.last_joint));
        }
        self.retained.confirm(peer_processed);
        self.attachments += 1;
        let attachment = Attachment(self.attachments);
        self.attached = Some(attachment);
        self.next_out = peer_processed + 1;
        self.peer_processed = peer_processed;
        self.next_in = peer_sends_after + 1;
        self.features = features;
        self.heard = false;
        self.heard_frame = false;
        self.tokens.begin_turn();
        // A token that arrived on the previous connection is older than the one in `resumed`.
        (self.token, self.unsaved) = (None, None);
        self.drains = false;
        self.quiet(now);
        // The last ack and the list requests may not have arrived.
        self.report = true;
        self.frames.extend(self.control.asking());
        Ok((attachment, self.retained.next() - self.next_out))
    }

    /// Resets the numbers of both directions, for a peer whose process was replaced.
    pub(crate) fn begin_anew(&mut self) {
        self.retained = Retained::new();
        self.attached = None;
        (self.next_out, self.next_in) = (1, 1);
        self.left.clear();
        self.last_joint = 0;
        (self.peer_processed, self.processed, self.reported, self.unreported_bytes) = (0, 0, 0, 0);
        self.frames.clear();
        self.tokens.clear();
        (self.covers, self.token, self.unsaved) = (None, None, None);
    }

    /// Detaches the connection.
    pub(crate) fn detach(&mut self, now: Time) {
        self.attached = None;
        self.quiet(now);
    }

    fn quiet(&mut self, now: Time) {
        self.frames.clear();
        self.pong = None;
        (self.pinged, self.ping_sent) = (false, None);
        (self.heard_at, self.confirmed_at) = (now, now);
        self.control.begin_turn();
        self.report_by = None;
        self.report = false;
    }

    /// Records that something was received.
    pub(crate) fn hear(&mut self, now: Time) {
        self.heard = true;
        self.heard_at = now;
        self.pinged = false;
    }

    /// Counts a message that was received. Returns `false` if it is a retransmission of one that
    /// was already handled.
    pub(crate) fn count(&mut self, now: Time, bytes: usize) -> bool {
        let number = self.next_in;
        self.next_in += 1;
        if number <= self.processed {
            return false;
        }
        self.processed = number;
        self.unreported_bytes += bytes;
        if self.processed - self.reported >= self.rules.ack_messages || self.unreported_bytes >= self.rules.ack_bytes {
            self.report = true;
        } else if self.report_by.is_none() {
            self.report_by = Some(now + self.rules.ack_after);
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
        self.is_slow
    }

    /// Queues a frame before all messages. Does nothing without a connection.
    pub(crate) fn queue(&mut self, frame: Frame) {
        if self.attached.is_some() {
            self.frames.push_back(frame);
        }
    }

    /// Returns `true` if there is something to write other than new messages.
    pub(crate) fn has_transmit(&self) -> bool {
        self.report || self.has_more_than_report()
    }

    /// Returns `true` if there is something to write other than new messages and an ack that may
    /// still wait.
    pub(crate) fn has_urgent(&self) -> bool {
        let LinkRules { ack_messages, ack_bytes, .. } = self.rules;
        let is_overdue = self.processed - self.reported >= OVERDUE as u64 * ack_messages
            || self.unreported_bytes >= OVERDUE * ack_bytes;
        self.has_more_than_report() || (self.report && (is_overdue || !self.heard))
    }

    fn has_more_than_report(&self) -> bool {
        self.pong.is_some()
            || !self.frames.is_empty()
            || self.next_out < self.retained.next()
            || self.tokens.is_due(self.next_out)
    }

    /// Returns the next frame, or else the next message to retransmit.
    pub(crate) fn poll_transmit(&mut self) -> Option<String> {
        if !self.has_transmit() {
            return None;
        }
        if let Some(frame) = self.frames.pop_front() {
            return Some(frame.write());
        }
        if let Some((ping_nonce, came)) = self.pong.take() {
            self.reported();
            let received_at = Some(millis(came));
            return Some(Frame::Pong { ping_nonce, received_at, last_processed_seq: self.processed }.write());
        }
        if self.report {
            self.reported();
            let checkpoint = self.covers.map(|covers| covers.checkpoint);
            return Some(Frame::Ack { last_processed_seq: self.processed, checkpoint }.write());
        }
        if let Some(frame) = self.tokens.take_due(self.next_out) {
            return Some(frame.write());
        }
        let text = self.retained.get(self.next_out)?;
        self.next_out += 1;
        self.free();
        Some(text)
    }

    /// Drops acknowledged messages from the retransmit buffer. A message that is still to be
    /// written on this connection is kept until then, even if it was acknowledged: the peer counts
    /// messages, so none may be left out.
    pub(super) fn free(&mut self) {
        let confirmed = self.peer_processed.min(self.next_out - 1);
        self.retained.confirm(confirmed);
        while self.left.first().is_some_and(|number| *number <= confirmed) {
            self.left.pop_first();
        }
    }

    fn reported(&mut self) {
        self.report = false;
        self.report_by = None;
        self.reported = self.processed;
        self.unreported_bytes = 0;
    }

    /// Numbers a message that is about to be written, and adds it to the retransmit buffer.
    pub(crate) fn send(&mut self, text: &str, is_joint: bool) {
        self.retained.push(text);
        if is_joint {
            self.last_joint = self.next_out;
        }
        self.next_out += 1;
    }

    /// Returns `true` if the text of the message that was polled last differs from what the session
    /// wrote.
    pub(crate) fn has_left(&self) -> bool {
        self.left.contains(&(self.next_out - 1))
    }

    /// Replaces the text of the message that was polled last, if it is new, so that a
    /// retransmission is identical.
    pub(crate) fn leaves_as(&mut self, text: &str) {
        if self.retained.replace_last(self.next_out - 1, text) {
            self.left.insert(self.next_out - 1);
        }
    }

    /// Returns the number of the last message in the retransmit buffer, or the last that was there.
    pub(crate) fn last(&self) -> u64 {
        self.retained.next() - 1
    }

    /// Returns `true` if new calls, and everything behind them, wait for another connection because
    /// the server stops and its session will be recovered elsewhere.
    pub(crate) fn holds_back(&self) -> bool {
        self.drains && self.role == Role::Client && self.features.durable
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
        self.attached?;
        if !self.features.heartbeat {
            return self.report_by;
        }
        let silence = if self.pinged { self.rules.dead_after } else { self.rules.heartbeat };
        let stuck = self.is_full().then(|| self.confirmed_at + self.rules.dead_after);
        [Some(self.heard_at + silence), self.report_by, stuck].into_iter().flatten().min()
    }

    /// Handles a timeout. Returns `false` if the peer is dead: it has been silent, or has
    /// acknowledged nothing while the retransmit buffer was full.
    pub(crate) fn handle_timeout(&mut self, now: Time) -> bool {
        if self.report_by.is_some_and(|report_by| report_by <= now) {
            self.report = true;
            self.report_by = None;
        }
        if !self.features.heartbeat {
            return true;
        }
        let LinkRules { heartbeat, dead_after, .. } = self.rules;
        let silence = now.since(self.heard_at);
        if silence >= dead_after || (self.is_full() && now.since(self.confirmed_at) >= dead_after) {
            return false;
        }
        if silence >= heartbeat && !self.pinged {
            self.pinged = true;
            self.pings += 1;
            self.ping_sent = Some(now);
            self.frames.push_back(Frame::Ping { nonce: self.pings.to_string(), sent_at: Some(millis(now)) });
        }
        true
    }
}

fn millis(time: Time) -> u64 {
    time.0.as_millis().try_into().unwrap_or(u64::MAX)
}
