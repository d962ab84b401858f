//! The contents of frames that open, resume, recover, or refuse a session; see docs/link.md.

use serde::{Deserialize, Serialize};

use super::secret::Secret;
use crate::error::ErrorCode;
use crate::id::Ids;

/// What a checkpoint covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Covers {
    /// The number of the checkpoint within its session.
    pub checkpoint: u64,
    /// The server has received every push of the client before this id.
    pub next_positive: i64,
}

/// A request for a session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// The versions of the link that the client supports.
    pub protocol: Vec<u32>,
    /// The features that the client supports.
    #[serde(default)]
    pub features: Vec<String>,
    /// A description of the client.
    #[serde(default)]
    pub client: ClientIdentity,
    /// 16 random bytes in base64url. A `hello` that is repeated because its answer was lost gets
    /// the same session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hello_id: Option<String>,
    /// The client's credentials.
    #[serde(default)]
    pub auth: Credentials,
}

/// A client's description of itself. It is logged; only the fingerprint is evaluated.
///
/// ```
/// # mod bowline { pub mod auth { pub use bowline_core::link::ClientIdentity; } }
/// use bowline::auth::ClientIdentity;
///
/// let identity = ClientIdentity::default().kind("backup").version("2.1").display_name("Nightly backup");
/// assert_eq!(identity.display_name.as_deref(), Some("Nightly backup"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ClientIdentity {
    /// The name of the implementation.
    #[serde(default)]
    pub kind: String,
    /// The version of the implementation.
    #[serde(default)]
    pub version: String,
    /// Identifies the running process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// A name to display.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// The fingerprint of the client's certificate. Required with the scheme `mtls`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// The principal that the client expects to be. Only a hint: the server's authenticator
    /// decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
}

setters! {
    ClientIdentity {
        kind: String as Into,
        version: String as Into,
        instance: String as Some,
        display_name: String as Some,
        fingerprint: String as Some,
        principal: String as Some,
    }
}

/// A server's description of itself.
///
/// ```
/// # mod bowline { pub mod link { pub use bowline_core::link::RuntimeIdentity; } }
/// use bowline::link::RuntimeIdentity;
///
/// let runtime = RuntimeIdentity::default().kind("shop").version("7").fingerprint("SHA256:47DEQpj8HBSa");
/// assert_eq!(runtime.kind, "shop");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RuntimeIdentity {
    /// The name of the implementation.
    #[serde(default)]
    pub kind: String,
    /// The version of the implementation.
    #[serde(default)]
    pub version: String,
    /// Identifies the running service; where set, it is the same in all of its processes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime_id: Option<String>,
    /// A name to display.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// The fingerprint of the service. A client does not resume its session if the fingerprint has
    /// changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// How far the server trusts this client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust_level: Option<TrustLevel>,
}

setters! {
    RuntimeIdentity {
        kind: String as Into,
        version: String as Into,
        runtime_id: String as Some,
        display_name: String as Some,
        fingerprint: String as Some,
    }
}

/// How far a server trusts a client, as decided by its authenticator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TrustLevel {
    /// No trust.
    Untrusted,
    /// Trusted within restrictions.
    Constrained,
    /// Trusted like any authenticated client.
    Trusted,
    /// Trusted with additional rights.
    Privileged,
    /// A level of a newer version.
    #[serde(other)]
    Unknown,
}

/// The validity of a client's credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// When they expire, in seconds since 1970.
    pub expires_at: u64,
}

/// The limits of a server that are relevant to a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SharedLimits {
    /// The maximum size of a message, in bytes.
    pub message_bytes: usize,
    /// The maximum number of the client's calls that run at the same time. Further ones wait.
    pub running_calls: usize,
    /// The maximum number of entries in each table of a session.
    pub table_entries: usize,
    /// The maximum size of the server's retransmit buffer, in bytes.
    pub retain_bytes: usize,
    /// The maximum number of messages in the server's retransmit buffer.
    pub retain_messages: usize,
}

/// The announcement that a server is about to stop.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Drain {
    /// When the server will have stopped, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<u64>,
    /// The minimum time before the client should reconnect, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// The address to reconnect to, if it is not the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resume_url: Option<String>,
}

/// A client's credentials.
///
/// ```
/// # mod bowline { pub mod auth { pub use bowline_core::link::Credentials; } }
/// use bowline::auth::Credentials;
///
/// let credentials = Credentials::bearer("sesame");
/// assert_eq!(credentials.scheme, Credentials::BEARER);
/// assert_eq!(credentials.token.unwrap().expose(), "sesame");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Credentials {
    /// How to interpret the token: `none`, `bearer`, or a scheme of the service's authenticator.
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
    /// The scheme of an anonymous client.
    pub const NONE: &'static str = "none";
    /// The scheme of a bearer token.
    pub const BEARER: &'static str = "bearer";
    /// The scheme of a client that presented a certificate when it connected.
    pub const MTLS: &'static str = "mtls";

    /// Creates credentials of a scheme that the service's authenticator knows.
    pub fn new(scheme: impl Into<String>, token: impl Into<Secret>) -> Self {
        Self { scheme: scheme.into(), token: Some(token.into()) }
    }

    /// Creates the credentials of a client that presents a certificate when it connects.
    pub fn mtls() -> Self {
        Self { scheme: Self::MTLS.to_owned(), token: None }
    }

    /// Creates credentials from a bearer token.
    pub fn bearer(token: impl Into<Secret>) -> Self {
        Self::new(Self::BEARER, token)
    }
}

