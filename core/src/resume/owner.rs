//! The valid tokens of a session. A token is replaced when the session changes its connection. The
//! previous one stays valid until the client has confirmed a newer one, so that a lost answer does
//! not lock the client out.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::claims::Claims;
use super::error::TokenError;

/// The maximum number of valid token ids of a session. There are that many only if many answers in
/// a row were lost. Further tokens share the id of the newest, so that every token that was sent
/// stays valid.
pub const TOKENS_MAX: usize = 48;

/// The id of a token: 16 random bytes in base64url.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Jti(pub String);

/// The valid tokens of a session, and its epoch. Changes must be exclusive, and the connection must
/// be attached before the next change, so that epochs and attachments agree.
#[derive(Clone, Debug, PartialEq)]
pub struct Owner {
    epoch: u64,
    /// The ids of the valid tokens, oldest first. The first is the newest that the client is known
    /// to have, or the very first one.
    tokens: VecDeque<Jti>,
    /// The id that was presented or sent with the current connection. Anything that the client
    /// sends on that connection confirms it.
    connection_token: Jti,
}

impl Owner {
    /// Creates the state of a new session, whose first token has the id `first`.
    pub fn new(first: Jti) -> Self {
        Self { epoch: 1, tokens: VecDeque::from([first.clone()]), connection_token: first }
    }

    /// Restores the state of a session that is recovered by another process, after a resume with
    /// `presented`.
    ///
    /// The store contains the valid `tokens`, up to those of `known_epoch`. A token of a later
    /// epoch was sent after the last checkpoint; it is valid because its signature is.
    ///
    /// # Errors
    /// Fails if the client has confirmed a newer token.
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
            // The client has this token, so earlier ones are no longer needed.
            None if presented.ep > known_epoch => tokens = VecDeque::from([presented.jti.clone()]),
            None => return Err(TokenError::Replayed),
        }
        let mut owner = Self { epoch, tokens, connection_token: next.clone() };
        owner.connection_token = owner.push(next);
        Ok(owner)
    }

    /// Returns the id of the token that was sent with the newest connection.
    pub fn connection_token(&self) -> &Jti {
        &self.connection_token
    }

    /// Returns the ids that will be valid once `next` is, for a store to record before the client
    /// has the token.
    pub fn tokens_with(&self, next: &Jti) -> Vec<Jti> {
        self.tokens.iter().chain([next]).cloned().collect()
    }

    /// Returns the valid ids, oldest first, for a store to record.
    pub fn tokens(&self) -> impl Iterator<Item = &Jti> {
        self.tokens.iter()
    }

    /// Returns the epoch: the number of connections that the session has had.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Records that the client has the token that was sent with the newest connection.
    pub fn confirm(&mut self) {
        if let Some(at) = self.tokens.iter().position(|token| *token == self.connection_token) {
            self.tokens.drain(..at);
        }
    }

    /// Records that the client has a token that was sent by [`renew`](Self::renew).
    pub fn confirm_renewed(&mut self, held: &Jti) {
        if let Some(at) = self.tokens.iter().position(|token| token == held) {
            if self.tokens.iter().take(at).any(|token| *token == self.connection_token) {
                self.connection_token = held.clone();
            }
            self.tokens.drain(..at);
        }
    }

    /// Checks that a token is valid.
    ///
    /// # Errors
    /// Fails if the client has confirmed a newer token.
    pub fn check(&self, presented: &Jti) -> Result<(), TokenError> {
        if self.tokens.contains(presented) { Ok(()) } else { Err(TokenError::Replayed) }
    }

    /// Begins the next epoch, for a client that presents a valid token, and adds a token for the
    /// new connection; see [`connection_token`](Self::connection_token). Returns the epoch.
    ///
    /// # Errors
    /// Fails if the client has confirmed a newer token. Nothing is changed then.
    pub fn claim(&mut self, presented: &Jti, next: Jti) -> Result<u64, TokenError> {
        let at = self.tokens.iter().position(|token| token == presented).ok_or(TokenError::Replayed)?;
        // The client has the token that it presents. Later ones stay valid, because they may have
        // arrived as well: this may be a delayed attempt.
        self.tokens.drain(..at);
        Ok(self.advance(next))
    }

    /// Begins the next epoch, for a client that was identified by other means. Returns the epoch.
    pub fn advance(&mut self, next: Jti) -> u64 {
        self.epoch += 1;
        self.connection_token = self.push(next);
        self.epoch
    }

    /// Adds a newer token for the same connection. Returns its id, which is `next` unless too many
    /// tokens are valid. Earlier tokens stay valid, since nothing that the client sends later
    /// proves that it has read the new one.
    pub fn renew(&mut self, next: Jti) -> Jti {
        self.push(next)
    }

    /// Adds an id. An id that the client may have is never removed here.
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
