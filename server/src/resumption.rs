//! How sessions are kept for clients that lost their connection.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bowline_core::link::{LinkRules, LinkStats, RuntimeIdentity};
use bowline_core::resume::{Key, KeyRing, TokenPolicy};

use crate::keys::Keys;

/// How sessions outlive their connections. The default keeps them for five minutes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Resumption {
    /// How long a session is kept without a connection. Beyond: it ends, and its client is told
    /// `RESUME_WINDOW_EXPIRED`. Zero turns resumption off. Default 300 s.
    pub window: Duration,
    /// How long a session is kept without a connection if its client has never sent a message. Default 30 s.
    pub unused_window: Duration,
    /// Sessions that are kept without a connection. Beyond: sessions end that were never used, then those of the
    /// principal or anonymous address with most of them, the longest parked first. Default 10,000.
    pub parked: usize,
    /// Bytes of messages and values that sessions without a connection hold together. Beyond: the largest
    /// sessions end of the principal or anonymous address that holds most. Default 256 MiB.
    pub parked_bytes: usize,
    /// Sessions of one principal that are kept without a connection. Beyond: those parked longest end.
    /// Default 1,000.
    pub parked_per_principal: usize,
    /// Sessions of anonymous clients of one address (for IPv6, a /64 network) that are kept without a connection.
    /// Beyond: those parked longest end. Raise it behind a proxy that hides the addresses of clients. Default 1,000.
    pub parked_per_address: usize,
    /// Sessions that clients of one address may open at once; as many more within ten seconds. Beyond:
    /// `RATE_LIMITED`. Resuming a session does not count. Default 1,000.
    pub hellos_per_address: usize,
    /// Times and bounds of each link.
    pub rules: LinkRules,
    /// How long tokens are good for.
    pub tokens: TokenPolicy,
    /// Names the service. Its tokens are no good at a service of another name, nor at one with
    /// another `runtime_id`.
    pub audience: String,
    /// The keys that sign tokens. By default one that dies with the process, as sessions do.
    pub keys: Keys,
    /// When a client that comes back has to say again who it is.
    pub reauth: Reauth,
    /// What becomes of a session when somebody comes with a token that was replaced.
    pub on_replay: OnReplay,
    /// What clients are told of this service. One with a `runtime_id` keeps to itself: its tokens
    /// are no good elsewhere.
    pub runtime: RuntimeIdentity,
    on_slow_peer: Option<Hook>,
}

/// Told of a session and how its link stands.
#[derive(Clone)]
struct Hook(Arc<OnSlowPeer>);

type OnSlowPeer = dyn Fn(&str, LinkStats) + Send + Sync;

/// When a client that comes back has to say again who it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reauth {
    /// When its lease is over, when it was found out by its connection
    /// ([`Principal::is_of_connection`](crate::Principal::is_of_connection)), and when the session
    /// is made again by another process. Token and key are enough otherwise.
    #[default]
    WhenDue,
    /// Always.
    Always,
}

/// What becomes of a session when somebody comes with a token that was replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnReplay {
    /// It goes on, and whoever came is refused: an old token that leaked ends no session.
    #[default]
    Refuse,
    /// It ends, because one of the two who hold its tokens is a thief.
    Revoke,
}

impl Resumption {
    /// Sets who is told when a client takes in much less than it is sent: by the session's name,
    /// and how its link stands. Runs on the session's own task, so it must not block.
    #[must_use]
    pub fn on_slow_peer(mut self, hook: impl Fn(&str, LinkStats) + Send + Sync + 'static) -> Self {
        self.on_slow_peer = Some(Hook(Arc::new(hook)));
        self
    }

    pub(crate) fn tell_slow_peer(&self, session: &str, stats: LinkStats) {
        if let Some(Hook(hook)) = &self.on_slow_peer {
            hook(session, stats);
        }
    }

    /// For whom tokens are made.
    pub(crate) fn token_audience(&self) -> String {
        match &self.runtime.runtime_id {
            Some(runtime_id) => format!("{}/{runtime_id}", self.audience),
            None => self.audience.clone(),
        }
    }
}

impl Default for Resumption {
    fn default() -> Self {
        let key = Key::new("process", &rand::random::<[u8; 32]>()).expect("32 bytes are enough for a key");
        Self {
            window: Duration::from_secs(300),
            unused_window: Duration::from_secs(30),
            parked: 10_000,
            parked_bytes: 256 << 20,
            parked_per_principal: 1_000,
            parked_per_address: 1_000,
            hellos_per_address: 1_000,
            rules: LinkRules::default(),
            tokens: TokenPolicy::default(),
            audience: "bowline".to_owned(),
            keys: Keys::new(KeyRing::new(key)),
            reauth: Reauth::default(),
            on_replay: OnReplay::default(),
            runtime: RuntimeIdentity {
                kind: "bowline-rs".to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                ..RuntimeIdentity::default()
            },
            on_slow_peer: None,
        }
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hook(..)")
    }
}
