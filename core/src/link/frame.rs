//! The frames of the link: JSON objects, where messages of a session are JSON arrays.
//!
//! Fields that a frame lacks take their defaults and unknown ones are ignored, so that either
//! side may be newer. Field names are those of docs/link.md.

use serde::{Deserialize, Serialize};

use super::greeting::{Covers, Drain, Hello, Lease, Refused, Resume, Resumed, Welcome};
use super::list::{List, Objects};
use super::secret::Secret;
use crate::error::ErrorCode;

/// What is written in an ack, so that the most frequent frame costs no JSON machinery.
const ACK: &str = r#"{"type":"session.ack","last_processed_seq":"#;

/// Every type of frame there is in this version.
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

/// What every frame has, of whatever version.
#[derive(Deserialize)]
struct Head {
    #[serde(rename = "type")]
    name: String,
    /// The sender relies on its being understood.
    #[serde(default)]
    must: bool,
}

/// A frame of the link.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum Frame {
    /// The server's first word: something to answer to that no recording answers to.
    #[serde(rename = "session.challenge")]
    Challenge {
        /// 32 random bytes in base64url.
        challenge: String,
    },
    /// A client asks for a session.
    #[serde(rename = "session.hello")]
    Hello(Hello),
    /// Another try to say who the client is, after `unauthenticated`, or the answer to `refresh`.
    #[serde(rename = "session.authenticate")]
    Authenticate {
        /// The new secret, in the scheme of the hello.
        response: Secret,
    },
    /// The session that was asked for.
    #[serde(rename = "session.welcome")]
    Welcome(Welcome),
    /// A client asks for its session back.
    #[serde(rename = "session.resume")]
    Resume(Resume),
    /// The session goes on.
    #[serde(rename = "session.resumed")]
    Resumed(Resumed),
    /// A newer token for the same session.
    #[serde(rename = "session.token")]
    Token {
        /// Replaces the one before.
        resume_token: Secret,
        /// The key that belongs to the token; absent, it is the key of the token before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        resume_key: Option<Secret>,
        /// What the server will know of should it be made again; absent if it is a renewal.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        covers: Option<Covers>,
        /// Until when the client may go on, if that has changed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lease: Option<Lease>,
    },
    /// The client is to say again who it is, by `authenticate`: what it may do ends otherwise.
    #[serde(rename = "session.refresh")]
    Refresh {
        /// By when, in seconds since 1970.
        deadline: u64,
        /// For schemes that answer to something.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        challenge: Option<String>,
    },
    /// A client asks what the session holds.
    #[serde(rename = "session.list")]
    List(List),
    /// The answer to `list`.
    #[serde(rename = "session.objects")]
    Objects(Objects),
    /// The server does not believe who the client says it is; it may try again.
    #[serde(rename = "session.unauthenticated")]
    Unauthenticated(Refused),
    /// No session. The connection ends.
    #[serde(rename = "session.rejected")]
    Rejected(Refused),
    /// The server ended the session for good.
    #[serde(rename = "session.evicted")]
    Evicted {
        /// Why.
        code: ErrorCode,
        /// The same for people.
        #[serde(default)]
        reason: String,
    },
    /// This side ends the session for good.
    #[serde(rename = "session.close")]
    Close {
        /// Why, for people.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// The answer to `close`.
    #[serde(rename = "session.closed")]
    Closed {
        /// As it was given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// How far this side has come with what the other sent.
    #[serde(rename = "session.ack")]
    Ack {
        /// The number of the last message that was carried out.
        last_processed_seq: u64,
        /// The newest checkpoint that the client has a token of.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        checkpoint: Option<u64>,
    },
    /// Is anybody there?
    #[serde(rename = "session.ping")]
    Ping {
        /// Comes back with the answer.
        nonce: String,
        /// Milliseconds on the sender's own clock, which nobody else can read anything from.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sent_at: Option<u64>,
    },
    /// Yes.
    #[serde(rename = "session.pong")]
    Pong {
        /// The nonce of the ping.
        ping_nonce: String,
        /// When the ping arrived, in milliseconds on the clock of the side that got it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        received_at: Option<u64>,
        /// As in an ack.
        last_processed_seq: u64,
    },
    /// The server is about to stop: new calls are to wait, for another process or for the end. The
    /// client answers with the same once they do.
    #[serde(rename = "session.drain")]
    Drain(Drain),
    /// What a client wants of what is left of a session that was made again. Counted and sent
    /// again as messages are.
    #[serde(rename = "session.reconcile")]
    Reconcile {
        /// Exports of the server's that it holds.
        hold: Vec<i64>,
        /// Those of them whose answers it waits for.
        pull: Vec<i64>,
    },
    /// A client leaves ids out, because what they were for is not sent again. Counted as messages are.
    #[serde(rename = "session.skip")]
    Skip {
        /// What its next push results in.
        next_positive: i64,
    },
}

impl Frame {
    /// Whether a text is a frame: messages begin with `[`.
    pub fn is_frame(text: &str) -> bool {
        text.bytes().find(|byte| !byte.is_ascii_whitespace()) == Some(b'{')
    }

    /// Reads a frame; `None` is one of a newer version that may be ignored.
    ///
    /// # Errors
    /// It is none, lacks what it must have, or is unknown and may not be ignored.
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

    /// The frame as text.
    pub fn write(&self) -> String {
        if let Self::Ack { last_processed_seq, checkpoint: None } = self {
            return format!("{ACK}{last_processed_seq}}}");
        }
        serde_json::to_string(self).expect("a frame is strings, numbers and lists of them")
    }
}

fn read_ack(text: &str) -> Option<u64> {
    let digits = text.strip_prefix(ACK)?.strip_suffix('}')?;
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    if plain { digits.parse().ok() } else { None }
}
