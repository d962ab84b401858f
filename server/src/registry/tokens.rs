//! Tokens of sessions: looked at when they come, made when a session begins, moves or has had one
//! for a while.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bowline_core::error::ErrorCode;
use bowline_core::link::{Refused, Resume, Secret};
use bowline_core::resume::{Claims, Jti, Kept as Where, TokenError, resume_key};
use bowline_core::time::UnixTime;

use super::{Admitted, Entry, Held, Registry};
use crate::resumption::Resumption;

/// A token that is not what it should be, or is not its presenter's.
#[derive(Debug)]
pub(crate) struct Unopened {
    /// The session that it names, if it is a token of this service.
    pub(super) session: Option<String>,
    pub(super) error: TokenError,
}

impl Registry {
    /// Looks at the token that a client has come with, and at the proof that it is its own.
    pub(crate) fn open_token(&self, resume: &Resume, challenge: &str) -> Result<Claims, Unopened> {
        let keys = self.resumption.keys.ring();
        let token = &resume.resume_token;
        let audience = self.resumption.token_audience();
        let opened = keys.open(token.expose(), &audience, unix_now());
        let claims = opened.map_err(|error| Unopened { session: None, error })?;
        match keys.check_proof(&claims, challenge, token, resume.last_event_seq, &resume.proof) {
            Ok(()) => Ok(claims),
            Err(error) => Err(Unopened { session: Some(claims.sid), error }),
        }
    }

    /// A token of the present epoch, and the key that goes with it.
    pub(super) fn mint(&self, held: &mut Held, jti: Jti) -> (Secret, Secret) {
        let Resumption { keys, tokens, .. } = &self.resumption;
        let keys = keys.ring();
        held.claims.ep = held.owner.epoch();
        held.claims.jti = jti;
        let token = match held.claims.snapshot.clone() {
            Some(snapshot) => {
                let nonce = rand::random::<[u8; 24]>();
                let minted =
                    keys.mint_checkpoint(&mut held.claims, &snapshot, Where::InStore, tokens, unix_now(), &nonce);
                minted.map_or_else(|_too_large| keys.mint(&mut held.claims, tokens, unix_now()), |minted| minted.token)
            }
            None => keys.mint(&mut held.claims, tokens, unix_now()),
        };
        (token, resume_key(&keys, &held.claims))
    }

    /// As [`mint`](Self::mint), for a session that nobody else knows yet.
    pub(crate) fn mint_for(&self, entry: &Entry, jti: Jti) -> (Secret, Secret) {
        self.mint(&mut entry.lock(), jti)
    }

    /// Sends the client a newer token, because the one it has will end, or what it may do has changed.
    pub(crate) fn renew(&self, admitted: &Admitted) {
        let entry = &admitted.entry;
        if entry.kept.is_some() {
            // Every token of a session that is kept is known where it is kept.
            return entry.connection.touch();
        }
        let mut held = entry.lock();
        let lease = held.authority.lease();
        if held.owner.epoch() == admitted.epoch {
            let next = Jti(random::<16>());
            held.owner.renew(next.clone());
            let (token, _same_key) = self.mint(&mut held, next);
            entry.connection.link(|endpoint| endpoint.send_token(token, lease));
        }
    }
}

/// The log says what was wrong; the presenter is told what it may know.
pub(crate) fn refuse(session: Option<&str>, error: &TokenError) -> Refused {
    let code = error.code();
    tracing::warn!(session, %code, %error, "resume refused");
    let message = match code {
        ErrorCode::ResumeTokenInvalid => "the token is not valid here".to_owned(),
        _ => error.to_string(),
    };
    Refused::new(code, message)
}

/// Random bytes as base64url.
pub(crate) fn random<const N: usize>() -> String
where
    rand::distr::StandardUniform: rand::distr::Distribution<[u8; N]>,
{
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; N]>())
}

#[expect(clippy::disallowed_methods, reason = "tokens are dated, because other processes read them")]
pub(crate) fn unix_now() -> UnixTime {
    UnixTime(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())
}

/// Milliseconds since 1970.
#[expect(clippy::disallowed_methods, reason = "clients are told when things were made")]
pub(crate) fn unix_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.as_millis().try_into().unwrap_or(u64::MAX)
}
