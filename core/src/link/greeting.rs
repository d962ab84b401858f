//! What peers tell each other of themselves and of a session when it begins, goes on or is refused.

use serde::{Deserialize, Serialize};

use super::secret::Secret;
use crate::error::ErrorCode;
use crate::id::Ids;

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
    pub client: ClientIdentity,
    /// 16 random bytes in base64url. A hello that is repeated because its answer was lost gets
    /// the same session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hello_id: Option<String>,
    /// Who the client is.
    #[serde(default)]
    pub auth: Credentials,
}

/// What a client says of itself. Logged; of all this, only the fingerprint is ever looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientIdentity {
    /// The implementation.
    #[serde(default)]
    pub kind: String,
    /// Its version.
    #[serde(default)]
    pub version: String,
    /// The running process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// Of the client's certificate. Must be there with the scheme `mtls`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// Whom the client means to speak for. A hint: the server's authenticator decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
}

/// What a server says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuntimeIdentity {
    /// The implementation.
    #[serde(default)]
    pub kind: String,
    /// Its version.
    #[serde(default)]
    pub version: String,
    /// The running service; the same in all its processes, where that is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime_id: Option<String>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// Of the service. A client whose session comes back with another one does not go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// How far the server trusts this client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust_level: Option<TrustLevel>,
}

/// How far a server trusts a client, as its authenticator says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TrustLevel {
    /// Not at all.
    Untrusted,
    /// Within bounds of its own.
    Constrained,
    /// As anybody who is known.
    Trusted,
    /// Beyond that.
    Privileged,
    /// Something newer.
    #[serde(other)]
    Unknown,
}

/// Until when a client may do what it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// In seconds since 1970.
    pub expires_at: u64,
}

/// What a server bounds, as far as the client should know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SharedLimits {
    /// Bytes of a message.
    pub message_bytes: usize,
    /// Calls of the client's that run at the same time; those beyond wait.
    pub running_calls: usize,
    /// Entries of a session's tables.
    pub table_entries: usize,
    /// Bytes that the server keeps for a client that is away.
    pub retain_bytes: usize,
    /// Messages that it keeps.
    pub retain_messages: usize,
}

/// A server stops.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Drain {
    /// By when it will have stopped, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<u64>,
    /// How long the client should wait at least before it comes back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// Where the session goes on, if not at the same address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resume_url: Option<String>,
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
    /// The scheme of those whose certificate was looked at when the connection was made.
    pub const MTLS: &'static str = "mtls";

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
    pub runtime: RuntimeIdentity,
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
    /// Until when the client may go on without saying again who it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Lease>,
    /// What the server bounds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<SharedLimits>,
    /// The number of the last message of the client's that was carried out; 0 but for a repeated hello.
    #[serde(default)]
    pub last_event_seq: u64,
}

/// What gets a session back: a token and the key that belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Names the session.
    pub resume_token: Secret,
    /// Shows that the token is in the right hands; absent, it is the key of the token before.
    pub resume_key: Option<Secret>,
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
    /// What is left of the client's side, with [`Mode::Reattach`]: its own process was another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<Left>,
}

impl Resume {
    /// What a client whose own process was another has left, if it is one.
    pub fn restarted(&self) -> Option<&Left> {
        self.left.as_ref().filter(|_| self.accept.contains(&Mode::Reattach))
    }
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
    /// What the client's process before this one had kept for it.
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
    /// What the server is, as far as a client has to know again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<RuntimeIdentity>,
    /// As in a welcome.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Lease>,
    /// What both can do, unless that is what it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub features: Option<Vec<String>>,
    /// What is left, unless it is everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<Left>,
    /// The ids that were given, for a client whose process is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ids: Option<Ids>,
}

/// What is left of a session that was made again, on the side that was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// That side knows of every push of the other's before this one.
    pub next_positive: i64,
    /// Exports of that side that are there.
    #[serde(default)]
    pub restored: Vec<i64>,
    /// Exports that are not, and why.
    #[serde(default)]
    pub lost: Vec<(i64, ErrorCode)>,
    /// Results of calls that may have been carried out or not.
    #[serde(default)]
    pub unknown: Vec<i64>,
    /// What that side holds of the other's, and how often it was told of each.
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
    /// Where to try instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume_url: Option<String>,
    /// The HTTP status that a plain session would have been refused with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
}

impl Refused {
    /// A final no.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { code, message, retryable: false, retry_after_ms: None, resume_url: None, status: None }
    }
}
