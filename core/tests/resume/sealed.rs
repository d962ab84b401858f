//! Sealed tokens: those that contain a session's state, and those of saved references.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bowline_core::link::Secret;
use bowline_core::resume::{
    Claims, Jti, Kept, KeyRing, NONCE_BYTES, Sturdy, TokenError, TokenPolicy, app_hash, principal_hash, prove,
    resume_key, snapshot_sum,
};
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::{AUDIENCE, BORN, after, key, keys};

/// Minted by version 0.1, and must remain readable.
const GOLDEN_CHECKPOINT: &str = include_str!("golden/checkpoint.token");
const GOLDEN_INLINE: &str = include_str!("golden/inline.token");
const GOLDEN_STURDY: &str = include_str!("golden/sturdy.token");

const NONCE: [u8; NONCE_BYTES] = [5; NONCE_BYTES];
const SNAPSHOT: &[u8] = br#"{"v":1,"exports":[["account",{"row":17}]]}"#;

/// Returns the claims of the third checkpoint of a session that was recovered once.
pub(crate) fn claims() -> Claims {
    let mut claims = Claims::new("s_1", "ann", AUDIENCE, BORN);
    (claims.ep, claims.jti, claims.ln, claims.ck) = (3, Jti("first".to_owned()), 2, 3);
    claims.app = app_hash([("account", 2), ("cursor", 1)]);
    claims
}

pub(crate) fn inline(keys: &KeyRing, snapshot: &[u8]) -> Result<Secret, TokenError> {
    let minted =
        keys.mint_checkpoint(&mut claims(), snapshot, Kept::InTokenAlone, &TokenPolicy::default(), BORN, &NONCE);
    minted.inspect(|minted| assert!(minted.holds_snapshot)).map(|minted| minted.token)
}

fn sturdy(keys: &KeyRing) -> Secret {
    keys.mint_sturdy(&mut Sturdy::new("ref_1", "ann", AUDIENCE), BORN, &NONCE)
}

/// Returns a token with one part replaced.
fn with_part(token: &Secret, at: usize, part: &str) -> String {
    let mut parts: Vec<&str> = token.expose().split('.').collect();
    parts[at] = part;
    parts.join(".")
}

#[test]
fn token_contains_the_state_it_was_minted_from() {
    let keys = keys();
    let token = inline(&keys, SNAPSHOT).unwrap();
    let opened = keys.open(token.expose(), AUDIENCE, after(10)).unwrap();
    assert_eq!(opened.snapshot.as_deref(), Some(SNAPSHOT));
    assert_eq!((opened.ln, opened.ck, opened.ep, opened.sid.as_str()), (2, 3, 3, "s_1"));
    assert_eq!(opened.sum, snapshot_sum(SNAPSHOT));
    assert_eq!((opened.kid.as_str(), opened.exp), ("a", BORN.0 + 3_600));
    // Equal state, keys, and nonces give equal bytes.
    assert_eq!(inline(&keys, SNAPSHOT).unwrap().expose(), token.expose());
    let other = keys.mint_checkpoint(&mut claims(), SNAPSHOT, Kept::InStore, &TokenPolicy::default(), BORN, &[6; 24]);
    assert_ne!(other.unwrap().token.expose(), token.expose());
    let empty = inline(&keys, b"").unwrap();
    assert_eq!(keys.open(empty.expose(), AUDIENCE, BORN).unwrap().snapshot.as_deref(), Some(&b""[..]));
}

/// Opens a sealed token as docs/token.md describes, without code of this crate.
fn opened_by_hand(token: &Secret, purpose: &[u8]) -> Vec<u8> {
    let mut derive = Hmac::<Sha256>::new_from_slice(&[b'a'; 32]).unwrap();
    derive.update(purpose);
    let cipher = XChaCha20Poly1305::new(&derive.finalize().into_bytes());
    let parts: Vec<&str> = token.expose().split('.').collect();
    let body = URL_SAFE_NO_PAD.decode(parts[2]).unwrap();
    let (nonce, sealed) = body.split_first_chunk::<24>().unwrap();
    let aad = format!("bwl1.{}", parts[1]);
    cipher.decrypt(&XNonce::from(*nonce), Payload { msg: sealed, aad: aad.as_bytes() }).unwrap()
}

#[test]
fn token_layout_matches_the_documentation() {
    let keys = keys();
    let plain = opened_by_hand(&inline(&keys, SNAPSHOT).unwrap(), b"bowline/seal/1");
    let (length, rest) = plain.split_first_chunk::<4>().unwrap();
    let (written, snapshot) = rest.split_at(u32::from_be_bytes(*length) as usize);
    assert_eq!(snapshot, SNAPSHOT);
    let claimed: serde_json::Value = serde_json::from_slice(written).unwrap();
    assert_eq!((&claimed["sid"], &claimed["ln"], &claimed["ck"]), (&"s_1".into(), &2.into(), &3.into()));
    let plain = opened_by_hand(&sturdy(&keys), b"bowline/sturdy/1");
    let claimed: serde_json::Value = serde_json::from_slice(&plain[4..]).unwrap();
    let expected = serde_json::json!({
        "v": 1, "id": "ref_1", "sub": principal_hash("ann"), "aud": AUDIENCE, "iat": BORN.0,
    });
    assert_eq!(claimed, expected);
}

