//! Root keys, and blinded principals.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bowline_core::link::Secret;
use bowline_core::resume::{Key, KeyError, KeyRing, principal_hash};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::{AUDIENCE, BORN, key, keys, minted};

#[test]
fn token_does_not_reveal_its_principal() {
    let (token, _) = minted(&keys(), BORN);
    let body = token.expose().split('.').nth(2).unwrap();
    let claims = String::from_utf8(URL_SAFE_NO_PAD.decode(body).unwrap()).unwrap();
    for known in [principal_hash("ann"), URL_SAFE_NO_PAD.encode(Sha256::digest("ann")), "ann".to_owned()] {
        assert!(!claims.contains(&known), "{claims}");
    }
    // As in docs/token.md.
    let mac = |key: &[u8], text: &[u8]| {
        Hmac::<Sha256>::new_from_slice(key).unwrap().chain_update(text).finalize().into_bytes()
    };
    let root = mac(&[b'a'; 32], b"bowline/mac/1");
    let subject = mac(&root, format!("bowline/sub/1{}", principal_hash("ann")).as_bytes());
    assert!(claims.contains(&format!(r#""sub":"{}""#, URL_SAFE_NO_PAD.encode(subject))), "{claims}");
}

#[test]
fn principal_of_a_token_is_verified_with_the_key() {
    let (token, _) = minted(&keys(), BORN);
    let rotated = keys().rotate(key("b")).unwrap();
    for ring in [keys(), rotated] {
        let claims = ring.open(token.expose(), AUDIENCE, BORN).unwrap();
        assert!(ring.is_subject(&claims, "ann"));
        assert!(!ring.is_subject(&claims, "bob") && !ring.is_subject(&claims, ""));
        assert!(!KeyRing::new(key("c")).is_subject(&claims, "ann"), "the key is not there");
    }
    let (by_another, _) = minted(&KeyRing::new(key("b")), BORN);
    assert_ne!(
        token.expose().split('.').nth(2),
        by_another.expose().split('.').nth(2),
        "each key blinds the principal differently"
    );
}

#[test]
fn keys_are_read_from_base64() {
    let bytes = [0xFB; 32];
    let token = |key: Key| minted(&KeyRing::new(key), BORN).0;
    let expected = token(Key::new("a", &bytes).unwrap());
    let standard = STANDARD.encode(bytes);
    let url_safe = URL_SAFE_NO_PAD.encode(bytes);
    for text in [standard.as_str(), standard.trim_end_matches('='), &url_safe, &format!(" {url_safe}=\n")] {
        assert_eq!(token(Key::from_base64("a", text).unwrap()), expected, "{text}");
    }
    let refused = |text: &str| Key::from_base64("a", text).unwrap_err();
    assert_eq!(refused(&STANDARD.encode([1; 31])), KeyError::TooShort(31));
    assert_eq!(refused(""), KeyError::TooShort(0));
    for text in ["correct horse battery staple!", &standard[..42], "AAA\nAAAA", &standard[..standard.len() - 2]] {
        let error = refused(text);
        assert!(matches!(error, KeyError::NotBase64(_) | KeyError::TooShort(_)), "{text}: {error}");
    }
    assert!(refused("not base64").to_string().starts_with("the root key is not base64: "), "{}", refused("not base64"));
    assert_eq!(Key::from_base64("", &standard).unwrap_err(), KeyError::Name(0));
}

#[test]
fn generated_keys_differ() {
    let token = |key: Key| minted(&KeyRing::new(key), BORN).0;
    let [one, other] = [(); 2].map(|()| token(Key::generate("a").unwrap()));
    assert_ne!(one, other);
    assert_eq!(Key::generate("x".repeat(33)).unwrap_err(), KeyError::Name(33));
}

#[test]
fn secrets_compare_by_every_byte() {
    assert_eq!(Secret::new("token"), Secret::new("token"));
    for other in ["", "toke", "tokens", "Token", "tokeN"] {
        assert_ne!(Secret::new("token"), Secret::new(other));
    }
}
