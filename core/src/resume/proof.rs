//! The proof of possession. A token alone cannot resume a session: each comes with a key, which is
//! sent to the client once, and with which the client signs the server's challenge.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use super::claims::Claims;
use super::error::TokenError;
use super::keys::{KeyRing, is_signature, sign};
use crate::link::Secret;

const PURPOSE: &[u8] = b"bowline-resume-1";

/// Returns the key of the tokens of one epoch. The server derives it again when it needs it.
pub fn resume_key(keys: &KeyRing, claims: &Claims) -> Secret {
    Secret::new(URL_SAFE_NO_PAD.encode(keys.active().possession(&parts(claims, &claims.ep.to_be_bytes()))))
}

/// Returns the client's proof. It covers the server's challenge, the token, and the number of the
/// last message that the client has handled.
pub fn prove(resume_key: &Secret, challenge: &str, token: &Secret, last_event_seq: u64) -> String {
    let digest = Sha256::digest(token.expose());
    let seq = last_event_seq.to_be_bytes();
    let signed = [PURPOSE, challenge.as_bytes(), digest.as_slice(), &seq];
    URL_SAFE_NO_PAD.encode(sign(resume_key.expose().as_bytes(), &signed))
}

impl KeyRing {
    /// Checks the proof that was presented with a valid token.
    ///
    /// # Errors
    /// Fails with [`TokenError::Proof`] if the proof was made with another key or for another
    /// challenge, and with [`TokenError::KeyUnknown`] if the key is not in the ring.
    pub fn check_proof(
        &self,
        claims: &Claims,
        challenge: &str,
        token: &Secret,
        last_event_seq: u64,
        proof: &str,
    ) -> Result<(), TokenError> {
        let key = self.key(&claims.kid).ok_or(TokenError::KeyUnknown)?;
        let held = URL_SAFE_NO_PAD.encode(key.possession(&parts(claims, &claims.ep.to_be_bytes())));
        let digest = Sha256::digest(token.expose());
        let seq = last_event_seq.to_be_bytes();
        let signed = [PURPOSE, challenge.as_bytes(), digest.as_slice(), &seq];
        let given = URL_SAFE_NO_PAD.decode(proof).map_err(|_malformed| TokenError::Proof)?;
        if is_signature(held.as_bytes(), &signed, &given) { Ok(()) } else { Err(TokenError::Proof) }
    }
}

/// Joins the parts so that different pairs have different texts: ids of sessions contain no NUL.
fn parts<'a>(claims: &'a Claims, epoch: &'a [u8; 8]) -> [&'a [u8]; 3] {
    [claims.sid.as_bytes(), &[0], epoch]
}
