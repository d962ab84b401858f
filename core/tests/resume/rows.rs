//! Weaknesses that resume tokens must not have. Each test attempts one attack or misuse.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bowline_core::error::ErrorCode;
use bowline_core::resume::{Claims, Jti, Key, KeyError, KeyRing, TokenError, TokenPolicy, app_hash, snapshot_sum};
use bowline_core::time::UnixTime;
use hmac::{Hmac, KeyInit, Mac};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

use crate::sealed::{claims, inline};
use crate::{AUDIENCE, BORN, after, keys, minted};

/// HMAC-SHA256.
fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    Hmac::<Sha256>::new_from_slice(key).unwrap().chain_update(message).finalize().into_bytes().into()
}

/// Returns a token of any header and claims, with the valid tag of key `a`.
fn signed(header: &str, claims: &str) -> String {
    let signed = format!("bwl1.{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let tag = hmac(&hmac(&[b'a'; 32], b"bowline/mac/1"), signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
}

const HEADER: &str = r#"{"k":"a","t":"ref","m":"s"}"#;

/// Returns claims that are valid at [`BORN`], with one of them changed.
fn claimed(from: &str, to: &str) -> String {
    let good = format!(
        r#"{{"v":1,"sid":"s","ep":1,"jti":"t","sub":"u","aud":"{AUDIENCE}","iat":{0},"exp":{1},"born":{0},"mx":86400}}"#,
        BORN.0,
        BORN.0 + 3_600
    );
    assert!(good.contains(from), "{from}");
    good.replace(from, to)
}

fn open(header: &str, claims: &str) -> Result<Claims, TokenError> {
    keys().open(&signed(header, claims), AUDIENCE, BORN)
}

#[test]
fn session_age_counts_from_birth_across_tokens() {
    let mut claims = Claims::new("s_1", "ann", AUDIENCE, BORN);
    for hour in 0..24 {
        let now = after(hour * 3_600);
        let token = keys().mint(&mut claims, &TokenPolicy::default(), now);
        let opened = keys().open(token.expose(), AUDIENCE, now).unwrap();
        assert_eq!((opened.born, opened.iat), (BORN.0, now.0));
    }
    let late = after(86_401);
    let token = keys().mint(&mut claims, &TokenPolicy::default(), late);
    assert_eq!(keys().open(token.expose(), AUDIENCE, late), Err(TokenError::TooOld(Duration::from_secs(86_401))));
}

#[test]
fn other_versions_are_refused_and_programs_are_identified_by_hash() {
    assert_eq!(open(HEADER, &claimed("\"v\":1", "\"v\":2")), Err(TokenError::Kind));
    assert_eq!(open(HEADER, &claimed("\"v\":1", "\"v\":0")), Err(TokenError::Kind));
    let token = inline(&keys(), b"state").unwrap();
    let opened = keys().open(token.expose(), AUDIENCE, BORN).unwrap();
    assert_eq!((opened.v, opened.app), (1, app_hash([("cursor", 1), ("account", 2)])));
    let others = [app_hash([]), app_hash([("account", 2)]), app_hash([("account", 1), ("cursor", 1)])];
    assert!(others.iter().all(|other| *other != claims().app));
    // The boundary between names matters.
    assert_ne!(app_hash([("ab", 1), ("c", 1)]), app_hash([("a", 1), ("bc", 1)]));
}

#[test]
fn session_past_its_maximum_age_has_its_own_code() {
    let old = keys().open(&signed(HEADER, &claimed("\"mx\":86400", "\"mx\":10")), AUDIENCE, after(11));
    assert_eq!(old.clone().unwrap_err(), TokenError::TooOld(Duration::from_secs(11)));
    assert_eq!(old.unwrap_err().code(), ErrorCode::SessionTooOld);
    assert_eq!(TokenPolicy::default().session_lifetime, Duration::from_secs(86_400));
}

#[test]
fn tag_covers_the_whole_token() {
    // All combinations of the four parts of two valid tokens: only the two are valid.
    let (one, _) = minted(&keys(), BORN);
    let (two, _) = minted(&keys(), after(1_000));
    let sealed = inline(&keys(), b"one").unwrap();
    let resealed = inline(&keys(), b"two").unwrap();
    for (first, second) in
        [(one.expose(), two.expose()), (sealed.expose(), resealed.expose()), (one.expose(), sealed.expose())]
    {
        let parts: Vec<[&str; 2]> = first.split('.').zip(second.split('.')).map(|(a, b)| [a, b]).collect();
        assert_eq!(parts.len(), 4);
        for mix in 0..16_usize {
            let text = (0..4).map(|at| parts[at][mix >> at & 1]).collect::<Vec<_>>().join(".");
            let is_whole = text == first || text == second;
            assert_eq!(keys().open(&text, AUDIENCE, after(1_000)).is_ok(), is_whole, "{mix}");
        }
    }
}

#[test]
fn forged_expiry_is_refused() {
    let late = after(3_631);
    let expired = signed(HEADER, &claimed("\"v\":1", "\"v\":1"));
    assert_eq!(keys().open(&expired, AUDIENCE, late), Err(TokenError::Expired(Duration::from_secs(31))));
    let parts: Vec<&str> = expired.split('.').collect();
    let later = claimed(&format!("\"exp\":{}", BORN.0 + 3_600), &format!("\"exp\":{}", BORN.0 + 99_999));
    let forged = [parts[0], parts[1], &URL_SAFE_NO_PAD.encode(later), parts[3]].join(".");
    assert_eq!(keys().open(&forged, AUDIENCE, late), Err(TokenError::Tag));
    // Nor does repeating it, or putting it beside the token.
    for text in
        [format!("{expired}.{}", parts[3]), format!("{expired}?exp=99999999999"), format!("{{\"exp\":9}}{expired}")]
    {
        assert_eq!(keys().open(&text, AUDIENCE, late).unwrap_err().code(), ErrorCode::ResumeTokenInvalid, "{text}");
    }
}

#[test]
fn sealed_contents_are_not_readable() {
    let secret = b"a private row number";
    let token = inline(&keys(), secret).unwrap();
    let body = URL_SAFE_NO_PAD.decode(token.expose().split('.').nth(2).unwrap()).unwrap();
    for readable in [&secret[..8], b"s_1", AUDIENCE.as_bytes(), snapshot_sum(secret).as_bytes()] {
        assert!(!body.windows(readable.len()).any(|window| window == readable));
    }
    let header = URL_SAFE_NO_PAD.decode(token.expose().split('.').nth(1).unwrap()).unwrap();
    assert_eq!(header, br#"{"k":"a","t":"inline","m":"x"}"#, "the name of the key and the kind are all");
}

#[test]
fn key_rings_require_keys_of_32_bytes() {
    let policy = TokenPolicy::default();
    assert_eq!((policy.token_lifetime.as_secs(), policy.session_lifetime.as_secs()), (3_600, 86_400));
    for bytes in [0, 1, 16, 31] {
        assert!(matches!(Key::new("a", &vec![1; bytes]), Err(KeyError::TooShort(short)) if short == bytes));
    }
    for bytes in [32, 33, 100] {
        // Every byte counts.
        let mut root = vec![1; bytes];
        let one = KeyRing::new(Key::new("a", &root).unwrap());
        root[bytes - 1] ^= 1;
        let two = KeyRing::new(Key::new("a", &root).unwrap());
        let (token, _) = minted(&one, BORN);
        assert_eq!(two.open(token.expose(), AUDIENCE, BORN), Err(TokenError::Tag));
    }
}

#[test]
fn token_is_at_most_a_third_longer_than_its_contents() {
    let length = |size: usize| inline(&keys(), &vec![b'x'; size]).unwrap().expose().len();
    let around = length(0);
    assert!(around < 620, "{around}");
    for size in [100, 4_406, 11_000] {
        let held = length(size) - around;
        assert!(held <= size * 4 / 3 + 2, "{size} bytes take {held}");
    }
}

/// Continues the SHA-256 of an unknown prefix, as an attacker does with a hash that is used as a
/// tag.
fn extended(tag: [u8; 32], length: usize, suffix: &[u8]) -> (Vec<u8>, [u8; 32]) {
    let pad = |length: usize| {
        let zeros = (119 - length % 64) % 64;
        [vec![0x80], vec![0; zeros], ((length as u64) * 8).to_be_bytes().to_vec()].concat()
    };
    let glue = pad(length);
    let mut state = [0_u32; 8];
    for (word, bytes) in state.iter_mut().zip(tag.chunks(4)) {
        *word = u32::from_be_bytes(bytes.try_into().unwrap());
    }
    let whole = length + glue.len() + suffix.len();
    let rest = [suffix, &pad(whole)].concat();
    let blocks: Vec<[u8; 64]> = rest.chunks(64).map(|block| block.try_into().unwrap()).collect();
    sha2::block_api::compress256(&mut state, &blocks);
    let mut tag = [0; 32];
    for (bytes, word) in tag.chunks_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    (glue, tag)
}

#[test]
fn tag_is_not_open_to_length_extension() {
    let derived = hmac(&[b'a'; 32], b"bowline/mac/1");
    let (token, _) = minted(&keys(), BORN);
    let (text, tag) = token.expose().rsplit_once('.').unwrap();
    let suffix = b".more";
    // Against a hash of key and data, this forges a tag without knowing the key.
    let prefix_hash: [u8; 32] = Sha256::new().chain_update(derived).chain_update(text).finalize().into();
    let (glue, forged) = extended(prefix_hash, derived.len() + text.len(), suffix);
    let message = [text.as_bytes(), &glue, suffix].concat();
    let of_message: [u8; 32] = Sha256::new().chain_update(derived).chain_update(&message).finalize().into();
    assert_eq!(forged, of_message, "the attack itself works");
    // Against an HMAC it does not, whatever key length the attacker assumes.
    let tag: [u8; 32] = URL_SAFE_NO_PAD.decode(tag).unwrap().try_into().unwrap();
    for key_length in 0..=128 {
        let (glue, forged) = extended(tag, key_length + text.len(), suffix);
        let message = [text.as_bytes(), &glue, suffix].concat();
        assert_ne!(hmac(&derived, &message), forged);
        let presented = format!("{text}.{}", URL_SAFE_NO_PAD.encode(forged));
        assert_eq!(keys().open(&presented, AUDIENCE, BORN), Err(TokenError::Tag));
    }
}

/// A token with several faults is refused for the first of them, in this order.
#[test]
fn claims_are_not_read_before_the_tag_is_verified() {
    let (past, future) = (BORN.0 - 99_999, BORN.0 + 99_999);
    let all_wrong = format!(
        r#"{{"v":2,"sid":"s","ep":1,"jti":"t","sub":"u","aud":"else","iat":{future},"exp":{past},"born":{past},"mx":1}}"#
    );
    let fix = |faults: &[(&str, &str)]| {
        let fixed = faults.iter().fold(all_wrong.clone(), |claims, (from, to)| {
            assert!(claims.contains(from), "{from}");
            claims.replace(from, to)
        });
        open(HEADER, &fixed)
    };
    let now = format!("\"iat\":{}", BORN.0);
    let iat = format!("\"iat\":{future}");
    let (exp, soon) = (format!("\"exp\":{past}"), format!("\"exp\":{}", BORN.0 + 1));
    let steps = [
        ("\"v\":2", "\"v\":1"),
        (&iat, &now),
        (&exp, &soon),
        ("\"mx\":1", "\"mx\":200000"),
        ("\"else\"", "\"calculator\""),
    ];
    let expected = [
        Err(TokenError::Kind),
        Err(TokenError::NotYetValid(Duration::from_secs(99_999))),
        Err(TokenError::Expired(Duration::from_secs(99_999))),
        Err(TokenError::TooOld(Duration::from_secs(99_999))),
        Err(TokenError::Audience),
    ];
    for (at, expected) in expected.into_iter().enumerate() {
        assert_eq!(fix(&steps[..at]), expected);
    }
    fix(&steps).unwrap();
    // Before all of these: length, shape, kind, key, and tag.
    let spoil = |token: String| token[..token.len() - 2].to_owned() + "AA";
    let cases = [
        (spoil(signed(HEADER, &all_wrong)), TokenError::Tag),
        (spoil(signed(HEADER, "no claims")), TokenError::Tag),
        (signed(HEADER, "no claims"), TokenError::Shape("the claims cannot be read")),
        (spoil(signed(r#"{"k":"z","t":"ref","m":"s"}"#, &all_wrong)), TokenError::KeyUnknown),
        (spoil(signed(r#"{"k":"z","t":"else","m":"s"}"#, &all_wrong)), TokenError::Kind),
        (signed(r#"{"k":"a","t":"ref","m":"x"}"#, &all_wrong), TokenError::Kind),
        (signed(r#"{"k":"a","t":"inline","m":"s"}"#, &all_wrong), TokenError::Kind),
        (signed(r#"{"k":"a","t":"sturdy","m":"x"}"#, &all_wrong), TokenError::Kind),
        (signed("no header", &all_wrong), TokenError::Shape("the header cannot be read")),
        (signed(HEADER, &all_wrong).replacen("bwl1", "bwl2", 1), TokenError::Shape("not four parts of version 1")),
        ("x".repeat(65_537), TokenError::TooLong(65_537)),
        ("x".repeat(65_536), TokenError::Shape("no tag")),
        (String::new(), TokenError::Shape("no tag")),
        ("bwl1.e30..".to_owned(), TokenError::Shape("the header cannot be read")),
        (signed(r#"{"k":"a","t":"inline","m":"x"}"#, "x"), TokenError::Shape("a sealed token has a tag")),
    ];
    for (token, expected) in cases {
        assert_eq!(keys().open(&token, AUDIENCE, BORN), Err(expected), "{token}");
    }
}

#[test]
fn every_refusal_has_a_code_and_a_message() {
    let refusals = [
        (TokenError::TooLong(70_000), "RESUME_TOKEN_INVALID"),
        (TokenError::Shape("no tag"), "RESUME_TOKEN_INVALID"),
        (TokenError::Kind, "RESUME_TOKEN_INVALID"),
        (TokenError::Tag, "RESUME_TOKEN_INVALID"),
        (TokenError::Seal, "RESUME_TOKEN_INVALID"),
        (TokenError::Audience, "RESUME_TOKEN_INVALID"),
        (TokenError::KeyUnknown, "RESUME_TOKEN_KEY_UNKNOWN"),
        (TokenError::NotYetValid(Duration::from_secs(31)), "RESUME_TOKEN_NOT_YET_VALID"),
        (TokenError::Expired(Duration::from_secs(31)), "RESUME_TOKEN_EXPIRED"),
        (TokenError::TooOld(Duration::from_secs(86_401)), "SESSION_TOO_OLD"),
        (TokenError::Proof, "RESUME_PROOF_INVALID"),
        (TokenError::Replayed, "RESUME_TOKEN_REPLAYED"),
        (TokenError::TooLarge { bytes: 70_000, max: 65_536 }, "TOKEN_TOO_LARGE"),
    ];
    let mut lines: Vec<_> = refusals.iter().map(|(refusal, _)| refusal.to_string()).collect();
    for (refusal, code) in &refusals {
        assert_eq!(refusal.code().as_str(), *code);
        assert_eq!(ErrorCode::from(*code), refusal.code(), "{code} is a known code");
    }
    lines.sort();
    lines.dedup();
    assert_eq!(lines.len(), refusals.len());
}

#[test]
fn unknown_claims_are_ignored() {
    let opened = open(HEADER, &claimed("\"v\":1", "\"v\":1,\"later\":{\"deep\":[1]}")).unwrap();
    assert_eq!(opened.jti, Jti("t".to_owned()));
}

proptest! {
    /// Clocks and times of any value.
    #[test]
    fn extreme_times_do_not_panic(
        now in times(), iat in times(), exp in times(), born in times(), mx in times(), life in times(),
    ) {
        let claims = format!(
            r#"{{"v":1,"sid":"s","ep":1,"jti":"t","sub":"u","aud":"{AUDIENCE}","iat":{iat},"exp":{exp},"born":{born},"mx":{mx}}}"#
        );
        let opened = keys().open(&signed(HEADER, &claims), AUDIENCE, UnixTime(now));
        let is_good = iat <= now.saturating_add(30) && now <= exp.saturating_add(30) && now <= born.saturating_add(mx);
        prop_assert_eq!(opened.is_ok(), is_good);
        let mut policy = TokenPolicy::default();
        (policy.token_lifetime, policy.session_lifetime) = (Duration::from_secs(life), Duration::from_secs(mx));
        let mut claims = Claims::new("s", "u", AUDIENCE, UnixTime(born));
        let token = keys().mint(&mut claims, &policy, UnixTime(now));
        prop_assert_eq!(keys().open(token.expose(), AUDIENCE, UnixTime(now)).is_ok(), now <= born.saturating_add(mx));
    }
}

fn times() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just(u64::MAX), Just(BORN.0), any::<u64>(), BORN.0 - 50..BORN.0 + 50]
}
