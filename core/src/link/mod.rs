//! The link: what lets a session outlive its transport. It numbers the messages of both
//! directions without writing the numbers down, keeps what the peer has not confirmed, and tells
//! a silent peer from a dead one.
//!
//! Messages are opaque text here. Numbers begin at 1 and count messages, never frames. One
//! transport at a time is attached; what comes from any other is not looked at.

mod frame;
pub mod handshake;
mod retain;
mod tokens;

use std::collections::VecDeque;
use std::time::Duration;

pub use frame::{Covers, Credentials, Frame, Hello, Identity, Left, Mode, Refused, Resume, Resumed, Secret, Welcome};
use tokens::Tokens;

use crate::error::ErrorCode;
use crate::time::Time;
use retain::Retained;

/// The subprotocol by which client and server agree to use the link.
pub const SUBPROTOCOL: &str = "bowline.v1";

/// The header by which a server confirms the link in its answer to the handshake. Some servers
/// echo any subprotocol that is offered; none echoes this.
pub const CONFIRMATION: &str = "bowline-link";

/// Which end of the link this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The one that dials.
    Client,
    /// The one that keeps the session.
    Server,
}

/// Times and bounds of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinkRules {
    /// A peer that sent nothing for so long is sent a ping. Default 20 s.
    pub heartbeat: Duration,
    /// A transport that brought nothing for so long is given up. Default 40 s.
    pub dead_after: Duration,
    /// Messages after which the peer is told that they arrived. Default 32.
    pub ack_messages: u64,
    /// Bytes of messages after which it is told. Default 64 KiB.
    pub ack_bytes: usize,
    /// Time after which it is told. Default 100 ms.
    pub ack_after: Duration,
    /// Bytes of messages that are kept until the peer has confirmed them. Beyond: while there is
    /// a transport, messages wait; without, a client refuses new calls and a server gives the
    /// session up, both with `BUFFER_OVERFLOW`. Default 4 MiB.
    pub retain_bytes: usize,
    /// Messages that are kept. Beyond: as `retain_bytes`. Default 4,096.
    pub retain_messages: usize,
}

impl Default for LinkRules {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(20),
            dead_after: Duration::from_secs(40),
            ack_messages: 32,
            ack_bytes: 64 << 10,
            ack_after: Duration::from_millis(100),
            retain_bytes: 4 << 20,
            retain_messages: 4_096,
        }
    }
}

/// One transport's turn at carrying a session. Later ones are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attachment(pub(crate) u64);

/// Where both sides stand when a transport begins its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Joint {
    /// The number of our last message that the peer has carried out.
    pub peer_processed: u64,
    /// The number after which the peer's messages follow; `None` is wherever we are.
    pub peer_sends_after: Option<u64>,
    /// The peer answers pings.
    pub heartbeat: bool,
}

/// The link of one session.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Link {
    role: Role,
    rules: LinkRules,
    retained: Retained,
    attached: Option<Attachment>,
    attachments: u64,
    /// The number of the message that is written next on the transport.
    next_out: u64,
    /// The number of our last message that the peer says it has carried out.
    peer_processed: u64,
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
    report: bool,
    /// When the peer was last heard.
    heard_at: Time,
    /// The peer has spoken on the newest transport.
    pub(crate) heard: bool,
    /// The peer has sent a frame on the newest transport, not only messages.
    pub(crate) heard_frame: bool,
    /// The peer answers pings.
    heartbeat: bool,
    pings: u64,
    /// A ping was sent and nothing came since.
    pinged: bool,
    /// What is written ahead of messages.
    frames: VecDeque<Frame>,
    /// The nonce of the newest ping that is not answered.
    pong: Option<String>,
    /// The newest token that came, until somebody takes it.
    pub(crate) token: Option<Secret>,
    /// Tokens of checkpoints, which keep their place among the messages.
    pub(crate) tokens: Tokens,
    /// New messages wait for another transport: on the client, because the server asked for it; on
    /// the server, the client says so.
    pub(crate) drains: bool,
    /// What the newest checkpoint covers that the client holds a token of.
    pub(crate) covers: Option<Covers>,
}

