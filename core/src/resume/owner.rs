//! Which tokens of a session count. A token is replaced whenever the session changes its
//! transport; the one before counts until the client has shown that it holds a newer one, so a
//! lost answer leaves nobody outside.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::claims::Claims;
use super::error::TokenError;

/// Names of tokens of one session that count at the same time. Only answers that were all lost make
/// so many. A token beyond shares the name of the newest, so that every token that was handed out
/// goes on to count.
pub const TOKENS_MAX: usize = 48;

/// Names a token. 16 random bytes in base64url.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Jti(pub String);

/// The tokens and the transports of one session, counted. Whoever changes it must be alone, and
/// must attach the transport before anybody else changes it: so epochs and transports agree.
#[derive(Clone, Debug, PartialEq)]
pub struct Owner {
    epoch: u64,
    /// Oldest first. The first is the newest that the client is known to hold, or the very first.
    tokens: VecDeque<Jti>,
    /// Presented or handed out with the transport that is there now: hearing from the client on
    /// that transport shows that it holds this one.
    handed_out: Jti,
}

impl Owner {
    /// A session's first token, of its first epoch.
    pub fn new(first: Jti) -> Self {
        Self { epoch: 1, tokens: VecDeque::from([first.clone()]), handed_out: first }
    }

    /// A session that comes back from a store in another process, resumed with `presented`, as
    /// `epoch`. The store knows `tokens`, up to those of `known_epoch`; one of a later epoch was
    /// handed out after the last checkpoint, and counts because it is well made.
    ///
    /// # Errors
    /// The client has shown that it holds a newer one.
    pub fn restore(
        known_epoch: u64,
        tokens: impl IntoIterator<Item = Jti>,
        presented: &Claims,
        epoch: u64,
        next: Jti,
    ) -> Result<Self, TokenError> {
        let mut tokens: VecDeque<Jti> = tokens.into_iter().collect();
        match tokens.iter().position(|token| *token == presented.jti) {
            Some(at) => drop(tokens.drain(..at)),
            // The client holds it, so it needs none of those before.
            None if presented.ep > known_epoch => tokens = VecDeque::from([presented.jti.clone()]),
            None => return Err(TokenError::Replayed),
        }
        let mut owner = Self { epoch, tokens, handed_out: next.clone() };
        owner.handed_out = owner.push(next);
        Ok(owner)
    }

    /// The name of the token that is handed out with the newest transport.
    pub fn handed_out(&self) -> &Jti {
        &self.handed_out
    }

    /// The tokens that will count once `next` does, for a store to know before the client holds it.
    pub fn tokens_with(&self, next: &Jti) -> Vec<Jti> {
        self.tokens.iter().chain([next]).cloned().collect()
    }

    /// The tokens that count, for a store to know. Oldest first.
    pub fn tokens(&self) -> impl Iterator<Item = &Jti> {
        self.tokens.iter()
    }

    /// Counts the transports.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The client holds what it was handed with the newest transport.
    pub fn confirm(&mut self) {
        if let Some(at) = self.tokens.iter().position(|token| *token == self.handed_out) {
            self.tokens.drain(..at);
        }
    }

    /// The client has said that it holds a token that it was sent by [`renew`](Self::renew).
    pub fn confirm_renewed(&mut self, held: &Jti) {
        if let Some(at) = self.tokens.iter().position(|token| token == held) {
            if self.tokens.iter().take(at).any(|token| *token == self.handed_out) {
                self.handed_out = held.clone();
            }
            self.tokens.drain(..at);
        }
    }

    /// Whether a token counts. Changes nothing.
    ///
    /// # Errors
    /// The client has shown that it holds a newer one.
    pub fn check(&self, presented: &Jti) -> Result<(), TokenError> {
        if self.tokens.contains(presented) { Ok(()) } else { Err(TokenError::Replayed) }
    }

    /// A new transport: the next epoch, with a token of its own; see [`handed_out`](Self::handed_out).
    ///
    /// # Errors
    /// As [`check`](Self::check); then nothing has changed.
    pub fn claim(&mut self, presented: &Jti, next: Jti) -> Result<u64, TokenError> {
        let at = self.tokens.iter().position(|token| token == presented).ok_or(TokenError::Replayed)?;
        // The client holds what it presents. What was handed out later may have arrived as well:
        // this may be a late try.
        self.tokens.drain(..at);
        Ok(self.advance(next))
    }

    /// A new transport for a client that has shown by other means that it is the same.
    pub fn advance(&mut self, next: Jti) -> u64 {
        self.epoch += 1;
        self.handed_out = self.push(next);
        self.epoch
    }

    /// A newer token on the same transport; returns its name, which is `next` unless too many count.
    /// Those before count on: nothing that the client says afterwards shows that it has read it.
    pub fn renew(&mut self, next: Jti) -> Jti {
        self.push(next)
    }

    /// No token is ever forgotten here that the client may hold.
    fn push(&mut self, next: Jti) -> Jti {
        match self.tokens.back() {
            Some(newest) if self.tokens.len() >= TOKENS_MAX => newest.clone(),
            _ => {
                self.tokens.push_back(next.clone());
                next
            }
        }
    }
}
