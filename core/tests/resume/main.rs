//! Tokens, their keys, the proof of possession, and the valid tokens of a session.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

/// Sessions that another process recovers.
mod cold;
/// Modified tokens.
mod hostile;
/// Root keys, and blinded principals.
mod keys;
/// Weaknesses that tokens must not have.
mod rows;
/// Sealed tokens.
mod sealed;

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bowline_core::error::ErrorCode;
use bowline_core::link::Secret;
use bowline_core::resume::{
    Claims, Jti, Key, KeyError, KeyRing, Owner, TOKENS_MAX, TokenError, TokenPolicy, prove, resume_key,
};
use bowline_core::time::UnixTime;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

const AUDIENCE: &str = "calculator";
const BORN: UnixTime = UnixTime(1_700_000_000);

/// Minted by version 0.1, and must remain readable.
const GOLDEN: &str = include_str!("golden.token");

fn key(id: &str) -> Key {
    Key::new(id, &[id.as_bytes()[0]; 32]).unwrap()
}

fn keys() -> KeyRing {
    KeyRing::new(key("a"))
}

fn minted(keys: &KeyRing, now: UnixTime) -> (Secret, Claims) {
    let mut claims = Claims::new("s_1", "ann", AUDIENCE, BORN);
    claims.ep = 3;
    claims.jti = Jti("first".to_owned());
    let token = keys.mint(&mut claims, &TokenPolicy::default(), now);
    (token, claims)
}

fn after(seconds: u64) -> UnixTime {
    UnixTime(BORN.0 + seconds)
}

#[test]
fn token_round_trip_is_byte_stable() {
    let (token, claims) = minted(&keys(), BORN);
    let (again, _) = minted(&keys(), BORN);
    assert_eq!(token.expose(), again.expose());
    let opened = keys().open(token.expose(), AUDIENCE, after(10)).unwrap();
    // The token does not contain the principal.
    assert_eq!(opened.principal, "");
    assert_eq!(Claims { principal: claims.principal.clone(), ..opened }, claims);
    assert_eq!(token.expose(), GOLDEN.trim());
}

#[test]
fn token_expiry_cannot_be_edited() {
    let (token, _) = minted(&keys(), BORN);
    let late = after(3_600 + 31);
    assert_eq!(keys().open(token.expose(), AUDIENCE, late), Err(TokenError::Expired(Duration::from_secs(31))));
    let parts: Vec<&str> = token.expose().split('.').collect();
    let body = String::from_utf8(URL_SAFE_NO_PAD.decode(parts[2]).unwrap()).unwrap();
    let edited = body.replace(&format!("\"exp\":{}", BORN.0 + 3_600), &format!("\"exp\":{}", BORN.0 + 9_999));
    assert_ne!(edited, body);
    let forged = [parts[0], parts[1], &URL_SAFE_NO_PAD.encode(edited), parts[3]].join(".");
    assert_eq!(keys().open(&forged, AUDIENCE, late), Err(TokenError::Tag));
}

#[test]
fn flipping_any_bit_of_a_token_is_refused() {
    let (token, _) = minted(&keys(), BORN);
    for at in 0..token.expose().len() {
        for bit in 0..8 {
            let mut bytes = token.expose().as_bytes().to_vec();
            bytes[at] ^= 1 << bit;
            if let Ok(flipped) = String::from_utf8(bytes) {
                keys().open(&flipped, AUDIENCE, BORN).unwrap_err();
            }
        }
        keys().open(&token.expose()[..at], AUDIENCE, BORN).unwrap_err();
    }
}

#[test]
fn wrong_key_unknown_key_and_expiry_are_distinct_errors() {
    let (token, _) = minted(&keys(), BORN);
    let open = |keys: KeyRing, now| keys.open(token.expose(), AUDIENCE, now).unwrap_err();
    let other_a = KeyRing::new(Key::new("a", &[9; 40]).unwrap());
    let errors = [
        (open(other_a, BORN), ErrorCode::ResumeTokenInvalid),
        (keys().open("bwl1.e30", AUDIENCE, BORN).unwrap_err(), ErrorCode::ResumeTokenInvalid),
        (keys().open(&"x".repeat(70_000), AUDIENCE, BORN).unwrap_err(), ErrorCode::ResumeTokenInvalid),
        (keys().open(token.expose(), "another", BORN).unwrap_err(), ErrorCode::ResumeTokenInvalid),
        (open(KeyRing::new(key("b")), BORN), ErrorCode::ResumeTokenKeyUnknown),
        (open(keys(), UnixTime(BORN.0 - 31)), ErrorCode::ResumeTokenNotYetValid),
        (open(keys(), after(4_000)), ErrorCode::ResumeTokenExpired),
    ];
    let mut texts: Vec<_> = errors.iter().map(|(error, _)| error.to_string()).collect();
    for (error, code) in &errors {
        assert_eq!(error.code(), *code, "{error}");
    }
    texts.sort();
    texts.dedup();
    assert_eq!(texts.len(), errors.len(), "one log line each");
    // A new token of an old session.
    let (token, _) = minted(&keys(), after(86_000));
    assert_eq!(
        keys().open(token.expose(), AUDIENCE, after(86_401)),
        Err(TokenError::TooOld(Duration::from_secs(86_401)))
    );
}

/// Larger differences have a code in each direction; see above.
#[test]
fn clock_skew_of_half_a_minute_is_tolerated() {
    let (token, _) = minted(&keys(), BORN);
    keys().open(token.expose(), AUDIENCE, UnixTime(BORN.0 - 30)).unwrap();
    keys().open(token.expose(), AUDIENCE, after(3_630)).unwrap();
}