#[test]
fn golden_tokens_of_every_kind_are_read() {
    let keys = keys();
    let opened = keys.open(GOLDEN_INLINE.trim(), AUDIENCE, after(10)).unwrap();
    assert_eq!((opened.ck, opened.snapshot.as_deref()), (3, Some(SNAPSHOT)));
    let opened = keys.open(GOLDEN_CHECKPOINT.trim(), AUDIENCE, after(10)).unwrap();
    assert_eq!((opened.ln, opened.ck, opened.snapshot), (2, 3, None));
    assert_eq!((opened.sum, opened.app), (snapshot_sum(SNAPSHOT), app_hash([("cursor", 1), ("account", 2)])));
    let opened = keys.open_sturdy(GOLDEN_STURDY.trim(), AUDIENCE, after(10_000_000)).unwrap();
    assert_eq!((opened.id.as_str(), opened.iat), ("ref_1", BORN.0));
    // A token from before there were checkpoints has no such claims.
    let opened = keys.open(crate::GOLDEN.trim(), AUDIENCE, after(10)).unwrap();
    assert_eq!((opened.ln, opened.ck, opened.sum.as_str(), opened.app.as_str()), (0, 0, "", ""));
    // This version still writes the same bytes.
    assert_eq!(inline(&keys, SNAPSHOT).unwrap().expose(), GOLDEN_INLINE.trim());
    assert_eq!(sturdy(&keys).expose(), GOLDEN_STURDY.trim());
    let mut named = claims();
    named.sum = snapshot_sum(SNAPSHOT);
    assert_eq!(keys.mint(&mut named, &TokenPolicy::default(), BORN).expose(), GOLDEN_CHECKPOINT.trim());
}

#[test]
fn flipping_any_bit_of_a_sealed_token_is_refused() {
    let keys = keys();
    let (session, reference) = (inline(&keys, SNAPSHOT).unwrap(), sturdy(&keys));
    for token in [&session, &reference] {
        let open = |text: &str| {
            keys.open(text, AUDIENCE, BORN).unwrap_err();
            keys.open_sturdy(text, AUDIENCE, BORN).unwrap_err();
        };
        let is_good = keys.open(token.expose(), AUDIENCE, BORN).is_ok()
            ^ keys.open_sturdy(token.expose(), AUDIENCE, BORN).is_ok();
        assert!(is_good, "of a single kind");
        for at in 0..token.expose().len() {
            for bit in 0..8 {
                let mut bytes = token.expose().as_bytes().to_vec();
                bytes[at] ^= 1 << bit;
                if let Ok(flipped) = String::from_utf8(bytes) {
                    open(&flipped);
                }
            }
            open(&token.expose()[..at]);
        }
        open(&format!("{}A", token.expose()));
    }
}

#[test]
fn tokens_of_sessions_and_saved_references_are_not_interchangeable() {
    let keys = keys();
    let (session, reference) = (inline(&keys, SNAPSHOT).unwrap(), sturdy(&keys));
    assert_eq!(keys.open(reference.expose(), AUDIENCE, BORN), Err(TokenError::Kind));
    assert_eq!(keys.open_sturdy(session.expose(), AUDIENCE, BORN), Err(TokenError::Kind));
    assert_eq!(keys.open_sturdy(crate::GOLDEN.trim(), AUDIENCE, BORN), Err(TokenError::Kind));
    // Under the header of the other: another key, and a header that was not sealed.
    let header = |token: &Secret| token.expose().split('.').nth(1).unwrap().to_owned();
    let as_session = with_part(&reference, 1, &header(&session));
    assert_eq!(keys.open(&as_session, AUDIENCE, BORN), Err(TokenError::Seal));
    let as_reference = with_part(&session, 1, &header(&reference));
    assert_eq!(keys.open_sturdy(&as_reference, AUDIENCE, BORN), Err(TokenError::Seal));
}

