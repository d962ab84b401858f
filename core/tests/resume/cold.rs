//! The tokens that are valid for a process that recovers a session from a store.

use bowline_core::resume::{Claims, Owner, TOKENS_MAX, TokenError};

use crate::{AUDIENCE, BORN, jti};

/// Returns the claims of token `n`, of an epoch.
fn presented(n: usize, epoch: u64) -> Claims {
    let mut claims = Claims::new("s_1", "ann", AUDIENCE, BORN);
    (claims.jti, claims.ep) = (jti(n), epoch);
    claims
}

fn counting(owner: &Owner) -> Vec<usize> {
    owner.tokens().map(|token| token.0.parse().unwrap()).collect()
}

#[test]
fn recovered_session_accepts_every_token_its_client_may_have() {
    let mut owner = Owner::new(jti(0));
    for n in 1..4 {
        owner.claim(&jti(0), jti(n)).unwrap();
    }
    let (known, stored) = (owner.epoch(), owner.tokens().cloned().collect::<Vec<_>>());
    assert_eq!((known, counting(&owner)), (4, vec![0, 1, 2, 3]));
    // A token that the store knows: earlier ones are invalid now, and later ones stay valid.
    let mut restored = Owner::restore(known, stored.clone(), &presented(1, 2), 9, jti(9)).unwrap();
    assert_eq!((restored.epoch(), counting(&restored)), (9, vec![1, 2, 3, 9]));
    assert_eq!(restored.check(&jti(0)), Err(TokenError::Replayed));
    restored.confirm();
    assert_eq!(counting(&restored), [9]);
    // A token of a connection that was made after the last checkpoint.
    let restored = Owner::restore(known, stored.clone(), &presented(7, 6), 9, jti(9)).unwrap();
    assert_eq!(counting(&restored), [7, 9]);
    // The answer is lost, and so is the process: the same token is presented again.
    let again = Owner::restore(known, stored.clone(), &presented(7, 6), 10, jti(10)).unwrap();
    assert_eq!((again.epoch(), counting(&again)), (10, vec![7, 10]));
    // A token that the client no longer needs.
    for epoch in 0..=4 {
        assert_eq!(Owner::restore(known, stored.clone(), &presented(8, epoch), 9, jti(9)), Err(TokenError::Replayed));
    }
}

#[test]
fn many_tokens_in_the_store_leave_room_for_new_ones() {
    let stored: Vec<_> = (0..TOKENS_MAX).map(jti).collect();
    let restored = Owner::restore(1, stored, &presented(0, 1), 2, jti(99)).unwrap();
    let tokens = counting(&restored);
    assert_eq!((tokens.len(), tokens[0], tokens[TOKENS_MAX - 1]), (TOKENS_MAX, 0, TOKENS_MAX - 1));
    assert_eq!(restored.connection_token(), &jti(TOKENS_MAX - 1), "the new token shares the newest id");
}
