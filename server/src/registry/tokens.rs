//! Resume tokens: checks presented tokens, and mints new ones when a session begins, is resumed, is
//! stored, or has had its token for long. See docs/token.md.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bowline_core::endpoint::Attached;
use bowline_core::error::ErrorCode;
use bowline_core::link::{Features, Mode, Refused, Resume, Resumed, Secret, Ticket};
use bowline_core::peer::Connection;
use bowline_core::resume::{Claims, Jti, Kept as Where, TokenError, resume_key};
use bowline_core::time::UnixTime;

use super::{Admitted, Entry, EntryState, Registry};
use crate::resumption::Resumption;
use crate::store::Position;

/// The token of a checkpoint that is being stored. It becomes valid when it is placed, so a failed
/// write leaves the valid tokens as they are.
pub(crate) struct Candidate {
    pub(crate) claims: Claims,
    pub(crate) token: Secret,
    pub(crate) resume_key: Secret,
}

impl EntryState {
    /// Forgets checkpoints and tokens that the client no longer needs.
    pub(crate) fn confirm(&mut self, connection: &Connection) {
        if connection.has_heard() {
            self.owner.confirm();
        }
        let confirmed = connection.confirmed_checkpoint();
        while self.placed.front().is_some_and(|claims| claims.ck < confirmed) {
            self.placed.pop_front();
        }
        if let Some(newest) = self.placed.front_mut().filter(|claims| claims.ck == confirmed) {
            newest.snapshot = None;
            self.owner.confirm_renewed(&newest.jti);
        }
    }

    /// Returns the oldest checkpoint that the client may present.
    pub(crate) fn oldest(&self) -> Position {
        self.placed.front().map_or_else(Position::default, |claims| Position { lineage: claims.ln, number: claims.ck })
    }
}

/// Why a token could not be opened: it is invalid, or its proof is.
#[derive(Debug)]
pub(crate) struct TokenRefusal {
    /// The session that the token names, if this service signed it.
    pub(super) session: Option<String>,
    pub(super) error: TokenError,
}

impl Registry {
    /// Checks a token and the proof that the client has its key.
    pub(crate) fn open_token(&self, resume: &Resume, challenge: &str) -> Result<Claims, TokenRefusal> {
        let keys = self.resumption.keys.ring();
        let token = &resume.resume_token;
        let audience = self.resumption.token_audience();
        let opened = keys.open(token.expose(), &audience, unix_now());
        let claims = opened.map_err(|error| TokenRefusal { session: None, error })?;
        match keys.check_proof(&claims, challenge, token, resume.last_event_seq, &resume.proof) {
            Ok(()) => Ok(claims),
            Err(error) => Err(TokenRefusal { session: Some(claims.sid), error }),
        }
    }

    /// Mints the token and key that are sent with the newest connection.
    pub(crate) fn mint(&self, held: &mut EntryState) -> (Secret, Secret) {
        let jti = held.owner.connection_token().clone();
        self.mint_as(held, jti)
    }

    /// Returns the answer to a client that resumes its session, with a new token. The features are
    /// sent again unless both processes are the same as before.
    pub(crate) fn resumed(
        &self,
        entry: &Entry,
        held: &mut EntryState,
        attached: &Attached,
        mode: Mode,
        features: Features,
    ) -> Resumed {
        let (resume_token, resume_key) = self.mint(held);
        Resumed {
            session_id: entry.id.clone(),
            epoch: held.owner.epoch(),
            resume_token,
            resume_key,
            last_event_seq: attached.processed,
            replayed_from: 0,
            replayed: attached.resent > 0,
            replay_count: attached.resent,
            runtime: Some(self.resumption.runtime.clone()),
            lease: held.authority.lease(),
            features: (mode != Mode::Warm).then(|| features.names()),
            ids: (mode == Mode::Reattach).then(|| entry.connection.ids()),
            left: attached.left.clone(),
            mode,
        }
    }

    fn mint_as(&self, held: &mut EntryState, jti: Jti) -> (Secret, Secret) {
        (held.claims.ep, held.claims.jti) = (held.owner.epoch(), jti);
        self.mint_claims(&mut held.claims)
    }

