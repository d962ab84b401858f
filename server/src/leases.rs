//! Leases: a client must authenticate again before its lease ends.

use std::time::Duration;

use bowline_core::error::ErrorCode;
use bowline_core::link::handshake::AUTHENTICATIONS_MAX;
use bowline_core::link::{Credentials, Lease};
use bowline_core::resume::principal_hash;
use bowline_transport::FAR;
use tokio::time::{Instant, sleep_until};

use crate::link::Linked;
use crate::registry::{Admitted, random, unix_ms};

/// How long before the end of the lease a client is asked for new credentials. If the lease is
/// shorter than twice that, the client is asked after half of it.
const AHEAD: Duration = Duration::from_secs(60);

/// Until when the credentials of a client are valid.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Authority(Option<Term>);

#[derive(Clone, Copy, Debug)]
struct Term {
    ask: Instant,
    end: Instant,
    lease: Lease,
}

impl Authority {
    /// Creates a lease that begins now.
    pub(crate) fn new(lease: Option<Duration>) -> Self {
        let now = Instant::now();
        Self(lease.map(|lease| {
            let lease = lease.min(FAR);
            let end = now + lease;
            let unix_ms = unix_ms().saturating_add(lease.as_millis().try_into().unwrap_or(u64::MAX));
            Term { ask: end - AHEAD.min(lease / 2), end, lease: Lease { expires_at: unix_ms.div_ceil(1_000) } }
        }))
    }

    /// Returns the lease as sent to the client.
    pub(crate) fn lease(&self) -> Option<Lease> {
        self.0.map(|term| term.lease)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.0.is_some_and(|term| term.end <= Instant::now())
    }
}

/// Why [`Linked::attend`] returned.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Attention {
    /// The lease has ended.
    Over,
    /// The client has closed the session. Its calls may still run.
    Closing,
}

impl Linked {
    /// Handles the events of the link that need the server: asks the client for new credentials in
    /// time, checks them, and reports a slow client. Returns when the session must be ended.
    /// Cancel-safe.
    pub(crate) async fn attend(&self, admitted: &Admitted) -> Attention {
        let entry = &admitted.entry;
        let mut tries = 0;
        let mut asked = false;
        loop {
            let Authority(term) = entry.lock().authority;
            let due = async {
                match term {
                    Some(term) if asked => sleep_until(term.end).await,
                    Some(term) => sleep_until(term.ask).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = due => match term {
                    Some(term) if !asked => {
                        self.ask(admitted, term);
                        asked = true;
                        continue;
                    }
                    _ => return Attention::Over,
                },
                () = entry.connection.asked() => {}
            }
            let response = entry.connection.take_response();
            if let Some(stats) = entry.connection.take_slow() {
                tracing::warn!(
                    monotonic_counter.bowline_slow_peers = 1_u64,
                    session = entry.id,
                    stats.retained_bytes,
                    stats.retained_messages,
                    "client reads too slowly"
                );
                self.service.registry.resumption.notify_slow_peer(&entry.id, stats);
            }
            if entry.connection.is_closing() {
                return Attention::Closing;
            }
            let Some(response) = response.filter(|_| asked && tries < AUTHENTICATIONS_MAX) else { continue };
            tries += 1;
            let credentials = Credentials::new(&entry.scheme, response);
            if Box::pin(self.is_still(admitted, &credentials)).await {
                self.service.registry.renew(admitted);
                (asked, tries) = (false, 0);
            } else if let Some(term) = term.filter(|_| tries < AUTHENTICATIONS_MAX) {
                self.ask(admitted, term);
            }
        }
    }

    fn ask(&self, admitted: &Admitted, Term { lease, .. }: Term) {
        let entry = &admitted.entry;
        let challenge = random::<32>();
        let is_asked = entry.connection.request_credentials(lease.expires_at, Some(challenge));
        tracing::debug!(session = entry.id, is_asked, "asking for new credentials");
    }

    /// Checks new credentials. If they are those of the same principal, renews the lease and
    /// returns `true`.
    async fn is_still(&self, admitted: &Admitted, credentials: &Credentials) -> bool {
        let entry = &admitted.entry;
        // Sessions without a lease have no peer and are never asked.
        let Some(peer) = &self.peer else { return false };
        match self.service.authenticate_peer(peer, credentials).await {
            Ok(principal) if principal_hash(&principal.id) == principal_hash(&entry.principal.id) => {
                entry.lock().authority = Authority::new(principal.lease);
                true
            }
            Ok(principal) => {
                tracing::warn!(session = entry.id, %principal, "lease refresh by another principal refused");
                false
            }
            Err(refusal) => {
                tracing::debug!(session = entry.id, status = %refusal.status, "lease refresh refused");
                false
            }
        }
    }

    /// The code and message for a client whose lease has ended.
    pub(crate) const LEASE_OVER: (ErrorCode, &str) =
        (ErrorCode::Unauthenticated, "the lease has ended and the client has not authenticated again");
}