#[test]
fn sealed_token_is_bound_to_its_key_and_audience() {
    let ours = keys();
    let (session, reference) = (inline(&ours, SNAPSHOT).unwrap(), sturdy(&ours));
    assert_eq!(ours.open(session.expose(), "another", BORN), Err(TokenError::Audience));
    assert_eq!(ours.open_sturdy(reference.expose(), "another", BORN), Err(TokenError::Audience));
    let unknown = KeyRing::new(key("b"));
    assert_eq!(unknown.open(session.expose(), AUDIENCE, BORN), Err(TokenError::KeyUnknown));
    assert_eq!(unknown.open_sturdy(reference.expose(), AUDIENCE, BORN), Err(TokenError::KeyUnknown));
    // Another key with the same name, and the same key with another name.
    let impostor = KeyRing::new(bowline_core::resume::Key::new("a", &[9; 40]).unwrap());
    assert_eq!(impostor.open(session.expose(), AUDIENCE, BORN), Err(TokenError::Seal));
    assert_eq!(impostor.open_sturdy(reference.expose(), AUDIENCE, BORN), Err(TokenError::Seal));
    let renamed = ours.clone().accept(bowline_core::resume::Key::new("c", &[b'a'; 32]).unwrap()).unwrap();
    let header = "eyJrIjoiYyIsInQiOiJpbmxpbmUiLCJtIjoieCJ9";
    assert_eq!(renamed.open(&with_part(&session, 1, header), AUDIENCE, BORN), Err(TokenError::Seal));
    // Rotated keys still open what they have sealed.
    let rotated = ours.rotate(key("b")).unwrap();
    rotated.open(session.expose(), AUDIENCE, BORN).unwrap();
    rotated.open_sturdy(reference.expose(), AUDIENCE, BORN).unwrap();
}

#[test]
fn session_tokens_expire_and_saved_references_do_not() {
    let keys = keys();
    let (session, reference) = (inline(&keys, SNAPSHOT).unwrap(), sturdy(&keys));
    assert_eq!(keys.open(session.expose(), AUDIENCE, after(3_631)), Err(TokenError::Expired(Duration::from_secs(31))));
    keys.open_sturdy(reference.expose(), AUDIENCE, after(100 * 365 * 86_400)).unwrap();
    let early = bowline_core::time::UnixTime(BORN.0 - 31);
    assert_eq!(keys.open(session.expose(), AUDIENCE, early), Err(TokenError::NotYetValid(Duration::from_secs(31))));
    assert_eq!(
        keys.open_sturdy(reference.expose(), AUDIENCE, early),
        Err(TokenError::NotYetValid(Duration::from_secs(31)))
    );
}

#[test]
fn token_with_state_requires_its_key() {
    let keys = keys();
    let token = inline(&keys, SNAPSHOT).unwrap();
    let claims = keys.open(token.expose(), AUDIENCE, BORN).unwrap();
    let proof = prove(&resume_key(&keys, &claims), "challenge", &token, 17);
    keys.check_proof(&claims, "challenge", &token, 17, &proof).unwrap();
    assert_eq!(keys.check_proof(&claims, "another", &token, 17, &proof), Err(TokenError::Proof));
}

#[test]
fn oversized_state_is_referenced_if_stored_and_refused_otherwise() {
    let keys = keys();
    let mint = |snapshot: usize, kept, inline_bytes| {
        let mut policy = TokenPolicy::default();
        policy.inline_bytes = inline_bytes;
        let minted = keys.mint_checkpoint(&mut claims(), &vec![b'x'; snapshot], kept, &policy, BORN, &NONCE);
        minted.map(|minted| minted.token)
    };
    // The largest snapshot that fits, for both limits. The token has exactly that length.
    for max in [16 << 10, 64 << 10] {
        let sizes: Vec<usize> = (0..max).collect();
        let fits = sizes.partition_point(|&size| mint(size, Kept::InTokenAlone, max).is_ok()) - 1;
        let token = mint(fits, Kept::InTokenAlone, max).unwrap();
        assert!((max - 3..=max).contains(&token.expose().len()), "{}", token.expose().len());
        let opened = keys.open(token.expose(), AUDIENCE, BORN).unwrap();
        assert_eq!(opened.snapshot.map(|snapshot| snapshot.len()), Some(fits));
        let error = mint(fits + 3, Kept::InTokenAlone, max).unwrap_err();
        assert!(
            matches!(error, TokenError::TooLarge { bytes, max: stated } if bytes > max && stated == max),
            "{error}"
        );
        assert_eq!(error.code().as_str(), "TOKEN_TOO_LARGE");
        let named = mint(fits + 3, Kept::InStore, max).unwrap();
        let opened = keys.open(named.expose(), AUDIENCE, BORN).unwrap();
        assert_eq!((opened.snapshot, opened.sum), (None, snapshot_sum(&vec![b'x'; fits + 3])));
        assert!(named.expose().len() < 700, "{}", named.expose().len());
    }
    // No policy allows a longer token, and a policy can forbid them.
    mint(64 << 10, Kept::InTokenAlone, usize::MAX).unwrap_err();
    assert_eq!(TokenPolicy::default().inline_bytes, 16 << 10);
    assert!(mint(0, Kept::InTokenAlone, 0).is_err());
    assert_eq!(keys.open(mint(0, Kept::InStore, 0).unwrap().expose(), AUDIENCE, BORN).unwrap().snapshot, None);
}
