//! The link of one session: what is numbered, kept and confirmed, and who is still there.

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

/// An ack that is due waits for something to go with until so many times as much has arrived.
const OVERDUE: usize = 8;

/// How a link stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinkStats {
    /// There is a transport.
    pub is_attached: bool,
    /// Bytes of messages that the peer has not confirmed.
    pub retained_bytes: usize,
    /// The number of those messages: how far the peer lags behind.
    pub retained_messages: usize,
    /// Messages that were sent, each counted once.
    pub sent: u64,
    /// Messages of the peer's that were carried out.
    pub processed: u64,
    /// Transports that the session has had.
    pub transports: u64,
    /// How long the last ping took there and back.
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
    /// The number of the message that is written next on the transport.
    next_out: u64,
    /// Messages that are kept as they left, which is not as the session wrote them.
    left: BTreeSet<u64>,
    /// The number of the last message that is several in one.
    last_joint: u64,
    /// The number of our last message that the peer says it has carried out.
    pub(super) peer_processed: u64,
    /// The number of the peer's last message that was carried out.
    processed: u64,
    /// The number of the message that arrives next on the transport.
    next_in: u64,
    /// `processed` as the peer was last told.
    reported: u64,
    unreported_bytes: usize,
    /// When the peer is to be told at the latest.
    report_by: Option<Time>,
    /// The peer is to be told now.
    pub(super) report: bool,
    /// When the peer was last heard.
    heard_at: Time,
    /// The peer has spoken on the newest transport.
    pub(crate) heard: bool,
    /// The peer has sent a frame on the newest transport, not only messages.
    pub(crate) heard_frame: bool,
    /// What both can do.
    pub(crate) features: Features,
    pub(super) pings: u64,
    /// A ping was sent and nothing came since.
    pinged: bool,
    /// When the newest ping was sent, until its answer comes.
    pub(super) ping_sent: Option<Time>,
    pub(super) round_trip: Option<Duration>,
    /// When the peer last confirmed something.
    pub(super) confirmed_at: Time,
    /// So much is unconfirmed that somebody should know.
    is_slow: bool,
    /// What is written ahead of messages.
    pub(super) frames: VecDeque<Frame>,
    /// The nonce of the newest ping that is not answered, and when it came.
    pub(super) pong: Option<(String, Time)>,
    /// The newest token that came, until somebody takes it.
    pub(crate) token: Option<Ticket>,
    /// The server hears of a token only when that is kept where it outlives this process.
    pub(crate) saves: bool,
    /// What the token covers that is not kept yet.
    pub(crate) unsaved: Option<Covers>,
    /// Tokens of checkpoints, which keep their place among the messages.
    pub(crate) tokens: Tokens,
    /// The server stops: on the client, it has said so; on the server, the client has answered that
    /// its new calls wait.
    pub(crate) drains: bool,
    /// What the newest checkpoint covers that the client holds a token of.
    pub(crate) covers: Option<Covers>,
    /// What was said beside messages and is to be acted upon.
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

    /// Returns the bytes of messages that may have to be sent again.
    pub(crate) fn retained_bytes(&self) -> usize {
        self.retained.bytes()
    }

    /// Begins the turn of a new transport; the one before, if any, has had its turn from here on.
    /// Returns how many messages will be sent again.
    pub(crate) fn attach(&mut self, now: Time, joint: Joint) -> Result<(Attachment, u64), Refused> {
        let gap = |message: String| Err(Refused::new(ErrorCode::ResumeGap, message));
        let Joint { peer_processed, peer_sends_after, features } = joint;
        if peer_processed >= self.retained.next() {
            return gap(format!("message {peer_processed} was never sent"));
        }
        if peer_processed + 1 < self.retained.first() {
            let first = self.retained.first();
            return gap(format!("message {} is not kept any more, the first is {first}", peer_processed + 1));
        }
        let peer_sends_after = peer_sends_after.unwrap_or(self.processed);
        if peer_sends_after > self.processed {
            return gap(format!("the peer goes on after {peer_sends_after}, and {} arrived", self.processed));
        }
        if self.last_joint > peer_processed && !features.calls {
            return gap(format!("message {} is several in one, which the peer does not know of", self.last_joint));
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
        // A token of the transport before is older than the one that came with this transport.
        (self.token, self.unsaved) = (None, None);
        self.drains = false;
        self.quiet(now);
        // What the peer was told or asked last may not have arrived.
        self.report = true;
        self.frames.extend(self.control.asking());
        Ok((attachment, self.retained.next() - self.next_out))
    }

    /// The peer has lost its memory: both sides count from 1 again.
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

    /// Ends the turn of a transport.
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

    /// Something arrived.
    pub(crate) fn hear(&mut self, now: Time) {
        self.heard = true;
        self.heard_at = now;
        self.pinged = false;
    }

    /// Counts a message that arrived; false if it had arrived before.
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

    /// True once, when more than three quarters of what may be kept is; then again when it was
    /// less than one quarter before.
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

    /// Queues a frame ahead of all messages, if there is a transport.
    pub(crate) fn queue(&mut self, frame: Frame) {
        if self.attached.is_some() {
            self.frames.push_back(frame);
        }
    }

    /// There is something to write that is not a new message.
    pub(crate) fn has_transmit(&self) -> bool {
        self.report || self.has_more_than_report()
    }

    /// The same, but for an ack that may as well go with what comes next.
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

    /// The next frame, else the next message that was sent before.
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

    /// Frees what the peer has. What is still to be written on this transport stays until it is,
    /// though the peer may have it from before: the peer counts what it is sent.
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

    /// Numbers and keeps a message that is written now; a joint one is several in one.
    pub(crate) fn send(&mut self, text: &str, is_joint: bool) {
        self.retained.push(text);
        if is_joint {
            self.last_joint = self.next_out;
        }
        self.next_out += 1;
    }

    /// Whether the message that was polled last is kept as it left.
    pub(crate) fn has_left(&self) -> bool {
        self.left.contains(&(self.next_out - 1))
    }

    /// Keeps the message that was polled last as it leaves, if it is new: sent again, it is the same.
    pub(crate) fn leaves_as(&mut self, text: &str) {
        if self.retained.replace_last(self.next_out - 1, text) {
            self.left.insert(self.next_out - 1);
        }
    }

    /// The number of the last message that was written, or is kept.
    pub(crate) fn last(&self) -> u64 {
        self.retained.next() - 1
    }

    /// New calls, and what comes behind them, wait for another transport: the server stops, and the
    /// session goes on elsewhere.
    pub(crate) fn holds_back(&self) -> bool {
        self.drains && self.role == Role::Client && self.features.durable
    }

    /// No further message can be kept.
    pub(crate) fn is_full(&self) -> bool {
        self.is_over(1, 1)
    }

    /// More is kept, and `bytes` in `messages` wait, than may be.
    pub(crate) fn is_over(&self, bytes: usize, messages: usize) -> bool {
        self.retained.bytes() + bytes > self.rules.retain_bytes
            || self.retained.len() + messages > self.rules.retain_messages
    }

    /// When `handle_timeout` wants to be called.
    pub(crate) fn poll_timeout(&self) -> Option<Time> {
        self.attached?;
        if !self.features.heartbeat {
            return self.report_by;
        }
        let silence = if self.pinged { self.rules.dead_after } else { self.rules.heartbeat };
        let stuck = self.is_full().then(|| self.confirmed_at + self.rules.dead_after);
        [Some(self.heard_at + silence), self.report_by, stuck].into_iter().flatten().min()
    }

    /// Does what is due; false when the peer is dead: it is silent, or it talks and takes nothing in.
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