/// What a frame asks of whoever runs the session.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Asked {
    Nothing,
    /// The peer ended the session.
    End {
        code: Option<ErrorCode>,
        reason: String,
        answer: bool,
    },
    /// The peer broke the rules of the link.
    Broken(ErrorCode, String),
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
            heartbeat: false,
            pings: 0,
            pinged: false,
            frames: VecDeque::new(),
            pong: None,
            token: None,
            tokens: Tokens::default(),
            drains: false,
            covers: None,
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

    /// Bytes and number of messages that are kept.
    pub(crate) fn retained(&self) -> (usize, usize) {
        (self.retained.bytes(), self.retained.len())
    }

    /// Begins the turn of a new transport; the one before, if any, has had its turn from here on.
    /// Returns how many messages will be sent again.
    pub(crate) fn attach(&mut self, now: Time, joint: Joint) -> Result<(Attachment, u64), Refused> {
        let gap = |message: String| Err(Refused::new(ErrorCode::ResumeGap, message));
        let Joint { peer_processed, peer_sends_after, heartbeat } = joint;
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
        self.retained.confirm(peer_processed);
        self.attachments += 1;
        let attachment = Attachment(self.attachments);
        self.attached = Some(attachment);
        self.next_out = peer_processed + 1;
        self.peer_processed = peer_processed;
        self.next_in = peer_sends_after + 1;
        self.heartbeat = heartbeat;
        self.heard = false;
        self.heard_frame = false;
        self.tokens.begin_turn();
        self.drains = false;
        self.quiet(now);
        // What the peer was told last may not have arrived.
        self.report = true;
        Ok((attachment, self.retained.next() - self.next_out))
    }

    /// The peer has lost its memory: both sides count from 1 again.
    pub(crate) fn begin_anew(&mut self) {
        self.retained = Retained::new();
        self.attached = None;
        (self.next_out, self.next_in) = (1, 1);
        (self.peer_processed, self.processed, self.reported, self.unreported_bytes) = (0, 0, 0, 0);
        self.frames.clear();
        self.covers = None;
    }

    /// Ends the turn of a transport.
    pub(crate) fn detach(&mut self, now: Time) {
        self.attached = None;
        self.quiet(now);
    }

    fn quiet(&mut self, now: Time) {
        self.frames.clear();
        self.pong = None;
        self.pinged = false;
        self.heard_at = now;
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

    pub(crate) fn handle(&mut self, frame: Frame) -> Asked {
        self.heard_frame = true;
        if let (Frame::Ack { checkpoint: Some(checkpoint), .. }, Role::Server) = (&frame, self.role)
            && !self.tokens.confirm(*checkpoint)
        {
            let message = format!("checkpoint {checkpoint} was never sent");
            return Asked::Broken(ErrorCode::ResumeGap, message);
        }
        match (frame, self.role) {
            (Frame::Ack { last_processed_seq, .. } | Frame::Pong { last_processed_seq, .. }, _) => {
                if last_processed_seq >= self.retained.next() {
                    let message = format!("message {last_processed_seq} was never sent");
                    return Asked::Broken(ErrorCode::ResumeGap, message);
                }
                self.peer_processed = self.peer_processed.max(last_processed_seq);
                self.free();
            }
            (Frame::Ping { nonce }, _) => self.pong = Some(nonce),
            (Frame::Token { resume_token, covers }, Role::Client) => {
                self.token = Some(resume_token);
                if covers.is_some() {
                    self.covers = covers;
                    self.report = true;
                }
            }
            (Frame::Evicted { code, reason }, Role::Client) => {
                return Asked::End { code: Some(code), reason, answer: false };
            }
            (Frame::Close { reason }, _) => {
                return Asked::End { code: None, reason: reason.unwrap_or_default(), answer: true };
            }
            (Frame::Drain { .. }, role) => {
                if role == Role::Client && !self.drains {
                    self.frames.push_back(Frame::Drain { retry_after_ms: None });
                }
                self.drains = true;
            }
            (Frame::Closed { .. }, _) => {}
            _ => return Asked::Broken(ErrorCode::InvalidRequest, "this frame has no place here".to_owned()),
        }
        Asked::Nothing
    }

    /// Queues a frame ahead of all messages, if there is a transport.
    pub(crate) fn queue(&mut self, frame: Frame) {
        if self.attached.is_some() {
            self.frames.push_back(frame);
        }
    }

    /// There is something to write that is not a new message.
    pub(crate) fn has_transmit(&self) -> bool {
        self.report
            || self.pong.is_some()
            || !self.frames.is_empty()
            || self.next_out < self.retained.next()
            || self.tokens.is_due(self.next_out)
    }

    /// The next frame, else the next message that was sent before.
    pub(crate) fn poll_transmit(&mut self) -> Option<String> {
        if let Some(frame) = self.frames.pop_front() {
            return Some(frame.write());
        }
        if let Some(ping_nonce) = self.pong.take() {
            self.reported();
            return Some(Frame::Pong { ping_nonce, last_processed_seq: self.processed }.write());
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
    fn free(&mut self) {
        self.retained.confirm(self.peer_processed.min(self.next_out - 1));
    }

    fn reported(&mut self) {
        self.report = false;
        self.report_by = None;
        self.reported = self.processed;
        self.unreported_bytes = 0;
    }

    /// Numbers and keeps a message that is written now.
    pub(crate) fn send(&mut self, text: String) -> String {
        self.retained.push(&text);
        self.next_out += 1;
        text
    }

    /// The number of the last message that was written, or is kept.
    pub(crate) fn last(&self) -> u64 {
        self.retained.next() - 1
    }

    /// New messages wait for another transport.
    pub(crate) fn holds_back(&self) -> bool {
        self.drains && self.role == Role::Client
    }

    /// No further message can be kept.
    pub(crate) fn is_full(&self) -> bool {
        self.is_over(0, 0)
    }

    /// More is kept, and `bytes` in `messages` wait, than may be.
    pub(crate) fn is_over(&self, bytes: usize, messages: usize) -> bool {
        self.retained.bytes() + bytes >= self.rules.retain_bytes
            || self.retained.len() + messages >= self.rules.retain_messages
    }

    /// When `handle_timeout` wants to be called.
    pub(crate) fn poll_timeout(&self) -> Option<Time> {
        self.attached?;
        if !self.heartbeat {
            return self.report_by;
        }
        let silence = if self.pinged { self.rules.dead_after } else { self.rules.heartbeat };
        let silence = self.heard_at + silence;
        Some(self.report_by.map_or(silence, |report_by| report_by.min(silence)))
    }

    /// Does what is due; false when the peer is dead.
    pub(crate) fn handle_timeout(&mut self, now: Time) -> bool {
        if self.report_by.is_some_and(|report_by| report_by <= now) {
            self.report = true;
            self.report_by = None;
        }
        if !self.heartbeat {
            return true;
        }
        let silence = now.since(self.heard_at);
        if silence >= self.rules.dead_after {
            return false;
        }
        if silence >= self.rules.heartbeat && !self.pinged {
            self.pinged = true;
            self.pings += 1;
            let nonce = self.pings.to_string();
            self.frames.push_back(Frame::Ping { nonce });
        }
        true
    }
}
