//! Control frames that were received, and the actions that they require.

use super::Features;
use super::attached::{AckState, AttachedConnection, ConnectionState};
use super::frame::Frame;
use super::greeting::{Covers, Drain, Ticket};
use super::list::List;
use super::machine::{Heard, Link};
use super::role::{ClientState, DrainState, RoleState, ServerState, TokenAck};
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
pub(crate) enum FrameEffect {
    None,
    /// The peer ends the session and expects a `closed`.
    Close(String),
    /// The server ends the session.
    Evict(ErrorCode, String),
    /// The peer violated the protocol of the link.
    Violation(ErrorCode, String),
}

impl Link {
    pub(crate) fn handle(&mut self, now: Time, frame: Frame) -> FrameEffect {
        self.heard = Heard::Frames;
        if !self.is_agreed(&frame) {
            return FrameEffect::Violation(
                ErrorCode::InvalidRequest,
                "the feature of this frame was not negotiated".to_owned(),
            );
        }
        let ConnectionState::Attached(connection) = &mut self.connection else { return FrameEffect::None };
        match frame {
            Frame::Ack { last_processed_seq, checkpoint } => {
                if let (Some(checkpoint), RoleState::Server(server)) = (checkpoint, &mut self.role)
                    && !server.tokens.confirm(checkpoint)
                {
                    let message = format!("checkpoint {checkpoint} was never sent");
                    return FrameEffect::Violation(ErrorCode::ResumeGap, message);
                }
                self.acknowledged(now, last_processed_seq)
            }
            Frame::Pong { last_processed_seq, ping_nonce, .. } => {
                if ping_nonce == self.pings.to_string() {
                    self.round_trip = connection.ping_sent.take().map(|sent| now.since(sent)).or(self.round_trip);
                }
                self.acknowledged(now, last_processed_seq)
            }
            Frame::Ping { nonce, .. } => {
                connection.pong = Some((nonce, now));
                FrameEffect::None
            }
            Frame::Close { reason } => FrameEffect::Close(reason.unwrap_or_default()),
            Frame::Closed { .. } => FrameEffect::None,
            frame => match &mut self.role {
                RoleState::Client(client) => client.handle(connection, self.features, frame),
                RoleState::Server(server) => server.handle(frame),
            },
        }
    }

    /// Allows the ack of this checkpoint: the client has its token.
    pub(crate) fn hold_token_of(&mut self, covers: Covers) {
        if let Some(client) = self.role.client_mut() {
            client.covers = Some(covers);
        }
        if let Some(connection) = self.connection.attached_mut() {
            connection.ack = AckState::Due;
        }
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
    fn acknowledged(&mut self, now: Time, last_processed_seq: u64) -> FrameEffect {
        if last_processed_seq >= self.retained.next() {
            let message = format!("message {last_processed_seq} was never sent");
            return FrameEffect::Violation(ErrorCode::ResumeGap, message);
        }
        if let Some(connection) = self.connection.attached_mut()
            && last_processed_seq > connection.peer_processed
        {
            connection.peer_processed = last_processed_seq;
            connection.acked_at = now;
            self.free();
        }
        FrameEffect::None
    }

    /// Sends a list request. It is repeated on the next connection if there is no answer. Returns
    /// its id, or `None` on a server.
    pub(crate) fn list(&mut self, list: List) -> Option<u64> {
        let client = self.role.client_mut()?;
        client.lists_sent += 1;
        let request_id = client.lists_sent;
        let list = List { request_id, ..list };
        client.lists.insert(request_id, list.clone());
        self.queue(Frame::List(list));
        Some(request_id)
    }

    /// Drops a list request.
    pub(crate) fn forget_list(&mut self, request_id: u64) {
        if let Some(client) = self.role.client_mut() {
            client.lists.remove(&request_id);
        }
    }
}

impl ClientState {
    fn handle(&mut self, connection: &mut AttachedConnection, features: Features, frame: Frame) -> FrameEffect {
        match frame {
            Frame::Token { resume_token, resume_key, covers, lease } => {
                // The previous token may not have been taken, and the new one may use its key.
                let key_before = self.token.take().and_then(|before| before.resume_key);
                self.token = Some(Ticket { resume_token, resume_key: resume_key.or(key_before) });
                self.lease = lease.or(self.lease);
                match (covers, self.token_ack) {
                    (None, _) => {}
                    (Some(covers), TokenAck::OnceSaved) => self.unsaved = Some(covers),
                    (Some(covers), TokenAck::OnArrival) => {
                        self.covers = Some(covers);
                        connection.ack = AckState::Due;
                    }
                }
            }
            Frame::Refresh { deadline, challenge } => self.refresh = Some(Refresh { deadline, challenge }),
            Frame::Objects(objects) => {
                if self.lists.remove(&objects.request_id).is_some() {
                    self.objects.push_back(objects);
                }
            }
            Frame::Evicted { code, reason } => return FrameEffect::Evict(code, reason),
            Frame::Drain(drain) => {
                if !self.is_draining && features.durable {
                    connection.frames.push_back(Frame::Drain(Drain::default()));
                }
                self.drain = Some(drain);
                self.is_draining = true;
            }
            _ => return not_allowed(),
        }
        FrameEffect::None
    }

    /// Returns `true` if the owner of the session must act.
    pub(crate) fn needs_owner(&self) -> bool {
        self.refresh.is_some() || (self.token_ack == TokenAck::OnceSaved && self.token.is_some())
    }
}

impl ServerState {
    fn handle(&mut self, frame: Frame) -> FrameEffect {
        match frame {
            Frame::Authenticate { response } => self.response = Some(response),
            Frame::List(list) => {
                if self.lists.len() == LISTS_MAX {
                    let message = format!("at most {LISTS_MAX} list requests may be pending");
                    return FrameEffect::Violation(ErrorCode::RateLimited, message);
                }
                self.lists.push_back(list);
            }
            Frame::Drain(_) if self.drain != DrainState::None => self.drain = DrainState::Confirmed,
            _ => return not_allowed(),
        }
        FrameEffect::None
    }

    /// Returns `true` if the owner of the session must act.
    pub(crate) fn needs_owner(&self) -> bool {
        self.response.is_some() || self.drain == DrainState::Confirmed
    }
}

fn not_allowed() -> FrameEffect {
    FrameEffect::Violation(ErrorCode::InvalidRequest, "this frame is not allowed here".to_owned())
}
