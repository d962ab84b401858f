//! The default keys of a service.

use bowline_core::resume::{Claims, TokenError};
use bowline_core::time::UnixTime;
use bowline_server::Resumption;

#[test]
fn each_service_without_keys_generates_its_own() {
    let (one, two) = (Resumption::default(), Resumption::default());
    let now = UnixTime(1_700_000_000);
    let mut claims = Claims::new("s_1", "ann", &one.audience, now);
    let token = one.keys.ring().mint(&mut claims, &one.tokens, now);
    claims.principal.clear();
    assert_eq!(one.keys.ring().open(token.expose(), &one.audience, now), Ok(claims));
    assert_eq!(two.keys.ring().open(token.expose(), &two.audience, now), Err(TokenError::Tag));
}
