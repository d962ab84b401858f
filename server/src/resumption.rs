//! Settings of sessions that outlive their connections.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bowline_core::link::{LinkRules, LinkStats, RuntimeIdentity};
use bowline_core::resume::{Key, KeyRing, TokenPolicy};

use crate::keys::Keys;

/// How sessions outlive their connections. By default, they are kept for five minutes.
///
/// ```
/// use std::time::Duration;
///
/// use bowline::Resumption;
/// use bowline::auth::{Key, KeyRing, TokenPolicy};
///
/// # mod bowline { pub use bowline_server::Resumption; pub mod auth { pub use bowline_server::{Key, KeyError, KeyRing, TokenPolicy}; } }
/// # fn example(secret: &str) -> Result<Resumption, bowline::auth::KeyError> {
/// let resumption = Resumption::default()
///     .window(Duration::from_secs(3_600))
///     .keys(KeyRing::new(Key::from_base64("2026-11", secret)?))
///     .tokens(TokenPolicy::default().token_lifetime(Duration::from_secs(600)));
/// # Ok(resumption)
/// # }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Resumption {
    /// How long a session is kept without a connection. Beyond: it ends, and its client gets
    /// `RESUME_WINDOW_EXPIRED`. Zero disables the link protocol. Default 300 s.
    pub window: Duration,
    /// The same for a session whose client has never sent a message. Default 30 s.
    pub unused_window: Duration,
    /// Sessions without a connection. Beyond: sessions that were never used end first, then those
    /// of the principal or anonymous address that has the most, the longest parked first. Default
    /// 10,000.
    pub parked: usize,
    /// Bytes of messages and values that sessions without a connection hold together. Beyond:
    /// sessions of the principal or anonymous address that holds the most end, the largest first.
    /// Default 256 MiB.
    pub parked_bytes: usize,
    /// Sessions of one principal without a connection. Beyond: those parked longest end. Default
    /// 1,000.
    pub parked_per_principal: usize,
    /// Sessions of anonymous clients of one address (for IPv6, a /64 network) without a connection.
    /// Beyond: those parked longest end. Raise this behind a proxy that hides the addresses of
    /// clients. Default 1,000.
    pub parked_per_address: usize,
    /// Sessions that clients of one address may open at once, and again within ten seconds. Beyond:
    /// `RATE_LIMITED`. Resuming a session is not counted. Default 1,000.
    pub hellos_per_address: usize,
    /// The timeouts and limits of each link.
    pub rules: LinkRules,
    /// How long tokens are valid.
    pub tokens: TokenPolicy,
    /// The name of the service. Its tokens are invalid at a service with another name, and at one
    /// with another `runtime_id`. Default `bowline`.
    pub audience: String,
    /// The keys that sign tokens. By default, a random key that is lost with the process.
    pub keys: Keys,
    /// When a client that resumes its session must authenticate again.
    pub reauth: Reauth,
    /// What happens to a session when a replaced token is presented.
    pub on_replay: OnReplay,
    /// The description of this service that is sent to clients. If it has a `runtime_id`, its tokens are invalid
    /// at all other services.
    pub runtime: RuntimeIdentity,
    on_slow_peer: Option<Hook>,
}

/// Called with the id of a session and the state of its link.
#[derive(Clone)]
struct Hook(Arc<OnSlowPeer>);

type OnSlowPeer = dyn Fn(&str, LinkStats) + Send + Sync;

/// When a client that resumes its session must authenticate again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reauth {
    /// When its lease has ended, when its identity is that of the connection
    /// ([`Principal::is_bound_to_connection`](crate::Principal::is_bound_to_connection)), and when another
    /// process recovers the session. Otherwise, the token and its key are sufficient.
    #[default]
    WhenDue,
    /// Always.
    Always,
}

/// What happens to a session when a replaced token is presented.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OnReplay {
    /// The session continues, and the presenter is refused. So an old token that leaked cannot end
    /// a session.
    #[default]
    Refuse,
    /// The session ends, because one of the two holders of its tokens may have stolen them.
    Revoke,
}

impl Resumption {
    /// Sets a function that is called when a client reads much more slowly than it is sent to, with
    /// the id of the session and the state of its link. It runs on the task of the session and must
    /// not block.
    #[must_use]
    pub fn on_slow_peer(mut self, hook: impl Fn(&str, LinkStats) + Send + Sync + 'static) -> Self {
        self.on_slow_peer = Some(Hook(Arc::new(hook)));
        self
    }

    pub(crate) fn notify_slow_peer(&self, session: &str, stats: LinkStats) {
        if let Some(Hook(hook)) = &self.on_slow_peer {
            hook(session, stats);
        }
    }

    /// Returns the audience of tokens.
    pub(crate) fn token_audience(&self) -> String {
        match &self.runtime.runtime_id {
            Some(runtime_id) => format!("{}/{runtime_id}", self.audience),
            None => self.audience.clone(),
        }
    }
}

bowline_core::setters! {
    Resumption {
        window: Duration,
        unused_window: Duration,
        parked: usize,
        parked_bytes: usize,
        parked_per_principal: usize,
        parked_per_address: usize,
        hellos_per_address: usize,
        rules: LinkRules,
        tokens: TokenPolicy,
        audience: String as Into,
        keys: Keys as Into,
        reauth: Reauth,
        on_replay: OnReplay,
        runtime: RuntimeIdentity,
    }
}

impl Default for Resumption {
    fn default() -> Self {
        let key = Key::new("process", &rand::random::<[u8; 32]>()).expect("32 bytes are sufficient for a key");
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
            runtime: RuntimeIdentity::default().kind("bowline-rs").version(env!("CARGO_PKG_VERSION")),
            on_slow_peer: None,
        }
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hook(..)")
    }
}
