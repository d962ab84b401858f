//! The frames of the link: JSON objects, where messages of a session are JSON arrays.
//!
//! Fields that a frame lacks take their defaults and unknown ones are ignored, so that either
//! side may be newer. Field names are those of docs/link.md.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::ErrorCode;
use crate::id::Ids;

/// What is written in an ack, so that the most frequent frame costs no JSON machinery.
const ACK: &str = r#"{"type":"session.ack","last_processed_seq":"#;

/// Every type of frame there is in this version.
const TYPES: [&str; 18] = [
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
    /// Another try to say who the client is, after `unauthenticated`.
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
        /// What the server will know of should it be made again; absent if it is a renewal.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        covers: Option<Covers>,
    },
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
    },
    /// Yes.
    #[serde(rename = "session.pong")]
    Pong {
        /// The nonce of the ping.
        ping_nonce: String,
        /// As in an ack.
        last_processed_seq: u64,
    },
    /// The server is about to let the session go on elsewhere: new calls are to wait. The client
    /// answers with the same once they do.
    #[serde(rename = "session.drain")]
    Drain {
        /// How long the client should wait at least before it comes back.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
    },
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

/// What a checkpoint covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Covers {
    /// Counts the checkpoints of the session.
    pub checkpoint: u64,
    /// The server knows of every push of the client's before this one.
    pub next_positive: i64,
}

/// Asks for a session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// The versions of the link that the client speaks.
    pub protocol: Vec<u32>,
    /// What the client can do beside.
    #[serde(default)]
    pub features: Vec<String>,
    /// What the client is.
    #[serde(default)]
    pub client: Identity,
    /// 16 random bytes in base64url. A hello that is repeated because its answer was lost gets
    /// the same session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hello_id: Option<String>,
    /// Who the client is.
    #[serde(default)]
    pub auth: Credentials,
}

/// What a program calls itself. Logged; nothing depends on it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The implementation.
    #[serde(default)]
    pub kind: String,
    /// Its version.
    #[serde(default)]
    pub version: String,
    /// The running process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
}

/// By what a client shows who it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    /// How to read the token: `none`, `bearer`, or what an authenticator knows.
    pub scheme: String,
    /// The secret itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Secret>,
}

impl Default for Credentials {
    fn default() -> Self {
        Self { scheme: Self::NONE.to_owned(), token: None }
    }
}

impl Credentials {
    /// The scheme of those who do not say who they are.
    pub const NONE: &'static str = "none";
    /// The scheme of a token that speaks for whoever holds it.
    pub const BEARER: &'static str = "bearer";

    /// A token that speaks for whoever holds it.
    pub fn bearer(token: impl Into<String>) -> Self {
        Self { scheme: Self::BEARER.to_owned(), token: Some(Secret::new(token)) }
    }
}

/// A session, as it is handed to the client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Welcome {
    /// Names the session in logs of both sides.
    pub session_id: String,
    /// The version that will be spoken.
    pub protocol: u32,
    /// What both can do.
    #[serde(default)]
    pub features: Vec<String>,
    /// What the server is.
    #[serde(default)]
    pub runtime: Identity,
    /// Who the server takes the client for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
    /// Counts the transports of the session.
    pub epoch: u64,
    /// Gets the session back.
    pub resume_token: Secret,
    /// Shows that the token is in the right hands. Never sent back.
    pub resume_key: Secret,
    /// How long the session is kept without a transport.
    pub resume_window_sec: u64,
    /// After how long a silence there is a ping.
    pub heartbeat_interval_sec: u64,
    /// The number of the last message of the client's that was carried out; 0 but for a repeated hello.
    #[serde(default)]
    pub last_event_seq: u64,
}

/// Asks for a session back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Resume {
    /// The versions of the link that the client speaks.
    pub protocol: Vec<u32>,
    /// What the client can do beside.
    #[serde(default)]
    pub features: Vec<String>,
    /// The newest the client has.
    pub resume_token: Secret,
    /// The number of the last message of the server's that the client has carried out.
    pub last_event_seq: u64,
    /// The number of the first message that the client can send again.
    #[serde(default)]
    pub first_retained_seq: u64,
    /// Shows that the client holds the resume key; see `resume::prove`.
    pub proof: String,
    /// Who the client is, as in a hello; not said, it is who it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Credentials>,
    /// What the client can go on with, [`Mode::Warm`] alone if it does not say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accept: Vec<Mode>,
    /// The ids it and the server have given, as far as it knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ids: Option<Ids>,
}

/// How much of a session is there when it goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Mode {
    /// All of it: nothing was lost.
    Warm,
    /// What outlived its process.
    Cold,
    /// What the client names; the client's own process is another.
    Reattach,
    /// Something newer.
    #[serde(other)]
    Unknown,
}

/// The session goes on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Resumed {
    /// Which session.
    pub session_id: String,
    /// What was kept.
    pub mode: Mode,
    /// Counts the transports of the session.
    pub epoch: u64,
    /// Replaces the one presented.
    pub resume_token: Secret,
    /// Goes with the new token.
    pub resume_key: Secret,
    /// The number of the last message of the client's that the server has carried out.
    pub last_event_seq: u64,
    /// The number after which the server's messages follow.
    pub replayed_from: u64,
    /// Whether any of them were sent before.
    #[serde(default)]
    pub replayed: bool,
    /// How many of them are there already.
    #[serde(default)]
    pub replay_count: u64,
    /// What is left, unless it is everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<Left>,
}

/// What is left of a session that was made again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// The server knows of every push of the client's before this one.
    pub next_positive: i64,
    /// Exports of the server's that are there.
    #[serde(default)]
    pub restored: Vec<i64>,
    /// Exports that are not, and why.
    #[serde(default)]
    pub lost: Vec<(i64, ErrorCode)>,
    /// Results of calls that may have been carried out or not.
    #[serde(default)]
    pub unknown: Vec<i64>,
    /// What the server holds of the client's, and how often it was told of each.
    #[serde(default)]
    pub imports: Vec<(i64, i64)>,
}

/// Why there is no session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Why.
    pub code: ErrorCode,
    /// The same for people.
    #[serde(default)]
    pub message: String,
    /// Whether the same may succeed later.
    #[serde(default)]
    pub retryable: bool,
    /// How long the client should wait before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// The HTTP status that a plain session would have been refused with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
}

impl Refused {
    /// A final no.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retryable: false, retry_after_ms: None, status: None }
    }
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

/// A string that is not shown in logs, and not left in memory.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Hides a string.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// The string.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.0);
    }
}