/// The answer to a [`Hello`]: a new session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Welcome {
    /// Identifies the session in the logs of both sides.
    pub session_id: String,
    /// The version of the link in use.
    pub protocol: u32,
    /// The features that both sides support.
    #[serde(default)]
    pub features: Vec<String>,
    /// A description of the server.
    #[serde(default)]
    pub runtime: RuntimeIdentity,
    /// The principal that the client was authenticated as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
    /// The number of connections that the session has had, this one included.
    pub epoch: u64,
    /// The token with which the session can be resumed.
    pub resume_token: Secret,
    /// The key that proves possession of the token. It is never sent back.
    pub resume_key: Secret,
    /// How long the session is kept without a connection, in seconds.
    pub resume_window_sec: u64,
    /// The silence after which a ping is sent, in seconds.
    pub heartbeat_interval_sec: u64,
    /// The client's lease, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Lease>,
    /// The limits of the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<SharedLimits>,
    /// The number of the client's last message that was handled. 0 unless the `hello` was repeated.
    #[serde(default)]
    pub last_event_seq: u64,
}

/// A token and its key, with which a session can be resumed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The token.
    pub resume_token: Secret,
    /// The key of the token; if absent, the key of the previous token.
    pub resume_key: Option<Secret>,
}

/// A request to continue a session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Resume {
    /// The versions of the link that the client supports.
    pub protocol: Vec<u32>,
    /// The features that the client supports.
    #[serde(default)]
    pub features: Vec<String>,
    /// The client's newest token.
    pub resume_token: Secret,
    /// The number of the server's last message that the client has handled.
    pub last_event_seq: u64,
    /// The number of the first message that the client can retransmit.
    #[serde(default)]
    pub first_retained_seq: u64,
    /// Proves that the client has the resume key; see `resume::prove`.
    pub proof: String,
    /// The client's credentials. If absent, the session keeps its principal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Credentials>,
    /// The modes that the client accepts. Empty means [`Mode::Warm`] alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accept: Vec<Mode>,
    /// The ids that both sides have assigned, as far as the client knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ids: Option<Ids>,
    /// With [`Mode::Reattach`]: what the new client process still has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<Left>,
}

impl Resume {
    /// Returns what the client still has, if its process was replaced.
    pub fn restarted(&self) -> Option<&Left> {
        self.left.as_ref().filter(|_| self.accept.contains(&Mode::Reattach))
    }
}

/// How a session continues.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Mode {
    /// Resumed: nothing was lost.
    Warm,
    /// Recovered by another server process.
    Cold,
    /// Reattached by another client process.
    Reattach,
    /// A mode of a newer version.
    #[serde(other)]
    Unknown,
}

/// The answer to a [`Resume`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Resumed {
    /// Identifies the session in the logs of both sides.
    pub session_id: String,
    /// How the session continues.
    pub mode: Mode,
    /// The number of connections that the session has had, this one included.
    pub epoch: u64,
    /// A new token, which replaces the one presented.
    pub resume_token: Secret,
    /// The key of the new token.
    pub resume_key: Secret,
    /// The number of the client's last message that the server has handled.
    pub last_event_seq: u64,
    /// The number after which the server's messages continue.
    pub replayed_from: u64,
    /// Whether any of them are retransmitted.
    #[serde(default)]
    pub replayed: bool,
    /// How many of them are already queued.
    #[serde(default)]
    pub replay_count: u64,
    /// A description of the server, if the client needs it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<RuntimeIdentity>,
    /// The client's lease, as in [`Welcome`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Lease>,
    /// The features that both sides support, if they have changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub features: Option<Vec<String>>,
    /// What the server still has, unless it is everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<Left>,
    /// The ids that were assigned, for a client whose process was replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ids: Option<Ids>,
}

/// What a side whose process was replaced still has of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// This side has received every push of its peer before this id.
    pub next_positive: i64,
    /// The exports of this side that still exist or can be restored.
    #[serde(default)]
    pub restored: Vec<i64>,
    /// The exports that are lost, and why.
    #[serde(default)]
    pub lost: Vec<(i64, ErrorCode)>,
    /// Results of calls that may have run.
    #[serde(default)]
    pub unknown: Vec<i64>,
    /// The imports of this side, with their reference counts.
    #[serde(default)]
    pub imports: Vec<(i64, i64)>,
}

/// The reason for refusing a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The reason, as a code.
    pub code: ErrorCode,
    /// The reason, as a message.
    #[serde(default)]
    pub message: String,
    /// Whether the same request may succeed later.
    #[serde(default)]
    pub retryable: bool,
    /// The minimum time before another attempt, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// The address to try instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume_url: Option<String>,
    /// The HTTP status with which a plain session would have been refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
}

impl Refused {
    /// Creates a final refusal, which is not retryable.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { code, message, retryable: false, retry_after_ms: None, resume_url: None, status: None }
    }
}
