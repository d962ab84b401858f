//! Possession: a token alone resumes nothing. With each token goes a key that is sent once, to
//! the client; to resume, the client signs the server's challenge with it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use super::claims::Claims;
use super::error::TokenError;
use super::keys::{KeyRing, is_signature, sign};
use crate::link::Secret;

const PURPOSE: &[u8] = b"bowline-resume-1";

/// The key that goes with the tokens of one epoch. The server derives it anew when it needs it.
pub fn resume_key(keys: &KeyRing, claims: &Claims) -> Secret {
    Secret::new(URL_SAFE_NO_PAD.encode(keys.active().possession(&parts(claims, &claims.ep.to_be_bytes()))))
}

/// The client's proof, over the server's challenge, the token and how far the client has come.
pub fn prove(resume_key: &Secret, challenge: &str, token: &Secret, last_event_seq: u64) -> String {
    let digest = Sha256::digest(token.expose());
    let seq = last_event_seq.to_be_bytes();
    let signed = [PURPOSE, challenge.as_bytes(), digest.as_slice(), &seq];
    URL_SAFE_NO_PAD.encode(sign(resume_key.expose().as_bytes(), &signed))
}

impl KeyRing {
    /// Checks the proof that came with a token that was found good.
    ///
    /// # Errors
    /// Whoever made it does not hold the key, or answers to another challenge.
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

/// Session ids of this crate have no NUL, so no two pairs have one text.
fn parts<'a>(claims: &'a Claims, epoch: &'a [u8; 8]) -> [&'a [u8]; 3] {
    [claims.sid.as_bytes(), &[0], epoch]
}
