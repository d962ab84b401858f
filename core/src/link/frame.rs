//! The frames of the link; see docs/link.md. A frame is a JSON object, whereas a message is a JSON
//! array. Absent fields have their defaults and unknown ones are ignored, so that either side may
//! be newer.

use serde::{Deserialize, Serialize};

use super::greeting::{Covers, Drain, Hello, Lease, Refused, Resume, Resumed, Welcome};
use super::list::{List, Objects};
use super::secret::Secret;
use crate::error::ErrorCode;

/// The beginning of an ack. The most frequent frame is read and written without `serde_json`.
const ACK: &str = r#"{"type":"session.ack","last_processed_seq":"#;

/// All types of frames in this version.
const TYPES: [&str; 21] = [
    "session.challenge",
    "session.hello",
    "session.authenticate",
    "session.welcome",
    "session.resume",
    "session.resumed",
    "session.token",
    "session.unauthenticated",
    "session.rejected",
    "session.evicted",
    "session.close",
    "session.closed",
    "session.ack",
    "session.ping",
    "session.pong",
    "session.reconcile",
    "session.skip",
    "session.drain",
    "session.refresh",
    "session.list",
    "session.objects",
];

/// The fields that a frame of any version has.
#[derive(Deserialize)]
struct Head {
    #[serde(rename = "type")]
    name: String,
    /// The frame must not be ignored if its type is unknown.
    #[serde(default)]
    must: bool,
}

/// A frame of the link.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum Frame {
    /// Sent first by the server: a challenge, so that a recorded proof cannot be replayed.
    #[serde(rename = "session.challenge")]
    Challenge {
        /// 32 random bytes in base64url.
        challenge: String,
    },
    /// Requests a session.
    #[serde(rename = "session.hello")]
    Hello(Hello),
    /// Sends credentials, after `unauthenticated` or `refresh`.
    #[serde(rename = "session.authenticate")]
    Authenticate {
        /// The new secret, in the scheme of the `hello`.
        response: Secret,
    },
    /// Answers `hello` with a new session.
    #[serde(rename = "session.welcome")]
    Welcome(Welcome),
    /// Requests that a session continue on this connection.
    #[serde(rename = "session.resume")]
    Resume(Resume),
    /// Answers `resume`: the session continues.
    #[serde(rename = "session.resumed")]
    Resumed(Resumed),
    /// Sends a newer token of the same session.
    #[serde(rename = "session.token")]
    Token {
        /// The token, which replaces the previous one.
        resume_token: Secret,
        /// The key of the token; if absent, the key of the previous token.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        resume_key: Option<Secret>,
        /// What the checkpoint of the token covers; absent if the token was only renewed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        covers: Option<Covers>,
        /// The client's lease, if it has changed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lease: Option<Lease>,
    },
    /// Requests new credentials, to be sent with `authenticate`. Without them, the session ends
    /// with its lease.
    #[serde(rename = "session.refresh")]
    Refresh {
        /// The deadline, in seconds since 1970.
        deadline: u64,
        /// A challenge, for schemes that need one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        challenge: Option<String>,
    },
    /// Requests a list of what the session holds.
    #[serde(rename = "session.list")]
    List(List),
    /// Answers `list`.
    #[serde(rename = "session.objects")]
    Objects(Objects),
    /// Refuses the credentials. The client may try again.
    #[serde(rename = "session.unauthenticated")]
    Unauthenticated(Refused),
    /// Refuses the session. The server closes the connection.
    #[serde(rename = "session.rejected")]
    Rejected(Refused),
    /// Ends the session for good, from the server.
    #[serde(rename = "session.evicted")]
    Evicted {
        /// The reason, as a code.
        code: ErrorCode,
        /// The reason, as a message.
        #[serde(default)]
        reason: String,
    },
    /// Ends the session for good.
    #[serde(rename = "session.close")]
    Close {
        /// The reason, as a message.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// Answers `close`.
    #[serde(rename = "session.closed")]
    Closed {
        /// The reason, as in `close`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// Acknowledges messages.
    #[serde(rename = "session.ack")]
    Ack {
        /// The number of the last message that was handled.
        last_processed_seq: u64,
        /// The newest checkpoint whose token the client has.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        checkpoint: Option<u64>,
    },
    /// Asks the peer for a sign of life.
    #[serde(rename = "session.ping")]
    Ping {
        /// Returned in the pong.
        nonce: String,
        /// The time of sending, in milliseconds on the sender's own clock.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sent_at: Option<u64>,
    },
    /// Answers `ping`.
    #[serde(rename = "session.pong")]
    Pong {
        /// The nonce of the ping.
        ping_nonce: String,
        /// The time at which the ping arrived, in milliseconds on the clock of its receiver.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        received_at: Option<u64>,
        /// As in an ack.
        last_processed_seq: u64,
    },
    /// Announces that the server is about to stop: the client holds new calls back, for another
    /// process or until the end. The client answers with the same frame once it does.
    #[serde(rename = "session.drain")]
    Drain(Drain),
    /// Says what this side still holds and awaits of a session that was recovered or reattached.
    /// Numbered and retransmitted like a message.
    #[serde(rename = "session.reconcile")]
    Reconcile {
        /// The exports of the peer that this side holds.
        hold: Vec<i64>,
        /// Those among them whose answers it awaits.
        pull: Vec<i64>,
    },
    /// Skips the ids of calls that are not retransmitted. Numbered and retransmitted like a
    /// message.
    #[serde(rename = "session.skip")]
    Skip {
        /// The id of the next push.
        next_positive: i64,
    },
}

impl Frame {
    /// Returns `true` if a text is a frame. Messages begin with `[`.
    pub fn is_frame(text: &str) -> bool {
        text.bytes().find(|byte| !byte.is_ascii_whitespace()) == Some(b'{')
    }

    /// Reads a frame. Returns `None` for a frame of an unknown type that may be ignored.
    ///
    /// # Errors
    /// Fails if the text is not a frame, lacks a required field, or is of an unknown type that must
    /// not be ignored.
    pub fn read(text: &str) -> Result<Option<Self>, Refused> {
        if let Some(last_processed_seq) = read_ack(text) {
            return Ok(Some(Self::Ack { last_processed_seq, checkpoint: None }));
        }
        let error = match serde_json::from_str(text) {
            Ok(frame) => return Ok(Some(frame)),
            Err(error) => error,
        };
        match serde_json::from_str::<Head>(text) {
            Ok(head) if !TYPES.contains(&head.name.as_str()) && !head.must => Ok(None),
            _ => Err(Refused::new(ErrorCode::InvalidRequest, format!("not a frame of the link: {error}"))),
        }
    }

    /// Returns the text of the frame.
    pub fn write(&self) -> String {
        if let Self::Ack { last_processed_seq, checkpoint: None } = self {
            return format!("{ACK}{last_processed_seq}}}");
        }
        serde_json::to_string(self).expect("a frame consists of strings, numbers, and lists")
    }
}

fn read_ack(text: &str) -> Option<u64> {
    let digits = text.strip_prefix(ACK)?.strip_suffix('}')?;
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    if plain { digits.parse().ok() } else { None }
}
