//! How sessions are kept for clients that lost their connection.

use std::time::Duration;

use bowline_core::link::LinkRules;
use bowline_core::resume::{Key, KeyRing, TokenPolicy};

/// How sessions outlive their connections. The default keeps them for five minutes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Resumption {
    /// How long a session is kept without a connection. Beyond: it ends, and its client is told
    /// `RESUME_WINDOW_EXPIRED`. Zero turns resumption off. Default 300 s.
    pub window: Duration,
    /// Sessions that are kept without a connection. Beyond: those that were left first end.
    /// Default 10,000.
    pub parked: usize,
    /// Times and bounds of each link.
    pub rules: LinkRules,
    /// How long tokens are good for.
    pub tokens: TokenPolicy,
    /// Names the service. Its tokens are no good at a service of another name.
    pub audience: String,
    /// The keys that sign tokens. By default one that dies with the process, as sessions do.
    pub keys: KeyRing,
}

impl Default for Resumption {
    fn default() -> Self {
        let key = Key::new("process", &rand::random::<[u8; 32]>()).expect("32 bytes are enough for a key");
        Self {
            window: Duration::from_secs(300),
            parked: 10_000,
            rules: LinkRules::default(),
            tokens: TokenPolicy::default(),
            audience: "bowline".to_owned(),
            keys: KeyRing::new(key),
        }
    }
}
