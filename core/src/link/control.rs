//! Control frames that were received, and the actions that they require.

use std::collections::{BTreeMap, VecDeque};

use super::frame::Frame;
use super::greeting::{Covers, Drain, Lease, Ticket};
use super::list::{List, Objects};
use super::machine::Link;
use super::secret::Secret;
use super::{Features, Role};
use crate::error::ErrorCode;
use crate::time::Time;

/// The maximum number of unanswered list requests. A client that sends more violates the protocol.
const LISTS_MAX: usize = 16;

/// A request for new credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refresh {
    /// The deadline, in seconds since 1970.
    pub deadline: u64,
    /// A challenge, for schemes that need one.
    pub challenge: Option<String>,
}

/// What a frame requires of the session.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Asked {
    Nothing,
    /// The peer ended the session. `answer` says whether it expects a `closed`.
    End {
        code: Option<ErrorCode>,
        reason: String,
        answer: bool,
    },
    /// The peer violated the protocol of the link.
    Broken(ErrorCode, String),
}

/// Received control frames that have not been acted on.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Control {
    /// On the client: a request for new credentials.
    pub(crate) refresh: Option<Refresh>,
    /// On the server: credentials that the client has sent.
    pub(crate) response: Option<Secret>,
    /// On the server: a drain was announced on this connection.
    pub(crate) asked_to_drain: bool,
    /// On the client: the server's announcement of a drain.
    pub(crate) drain: Option<Drain>,
    /// On the client: its lease.
    pub(crate) lease: Option<Lease>,
    /// On the server: list requests to answer.
    pub(crate) lists: VecDeque<List>,
    /// On the client: list requests without an answer, by request id.
    asking: BTreeMap<u64, List>,
    asked: u64,
    /// On the client: answers that were not taken.
    pub(crate) objects: VecDeque<Objects>,
}

impl Control {
    /// Returns the unanswered list requests, to be repeated on a new connection.
    pub(super) fn asking(&self) -> impl Iterator<Item = Frame> {
        self.asking.values().cloned().map(Frame::List)
    }

    /// Drops what belongs to the previous connection.
    pub(super) fn begin_turn(&mut self) {
        (self.refresh, self.response) = (None, None);
        self.asked_to_drain = false;
        self.lists.clear();
    }

    /// Returns `true` if the owner of the session must act on a frame.
    pub(crate) fn asks(&self) -> bool {
        self.refresh.is_some() || self.response.is_some()
    }
}

impl Link {
    pub(crate) fn handle(&mut self, now: Time, frame: Frame) -> Asked {
        self.heard_frame = true;
        if !self.is_agreed(&frame) {
            return Asked::Broken(ErrorCode::InvalidRequest, "the feature of this frame was not negotiated".to_owned());
        }
        if let (Frame::Ack { checkpoint: Some(checkpoint), .. }, Role::Server) = (&frame, self.role)
            && !self.tokens.confirm(*checkpoint)
        {
            let message = format!("checkpoint {checkpoint} was never sent");
            return Asked::Broken(ErrorCode::ResumeGap, message);
        }
        match (frame, self.role) {
            (Frame::Ack { last_processed_seq, .. }, _) => return self.confirmed(now, last_processed_seq),
            (Frame::Pong { last_processed_seq, ping_nonce, .. }, _) => {
                if ping_nonce == self.pings.to_string() {
                    self.round_trip = self.ping_sent.take().map(|sent| now.since(sent)).or(self.round_trip);
                }
                return self.confirmed(now, last_processed_seq);
            }
            (Frame::Ping { nonce, .. }, _) => self.pong = Some((nonce, now)),
            (Frame::Token { resume_token, resume_key, covers, lease }, Role::Client) => {
                // The previous token may not have been taken, and the new one may use its key.
                let key_before = self.token.take().and_then(|before| before.resume_key);
                self.token = Some(Ticket { resume_token, resume_key: resume_key.or(key_before) });
                self.control.lease = lease.or(self.control.lease);
                match covers {
                    Some(_) if self.saves => self.unsaved = covers,
                    Some(covers) => self.hold_token_of(covers),
                    None => {}
                }
            }
            (Frame::Refresh { deadline, challenge }, Role::Client) => {
                self.control.refresh = Some(Refresh { deadline, challenge });
            }
            (Frame::Authenticate { response }, Role::Server) => self.control.response = Some(response),
            (Frame::List(list), Role::Server) => {
                if self.control.lists.len() == LISTS_MAX {
                    let message = format!("at most {LISTS_MAX} list requests may be pending");
                    return Asked::Broken(ErrorCode::RateLimited, message);
                }
                self.control.lists.push_back(list);
            }
            (Frame::Objects(objects), Role::Client) => {
                if self.control.asking.remove(&objects.request_id).is_some() {
                    self.control.objects.push_back(objects);
                }
            }
            (Frame::Evicted { code, reason }, Role::Client) => {
                return Asked::End { code: Some(code), reason, answer: false };
            }
            (Frame::Close { reason }, _) => {
                return Asked::End { code: None, reason: reason.unwrap_or_default(), answer: true };
            }
            (Frame::Drain(drain), Role::Client) => {
                if !self.drains && self.features.durable {
                    self.frames.push_back(Frame::Drain(Drain::default()));
                }
                self.control.drain = Some(drain);
                self.drains = true;
            }
            (Frame::Drain(_), Role::Server) if self.control.asked_to_drain => self.drains = true,
            (Frame::Closed { .. }, _) => {}
            _ => return Asked::Broken(ErrorCode::InvalidRequest, "this frame is not allowed here".to_owned()),
        }
        Asked::Nothing
    }

    /// Allows the ack of this checkpoint: the client has its token.
    pub(crate) fn hold_token_of(&mut self, covers: Covers) {
        self.covers = Some(covers);
        self.report = true;
    }

    /// Returns `true` if both sides support the feature that the frame belongs to.
    fn is_agreed(&self, frame: &Frame) -> bool {
        let Features { heartbeat, durable, refresh, drain, list, lines: _, calls: _ } = self.features;
        match frame {
            Frame::Ping { .. } | Frame::Pong { .. } => heartbeat,
            Frame::Refresh { .. } | Frame::Authenticate { .. } => refresh,
            Frame::Drain(_) => drain,
            Frame::List(_) | Frame::Objects(_) => list,
            Frame::Ack { checkpoint, .. } => durable || checkpoint.is_none(),
            Frame::Token { covers, .. } => durable || covers.is_none(),
            _ => true,
        }
    }

    /// Handles an acknowledgment.
    fn confirmed(&mut self, now: Time, last_processed_seq: u64) -> Asked {
        if last_processed_seq >= self.retained.next() {
            let message = format!("message {last_processed_seq} was never sent");
            return Asked::Broken(ErrorCode::ResumeGap, message);
        }
        if last_processed_seq > self.peer_processed {
            self.peer_processed = last_processed_seq;
            self.confirmed_at = now;
            self.free();
        }
        Asked::Nothing
    }

    /// Sends a list request. It is repeated on the next connection if there is no answer. Returns
    /// its id.
    pub(crate) fn ask(&mut self, mut list: List) -> u64 {
        self.control.asked += 1;
        list.request_id = self.control.asked;
        self.control.asking.insert(self.control.asked, list.clone());
        self.queue(Frame::List(list));
        self.control.asked
    }

    /// Drops a list request.
    pub(crate) fn unask(&mut self, request_id: u64) {
        self.control.asking.remove(&request_id);
    }
}
