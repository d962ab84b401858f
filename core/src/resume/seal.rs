//! Sealing: authenticated encryption with XChaCha20-Poly1305. Its nonces are long enough to be
//! chosen at random by any number of servers.

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};

use super::error::TokenError;

/// The length of a nonce, in bytes. A nonce must not be used twice with one key.
pub const NONCE_BYTES: usize = 24;

const TAG_BYTES: usize = 16;

/// The length field before the claims, in bytes.
const LENGTH_BYTES: usize = 4;

/// Returns `nonce ‖ sealed(length of claims ‖ claims ‖ body)`, bound to `aad`.
pub(super) fn seal(key: &[u8; 32], nonce: &[u8; NONCE_BYTES], aad: &str, claims: &[u8], body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(claims.len()).expect("claims are shorter than a token");
    let plain = [&length.to_be_bytes(), claims, body].concat();
    let payload = Payload { msg: &plain, aad: aad.as_bytes() };
    let sealed =
        cipher(key).encrypt(&XNonce::from(*nonce), payload).expect("a token is shorter than the cipher allows");
    [&nonce[..], &sealed].concat()
}

/// Returns the claims and the body.
pub(super) fn unseal(key: &[u8; 32], aad: &str, sealed: &[u8]) -> Result<(Vec<u8>, Vec<u8>), TokenError> {
    let (nonce, sealed) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or(TokenError::Shape("no nonce"))?;
    let payload = Payload { msg: sealed, aad: aad.as_bytes() };
    let mut plain = cipher(key).decrypt(&XNonce::from(*nonce), payload).map_err(|_forged| TokenError::Seal)?;
    let short = || TokenError::Shape("the claims are longer than the sealed part");
    let length = plain.first_chunk::<LENGTH_BYTES>().map(|length| u32::from_be_bytes(*length)).ok_or_else(short)?;
    let end = usize::try_from(length).ok().and_then(|length| length.checked_add(LENGTH_BYTES)).ok_or_else(short)?;
    if end > plain.len() {
        return Err(short());
    }
    let body = plain.split_off(end);
    plain.drain(..LENGTH_BYTES);
    Ok((plain, body))
}

/// Returns the sealed length of claims and body of `bytes` in all.
pub(super) fn sealed_bytes(bytes: usize) -> usize {
    NONCE_BYTES + LENGTH_BYTES + bytes + TAG_BYTES
}

fn cipher(key: &[u8; 32]) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(key.into())
}
