//! Arbitrary text as a token, as a proof, and as the contents of a token with a valid signature.
//! Nothing may panic, and nothing that was not minted may be accepted. The fuzz target `token_open`
//! runs `replay` on its inputs; the test here runs it on the corpus.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bowline_core::link::Secret;
use bowline_core::resume::{Claims, Jti, Kept, Key, KeyRing, Minted, TokenError, TokenPolicy, prove, resume_key};
use bowline_core::time::UnixTime;
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

const AUDIENCE: &str = "calculator";
const NOW: UnixTime = UnixTime(1_700_000_000);
const ROOT: [u8; 32] = [b'a'; 32];

/// Opens `text` as a token, and as a header (its first line) with claims (the rest).
pub(crate) fn replay(text: &str) {
    let keys = KeyRing::new(Key::new("a", &ROOT).expect("32 bytes suffice"));
    let mut claims = Claims::new("s_1", "ann", AUDIENCE, NOW);
    claims.jti = Jti("first".to_owned());
    let minted = keys.mint(&mut claims, &TokenPolicy::default(), NOW);
    match keys.open(text, AUDIENCE, NOW) {
        // The text may have come from a corpus of valid tokens.
        Ok(opened) => assert_eq!(keys.open(text, "another", NOW), Err(TokenError::Audience), "{opened:?}"),
        Err(error) => assert!(!error.to_string().is_empty() && !error.code().as_str().is_empty()),
    }
    if let Ok(opened) = keys.open_sturdy(text, AUDIENCE, NOW) {
        assert_eq!(keys.open(text, AUDIENCE, NOW), Err(TokenError::Kind), "{opened:?}");
    }
    // A single bit of a valid token, chosen by the text.
    let flipped = flip(&minted, text);
    assert!(keys.open(&flipped, AUDIENCE, NOW).is_err(), "{flipped}");
    replay_sealed(&keys, &claims, text);
    // As a proof.
    let challenge = "challenge";
    let proven = keys.check_proof(&claims, challenge, &minted, 1, text);
    let proof = prove(&resume_key(&keys, &claims), challenge, &minted, 1);
    assert_eq!(proven.is_ok(), URL_SAFE_NO_PAD.decode(text).ok() == URL_SAFE_NO_PAD.decode(proof).ok());
    // Arbitrary contents, signed with the key.
    let (header, body) = text.split_once('\n').unwrap_or((r#"{"k":"a","t":"ref","m":"s"}"#, text));
    let signed = sign(header, body);
    if let Ok(claims) = keys.open(&signed, AUDIENCE, NOW) {
        assert_eq!((claims.v, claims.aud.as_str()), (1, AUDIENCE));
        let key = resume_key(&keys, &claims);
        let token = Secret::new(signed);
        let proof = prove(&key, text, &token, u64::MAX);
        assert_eq!(keys.check_proof(&claims, text, &token, u64::MAX, &proof), Ok(()));
    }
}

/// Uses `text` as a snapshot, and as the contents of a seal.
fn replay_sealed(keys: &KeyRing, claims: &Claims, text: &str) {
    let mint =
        |policy| keys.mint_checkpoint(&mut claims.clone(), text.as_bytes(), Kept::InTokenAlone, policy, NOW, &[3; 24]);
    match mint(&TokenPolicy::default()) {
        Ok(Minted { token, .. }) => {
            let opened = keys.open(token.expose(), AUDIENCE, NOW).expect("the token is valid");
            assert_eq!(opened.snapshot.as_deref(), Some(text.as_bytes()));
            let flipped = flip(&token, text);
            assert!(keys.open(&flipped, AUDIENCE, NOW).is_err(), "{flipped}");
        }
        Err(error) => assert!(matches!(error, TokenError::TooLarge { .. }), "{error}"),
    }
    // Arbitrary contents, sealed with the key. The first byte is the length of the claims.
    for (kind, purpose) in [("inline", &b"bowline/seal/1"[..]), ("sturdy", b"bowline/sturdy/1")] {
        let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"k":"a","t":"{kind}","m":"x"}}"#));
        let length = text.bytes().next().map_or(u32::MAX, u32::from).to_be_bytes();
        let plain = [&length[..], text.as_bytes()].concat();
        let aad = format!("bwl1.{header}");
        let payload = Payload { msg: &plain, aad: aad.as_bytes() };
        let cipher = XChaCha20Poly1305::new(&hmac(&ROOT, purpose).into());
        let sealed = cipher.encrypt(&XNonce::from([3; 24]), payload).expect("the snapshot fits");
        let token = format!("bwl1.{header}.{}.", URL_SAFE_NO_PAD.encode([&[3; 24][..], &sealed].concat()));
        let refusals = [keys.open(&token, AUDIENCE, NOW).err(), keys.open_sturdy(&token, AUDIENCE, NOW).err()];
        assert!(refusals.iter().flatten().all(|refusal| *refusal != TokenError::Seal), "{refusals:?}");
    }
}

/// Returns a token with one bit changed, chosen by `text`.
fn flip(token: &Secret, text: &str) -> String {
    let sum = text.bytes().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    let mut flipped = token.expose().as_bytes().to_vec();
    let at = sum / 7 % flipped.len();
    flipped[at] ^= 1 << (sum % 7);
    String::from_utf8(flipped).expect("ASCII")
}

fn hmac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC accepts keys of any length");
    mac.update(text);
    mac.finalize().into_bytes().into()
}

fn sign(header: &str, body: &str) -> String {
    let signed = format!("bwl1.{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(body));
    let tag = hmac(&hmac(&ROOT, b"bowline/mac/1"), signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
}

#[cfg(test)]
mod tests {
    #[test]
    fn fuzz_corpus_is_handled() {
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/token_open");
        let entries: Vec<_> = std::fs::read_dir(corpus).unwrap().collect();
        assert!(entries.len() >= 20);
        for entry in entries {
            super::replay(&std::fs::read_to_string(entry.unwrap().path()).unwrap());
        }
    }
}