#[test]
fn mac_is_hmac_not_prefix_hash() {
    let (token, _) = minted(&keys(), BORN);
    let (signed, tag) = token.expose().rsplit_once('.').unwrap();
    let mut derive = Hmac::<Sha256>::new_from_slice(&[b'a'; 32]).unwrap();
    derive.update(b"bowline/mac/1");
    let derived = derive.finalize().into_bytes();
    let mut mac = Hmac::<Sha256>::new_from_slice(&derived).unwrap();
    mac.update(signed.as_bytes());
    assert_eq!(tag, URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()));
    let prefix = Sha256::new().chain_update(derived).chain_update(signed).finalize();
    let forged = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(prefix));
    assert_eq!(keys().open(&forged, AUDIENCE, BORN), Err(TokenError::Tag));
}

#[test]
fn rotated_keys_stay_accepted() {
    let (old, _) = minted(&keys(), BORN);
    let rotated = keys().rotate(key("b")).unwrap();
    rotated.open(old.expose(), AUDIENCE, BORN).unwrap();
    let (new, claims) = minted(&rotated, BORN);
    assert_eq!(claims.kid, "b");
    assert_eq!(keys().open(new.expose(), AUDIENCE, BORN), Err(TokenError::KeyUnknown));
    assert!(matches!(rotated.rotate(key("a")), Err(KeyError::SameName)));
    assert!(matches!(Key::new("a", &[0; 31]), Err(KeyError::TooShort(31))));
    assert!(matches!(Key::new("", &[0; 32]), Err(KeyError::Name(0))));
    assert!(!format!("{:?}", keys()).contains("97"), "keys are not shown");
    assert_eq!(format!("{old:?}"), "Secret(..)");
}

#[test]
fn token_without_its_key_is_refused() {
    let keys = keys();
    let (token, claims) = minted(&keys, BORN);
    let held = resume_key(&keys, &claims);
    let proof = prove(&held, "challenge", &token, 17);
    keys.check_proof(&claims, "challenge", &token, 17, &proof).unwrap();
    let other = Claims { ep: 4, ..claims.clone() };
    for wrong in [
        keys.check_proof(&claims, "another", &token, 17, &proof),
        keys.check_proof(&claims, "challenge", &token, 18, &proof),
        keys.check_proof(&claims, "challenge", &Secret::new("x"), 17, &proof),
        keys.check_proof(&other, "challenge", &token, 17, &proof),
        keys.check_proof(&claims, "challenge", &token, 17, &prove(&Secret::new("guess"), "challenge", &token, 17)),
        keys.check_proof(&claims, "challenge", &token, 17, "no base64!"),
    ] {
        assert_eq!(wrong, Err(TokenError::Proof));
    }
}

fn jti(n: usize) -> Jti {
    Jti(n.to_string())
}

#[test]
fn previous_token_is_a_replay_once_the_new_one_is_confirmed() {
    let mut owner = Owner::new(jti(0));
    assert_eq!(owner.claim(&jti(0), jti(1)), Ok(2));
    // The answer may have been lost: both are valid.
    assert_eq!(owner.claim(&jti(0), jti(2)), Ok(3));
    assert_eq!(owner.claim(&jti(1), jti(3)), Ok(4));
    // The client has confirmed token 1.
    assert_eq!(owner.check(&jti(0)), Err(TokenError::Replayed));
    owner.confirm();
    for old in [0, 1, 2] {
        assert_eq!(owner.claim(&jti(old), jti(9)), Err(TokenError::Replayed));
    }
    assert_eq!((owner.epoch(), owner.check(&jti(3))), (4, Ok(())));
}

#[test]
fn lost_answers_never_lock_the_client_out() {
    let mut owner = Owner::new(jti(0));
    let mut sent = vec![jti(0)];
    for n in 1..500 {
        owner.claim(&jti(0), jti(n)).unwrap();
        sent.push(owner.connection_token().clone());
        // So are tokens that are sent on that connection.
        sent.push(owner.renew(jti(1_000 + n)));
    }
    assert!(sent.iter().all(|token| owner.check(token).is_ok()), "any of them may have arrived");
    assert_eq!(owner.tokens().count(), TOKENS_MAX);
    let newest = owner.connection_token().clone();
    owner.confirm();
    owner.check(&newest).unwrap();
    assert_eq!(owner.check(&jti(0)), Err(TokenError::Replayed));
    // With room again, tokens have ids of their own.
    owner.claim(&newest, jti(9_999)).unwrap();
    assert_eq!(owner.connection_token(), &jti(9_999));
}

#[test]
fn token_known_to_the_store_alone_displaces_none() {
    let mut owner = Owner::new(jti(0));
    owner.claim(&jti(0), jti(1)).unwrap();
    for n in 2..100 {
        assert_eq!(owner.tokens_with(&jti(n)), [jti(0), jti(1), jti(n)]);
    }
    assert_eq!(owner.check(&jti(99)), Err(TokenError::Replayed), "the token was never sent");
    owner.check(&jti(0)).unwrap();
    owner.check(&jti(1)).unwrap();
}

#[test]
fn renewed_tokens_are_valid_beside_earlier_ones() {
    let mut owner = Owner::new(jti(0));
    owner.renew(jti(1));
    owner.confirm();
    // A message from the client confirms nothing about a token that was sent meanwhile.
    owner.check(&jti(0)).unwrap();
    owner.claim(&jti(1), jti(2)).unwrap();
    assert_eq!(owner.check(&jti(0)), Err(TokenError::Replayed));
}