    /// Mints a token of these claims, and its key. Both come from the same ring: the proof is
    /// checked with a key derived from the one that signed the token.
    fn mint_claims(&self, claims: &mut Claims) -> (Secret, Secret) {
        let Resumption { keys, tokens, .. } = &self.resumption;
        let keys = keys.ring();
        let token = match claims.snapshot.clone() {
            Some(snapshot) => {
                let nonce = rand::random::<[u8; 24]>();
                let minted = keys.mint_checkpoint(claims, &snapshot, Where::InStore, tokens, unix_now(), &nonce);
                minted.map_or_else(|_too_large| keys.mint(claims, tokens, unix_now()), |minted| minted.token)
            }
            None => keys.mint(claims, tokens, unix_now()),
        };
        (token, resume_key(&keys, claims))
    }

    /// Mints the tokens of checkpoints in transit again, for the connection that was just attached:
    /// the tokens placed before belong to a connection that has ended.
    pub(super) fn mint_placed_anew(&self, entry: &Entry, held: &mut EntryState) {
        let waiting = entry.connection.unconfirmed_checkpoints();
        let EntryState { owner, placed, .. } = held;
        let waiting = placed.iter_mut().filter(|claims| waiting.contains(&claims.ck));
        let tickets = waiting.map(|claims| {
            (claims.ep, claims.jti) = (owner.epoch(), owner.renew(Jti(random::<16>())));
            let (resume_token, resume_key) = self.mint_claims(claims);
            (claims.ck, Ticket { resume_token, resume_key: Some(resume_key) })
        });
        let tickets = tickets.collect();
        entry.connection.replace_tokens(tickets);
    }

    /// Places the token of a stored checkpoint behind the messages that it covers. If the session
    /// was resumed or the keys were rotated while the checkpoint was being stored, the token is
    /// minted again.
    pub(crate) fn place(&self, entry: &Entry, candidate: Candidate) {
        let mut held = entry.lock();
        let Candidate { mut claims, token, resume_key } = candidate;
        let epoch = held.owner.epoch();
        let jti = held.owner.renew(claims.jti.clone());
        let (resume_token, resume_key) = if (claims.ep, &claims.jti) == (epoch, &jti) {
            (token, resume_key)
        } else {
            (claims.ep, claims.jti) = (epoch, jti);
            self.mint_claims(&mut claims)
        };
        held.placed.push_back(claims);
        let lease = held.authority.lease();
        let ticket = Ticket { resume_token, resume_key: Some(resume_key) };
        // No resume can happen in between, because it needs the lock of the entry.
        entry.connection.checkpoint_stored(ticket, lease);
    }

    /// Sends the client a newer token, because its token is about to expire or its lease has
    /// changed.
    pub(crate) fn renew(&self, admitted: &Admitted) {
        let entry = &admitted.entry;
        if entry.kept.is_some() {
            // Every token of a stored session must be known to the store, so a checkpoint is taken.
            return entry.connection.touch();
        }
        let mut held = entry.lock();
        let lease = held.authority.lease();
        if held.owner.epoch() == admitted.epoch {
            let next = held.owner.renew(Jti(random::<16>()));
            let (resume_token, resume_key) = self.mint_as(&mut held, next);
            let ticket = Ticket { resume_token, resume_key: Some(resume_key) };
            entry.connection.send_token(ticket, lease);
        }
    }
}

/// Returns the refusal for a token. The log contains the reason; the presenter gets a
/// message that does not help to forge tokens.
pub(crate) fn refuse(session: Option<&str>, error: &TokenError) -> Refused {
    let code = error.code();
    tracing::warn!(session, %code, %error, "resume refused");
    let message = match code {
        ErrorCode::ResumeTokenInvalid => "the token is invalid".to_owned(),
        _ => error.to_string(),
    };
    Refused::new(code, message)
}

/// Returns random bytes in base64url.
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

/// Returns the milliseconds since 1970.
#[expect(clippy::disallowed_methods, reason = "clients are sent the time of creation")]
pub(crate) fn unix_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.as_millis().try_into().unwrap_or(u64::MAX)
}
